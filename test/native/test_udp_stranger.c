/* What strangers and forgers can send to an engine's UDP endpoint: counted by kind, never delivered, remembered nowhere. */
#include "stranger_cases.h"

static void bad_datagrams_are_counted_by_kind(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    uint8_t good[INS_WIRE_HEADER + 8] = {0}, bad[sizeof good];
    struct ins_wire wire = message(0);
    wire.length = 8;
    ins_wire_write(good, &wire);
#define SPOILT(at, value) (memcpy(bad, good, sizeof good), bad[at] = (value), throw(&b, bad, sizeof bad))
    throw(&b, good, 0);
    throw(&b, good, 1);
    throw(&b, good, INS_WIRE_HEADER - 1);
    SPOILT(INS_WIRE_MAGIC, 0);
    SPOILT(INS_WIRE_VERSION, 2);
    SPOILT(INS_WIRE_TYPE, 0);
    SPOILT(INS_WIRE_TYPE, INS_WIRE_TYPE_FRAGMENT);
    SPOILT(INS_WIRE_TYPE, INS_WIRE_TYPE_HELLO);
    SPOILT(INS_WIRE_TYPE, INS_WIRE_TYPE_STATUS);
    SPOILT(INS_WIRE_FLAGS, 0x80);
    SPOILT(INS_WIRE_LENGTH + 3, 9);
    SPOILT(INS_WIRE_LENGTH, 0xff);
    throw(&b, good, sizeof good - 1);
    looked_at(&b, 13);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_short), 3);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_magic), 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_version), 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_type), 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_flags), 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_length), 5); /* a fragment of no size, a status too short */
    assert_int_equal(b.delivered, 0);
    wire.length = 0;
    throw_wire(&b, &wire); /* still alive */
    looked_at(&b, 14);
    assert_int_equal(b.delivered, 1);
    bench_close(&b);
}

static void strangers_are_not_listened_to(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 0);
    struct ins_wire wire = message(0);
    throw_wire(&b, &wire);
    struct ins_heartbeat beat = {.flow = FLOW, .tag = TAG, .channel = CHANNEL, .source = 5, .next = 9};
    throw_heartbeat(&b, &beat, 1);
    looked_at(&b, 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_unknown_peer), 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0);
    assert_int_equal(b.delivered, 0);
    bench_close(&b);
}

static void what_nobody_here_wants_is_counted_and_remembered_nowhere(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    for (uint32_t i = 0; i < 100; i++) {
        struct ins_wire wire = message(0);
        wire.channel = CHANNEL + 1 + i;
        wire.flow = i;
        throw_wire(&b, &wire);
    }
    looked_at(&b, 100);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_no_subscriber), 100);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0);
    assert_int_equal(b.delivered, 0);
    bench_close(&b);
}

static void trains_are_walked_message_by_message_and_end_at_a_lie(void **state) {
    (void)state;
    struct bench b;
    uint8_t train[4 * (INS_WIRE_HEADER + 13)], *at = train;
    bench_open(&b, 1);
    for (uint64_t i = 0; i < 4; i++, at += INS_WIRE_HEADER + 13) {
        struct ins_wire wire = message(i);
        wire.length = i == 2 ? 14 : 13; /* the third claims one byte of the fourth */
        ins_wire_write(at, &wire);
        uint64_t mark = 0; /* as entrance_take expects it of emit time 1000 */
        memset(at + INS_WIRE_HEADER, 0, 13);
        memcpy(at + INS_WIRE_HEADER, &mark, sizeof mark);
        for (uint32_t k = 8; k < 13; k++)
            at[INS_WIRE_HEADER + k] = (uint8_t)(k * 7);
    }
    /* The lie itself: payload byte 13 is the next header's first byte, which the pattern does not hold; cut it off. */
    throw(&b, train, 2 * (INS_WIRE_HEADER + 13) + INS_WIRE_HEADER + 13);
    looked_at(&b, 3);
    assert_int_equal(b.delivered, 2);
    assert_int_equal(b.last_sequence, 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_length), 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_slots_out) <= 1, 1);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_datagrams_are_counted_by_kind),
        cmocka_unit_test(strangers_are_not_listened_to),
        cmocka_unit_test(what_nobody_here_wants_is_counted_and_remembered_nowhere),
        cmocka_unit_test(trains_are_walked_message_by_message_and_end_at_a_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
