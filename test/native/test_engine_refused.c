/* Messages that a datapath refuses, and what is staged behind them: nothing that comes back to its sender is missed by a
   receiver as well, and nothing that is sent is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#include "links_bench.h"

/* Else its receivers would find it missing as well, and it would be counted at both ends. */
static void what_no_peer_was_sent_takes_no_sequence(void **state) {
    (void)state;
    enum { MESSAGES = 40, PEERS = 2, SOME = 5 };
    struct bench b;
    bench_open(&b, PEERS);
    uint64_t mark = 0;
    /* Alone and in shared datagrams, from the first one of a flow on and later. */
    for (uint32_t round = 0; round < 2; round++) {
        fake_set((uint32_t *)&b.fake->refuses, (uint32_t)-ENETUNREACH);
        for (uint32_t i = 0; i < MESSAGES; i++)
            assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, i % 2 ? PAYLOAD : 8, mark++), 1);
        settle(&b, mark);
        assert_int_equal(b.exit.returned[INS_STATUS_NETWORK], (round + 1) * MESSAGES);
        fake_set((uint32_t *)&b.fake->refuses, 0);
        uint32_t before = fake_get(&b.fake->sent_count);
        for (uint32_t i = 0; i < SOME; i++) {
            assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, mark++), 1);
            settle(&b, mark);
        }
        assert_int_equal(fake_get(&b.fake->sent_count), before + PEERS * SOME);
        for (uint32_t i = 0; i < PEERS * SOME; i++)
            assert_int_equal(b.fake->sent[before + i].sequence, round * SOME + i / PEERS);
    }
    /* One that somebody got is sent: the others miss it. */
    fake_set(&b.fake->refuses_port, PEER + 1);
    fake_set((uint32_t *)&b.fake->refuses, (uint32_t)-ENETUNREACH);
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, mark++), 1);
    settle(&b, mark);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], 2 * SOME + 1);
    fake_set((uint32_t *)&b.fake->refuses, 0);
    uint32_t before = fake_get(&b.fake->sent_count);
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, mark++), 1);
    settle(&b, mark);
    for (uint32_t i = 0; i < PEERS; i++)
        assert_int_equal(b.fake->sent[before + i].sequence, 2 * SOME + 1);
    bench_close(&b);
}

/* What is still staged behind it moves up, also in shared datagrams. */
static void what_waits_behind_what_was_refused_takes_its_sequences(void **state) {
    (void)state;
    enum { MESSAGES = 40, SMALL_MTU = 200 };
    struct bench b;
    bench_open(&b, 1);
    b.fake->base.mtu = SMALL_MTU; /* several shared datagrams */
    fake_set((uint32_t *)&b.fake->refuses, (uint32_t)-ENETUNREACH);
    fake_set(&b.fake->takes, 1);
    node_do(&b.node, ins_engine_hold_link(b.node.engine, 1, 1));
    for (uint64_t i = 0; i < MESSAGES; i++)
        assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, i), 1);
    node_do(&b.node, ins_engine_hold_link(b.node.engine, 1, 0));
    HARNESS_UNTIL(node_count(&b.node, INS_COUNT_tx_refused) == 1, &b.node, &b.node);
    fake_set((uint32_t *)&b.fake->refuses, 0);
    fake_set(&b.fake->takes, UINT32_MAX);
    settle(&b, MESSAGES);
    const uint64_t refused = b.exit.returned[INS_STATUS_NETWORK];
    assert_true(refused > 1 && refused < MESSAGES); /* one datagram's */
    assert_int_equal(b.fake->sent[1].sequence, 0);
    uint64_t next = 0;
    for (uint32_t i = 1; i < fake_get(&b.fake->sent_count); i++) {
        assert_int_equal(b.fake->sent[i].sequence, next);
        next += b.fake->sent[i].type == INS_WIRE_TYPE_COALESCED ? b.fake->sent[i].items : 1;
    }
    assert_int_equal(next, MESSAGES - refused);
    bench_close(&b);
}

/* Bodies of shared datagrams belong to the stage that they were begun in. */
static void a_link_whose_shared_datagrams_wait_does_not_change_its_class(void **state) {
    (void)state;
    enum { MESSAGES = 40, URGENT = 5 };
    const struct ins_gate_list open = {
        .cycle_ns = 1000000, .line_mbps = 1000, .mtu = 1500, .count = 1, .entries = {{.mask = 0xff, .interval_ns = 1000000}}};
    struct bench b;
    bench_open(&b, 1);
    struct ins_engine *e = b.node.engine;
    b.fake->base.mtu = 1500;
    fake_set(&b.fake->takes, 0);
    node_do(&b.node, ins_engine_hold_link(e, 1, 1)); /* so that they are taken in one turn */
    for (uint64_t i = 0; i < MESSAGES; i++)
        assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, i), 1);
    node_do(&b.node, ins_engine_hold_link(e, 1, 0));
    HARNESS_UNTIL(node_count(&b.node, INS_COUNT_tx_again) > 0, &b.node, &b.node);
    node_do(&b.node, ins_engine_set_schedule(e, NODE_DATAPATH, &open));
    assert_int_equal(node_ack(&b.node, ins_engine_set_class(e, 1, URGENT), NULL), -EAGAIN);
    fake_set(&b.fake->takes, UINT32_MAX);
    settle(&b, MESSAGES);
    assert_int_equal(b.exit.returned[INS_STATUS_DONE], MESSAGES);
    assert_true(fake_get(&b.fake->sent_count) < MESSAGES);
    node_do(&b.node, ins_engine_set_class(e, 1, URGENT));
    assert_int_equal(exit_send(&b.exit, &b.node, 2, 3, 8, MESSAGES), 1);
    settle(&b, MESSAGES + 1);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_peer_was_sent_takes_no_sequence),
        cmocka_unit_test(what_waits_behind_what_was_refused_takes_its_sequences),
        cmocka_unit_test(a_link_whose_shared_datagrams_wait_does_not_change_its_class),
    };
    return cmocka_run_group_tests_name("refused", tests, NULL, NULL);
}
