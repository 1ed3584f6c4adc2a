/* Applications' links at the engine: hostile ones are closed and hurt nobody else; every entry comes back with its reason;
   back-pressure loses and reorders nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "links_bench.h"

static void headers_carry_what_was_registered(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, (uint32_t)i * 8, i), 1);
    settle(&b, 10);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], 10);
    for (uint32_t i = 0; i < 10; i++) {
        const struct ins_wire *wire = &b.fake->sent[i];
        assert_int_equal(wire->type, INS_WIRE_TYPE_DATA);
        assert_int_equal(wire->tag, TAG);
        assert_int_equal(wire->channel, CHANNEL);
        assert_int_equal(wire->source, 500);
        assert_int_equal(wire->sequence, i);
        assert_int_equal(wire->emit_time, i + 1000);
        assert_int_equal(wire->length, i * 8);
        assert_int_equal(wire->flow, b.fake->sent[0].flow);
    }
    bench_close(&b);
}

static void a_message_goes_to_every_peer_in_a_flow_of_its_own(void **state) {
    (void)state;
    enum { PEERS = 200, MESSAGES = 20 };
    struct bench b;
    bench_open(&b, PEERS);
    for (uint64_t i = 0; i < MESSAGES; i++)
        assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, i), 1);
    settle(&b, MESSAGES);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], MESSAGES);
    assert_int_equal(fake_get(&b.fake->sent_count), PEERS * MESSAGES);
    static uint32_t next[PEERS + PEER], flow[PEERS + PEER];
    memset(next, 0, sizeof next);
    for (uint32_t i = 0; i < PEERS * MESSAGES; i++) {
        uint32_t peer = b.fake->to[i].port;
        assert_int_equal(b.fake->sent[i].sequence, next[peer]++);
        if (b.fake->sent[i].sequence == 0)
            flow[peer] = b.fake->sent[i].flow;
        assert_int_equal(b.fake->sent[i].flow, flow[peer]);
    }
    for (uint32_t i = PEER + 1; i < PEER + PEERS; i++)
        assert_int_not_equal(flow[i], flow[PEER]);
    assert_int_equal(node_count(&b.node, INS_COUNT_flows), PEERS);
    bench_close(&b);
}

static void a_route_that_comes_again_is_a_new_flow_from_zero(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, 1), 1);
    settle(&b, 1);
    node_do(&b.node, ins_engine_remove_route(b.node.engine, TAG, CHANNEL, PEER));
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, 2), 1);
    settle(&b, 2);
    assert_int_equal(b.exit.returned[INS_STATUS_NO_PEER], 1);
    node_do(&b.node, ins_engine_add_route(b.node.engine, TAG, CHANNEL, PEER));
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, 3), 1);
    settle(&b, 3);
    assert_int_equal(b.fake->sent[1].sequence, 0);
    assert_int_not_equal(b.fake->sent[1].flow, b.fake->sent[0].flow);
    bench_close(&b);
}

static void what_cannot_be_sent_comes_back_with_the_reason(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    struct ins_engine *e = b.node.engine;
    node_do(&b.node, ins_engine_add_source(e, 1, 4, 501, 5, CHANNEL + 1));
    assert_int_equal(exit_send(&b.exit, &b.node, 4, 5, 8, 1), 1); /* nobody listens there */
    settle(&b, 1);
    assert_int_equal(b.exit.returned[INS_STATUS_NO_PEER], 1);
    node_do(&b.node, ins_engine_remove_source(e, 1, 4));
    assert_int_equal(exit_send(&b.exit, &b.node, 4, 5, 8, 2), 1);
    settle(&b, 2);
    assert_int_equal(b.exit.returned[INS_STATUS_CLOSED], 1);
    fake_set((uint32_t *)&b.fake->refuses, (uint32_t)-EHOSTUNREACH);
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, 3), 1);
    settle(&b, 3);
    assert_int_equal(b.exit.returned[INS_STATUS_NETWORK], 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_refused), 1);
    fake_set((uint32_t *)&b.fake->refuses, 0);

    struct exit_link large;
    exit_open(&large, &b.node, 9, TAG, 16, 2, INS_WIRE_MAX_PAYLOAD + 1);
    node_do(&b.node, ins_engine_add_source(e, 9, 0, 502, 0, CHANNEL));
    assert_int_equal(exit_send(&large, &b.node, 0, 0, INS_WIRE_MAX_PAYLOAD + 1, 1), 1);
    /* No datagram holds it: it goes in fragments, and comes back when nobody has confirmed them. */
    HARNESS_UNTIL(large.returned[INS_STATUS_DONE] == 1, &b.node, &b.node) exit_reclaim(&large);
    assert_true(node_count(&b.node, INS_COUNT_tx_fragments) >= 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_tx_unconfirmed), 1);
    assert_int_equal(exit_send(&large, &b.node, 0, 0, INS_WIRE_MAX_PAYLOAD, 1), 1);
    HARNESS_UNTIL(large.returned[INS_STATUS_DONE] == 2, &b.node, &b.node) exit_reclaim(&large);
    exit_close(&large, &b.node);
    bench_close(&b);
}

static void back_pressure_loses_and_reorders_nothing(void **state) {
    (void)state;
    enum { MESSAGES = 3000 };
    struct bench b;
    bench_open(&b, 3);
    fake_set(&b.fake->takes, 0);
    uint64_t sent = 0;
    uint32_t more = 0;
    HARNESS_UNTIL(sent == MESSAGES, &b.node, &b.node) {
        while (sent < MESSAGES && exit_send(&b.exit, &b.node, 2, 3, 8, sent))
            sent++;
        if (fake_get(&b.fake->takes) == 0)
            fake_set(&b.fake->takes, 1 + more++ % 7); /* rarely a whole burst */
    }
    fake_set(&b.fake->takes, UINT32_MAX);
    settle(&b, MESSAGES);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], MESSAGES);
    assert_int_equal(fake_get(&b.fake->sent_count), 3 * MESSAGES);
    assert_true(node_count(&b.node, INS_COUNT_tx_again) > 0);
    uint32_t next[4 + PEER] = {0};
    for (uint32_t i = 0; i < 3 * MESSAGES; i++)
        assert_int_equal(b.fake->sent[i].sequence, next[b.fake->to[i].port]++);
    bench_close(&b);
}

static void a_link_removed_under_back_pressure_gets_everything_back(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 2);
    fake_set(&b.fake->takes, 5); /* two messages and half of a third */
    for (uint64_t i = 0; i < SLOTS; i++)
        assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, i), 1);
    settle(&b, 2);
    HARNESS_UNTIL(fake_get(&b.fake->takes) == 0, &b.node, &b.node);
    bench_close(&b); /* checks that no entry and no slot is out */
    assert_int_equal(b.exit.returned[INS_STATUS_DONE] + b.exit.returned[INS_STATUS_CLOSED], SLOTS);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], 3); /* the third reached one of its peers */
}

/* Writes a descriptor as an application that means harm can, and expects the link to be closed and told. */
static void hostile(struct bench *b, uint32_t word0, uint32_t offset, uint32_t length, uint32_t word3) {
    static uint32_t id = 100;
    struct exit_link bad;
    exit_open(&bad, &b->node, ++id, TAG, 16, 2, PAYLOAD);
    node_do(&b->node, ins_engine_add_source(b->node.engine, id, 2, 600, 3, CHANNEL));
    uint64_t before = node_count(&b->node, INS_COUNT_link_faults);
    uint32_t *words = ins_link_descriptor(bad.segment, 16, 0);
    words[0] = word0;
    words[1] = offset;
    words[2] = length;
    words[3] = word3;
    __atomic_store_n(ins_link_forward_tail(bad.segment), 1, __ATOMIC_RELEASE);
    ins_bell_ring(b->node.bell[0]);
    HARNESS_UNTIL(node_count(&b->node, INS_COUNT_link_faults) == before + 1, &b->node, &b->node);
    HARNESS_UNTIL(node_events(&b->node, INS_EVENT_LINK_FAULT, NULL) == before + 1, &b->node, &b->node);
    assert_int_equal(b->node.events[b->node.event_count - 1].a, id);
    exit_close(&bad, &b->node);
}

static void every_field_of_a_descriptor_is_checked(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    const uint32_t good0 = 0, offset = INS_POOL_HEADER_ROOM, good3 = 3 | 2u << INS_DESCRIPTOR_SOURCE_SHIFT;
    const uint32_t end = (2 * (INS_POOL_HEADER_ROOM + PAYLOAD) + 4095) / 4096 * 4096;
    hostile(&b, 16, offset, 8, good3);                                    /* entry beyond the link */
    hostile(&b, 0xffff, offset, 8, good3);
    hostile(&b, 1u << INS_DESCRIPTOR_POOL_SHIFT, offset, 8, good3);       /* pool not registered */
    hostile(&b, 255u << INS_DESCRIPTOR_POOL_SHIFT, offset, 8, good3);     /* no pool at all */
    hostile(&b, 1u << INS_DESCRIPTOR_FLAGS_SHIFT, offset, 8, good3);      /* flags that are reserved */
    hostile(&b, good0, 0, 8, good3);                                      /* no room for metadata in front */
    hostile(&b, good0, INS_POOL_HEADER_ROOM - 1, 8, good3);
    hostile(&b, good0, end, 8, good3);                                    /* outside the pool */
    hostile(&b, good0, end - 7, 8, good3);
    hostile(&b, good0, UINT32_MAX, 8, good3);
    hostile(&b, good0, UINT32_MAX - 3, 4, good3);                         /* offset + length wraps */
    hostile(&b, good0, offset, PAYLOAD + 1, good3);                       /* longer than a slot */
    hostile(&b, good0, offset, UINT32_MAX, good3);
    hostile(&b, good0, offset, 8, 4 | 2u << INS_DESCRIPTOR_SOURCE_SHIFT); /* not the source's channel */
    hostile(&b, good0, offset, 8, 3 | 1u << INS_DESCRIPTOR_SOURCE_SHIFT); /* source never registered */
    hostile(&b, good0, offset, 8, 3 | 0xffffu << INS_DESCRIPTOR_SOURCE_SHIFT);
    /* The neighbour noticed nothing. */
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, PAYLOAD, 1), 1);
    settle(&b, 1);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], 1);
    assert_int_equal(fake_get(&b.fake->sent_count), 1);
    bench_close(&b);
}

static void a_tail_outside_its_window_closes_the_link(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    const uint32_t tails[] = {17, 0x80000000, UINT32_MAX};
    for (uint32_t i = 0; i < 3; i++) {
        struct exit_link bad;
        exit_open(&bad, &b.node, 50, TAG, 16, 2, PAYLOAD);
        __atomic_store_n(ins_link_forward_tail(bad.segment), tails[i], __ATOMIC_RELEASE);
        ins_bell_ring(b.node.bell[0]);
        HARNESS_UNTIL(node_events(&b.node, INS_EVENT_LINK_FAULT, NULL) == i + 1, &b.node, &b.node);
        exit_close(&bad, &b.node);
    }
    bench_close(&b);
}

static void hundreds_of_links_are_all_served(void **state) {
    (void)state;
    enum { LINKS = 300, MESSAGES = 8 };
    static struct exit_link exits[LINKS];
    struct bench b;
    bench_open(&b, 1);
    for (uint32_t i = 0; i < LINKS; i++) {
        exit_open(&exits[i], &b.node, 1000 + i, TAG, 16, 16, 64);
        node_do(&b.node, ins_engine_add_source(b.node.engine, 1000 + i, 0, i, 0, CHANNEL));
    }
    /* One is busy all the time, so that the others cool, and each of these has something now and then. */
    uint64_t busy = 0;
    for (uint32_t i = 0; i < LINKS * MESSAGES; i++) {
        HARNESS_UNTIL(exit_send(&exits[i % LINKS], &b.node, 0, 0, 8, i), &b.node, &b.node);
        busy += (uint64_t)exit_send(&b.exit, &b.node, 2, 3, 8, i);
    }
    for (uint32_t i = 0; i < LINKS; i++)
        HARNESS_UNTIL(exits[i].returned[INS_STATUS_DONE] == MESSAGES, &b.node, &b.node) exit_reclaim(&exits[i]);
    settle(&b, busy);
    for (uint32_t i = 0; i < LINKS; i++) /* in another order than they came */
        exit_close(&exits[i * 7 % LINKS], &b.node);
    bench_close(&b);
}

static void flows_are_bounded_and_replaced_when_they_owe_nothing(void **state) {
    (void)state;
    enum { ROUNDS = 20000 }; /* more than INS_ENGINE_FLOWS */
    struct bench b;
    bench_open(&b, 1);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        node_do(&b.node, ins_engine_add_source(b.node.engine, 1, 10, 1000 + i, 3, CHANNEL));
        assert_int_equal(exit_send(&b.exit, &b.node, 10, 3, 8, i), 1);
        settle(&b, i + 1);
        node_do(&b.node, ins_engine_remove_source(b.node.engine, 1, 10));
    }
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], ROUNDS);
    assert_true(node_count(&b.node, INS_COUNT_flows) <= 16384);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_carry_what_was_registered),
        cmocka_unit_test(a_message_goes_to_every_peer_in_a_flow_of_its_own),
        cmocka_unit_test(a_route_that_comes_again_is_a_new_flow_from_zero),
        cmocka_unit_test(what_cannot_be_sent_comes_back_with_the_reason),
        cmocka_unit_test(back_pressure_loses_and_reorders_nothing),
        cmocka_unit_test(a_link_removed_under_back_pressure_gets_everything_back),
        cmocka_unit_test(every_field_of_a_descriptor_is_checked),
        cmocka_unit_test(a_tail_outside_its_window_closes_the_link),
        cmocka_unit_test(hundreds_of_links_are_all_served),
        cmocka_unit_test(flows_are_bounded_and_replaced_when_they_owe_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
