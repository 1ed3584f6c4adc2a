/* What a bad network or a lying peer makes of flows: losses and tails told, late and repeated messages dropped, claims refused
   that cannot be, and no memory that a peer could make us hold without bound. */
#include "stranger_cases.h"

#include <poll.h>

static void gaps_are_losses_and_late_or_repeated_messages_are_dropped(void **state) {
    (void)state;
    struct bench b;
    uint64_t lost;
    bench_open(&b, 1);
    const uint64_t sequences[] = {2, 3, 3, 1, 10, 4, 11};
    for (uint32_t i = 0; i < 7; i++) {
        struct ins_wire wire = message(sequences[i]);
        throw_wire(&b, &wire);
    }
    looked_at(&b, 7);
    assert_int_equal(b.delivered, 4); /* 2, 3, 10, 11 */
    assert_int_equal(b.last_sequence, 11);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_late), 3);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_reordered), 2); /* 1 and 4; 3 came twice */
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 2 + 6);
    HARNESS_UNTIL((node_events(&b.node, INS_EVENT_LOST, &lost), lost == 8), &b.node, &b.node);
    assert_int_equal(b.node.events[0].a, TAG);
    assert_int_equal(b.node.events[0].b, CHANNEL);
    assert_int_equal(b.node.events[0].c, 5);
    assert_int_equal(b.node.events[0].d, PEER);
    /* What came late is told by flow as well, and what of it had been told as lost. */
    uint64_t late;
    uint32_t reordered = 0;
    HARNESS_UNTIL((node_events(&b.node, INS_EVENT_LATE, &late), late == 3), &b.node, &b.node);
    for (uint32_t i = 0; i < b.node.event_count; i++) {
        const struct ins_event *event = &b.node.events[i];
        if (event->type != INS_EVENT_LATE)
            continue;
        assert_int_equal(event->a, TAG);
        assert_int_equal(event->b, CHANNEL);
        assert_int_equal(event->c, 5);
        reordered += event->d;
    }
    assert_int_equal(reordered, 2);
    bench_close(&b);
}

static void heartbeats_tell_of_lost_tails_and_of_flows_never_seen(void **state) {
    (void)state;
    struct bench b;
    uint64_t lost;
    bench_open(&b, 1);
    struct ins_wire wire = message(0);
    throw_wire(&b, &wire);
    struct ins_heartbeat beats[3] = {
        {.flow = FLOW, .tag = TAG, .channel = CHANNEL, .source = 5, .next = 4},     /* 1 to 3 are missing */
        {.flow = FLOW + 1, .tag = TAG, .channel = CHANNEL, .source = 6, .next = 7}, /* all of it is */
        {.flow = FLOW + 2, .tag = TAG, .channel = CHANNEL + 9, .source = 6, .next = 7}, /* not for us */
    };
    throw_heartbeat(&b, beats, 3);
    throw_heartbeat(&b, beats, 3); /* said again: nothing new */
    looked_at(&b, 3);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 3 + 7);
    HARNESS_UNTIL((node_events(&b.node, INS_EVENT_LOST, &lost), lost == 10), &b.node, &b.node);
    /* A message that the heartbeat gave up for lost is late when it comes after all. */
    wire.sequence = 2;
    throw_wire(&b, &wire);
    wire.sequence = 4;
    throw_wire(&b, &wire);
    looked_at(&b, 5);
    assert_int_equal(b.delivered, 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_late), 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 10);
    bench_close(&b);
}

static void a_storm_of_losses_is_told_in_sums(void **state) {
    (void)state;
    struct bench b;
    uint64_t lost = 0;
    bench_open(&b, 1);
    for (uint64_t i = 0; i < 5000; i++) {
        struct ins_wire wire = message(2 * i + 1);
        throw_wire(&b, &wire);
        if (i % 50 == 49)
            looked_at(&b, i + 1);
    }
    HARNESS_UNTIL((node_events(&b.node, INS_EVENT_LOST, &lost), lost == 5000), &b.node, &b.node);
    assert_true(node_events(&b.node, INS_EVENT_LOST, &lost) < 500);
    bench_close(&b);
}

static void a_flow_that_changes_its_nature_or_leaps_is_refused(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    node_do(&b.node, ins_engine_subscribe(b.node.engine, 1, TAG, CHANNEL + 1, 1));
    struct ins_wire wire = message(0);
    throw_wire(&b, &wire);
    wire = message(1);
    wire.channel++;
    throw_wire(&b, &wire);
    wire = message(1);
    wire.tag++;
    throw_wire(&b, &wire);
    wire = message(1);
    wire.source++;
    throw_wire(&b, &wire);
    wire = message(UINT64_MAX);
    throw_wire(&b, &wire);
    struct ins_heartbeat beat = {.flow = FLOW, .tag = TAG, .channel = CHANNEL, .source = 5, .next = UINT64_MAX};
    throw_heartbeat(&b, &beat, 1);
    wire = message(UINT64_MAX); /* of a flow not known */
    wire.flow = FLOW + 1;
    throw_wire(&b, &wire);
    looked_at(&b, 7);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_flow), 6);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 0);
    wire = message(1);
    throw_wire(&b, &wire); /* and the honest flow goes on */
    looked_at(&b, 8);
    assert_int_equal(b.delivered, 2);
    bench_close(&b);
}

static void a_peer_can_claim_a_loss_of_4_thousand_million_at_a_time_and_not_one_more(void **state) {
    (void)state;
    const uint64_t most = 1ull << 32;
    struct bench b;
    bench_open(&b, 1);
    struct ins_heartbeat beat = {.flow = FLOW, .tag = TAG, .channel = CHANNEL, .source = 5, .next = most + 1};
    throw_heartbeat(&b, &beat, 1); /* of a flow that is not known */
    looked_at(&b, 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0);
    struct ins_wire wire = message(most + 1);
    throw_wire(&b, &wire);
    looked_at(&b, 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0);
    wire = message(0);
    throw_wire(&b, &wire);
    wire = message(1 + most + 1);
    throw_wire(&b, &wire);
    beat.next = 1 + most + 1;
    throw_heartbeat(&b, &beat, 1);
    looked_at(&b, 5);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_flow), 4);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 0);
    beat.next = 1 + most;
    throw_heartbeat(&b, &beat, 1);
    wire = message(1 + most + most);
    throw_wire(&b, &wire);
    looked_at(&b, 7);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_flow), 4);
    assert_true(node_count(&b.node, INS_COUNT_rx_lost) == 2 * most);
    assert_int_equal(b.delivered, 2);
    bench_close(&b);
}

static void a_peer_cannot_make_us_remember_without_bound(void **state) {
    (void)state;
    enum { FLOWS = 6000, KEPT = 4096 };
    struct bench b;
    bench_open(&b, 1);
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct ins_wire wire = message(0);
        wire.flow = i;
        throw_wire(&b, &wire);
        if (i % 50 == 49)
            looked_at(&b, i + 1);
    }
    assert_int_equal(b.delivered, FLOWS);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), KEPT);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers_evicted), FLOWS - KEPT);
    /* A flow that was forgotten is no proof of loss. */
    uint32_t looked = FLOWS;
    for (uint32_t i = 0; i < 200; i++) {
        struct ins_wire wire = message(1);
        wire.flow = i;
        throw_wire(&b, &wire);
        if (i % 50 == 49)
            looked_at(&b, looked += 50);
    }
    assert_int_equal(b.delivered, FLOWS + 200);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 0);
    node_do(&b.node, ins_engine_remove_peer(b.node.engine, PEER));
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0);
    bench_close(&b);
}

static void a_quiet_flow_beats_six_times_and_then_never(void **state) {
    (void)state;
    enum { SOURCES = 60 }; /* more than one datagram of records */
    struct bench b;
    struct exit_link exit;
    uint32_t beats[SOURCES] = {0}, datagrams = 0, data_messages = 0;
    bench_open(&b, 1);
    exit_open(&exit, &b.node, 2, TAG, 128, 128, 64);
    node_do(&b.node, ins_engine_add_route(b.node.engine, TAG, CHANNEL + 1, PEER));
    for (uint32_t i = 0; i < SOURCES; i++) {
        node_do(&b.node, ins_engine_add_source(b.node.engine, 2, i, i, 0, CHANNEL + 1));
        assert_int_equal(exit_send(&exit, &b.node, i, 0, 8, i), 1);
    }
    uint64_t begin = harness_ms();
    struct pollfd fd = {.fd = b.fd, .events = POLLIN};
    while (poll(&fd, 1, 1000) > 0) { /* the pause between the last two is 320 ms */
        uint8_t data[65536];
        struct ins_wire wire;
        ssize_t got = recv(b.fd, data, sizeof data, 0);
        assert_true(got > 0 && ins_wire_parse(data, (uint32_t)got, &wire) == INS_WIRE_OK);
        if (wire.type == INS_WIRE_TYPE_DATA) {
            data_messages++;
            continue;
        }
        datagrams++;
        for (uint32_t at = 0; at < wire.length; at += INS_HEARTBEAT_RECORD_BYTES) {
            struct ins_heartbeat beat;
            ins_heartbeat_read(data + INS_WIRE_HEADER + at, &beat);
            assert_int_equal(beat.tag, TAG);
            assert_int_equal(beat.channel, CHANNEL + 1);
            assert_true(beat.source < SOURCES);
            assert_int_equal(beat.next, 1);
            beats[beat.source]++;
        }
    }
    assert_int_equal(data_messages, SOURCES);
    for (uint32_t i = 0; i < SOURCES; i++)
        assert_int_equal(beats[i], 6);
    assert_int_equal(node_count(&b.node, INS_COUNT_heartbeats), datagrams);
    assert_true(datagrams < 6 * SOURCES / 4); /* many records a datagram */
    assert_true(harness_ms() - begin >= 630 + 900);
    exit_close(&exit, &b.node);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_are_losses_and_late_or_repeated_messages_are_dropped),
        cmocka_unit_test(heartbeats_tell_of_lost_tails_and_of_flows_never_seen),
        cmocka_unit_test(a_storm_of_losses_is_told_in_sums),
        cmocka_unit_test(a_flow_that_changes_its_nature_or_leaps_is_refused),
        cmocka_unit_test(a_peer_can_claim_a_loss_of_4_thousand_million_at_a_time_and_not_one_more),
        cmocka_unit_test(a_peer_cannot_make_us_remember_without_bound),
        cmocka_unit_test(a_quiet_flow_beats_six_times_and_then_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
