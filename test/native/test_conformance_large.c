/* Conformance: messages larger than a datagram between two engines, whatever the datapath: whole, in order, each once, small
   ones between them. The MTU is what both ends take. */
#include "conformance_cases.h"
#include "large_bench.h"

enum { LARGEST = 400000, MESSAGES = 12 };

static void open_side(struct node *node, const struct medium *medium, int side) {
    struct ins_engine_config config = node_config();
    config.receive_bytes = medium->bytes;
    conformance_stand(medium, side);
    node_open_at(node, &config, medium->technology, medium->options[side], inet_addr(medium->address[side]));
}

static void large_messages_arrive_whole_and_in_order(void **state) {
    static struct large_bench b;
    const struct medium *medium = *state;
    static const uint32_t lengths[] = {LARGEST, 100, 65460, 8, LARGEST - 1};
#ifdef __SANITIZE_THREAD__
    /* Ten times slower a window of fragments is a flood to it, and the first message is given up. */
    if (medium->stops_in_flood) {
        print_message("not under ThreadSanitizer: %s\n", medium->stops_in_flood);
        skip();
    }
#endif
    memset(&b, 0, sizeof b);
    open_side(&b.a, medium, 0);
    open_side(&b.b, medium, 1);
    node_introduce(&b.a, &b.b, LARGE_PEER);
    large_pool_open(&b.pool, &b.b, LARGE_POOL, 4, LARGEST);
    entrance_open(&b.in, &b.b, LARGE_ENTRANCE, 64);
    node_do(&b.b, ins_engine_set_assembly(b.b.engine, LARGE_ENTRANCE, LARGE_POOL));
    node_do(&b.b, ins_engine_subscribe(b.b.engine, LARGE_ENTRANCE, LARGE_TAG, LARGE_CHANNEL, 0));
    exit_open(&b.exit, &b.a, LARGE_EXIT, LARGE_TAG, 64, 6, LARGEST);
    node_do(&b.a, ins_engine_add_source(b.a.engine, LARGE_EXIT, 0, LARGE_SOURCE, 0, LARGE_CHANNEL));
    node_do(&b.a, ins_engine_add_route(b.a.engine, LARGE_TAG, LARGE_CHANNEL, LARGE_PEER));
    uint32_t sent = 0, taken = 0;
    HARNESS_UNTIL(taken == MESSAGES, &b.a, &b.b) {
        while (sent < MESSAGES && exit_send(&b.exit, &b.a, 0, 0, lengths[sent % 5], sent))
            sent++;
        struct ins_descriptor d;
        struct meta meta;
        while (large_take(&b.b, &b.in, &b.pool, &d, &meta)) {
            assert_int_equal(meta.sequence, taken);
            assert_int_equal(d.length, lengths[taken % 5]);
            entrance_give(&b.in, &b.b, &d);
            taken++;
        }
        exit_reclaim(&b.exit);
    }
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], MESSAGES);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_fragment_lies), 0);
    large_bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_messages_arrive_whole_and_in_order),
    };
    return conformance_run("large", tests, sizeof tests / sizeof *tests);
}
