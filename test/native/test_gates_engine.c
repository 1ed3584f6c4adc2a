/* An engine whose datapath has a schedule, on virtual time: what leaves, leaves in a window of its class, in order, or
   comes back with a reason; heartbeats and closing links are no exception. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/scheduler_port.h"
#include "core/wire.h"
#include "engine_harness.h"
#include "gates_cases.h"
#include "gates_line.h"

enum { CHANNEL = 8, PEER = 1, SLOTS = 256, PAYLOAD = 2048, URGENT = 7, LINKS = 2 };

struct bench {
    struct node node;
    struct line *line;
    struct ins_schedule_clock clock;
    struct exit_link exits[LINKS]; /* 0: class 0, 1: class 7 */
};

/* We poll the engine ourselves; its thread may step in when this machine stops us for a second, and does the same. */
static void bench_open(struct bench *b, uint32_t heartbeat_ms) {
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = heartbeat_ms;
    config.lease = INS_LEASE_INLINE;
    config.takeover_us = 1000000;
    memset(b, 0, sizeof *b);
    node_open(&b->node, &config, NULL);
    b->line = line_new();
    b->clock = line_clock(b->line);
    struct ins_engine *engine = b->node.engine;
    node_do(&b->node, ins_engine_add_datapath(engine, NODE_DATAPATH, &b->line->base));
    node_do(&b->node, ins_engine_set_peer(engine, PEER, NODE_DATAPATH, 1, PEER, 0));
    for (uint32_t i = 0; i < LINKS; i++) {
        node_do(&b->node, ins_engine_add_route(engine, i + 1, CHANNEL, PEER));
        exit_open(&b->exits[i], &b->node, i + 1, i + 1, SLOTS, SLOTS, PAYLOAD);
        node_do(&b->node, ins_engine_set_class(engine, i + 1, i ? URGENT : 0));
        node_do(&b->node, ins_engine_add_source(engine, i + 1, 0, 500 + i, 0, CHANNEL));
    }
}

static void bench_close(struct bench *b) {
    for (uint32_t i = 0; i < LINKS; i++)
        exit_close(&b->exits[i], &b->node);
    node_do(&b->node, ins_engine_remove_datapath(b->node.engine, NODE_DATAPATH));
    node_close(&b->node);
    free(b->line);
}

static uint64_t tai(const struct bench *b) { return b->line->now + b->line->offset; }

static uint64_t set_schedule(struct bench *b, const struct ins_gate_list *list) {
    uint64_t cycles = 0;
    int64_t sequence = ins_engine_set_schedule_on(b->node.engine, NODE_DATAPATH, list, &b->clock);
    assert_int_equal(node_ack(&b->node, sequence, &cycles), 0);
    return cycles;
}

/* 1 ms: 200 us for class 7, 800 us for class 0, at 1 Gbit/s. */
static struct ins_gate_list halves(const struct bench *b) {
    return (struct ins_gate_list){
        .base_ns = tai(b) / 1000000 * 1000000 + 1000000,
        .cycle_ns = 1000000,
        .line_mbps = 1000,
        .mtu = 1500,
        .count = 2,
        .entries = {{1u << URGENT, 200000}, {1, 800000}},
    };
}

static void go_to(struct bench *b, uint64_t at) {
    while (tai(b) < at) {
        b->line->now += at - tai(b) < 700 ? at - tai(b) : 700;
        node_pump(&b->node);
    }
}

static uint32_t class_of(uint32_t tag) { return tag == 2 ? URGENT : 0; }

static void what_leaves_leaves_in_its_window_in_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct bench b;
        struct cases cases = cases_seeded(seed);
        bench_open(&b, 0);
        struct ins_gate_list list;
        /* One with windows for both. */
        uint32_t all;
        do {
            list = cases_list(&cases);
            all = 0;
            for (uint32_t i = 0; i < list.count; i++)
                if (list.entries[i].interval_ns > 150000)
                    all |= list.entries[i].mask;
            list.base_ns = tai(&b);
            list.margin_ns = 5000; /* more than the longest burst, 16 datagrams, takes */
        } while ((all & 0x81) != 0x81 || list.line_mbps < 1000);
        set_schedule(&b, &list);
        uint64_t begin = list.base_ns + list.cycle_ns, out[LINKS] = {0}, next[LINKS] = {0};
        go_to(&b, begin);
        b.line->count = 0;
        for (uint32_t step = 0; step < 4000; step++) {
            b.line->now += cases_below(&cases, 3000);
            for (uint32_t i = 0; i < LINKS; i++)
                if (cases_below(&cases, 3) == 0)
                    out[i] += (uint64_t)exit_send(&b.exits[i], &b.node, 0, 0, (uint32_t)cases_below(&cases, 1400), out[i]);
            node_pump(&b.node);
        }
        go_to(&b, tai(&b) + 200 * list.cycle_ns);
        for (uint32_t i = 0; i < b.line->count; i++) {
            uint32_t link = b.line->sent[i].tag - 1;
            assert_true(cases_open(&list, class_of(b.line->sent[i].tag), b.line->sent[i].at));
            assert_int_equal(b.line->sent[i].sequence, next[link]++);
        }
        assert_int_equal(next[0], out[0]);
        assert_int_equal(next[1], out[1]);
        assert_true(out[0] > 100 && out[1] > 100);
        assert_int_equal(node_count(&b.node, INS_COUNT_tx_late), 0);
        assert_true(node_count(&b.node, INS_COUNT_tx_held) > 0);
        bench_close(&b);
    }
}

static void without_a_schedule_nothing_waits(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(exit_send(&b.exits[i % 2], &b.node, 0, 0, 64, i), 1);
        node_pump(&b.node);
        HARNESS_UNTIL(b.line->count == i + 1, &b.node, &b.node) {}
    }
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_held), 0);
    bench_close(&b);
}

static void what_fits_no_window_is_refused(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    list.entries[0].interval_ns = 10000; /* 1 Gbit/s: 1250 bytes */
    list.entries[1].interval_ns = 990000;
    set_schedule(&b, &list);
    go_to(&b, list.base_ns);
    assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 1400, 1), 1);
    assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 1000, 2), 1);
    assert_int_equal(exit_send(&b.exits[0], &b.node, 0, 0, 1400, 3), 1);
    go_to(&b, list.base_ns + 3000000);
    HARNESS_UNTIL((exit_reclaim(&b.exits[1]), b.exits[1].returned[INS_STATUS_DONE] == 1), &b.node, &b.node) {}
    assert_int_equal(b.exits[1].returned[INS_STATUS_TOO_LARGE], 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_unfit), 1);
    assert_int_equal(b.line->count, 2);
    bench_close(&b);
}

static void a_frame_that_was_interrupted_is_counted_late(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    set_schedule(&b, &list);
    go_to(&b, list.base_ns + 210000);
    assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, 1), 1);
    b.line->each = 300000;
    go_to(&b, list.base_ns + 1250000);
    assert_int_equal(b.line->count, 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_late), 1);
    b.line->each = 200;
    bench_close(&b);
}

static void what_the_datapath_does_not_take_is_not_sent_outside_its_window(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    set_schedule(&b, &list);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, i), 1);
    assert_int_equal(exit_send(&b.exits[0], &b.node, 0, 0, 64, 9), 1);
    b.line->takes = 0;
    go_to(&b, list.base_ns + 300000);
    assert_int_equal(b.line->count, 0);
    b.line->takes = UINT32_MAX;
    go_to(&b, list.base_ns + 2000000);
    assert_int_equal(b.line->count, 5);
    for (uint32_t i = 0; i < 5; i++)
        assert_true(cases_open(&list, class_of(b.line->sent[i].tag), b.line->sent[i].at));
    assert_int_equal(b.line->sent[0].tag, 1); /* it did not wait for the others */
    bench_close(&b);
}

static void heartbeats_are_best_effort(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    struct ins_gate_list list = halves(&b);
    set_schedule(&b, &list);
    go_to(&b, list.base_ns); /* before, all gates are open */
    assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, 1), 1);
    go_to(&b, list.base_ns + 100000);
    assert_int_equal(b.line->count, 1);
    /* Due long since by the clock of heartbeats, which is real; but this is no time for best effort. */
    b.line->stops = list.base_ns + 190000 - b.line->offset;
    for (uint64_t until = harness_ms() + 50; harness_ms() < until;)
        node_pump(&b.node);
    assert_int_equal(b.line->count, 1);
    b.line->stops = 0;
    HARNESS_UNTIL(node_count(&b.node, INS_COUNT_heartbeats) >= 2, &b.node, &b.node) { b.line->now += 700; }
    for (uint32_t i = 1; i < b.line->count; i++) {
        assert_int_equal(b.line->sent[i].type, INS_WIRE_TYPE_HEARTBEAT);
        assert_true(cases_open(&list, 0, b.line->sent[i].at));
    }
    /* Nor right before the next window: waking who receives may take longer than what is left. */
    uint64_t window = list.base_ns + ((tai(&b) - list.base_ns) / list.cycle_ns + 2) * list.cycle_ns;
    go_to(&b, window - 39000);
    uint32_t count = b.line->count;
    b.line->stops = window - 30000 - b.line->offset;
    for (uint64_t until = harness_ms() + 20; harness_ms() < until;)
        node_pump(&b.node);
    assert_int_equal(b.line->count, count);
    b.line->stops = 0;
    bench_close(&b);
}

static void a_new_list_takes_over_at_its_cycle(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list first = halves(&b), second;
    set_schedule(&b, &first);
    go_to(&b, first.base_ns + 5100000);
    second = (struct ins_gate_list){.base_ns = first.base_ns + 7400000, .cycle_ns = 300000, .line_mbps = 1000,
                                    .mtu = 1500, .count = 2, .entries = {{1, 200000}, {1u << URGENT, 100000}}};
    assert_int_equal(set_schedule(&b, &second), 0);
    for (uint64_t i = 0; tai(&b) < second.base_ns + 4000000; i++) {
        exit_send(&b.exits[i % 2], &b.node, 0, 0, 200, i);
        go_to(&b, tai(&b) + 5000);
    }
    uint32_t before = 0, after = 0;
    for (uint32_t i = 0; i < b.line->count; i++) {
        uint64_t at = b.line->sent[i].at;
        const struct ins_gate_list *list = at < second.base_ns ? &first : &second;
        assert_true(cases_open(list, class_of(b.line->sent[i].tag), at));
        *(at < second.base_ns ? &before : &after) += 1;
    }
    assert_true(before > 50 && after > 50);
    bench_close(&b);
}

static void a_base_time_that_is_past_is_advanced(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    list.base_ns -= 10000000;
    assert_int_equal(set_schedule(&b, &list), 10);
    bench_close(&b);
}

static void bad_lists_and_classes_are_refused(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    assert_int_equal(node_ack(&b.node, ins_engine_set_schedule(b.node.engine, 99, &list), NULL), -ENODEV);
    list.cycle_ns++;
    assert_int_equal(ins_engine_set_schedule(b.node.engine, NODE_DATAPATH, &list), -EINVAL);
    assert_int_equal(ins_engine_set_class(b.node.engine, 1, 8), -EINVAL);
    assert_int_equal(node_ack(&b.node, ins_engine_set_class(b.node.engine, 77, 1), NULL), -ENOENT);
    bench_close(&b);
}

static void a_link_that_closes_while_its_frames_wait_gets_them_back(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    set_schedule(&b, &list);
    go_to(&b, list.base_ns + 300000); /* in the window of class 0 */
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, i), 1);
    go_to(&b, list.base_ns + 400000);
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_held), 20);
    bench_close(&b); /* everything must have come back */
    assert_int_equal(b.exits[1].returned[INS_STATUS_CLOSED], 20);
}

/* What waits is sent by the new class, before what comes after it; each of it is counted in the link's histogram. */
static void a_link_changes_its_class_in_order(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_gate_list list = halves(&b);
    set_schedule(&b, &list);
    go_to(&b, list.base_ns + 300000);
    uint64_t histogram = 0, sum = 0, next = 0;
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, i), 1);
    go_to(&b, list.base_ns + 310000);
    assert_int_equal(b.line->count, 0);
    node_do(&b.node, ins_engine_set_class(b.node.engine, 2, 0));
    for (uint64_t i = 10; i < 20; i++)
        assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, i), 1);
    go_to(&b, list.base_ns + 900000);
    assert_int_equal(b.line->count, 20);
    assert_int_equal(node_ack(&b.node, ins_engine_set_class(b.node.engine, 2, URGENT), &histogram), 0);
    assert_true(histogram > 0 && histogram <= INS_HISTOGRAMS);
    for (uint64_t i = 20; i < 25; i++)
        assert_int_equal(exit_send(&b.exits[1], &b.node, 0, 0, 64, i), 1);
    go_to(&b, list.base_ns + 1300000);
    assert_int_equal(b.line->count, 25);
    for (uint32_t i = 0; i < 25; i++) {
        assert_int_equal(b.line->sent[i].sequence, next++);
        assert_true(cases_open(&list, i < 20 ? 0 : URGENT, b.line->sent[i].at));
    }
    const uint64_t *buckets = (const uint64_t *)(const void *)(b.node.counters + INS_COUNTERS_VALUES) +
                              INS_HISTOGRAMS_FIRST + (histogram - 1) * INS_HISTOGRAM_BUCKETS;
    for (uint32_t i = 0; i < INS_HISTOGRAM_BUCKETS; i++)
        sum += buckets[i];
    assert_int_equal(sum, 5);
    /* Emitted shortly after 1970, as the harness has it: as late as can be. */
    assert_int_equal(buckets[INS_HISTOGRAM_BUCKETS - 1], 5);
    bench_close(&b);
}

/* On the real clock, with an engine that parks: it wakes by itself for what waits. */
static void a_parked_engine_wakes_for_a_frame_that_waits(void **state) {
    (void)state;
    struct ins_engine_config config = node_config();
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
    struct ins_descriptor d;
    node_open(&a, &config, "udp");
    node_open(&b, &config, "udp");
    node_introduce(&a, &b, PEER);
    struct ins_gate_list list = {.base_ns = 0, .cycle_ns = 200000000, .line_mbps = 1000, .mtu = 1500, .count = 2,
                                 .entries = {{1u << URGENT, 50000000}, {1, 150000000}}};
    node_do(&a, ins_engine_set_schedule(a.engine, NODE_DATAPATH, &list));
    node_do(&a, ins_engine_add_route(a.engine, 1, CHANNEL, PEER));
    entrance_open(&entrance, &b, 9, 64);
    node_do(&b, ins_engine_subscribe(b.engine, 9, 1, CHANNEL, 0));
    exit_open(&exit, &a, 1, 1, SLOTS, SLOTS, PAYLOAD);
    node_do(&a, ins_engine_set_class(a.engine, 1, URGENT));
    node_do(&a, ins_engine_add_source(a.engine, 1, 0, 500, 0, CHANNEL));
    for (uint64_t i = 0; i < 10; i++) {
        while (!exit_send(&exit, &a, 0, 0, 64, i))
            exit_reclaim(&exit);
        HARNESS_UNTIL(entrance_take(&entrance, &b, &d, 1) == 1, &a, &b) { exit_reclaim(&exit); }
        entrance_give(&entrance, &b, &d);
    }
    exit_close(&exit, &a);
    entrance_close(&entrance, &b);
    node_close(&a);
    node_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_schedule_nothing_waits),
        cmocka_unit_test(what_leaves_leaves_in_its_window_in_order),
        cmocka_unit_test(what_fits_no_window_is_refused),
        cmocka_unit_test(a_frame_that_was_interrupted_is_counted_late),
        cmocka_unit_test(what_the_datapath_does_not_take_is_not_sent_outside_its_window),
        cmocka_unit_test(heartbeats_are_best_effort),
        cmocka_unit_test(a_new_list_takes_over_at_its_cycle),
        cmocka_unit_test(a_base_time_that_is_past_is_advanced),
        cmocka_unit_test(bad_lists_and_classes_are_refused),
        cmocka_unit_test(a_link_that_closes_while_its_frames_wait_gets_them_back),
        cmocka_unit_test(a_link_changes_its_class_in_order),
        cmocka_unit_test(a_parked_engine_wakes_for_a_frame_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
