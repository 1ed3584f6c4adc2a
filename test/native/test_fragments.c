/* Large messages between two engines: they arrive whole, in order and once, whatever the network does to their fragments,
   as long as it lets some through; those that do not are given up, and nothing stays held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/wire.h"
#include "large_bench.h"

enum { HEADERS = INS_WIRE_HEADER + 28 };

/* Sends `count` messages of the given lengths in turn and takes them; checks order and content. */
static void exchange(struct large_bench *b, const uint32_t *lengths, uint32_t kinds, uint32_t count) {
    uint32_t sent = 0, taken = 0;
    HARNESS_UNTIL(taken == count, &b->a, &b->b) {
        while (sent < count && exit_send(&b->exit, &b->a, 0, 0, lengths[sent % kinds], sent))
            sent++;
        struct ins_descriptor d;
        struct meta meta;
        while (large_take(&b->b, &b->in, &b->pool, &d, &meta)) {
            assert_int_equal(meta.emit_time - 1000, taken);
            assert_int_equal(meta.sequence, taken);
            assert_int_equal(meta.source, LARGE_SOURCE);
            assert_int_equal(d.length, lengths[taken % kinds]);
            entrance_give(&b->in, &b->b, &d);
            taken++;
        }
        exit_reclaim(&b->exit);
    }
    HARNESS_UNTIL((exit_reclaim(&b->exit), b->exit.producer.live == 0), &b->a, &b->b) {
    }
    assert_int_equal(b->exit.returned[INS_STATUS_DONE], count);
    assert_int_equal(node_count(&b->b, INS_COUNT_rx_fragment_lies), 0);
    assert_int_equal(node_count(&b->a, INS_COUNT_tx_unconfirmed), 0);
}

static void all_lengths_arrive_whole(void **state) {
    (void)state;
    static struct large_bench b;
    enum { MTU = 1500, SIZE = (MTU - HEADERS) / 8 * 8 };
    static const uint32_t lengths[] = {
        0, SIZE, SIZE + 1, 2 * SIZE - 1, 2 * SIZE, 2 * SIZE + 1, 64 * SIZE, 64 * SIZE + 7, 1 << 20, 65459, 65460, 100,
    };
    large_bench_open(&b, NULL, MTU, 4, 1 << 20);
    exchange(&b, lengths, 12, 60);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_large), 60 / 12 * 9);
    /* Whole but for these no datagram was too long. */
    assert_int_equal(node_count(&b.a, INS_COUNT_tx_refused), 0);
    large_bench_close(&b);
}

/* Exchanges messages until none of their fragments was copied: one of some attempts, because what the kernel drops is sent again,
   and what a thread sends that had to wait for its core may not be expected any more. */
static void in_place(uint32_t mtu, const uint32_t *lengths, uint32_t kinds) {
    static struct large_bench b;
    enum { ATTEMPTS = 5, COUNT = 48 };
    uint64_t copied = 1;
    for (uint32_t attempt = 0; copied && attempt < ATTEMPTS; attempt++) {
        large_bench_open(&b, NULL, mtu, COUNT + 8, 1 << 20); /* one that waits for memory is moved */
        exchange(&b, lengths, kinds, COUNT);
        copied = node_count(&b.b, INS_COUNT_rx_fragment_copied);
        print_message("MTU %u: %llu of %llu fragments copied, %llu again\n", mtu, (unsigned long long)copied,
                      (unsigned long long)node_count(&b.b, INS_COUNT_rx_fragments),
                      (unsigned long long)node_count(&b.a, INS_COUNT_tx_fragments_again));
        assert_true(node_count(&b.b, INS_COUNT_rx_large) >= COUNT / 2);
        large_bench_close(&b);
    }
    assert_int_equal(copied, 0);
}

/* From the first fragment of the first message on, and whether or not the next one is as long as the last. */
static void what_comes_in_order_is_received_in_place(void **state) {
    (void)state;
    static const uint32_t same[] = {1 << 20}, others[] = {1 << 20, 300001, 65460, 2000, 700000, 65459},
                          jumbo[] = {100000, 99999, 1 << 20, 9000, 70000, 8926};
    in_place(1500, same, 1);
    in_place(9000, same, 1);
    in_place(1500, others, 6);
    in_place(9000, jumbo, 6);
}

/* One whose last fragment is as long as the others would share its train with the next one, whose place is not there yet. */
static void a_train_is_of_one_message(void **state) {
    (void)state;
    enum { SIZE = (1500 - HEADERS) / 8 * 8 };
    static const uint32_t even[] = {64 * SIZE}, two[] = {2 * SIZE};
    in_place(1500, even, 1);
    in_place(1500, two, 1);
}

static void every_mtu_will_do(void **state) {
    (void)state;
    static struct large_bench b;
    static const uint32_t mtus[] = {576, 600, 1280, 3820, 9000, 65535}, lengths[] = {300000, 65460, 128 << 10};
    for (uint32_t i = 0; i < sizeof mtus / sizeof *mtus; i++) {
        large_bench_open(&b, NULL, mtus[i], 3, 300000);
        exchange(&b, lengths, 3, 9);
        large_bench_close(&b);
    }
}

/* A peer comes whose network is narrower than all before, or leaves: the same for those that were there and those that come. */
static void what_goes_in_fragments_follows_the_peers(void **state) {
    (void)state;
    static struct large_bench b;
    enum { LENGTH = 5000, NARROW = 1500, WIDE = 9000, MORE = 5, OTHER = LARGE_PEER + 1 };
    static const uint32_t lengths[] = {LENGTH};
    for (uint32_t narrow = 0; narrow < 2; narrow++) {
        large_bench_open(&b, NULL, narrow ? WIDE : NARROW, 4, 1 << 16);
        struct ins_engine *e = b.a.engine;
        /* Another one of the first kind comes and goes again, before and after the first one moves. */
        node_do(&b.a, ins_engine_set_peer(e, OTHER, NODE_DATAPATH, b.b.at.address, 9, narrow ? WIDE : NARROW));
        node_do(&b.a, ins_engine_remove_peer(e, OTHER));
        node_do(&b.a, ins_engine_set_peer(e, LARGE_PEER, NODE_DATAPATH, b.b.at.address, b.b.at.port,
                                          narrow ? NARROW : WIDE));
        exchange(&b, lengths, 1, MORE);
        assert_int_equal(node_count(&b.a, INS_COUNT_tx_fragments) > 0, narrow);
        large_bench_close(&b);
    }
}

static void loss_duplicates_and_reordering_are_repaired(void **state) {
    (void)state;
    static struct large_bench b;
    static const char *const nets[] = {
        "of=udp,loss=0.02,seed=3",
        "of=udp,loss=0.3,seed=4",
        "of=udp,duplicate=0.3,seed=5",
        "of=udp,reorder=0.3,seed=6",
        "of=udp,loss=0.1,duplicate=0.1,reorder=0.1,seed=7",
    };
    static const uint32_t lengths[] = {200000, 3000, 66000, 1500000};
    for (uint32_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        large_bench_open(&b, nets[i], 1500, 4, 1500000);
        exchange(&b, lengths, 4, 16);
        assert_int_equal(node_count(&b.b, INS_COUNT_rx_large), 16);
        if (strstr(nets[i], "loss"))
            assert_true(node_count(&b.a, INS_COUNT_tx_fragments_again) > 0);
        if (strstr(nets[i], "duplicate"))
            assert_true(node_count(&b.b, INS_COUNT_rx_fragment_twice) + node_count(&b.b, INS_COUNT_rx_fragment_late) > 0);
        large_bench_close(&b);
    }
}

/* Small ones cannot be repaired, and are not expected to come: large ones do, and order holds. */
static void small_ones_between_lossy_large_ones_keep_their_place(void **state) {
    (void)state;
    static struct large_bench b;
    enum { COUNT = 100 };
    large_bench_open(&b, "of=udp,loss=0.1,seed=9", 1500, 4, 100000);
    uint32_t sent = 0, large = 0;
    uint64_t last = 0;
    HARNESS_UNTIL(large == COUNT / 2, &b.a, &b.b) {
        while (sent < COUNT && exit_send(&b.exit, &b.a, 0, 0, sent % 2 ? 90000 : 100, sent))
            sent++;
        struct ins_descriptor d;
        struct meta meta;
        while (large_take(&b.b, &b.in, &b.pool, &d, &meta)) {
            uint64_t mark = meta.emit_time - 1000;
            assert_true(mark >= last);
            assert_int_equal(meta.sequence, mark);
            last = mark + 1;
            large += d.length == 90000;
            entrance_give(&b.in, &b.b, &d);
        }
        exit_reclaim(&b.exit);
    }
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    large_bench_close(&b);
}

static void many_sources_send_at_once(void **state) {
    (void)state;
    static struct large_bench b;
    enum { SOURCES = 12, EACH = 12 };
    static const uint32_t lengths[] = {70000, 250000, 1000, 130000};
    large_bench_open(&b, "of=udp,loss=0.01,seed=2", 1500, 16, 250000);
    uint32_t sent[SOURCES] = {0}, taken = 0;
    uint64_t last[SOURCES] = {0};
    for (uint32_t i = 1; i < SOURCES; i++)
        node_do(&b.a, ins_engine_add_source(b.a.engine, LARGE_EXIT, i, LARGE_SOURCE + i, 0, LARGE_CHANNEL));
    uint64_t small = 0;
    HARNESS_UNTIL(taken - small == SOURCES * EACH * 3 / 4, &b.a, &b.b) {
        for (uint32_t i = 0; i < SOURCES; i++)
            if (sent[i] < EACH && exit_send(&b.exit, &b.a, i, 0, lengths[sent[i] % 4], sent[i] + 1000ull * i))
                sent[i]++;
        struct ins_descriptor d;
        struct meta meta;
        while (large_take(&b.b, &b.in, &b.pool, &d, &meta)) {
            uint32_t source = meta.source - LARGE_SOURCE;
            assert_true(source < SOURCES && meta.sequence >= last[source]);
            assert_int_equal(meta.emit_time - 1000, meta.sequence + 1000ull * source);
            last[source] = meta.sequence + 1;
            small += d.length == 1000;
            taken++;
            entrance_give(&b.in, &b.b, &d);
        }
        exit_reclaim(&b.exit);
    }
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    large_bench_close(&b);
}

static void two_pools_are_both_served(void **state) {
    (void)state;
    static struct large_bench b;
    struct large_pool other;
    struct entrance also, tight, none;
    struct ins_descriptor d;
    struct meta meta;
    large_bench_open(&b, NULL, 1500, 4, 200000);
    struct ins_engine *e = b.b.engine;
    large_pool_open(&other, &b.b, LARGE_POOL + 1, 4, 200000);
    entrance_open(&also, &b.b, 10, 16);
    entrance_open(&tight, &b.b, 11, 16);
    entrance_open(&none, &b.b, 12, 16);
    node_do(&b.b, ins_engine_set_assembly(e, 10, LARGE_POOL + 1));
    node_do(&b.b, ins_engine_set_assembly(e, 11, LARGE_POOL));
    for (uint32_t link = 10; link <= 12; link++)
        node_do(&b.b, ins_engine_subscribe(e, link, LARGE_TAG, LARGE_CHANNEL, 0));
    for (uint32_t i = 0; i < 20; i++) {
        HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, 150000, i), &b.a, &b.b) {
        }
        struct { struct entrance *in; const struct large_pool *pool; } ends[] = {
            {&b.in, &b.pool}, {&also, &other}, {&tight, &b.pool}};
        for (uint32_t k = 0; k < 3; k++) {
            HARNESS_UNTIL(large_take(&b.b, ends[k].in, ends[k].pool, &d, &meta), &b.a, &b.b) {
            }
            assert_int_equal(meta.sequence, i);
            entrance_give(ends[k].in, &b.b, &d);
        }
    }
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_copied_domain), 20);
    /* A sink that has no memory for large messages is told what it missed. */
    assert_int_equal(ins_consumer_take(&none.consumer, &d, 1), 0);
    uint64_t dropped;
    HARNESS_UNTIL((node_events(&b.b, INS_EVENT_DROPPED, &dropped), dropped == 20), &b.a, &b.b) {
    }
    entrance_close(&also, &b.b);
    entrance_close(&tight, &b.b);
    entrance_close(&none, &b.b);
    large_pool_close(&other, &b.b, LARGE_POOL + 1);
    large_bench_close(&b);
}

static void what_does_not_fit_is_lost_and_what_follows_is_not(void **state) {
    (void)state;
    static struct large_bench b;
    struct large_pool tiny;
    struct ins_descriptor d;
    struct meta meta;
    large_bench_open(&b, NULL, 1500, 4, 200000);
    entrance_close(&b.in, &b.b);
    large_pool_open(&tiny, &b.b, LARGE_POOL + 1, 4, 100000);
    entrance_open(&b.in, &b.b, LARGE_ENTRANCE, 64);
    node_do(&b.b, ins_engine_set_assembly(b.b.engine, LARGE_ENTRANCE, LARGE_POOL + 1));
    node_do(&b.b, ins_engine_subscribe(b.b.engine, LARGE_ENTRANCE, LARGE_TAG, LARGE_CHANNEL, 0));
    for (uint32_t i = 0; i < 10; i++) {
        HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, i % 2 ? 100000 : 200000, i), &b.a, &b.b) {
        }
        if (i % 2 == 0)
            continue;
        HARNESS_UNTIL(large_take(&b.b, &b.in, &tiny, &d, &meta), &b.a, &b.b) {
        }
        assert_int_equal(meta.sequence, i);
        entrance_give(&b.in, &b.b, &d);
    }
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_fragment_unfit), 5);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_lost), 5);
    HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
    }
    entrance_close(&b.in, &b.b);
    large_pool_close(&tiny, &b.b, LARGE_POOL + 1);
    entrance_open(&b.in, &b.b, LARGE_ENTRANCE, 64);
    large_bench_close(&b);
}

/* Whoever goes while messages are under way: everything is given up at once or in time. */
static void whatever_ends_under_way_leaves_nothing_behind(void **state) {
    (void)state;
    static struct large_bench b;
    for (uint32_t round = 0; round < 5; round++) {
        large_bench_open(&b, "of=udp,loss=0.05,seed=8", 1500, 4, 4000000);
        for (uint32_t i = 0; i < 3; i++)
            HARNESS_UNTIL(exit_send(&b.exit, &b.a, 0, 0, 4000000, i), &b.a, &b.b) {
            }
        const uint64_t some = 40 * round + 1;
        HARNESS_UNTIL(node_count(&b.b, INS_COUNT_rx_fragments) >= some, &b.a, &b.b) {
        }
        switch (round % 5) {
        case 0:
            node_do(&b.a, ins_engine_remove_peer(b.a.engine, LARGE_PEER));
            break;
        case 1:
            node_do(&b.b, ins_engine_remove_peer(b.b.engine, LARGE_PEER));
            break;
        case 2:
            node_do(&b.a, ins_engine_remove_link(b.a.engine, LARGE_EXIT));
            HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
            }
            exit_forget(&b.exit);
            exit_open(&b.exit, &b.a, LARGE_EXIT, LARGE_TAG, 64, 8, 100);
            break;
        case 3:
            entrance_close(&b.in, &b.b);
            entrance_open(&b.in, &b.b, LARGE_ENTRANCE, 64);
            break;
        default:
            node_do(&b.a, ins_engine_remove_datapath(b.a.engine, NODE_DATAPATH));
            break;
        }
        HARNESS_UNTIL((exit_reclaim(&b.exit), b.exit.producer.live == 0), &b.a, &b.b) {
        }
        struct ins_descriptor d;
        struct meta meta;
        HARNESS_UNTIL(node_count(&b.b, INS_COUNT_slots_out) <= 32, &b.a, &b.b) { /* those its datapath holds */
            while (large_take(&b.b, &b.in, &b.pool, &d, &meta))
                entrance_give(&b.in, &b.b, &d);
        }
        if (round % 5 == 4)
            node_do(&b.a, ins_engine_add_datapath(b.a.engine, NODE_DATAPATH, b.a.datapath));
        large_bench_close(&b);
    }
}

static void commands_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static struct large_bench b;
    large_bench_open(&b, NULL, 1500, 4, 1000);
    struct ins_engine *e = b.b.engine;
    assert_true(ins_engine_add_assembly(e, 6, NULL, b.pool.bytes, 1000) == -EINVAL);
    assert_true(ins_engine_add_assembly(e, 6, b.pool.memory, 64, 1000) == -EINVAL);
    assert_true(ins_engine_add_assembly(e, 6, b.pool.memory, b.pool.bytes, 0) == -EINVAL);
    assert_true(ins_engine_add_assembly(e, 6, b.pool.memory, b.pool.bytes, INS_POOL_MAX_MESSAGE + 1) == -EINVAL);
    assert_true(ins_engine_add_assembly(e, 6, b.pool.memory, 65 * 1088ull, 1000) == -EINVAL);
    assert_int_equal(node_ack(&b.b, ins_engine_add_assembly(e, LARGE_POOL, b.pool.memory, b.pool.bytes, 1000), NULL),
                     -EEXIST);
    assert_int_equal(node_ack(&b.b, ins_engine_remove_assembly(e, LARGE_POOL), NULL), -EBUSY);
    assert_int_equal(node_ack(&b.b, ins_engine_remove_assembly(e, 6), NULL), -ENOENT);
    assert_int_equal(node_ack(&b.b, ins_engine_set_assembly(e, LARGE_ENTRANCE, 6), NULL), -ENOENT);
    assert_int_equal(node_ack(&b.b, ins_engine_set_assembly(e, LARGE_ENTRANCE, LARGE_POOL), NULL), -EBUSY);
    assert_int_equal(node_ack(&b.b, ins_engine_set_assembly(e, 99, LARGE_POOL), NULL), -ENOENT);
    assert_true(node_ack(&b.a, ins_engine_set_assembly(b.a.engine, LARGE_EXIT, LARGE_POOL), NULL) < 0);
    large_bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_lengths_arrive_whole),
        cmocka_unit_test(what_comes_in_order_is_received_in_place),
        cmocka_unit_test(a_train_is_of_one_message),
        cmocka_unit_test(every_mtu_will_do),
        cmocka_unit_test(what_goes_in_fragments_follows_the_peers),
        cmocka_unit_test(loss_duplicates_and_reordering_are_repaired),
        cmocka_unit_test(small_ones_between_lossy_large_ones_keep_their_place),
        cmocka_unit_test(many_sources_send_at_once),
        cmocka_unit_test(two_pools_are_both_served),
        cmocka_unit_test(what_does_not_fit_is_lost_and_what_follows_is_not),
        cmocka_unit_test(whatever_ends_under_way_leaves_nothing_behind),
        cmocka_unit_test(commands_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests_name("fragments", tests, NULL, NULL);
}
