/* Large messages with a peer that lies: fragments that disagree, overlap, never end or come from nowhere, and statuses that
   make no sense. It is counted, what it makes us hold is bounded, and it gets no memory for longer than its time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/wire.h"
#include "large_bench.h"

enum { LIAR = 66, SIZE = 1000, SLOTS = 6, PAYLOAD = 100000, FLOW = 77 };

struct liar {
    int fd;
    struct sockaddr_in engine;
};

/* A socket that the node takes for a peer. */
static void liar_open(struct liar *liar, struct node *node) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int bytes = 4 << 20;
    liar->fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(liar->fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(getsockname(liar->fd, (struct sockaddr *)&name, &length), 0);
    setsockopt(liar->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    node_do(node, ins_engine_set_peer(node->engine, LIAR, NODE_DATAPATH, name.sin_addr.s_addr, ntohs(name.sin_port), 1500));
    liar->engine = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = node->at.address, .sin_port = htons(node->at.port)};
}

static uint8_t byte_at(uint64_t sequence, uint32_t at) { return (uint8_t)(sequence * 5 + at * 3 + (at >> 8)); }

static struct ins_wire fragment(uint64_t sequence, uint32_t length, uint32_t index) {
    return (struct ins_wire){
        .type = INS_WIRE_TYPE_FRAGMENT,
        .tag = LARGE_TAG,
        .channel = LARGE_CHANNEL,
        .source = 1,
        .flow = FLOW,
        .sequence = sequence,
        .emit_time = 1,
        .length = length,
        .size = SIZE,
        .index = index,
    };
}

static void tell(struct liar *liar, const struct ins_wire *wire) {
    uint8_t data[65507];
    uint64_t from = (uint64_t)wire->index * wire->size, body = wire->length > from ? wire->length - from : 0;
    if (body > wire->size)
        body = wire->size;
    ins_wire_write(data, wire);
    for (uint32_t i = 0; i < body; i++)
        data[INS_WIRE_HEADER + i] = byte_at(wire->sequence, (uint32_t)from + i);
    assert_true(sendto(liar->fd, data, INS_WIRE_HEADER + body, 0, (struct sockaddr *)&liar->engine,
                       sizeof liar->engine) > 0);
}

/* The last status that has come; 0: none within `ms`. */
static int heard(struct liar *liar, int ms, struct ins_wire *wire, struct ins_receipt *receipt) {
    uint8_t data[2048];
    int any = 0;
    for (;;) {
        struct pollfd fd = {.fd = liar->fd, .events = POLLIN};
        if (poll(&fd, 1, any ? 0 : ms) <= 0)
            return any;
        ssize_t got = recv(liar->fd, data, sizeof data, 0);
        struct ins_wire read;
        if (got < INS_WIRE_HEADER || ins_wire_parse(data, (uint32_t)got, &read) || read.type != INS_WIRE_TYPE_STATUS)
            continue;
        *wire = read;
        assert_true(ins_receipt_read(data + INS_WIRE_HEADER, wire->length, receipt));
        any = 1;
    }
}

static void take_one(struct large_bench *b, uint64_t sequence, uint32_t length) {
    struct ins_descriptor d;
    int got = 0;
    HARNESS_UNTIL(got, &b->a, &b->b) { got = ins_consumer_take(&b->in.consumer, &d, 1); }
    assert_int_equal(d.pool, 1);
    assert_int_equal(d.length, length);
    uint64_t seen;
    memcpy(&seen, b->pool.memory + d.offset - INS_META_BYTES + INS_META_SEQUENCE, 8);
    assert_int_equal(seen, sequence);
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(b->pool.memory[d.offset + i], byte_at(sequence, i));
    entrance_give(&b->in, &b->b, &d);
}

static void wait_for(struct large_bench *b, enum ins_engine_counter which, uint64_t value) {
    HARNESS_UNTIL(node_count(&b->b, which) >= value, &b->a, &b->b) {
    }
    assert_int_equal(node_count(&b->b, which), value);
}

static void nothing_held(struct large_bench *b) {
    HARNESS_UNTIL(node_count(&b->b, INS_COUNT_slots_out) <= 32, &b->a, &b->b) { /* those its datapath waits with */
    }
}

static void setup(struct large_bench *b, struct liar *liar) {
    large_bench_open(b, NULL, 1500, SLOTS, PAYLOAD);
    liar_open(liar, &b->b);
}

static void finish(struct large_bench *b, struct liar *liar) {
    close(liar->fd);
    nothing_held(b);
    large_bench_close(b);
}

static void fragments_that_disagree_change_nothing(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    setup(&b, &liar);
    struct ins_wire good = fragment(0, 4500, 0), bad;
    tell(&liar, &good);
    wait_for(&b, INS_COUNT_rx_fragments, 1);
    /* Each one in turn: what every fragment of a message must say alike. */
    bad = fragment(0, 4500, 1), bad.size = 999, tell(&liar, &bad);
    bad = fragment(0, 4500, 0), bad.size = 1500, tell(&liar, &bad);
    bad = fragment(0, 4501, 1), tell(&liar, &bad);
    bad = fragment(0, PAYLOAD, 50), tell(&liar, &bad);
    bad = fragment(0, 4500, 1), bad.tag++, tell(&liar, &bad);
    bad = fragment(0, 4500, 1), bad.channel++, tell(&liar, &bad);
    bad = fragment(0, 4500, 1), bad.source++, tell(&liar, &bad);
    wait_for(&b, INS_COUNT_rx_fragment_lies, 7);
    /* Beyond the end, of no size, longer than can be: not even a fragment. */
    bad = fragment(0, 4500, 5), tell(&liar, &bad);
    bad = fragment(0, 4500, UINT32_MAX), tell(&liar, &bad);
    bad = fragment(0, INS_POOL_MAX_MESSAGE + 1u, 0), tell(&liar, &bad);
    bad = fragment(0, 4500, 0), bad.size = 0, tell(&liar, &bad);
    wait_for(&b, INS_COUNT_rx_bad_length, 4);
    for (uint32_t i = 4; i > 0; i--)
        bad = fragment(0, 4500, i), tell(&liar, &bad);
    tell(&liar, &good);
    take_one(&b, 0, 4500);
    wait_for(&b, INS_COUNT_rx_fragments, 5);
    /* Another one of a message that is complete. */
    tell(&liar, &good);
    wait_for(&b, INS_COUNT_rx_fragment_late, 1);
    /* Nobody has a sink there; a flow that changes its mind. */
    bad = fragment(0, 4500, 0), bad.flow++, bad.channel++, tell(&liar, &bad);
    wait_for(&b, INS_COUNT_rx_no_subscriber, 1);
    bad = fragment(1, 4500, 0), bad.source++, tell(&liar, &bad);
    wait_for(&b, INS_COUNT_rx_bad_flow, 1);
    bad = fragment(1ull << 60, 4500, 0), tell(&liar, &bad);
    wait_for(&b, INS_COUNT_rx_bad_flow, 2);
    finish(&b, &liar);
}

static void messages_that_never_end_are_given_up(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    struct ins_wire wire;
    struct ins_receipt receipt;
    setup(&b, &liar);
    /* Half of the pool is all that one peer gets, however many it begins. */
    for (uint32_t i = 0; i < 200; i++) {
        wire = fragment(0, PAYLOAD, i % 90);
        wire.flow = FLOW + i;
        tell(&liar, &wire);
    }
    wait_for(&b, INS_COUNT_rx_fragments, SLOTS / 2);
    wait_for(&b, INS_COUNT_rx_fragment_no_room, 200 - SLOTS / 2);
    assert_true(heard(&liar, 5000, &wire, &receipt));
    assert_int_equal(receipt.window, 0);
    assert_int_equal(receipt.first, 0);
    /* Others are served meanwhile. */
    HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, PAYLOAD, 1), &b.a, &b.b) {
    }
    struct ins_descriptor d;
    struct meta meta;
    HARNESS_UNTIL(large_take(&b.b, &b.in, &b.pool, &d, &meta), &b.a, &b.b) {
    }
    entrance_give(&b.in, &b.b, &d);
    wait_for(&b, INS_COUNT_rx_incomplete, SLOTS / 2);
    /* One that always brings a little lives no longer than its time either. */
    const uint64_t begun = harness_ms();
    uint32_t next = 0;
    HARNESS_UNTIL(node_count(&b.b, INS_COUNT_rx_incomplete) > SLOTS / 2, &b.a, &b.b) {
        if (harness_ms() - begun < next * 200ull)
            continue;
        wire = fragment(0, PAYLOAD, next++);
        wire.flow = FLOW + 500;
        tell(&liar, &wire);
    }
    assert_true(next > 1 && next < 90);
    finish(&b, &liar);
}

static void a_peer_that_goes_leaves_its_memory(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    setup(&b, &liar);
    for (uint32_t i = 0; i < SLOTS / 2; i++) {
        struct ins_wire wire = fragment(0, PAYLOAD, 0);
        wire.flow += i;
        tell(&liar, &wire);
    }
    wait_for(&b, INS_COUNT_rx_fragments, SLOTS / 2);
    node_do(&b.b, ins_engine_remove_peer(b.b.engine, LIAR));
    wait_for(&b, INS_COUNT_rx_incomplete, SLOTS / 2);
    finish(&b, &liar);
}

static void later_messages_wait_for_earlier_ones_that_may_still_come(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    struct ins_wire wire;
    setup(&b, &liar);
    wire = fragment(0, 3000, 0), tell(&liar, &wire);
    for (uint32_t i = 0; i < 3; i++)
        wire = fragment(1, 3000, i), tell(&liar, &wire);
    wait_for(&b, INS_COUNT_rx_fragments, 4);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_large), 0);
    for (uint32_t i = 1; i < 3; i++)
        wire = fragment(0, 3000, i), tell(&liar, &wire);
    take_one(&b, 0, 3000);
    take_one(&b, 1, 3000);
    /* Until the earlier one has had its time. */
    wire = fragment(2, 3000, 0), tell(&liar, &wire);
    for (uint32_t i = 0; i < 3; i++)
        wire = fragment(3, 3000, i), tell(&liar, &wire);
    take_one(&b, 3, 3000);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_incomplete), 1);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_lost), 1);
    finish(&b, &liar);
}

/* A is the one lied to: what it sends goes to the liar, who answers. */
static void sender_setup(struct large_bench *b, struct liar *liar) {
    large_bench_open(b, NULL, 1500, SLOTS, PAYLOAD);
    node_do(&b->a, ins_engine_remove_peer(b->a.engine, LARGE_PEER));
    liar_open(liar, &b->a);
    node_do(&b->a, ins_engine_add_route(b->a.engine, LARGE_TAG, LARGE_CHANNEL, LIAR));
}

static int read_fragment(struct liar *liar, struct ins_wire *wire) {
    static uint8_t data[65536];
    struct pollfd fd = {.fd = liar->fd, .events = POLLIN};
    while (poll(&fd, 1, 5000) > 0) {
        ssize_t got = recv(liar->fd, data, sizeof data, 0);
        if (got >= INS_WIRE_HEADER && !ins_wire_parse(data, (uint32_t)got, wire) &&
            (wire->type == INS_WIRE_TYPE_FRAGMENT || wire->type == INS_WIRE_TYPE_ASK))
            return 1;
    }
    return 0;
}

static void answer(struct liar *liar, const struct ins_wire *about, struct ins_receipt receipt, uint8_t bits) {
    uint8_t data[INS_WIRE_HEADER + INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP];
    struct ins_wire wire = *about;
    wire.type = INS_WIRE_TYPE_STATUS;
    wire.length = INS_RECEIPT_BITMAP + receipt.bytes;
    wire.size = wire.index = 0;
    ins_wire_write(data, &wire);
    ins_receipt_write(data + INS_WIRE_HEADER, &receipt);
    memset(data + INS_WIRE_HEADER + INS_RECEIPT_BITMAP, bits, receipt.bytes);
    assert_true(sendto(liar->fd, data, INS_WIRE_HEADER + wire.length, 0, (struct sockaddr *)&liar->engine,
                       sizeof liar->engine) > 0);
}

static void silence_gives_the_slot_back_in_time(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    sender_setup(&b, &liar);
    for (uint32_t i = 0; i < 3; i++)
        HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, PAYLOAD, i), &b.a, &b.b) {
        }
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    assert_int_equal(node_count(&b.a, INS_COUNT_tx_unconfirmed), 3);
    /* Never more than a window of it was under way. */
    assert_true(node_count(&b.a, INS_COUNT_tx_fragments) < 3 * (PAYLOAD / 1424 + 2 + 3000 / 64 + 10));
    finish(&b, &liar);
}

static void statuses_that_make_no_sense_end_in_time(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    struct ins_wire wire;
    static const struct ins_receipt lies[] = {
        {.window = UINT64_MAX, .first = 0, .bytes = 1024},      /* everything misses, again and again */
        {.window = UINT64_MAX, .first = 0xfffffff8, .bytes = 0}, /* beyond its end: as good as done */
        {.window = 1, .first = 0, .bytes = 1},
        {.window = 0, .first = 0, .bytes = 0}, /* never any memory */
        {.window = UINT64_MAX, .first = 8, .bytes = 1024},
    };
    sender_setup(&b, &liar);
    for (uint32_t k = 0; k < sizeof lies / sizeof *lies; k++) {
        HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, PAYLOAD, k), &b.a, &b.b) {
        }
        const uint64_t begun = harness_ms();
        HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
            struct pollfd fd = {.fd = liar.fd, .events = POLLIN};
            if (poll(&fd, 1, 1) > 0 && read_fragment(&liar, &wire))
                for (uint32_t more = 0; more < 3; more++)
                    answer(&liar, &wire, lies[k], 0xff);
        }
        assert_true(harness_ms() - begun < 16000);
    }
    /* About messages that are not under way, from flows that never were. */
    for (uint32_t i = 0; i < 100; i++) {
        wire.sequence += i % 3;
        wire.flow += i % 2;
        answer(&liar, &wire, lies[i % 5], (uint8_t)i);
    }
    HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, PAYLOAD, 9), &b.a, &b.b) {
    }
    assert_true(read_fragment(&liar, &wire));
    answer(&liar, &wire, lies[1], 0);
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    finish(&b, &liar);
}

/* The receiver says nothing, so the message is under way with nothing staged; fragments of that size are copied. */
static void a_pool_that_is_removed_is_not_read_any_more(void **state) {
    (void)state;
    static struct large_bench b;
    struct liar liar;
    enum { LEAST_MTU = 576 };
    sender_setup(&b, &liar);
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    assert_int_equal(getsockname(liar.fd, (struct sockaddr *)&name, &length), 0);
    node_do(&b.a, ins_engine_set_peer(b.a.engine, LIAR, NODE_DATAPATH, name.sin_addr.s_addr, ntohs(name.sin_port), LEAST_MTU));
    assert_true(exit_send(&b.exit, &b.a, 0, 0, PAYLOAD, 0));
    HARNESS_UNTIL(node_count(&b.a, INS_COUNT_tx_fragments) >= PAYLOAD / 512, &b.a, &b.b) {
    }
    node_do(&b.a, ins_engine_remove_pool(b.a.engine, LARGE_EXIT, 0));
    assert_int_equal(mprotect(b.exit.memory, b.exit.pool.bytes, PROT_NONE), 0);
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    assert_int_equal(mprotect(b.exit.memory, b.exit.pool.bytes, PROT_READ | PROT_WRITE), 0);
    finish(&b, &liar);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_that_disagree_change_nothing),
        cmocka_unit_test(messages_that_never_end_are_given_up),
        cmocka_unit_test(a_peer_that_goes_leaves_its_memory),
        cmocka_unit_test(later_messages_wait_for_earlier_ones_that_may_still_come),
        cmocka_unit_test(silence_gives_the_slot_back_in_time),
        cmocka_unit_test(statuses_that_make_no_sense_end_in_time),
        cmocka_unit_test(a_pool_that_is_removed_is_not_read_any_more),
    };
    return cmocka_run_group_tests_name("fragments, hostile", tests, NULL, NULL);
}
