/* Messages that share datagrams, over every datapath: whole, in order, counted, and their slots come home. */
#include "conformance_cases.h"

static uint64_t shared(const struct node *node, enum ins_engine_counter first) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 7; i++)
        sum += node_count(node, (enum ins_engine_counter)(first + i));
    return sum;
}

/* Sends `count` messages at a time, the sizes by `size`, and takes them all in order. */
static void bursts(struct lane *lane, uint32_t rounds, uint32_t count, uint32_t (*size)(uint64_t)) {
    uint64_t sent = 0, received = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        uint64_t to = sent + count;
        HARNESS_UNTIL(received >= to, &lane->a, &lane->b) {
            while (sent < to && exit_send(&lane->exit, &lane->a, 0, 0, size(sent), sent))
                sent++;
            lane_take(lane, &received);
        }
    }
    HARNESS_UNTIL(lane->exit.returned[INS_STATUS_DONE] == sent, &lane->a, &lane->b) exit_reclaim(&lane->exit);
    assert_int_equal(node_count(&lane->a, INS_COUNT_tx_messages), sent);
    assert_int_equal(node_count(&lane->b, INS_COUNT_rx_messages), sent);
    assert_int_equal(node_count(&lane->b, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_count(&lane->a, INS_COUNT_tx_coalesced), node_count(&lane->b, INS_COUNT_rx_coalesced));
    assert_int_equal(shared(&lane->a, INS_COUNT_tx_batches_2), shared(&lane->b, INS_COUNT_rx_batches_2));
    /* Every message alone in its datagram, or in a shared one. */
    assert_int_equal(node_count(&lane->a, INS_COUNT_tx_datagrams),
                     sent - node_count(&lane->a, INS_COUNT_tx_coalesced) +
                         shared(&lane->a, INS_COUNT_tx_batches_2));
}

/* The sender is polled by hand, so that a whole burst is there before it looks. */
static void lane_by_hand(struct lane *lane, const struct medium *medium) {
    struct ins_engine_config config = node_config();
    config.lease = INS_LEASE_INLINE;
    config.takeover_us = 1000000;
    lane_open_with(lane, medium, config, 2048);
}

static uint32_t small(uint64_t i) { return 8 + (uint32_t)(i % 3) * 20; }
static uint32_t mixed(uint64_t i) {
    static const uint32_t sizes[] = {8, 64, 9, 1100, 15, 300, 1023, 1024, 1025, 8, 8, 700, 16};
    return sizes[i % (sizeof sizes / sizeof *sizes)];
}

static void small_messages_share_datagrams(void **state) {
    struct lane lane;
    lane_by_hand(&lane, *state);
    bursts(&lane, 50, 30, small);
    assert_true(node_count(&lane.a, INS_COUNT_tx_coalesced) > 1000);
    assert_true(node_count(&lane.a, INS_COUNT_tx_datagrams) < 750);
    lane_close(&lane);
}

static void mixed_sizes_stay_whole_and_in_order(void **state) {
    struct lane lane;
    lane_by_hand(&lane, *state);
    bursts(&lane, 60, 31, mixed);
    assert_true(node_count(&lane.a, INS_COUNT_tx_coalesced) > 500);
    lane_close(&lane);
}

static void switched_off_each_message_leaves_by_itself(void **state) {
    struct lane lane;
    lane_by_hand(&lane, *state);
    node_do(&lane.a, ins_engine_set_batching(lane.a.engine, EXIT, 0));
    bursts(&lane, 10, 30, small);
    assert_int_equal(node_count(&lane.a, INS_COUNT_tx_coalesced), 0);
    node_do(&lane.a, ins_engine_set_batching(lane.a.engine, EXIT, 1));
    assert_int_equal(exit_send(&lane.exit, &lane.a, 0, 0, 8, 300) + exit_send(&lane.exit, &lane.a, 0, 0, 8, 301), 2);
    uint64_t received = 300;
    HARNESS_UNTIL(received == 302, &lane.a, &lane.b) lane_take(&lane, &received);
    assert_int_equal(node_count(&lane.a, INS_COUNT_tx_coalesced), 2);
    lane_close(&lane);
}

static void a_slot_is_held_by_the_last_message_in_it(void **state) {
    struct lane lane;
    struct ins_descriptor d[16];
    lane_by_hand(&lane, *state);
    for (uint64_t i = 0; i < 16; i++)
        assert_int_equal(exit_send(&lane.exit, &lane.a, 0, 0, 8, i), 1);
    int count = 0;
    HARNESS_UNTIL(count == 16, &lane.a, &lane.b) count += entrance_take(&lane.entrance, &lane.b, d + count, 16 - count);
    for (int i = 15; i > 0; i--)
        entrance_give(&lane.entrance, &lane.b, &d[i]);
    node_do(&lane.b, ins_engine_ping(lane.b.engine));
    ins_engine_poll(lane.b.engine, 1);
    assert_int_equal(node_count(&lane.b, INS_COUNT_slots_out), 1);
    assert_int_equal(entrance_mark(&lane.b, &d[0]), 0);
    entrance_give(&lane.entrance, &lane.b, &d[0]);
    HARNESS_UNTIL(node_count(&lane.b, INS_COUNT_slots_out) == 0, &lane.a, &lane.b) continue;
    lane_close(&lane);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_messages_share_datagrams),
        cmocka_unit_test(mixed_sizes_stay_whole_and_in_order),
        cmocka_unit_test(switched_off_each_message_leaves_by_itself),
        cmocka_unit_test(a_slot_is_held_by_the_last_message_in_it),
    };
    return conformance_run("batching", tests, sizeof tests / sizeof *tests);
}
