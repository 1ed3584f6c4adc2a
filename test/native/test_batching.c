/* Shared datagrams and shared slots in an engine: several peers, sinks that sleep, hoard, die or lie, datagrams that are
   lost, doubled and out of order, and what a stranger may put into one. */
#include "stranger_cases.h"

#include <stdio.h>

#include "core/parked.h"

enum { EXIT = 1, ENTRANCE = 2, SOURCE = 9 };

static struct ins_engine_config by_hand(void) {
    struct ins_engine_config config = node_config();
    config.lease = INS_LEASE_INLINE;
    config.takeover_us = 1000000;
    return config;
}

struct pair {
    struct node a, b;
    struct exit_link exit;
    struct entrance entrance;
};

static void pair_open(struct pair *p, const char *options) {
    struct ins_engine_config config = by_hand();
    node_open_at(&p->a, &config, "udp", options, htonl(INADDR_LOOPBACK));
    node_open(&p->b, &config, "udp");
    node_introduce(&p->a, &p->b, PEER);
    exit_open(&p->exit, &p->a, EXIT, TAG, 1024, 1024, 2048);
    node_do(&p->a, ins_engine_add_source(p->a.engine, EXIT, 0, SOURCE, 0, CHANNEL));
    entrance_open(&p->entrance, &p->b, ENTRANCE, 1024);
    node_do(&p->b, ins_engine_subscribe(p->b.engine, ENTRANCE, TAG, CHANNEL, 0));
    node_do(&p->a, ins_engine_add_route(p->a.engine, TAG, CHANNEL, PEER));
}

static void pair_close(struct pair *p) {
    HARNESS_UNTIL(node_count(&p->b, INS_COUNT_slots_out) == 0, &p->a, &p->b) continue; /* every slot came home */
    exit_close(&p->exit, &p->a);
    entrance_close(&p->entrance, &p->b);
    node_close(&p->a);
    node_close(&p->b);
}

static void dispatch(struct pair *p, uint64_t from, uint32_t count, uint32_t length) {
    for (uint64_t i = from; i < from + count; i++)
        assert_int_equal(exit_send(&p->exit, &p->a, 0, 0, length, i), 1);
}

static void every_peer_gets_every_message(void **state) {
    (void)state;
    enum { PEERS = 3, MESSAGES = 3000, WINDOW = 200 };
    struct ins_engine_config config = by_hand();
    struct node a;
    static struct node b[PEERS];
    static struct entrance entrances[PEERS];
    struct exit_link exit;
    node_open(&a, &config, "udp");
    exit_open(&exit, &a, EXIT, TAG, 1024, 1024, 2048);
    node_do(&a, ins_engine_add_source(a.engine, EXIT, 0, SOURCE, 0, CHANNEL));
    for (uint32_t i = 0; i < PEERS; i++) {
        node_open(&b[i], &config, "udp");
        node_introduce(&a, &b[i], PEER + i);
        entrance_open(&entrances[i], &b[i], ENTRANCE, 1024);
        node_do(&b[i], ins_engine_subscribe(b[i].engine, ENTRANCE, TAG, CHANNEL, 0));
        node_do(&a, ins_engine_add_route(a.engine, TAG, CHANNEL, PEER + i));
    }
    uint64_t sent = 0, received[PEERS] = {0}, slowest = 0;
    HARNESS_UNTIL(slowest == MESSAGES, &a, &b[0]) {
        while (sent < MESSAGES && sent - slowest < WINDOW && exit_send(&exit, &a, 0, 0, 8 + sent * 37 % 600, sent))
            sent++;
        slowest = MESSAGES;
        for (uint32_t i = 0; i < PEERS; i++) {
            struct ins_descriptor d[64];
            node_pump(&b[i]);
            int count = entrance_take(&entrances[i], &b[i], d, 64);
            for (int k = 0; k < count; k++) {
                assert_int_equal(entrance_meta(&b[i], &d[k]).sequence, received[i]);
                assert_int_equal(entrance_mark(&b[i], &d[k]), received[i]++);
                entrance_give(&entrances[i], &b[i], &d[k]);
            }
            slowest = received[i] < slowest ? received[i] : slowest;
        }
    }
    HARNESS_UNTIL(exit.returned[INS_STATUS_DONE] == MESSAGES, &a, &b[0]) exit_reclaim(&exit);
    assert_int_equal(node_count(&a, INS_COUNT_tx_messages), MESSAGES);
    assert_true(node_count(&a, INS_COUNT_tx_datagrams) < MESSAGES); /* a third of it were one for each message and peer */
    exit_close(&exit, &a);
    for (uint32_t i = 0; i < PEERS; i++) {
        assert_int_equal(node_count(&b[i], INS_COUNT_rx_lost), 0);
        entrance_close(&entrances[i], &b[i]);
        node_close(&b[i]);
    }
    node_close(&a);
}

static void sources_that_take_turns_keep_their_order(void **state) {
    (void)state;
    enum { MESSAGES = 2000, WINDOW = 300 };
    struct pair p;
    uint64_t sent = 0, received = 0, next[2] = {0};
    pair_open(&p, NULL);
    node_do(&p.a, ins_engine_add_source(p.a.engine, EXIT, 1, SOURCE + 1, 0, CHANNEL));
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        /* One in a row, then two, ... of the one and of the other; sizes with and without padding, some not to be shared. */
        while (sent < MESSAGES && sent - received < WINDOW &&
               exit_send(&p.exit, &p.a, sent % 37 > sent % 23, 0, sent % 101 ? 8 + sent * 13 % 200 : 1300, sent))
            sent++;
        node_pump(&p.b);
        struct ins_descriptor d[64];
        int count = entrance_take(&p.entrance, &p.b, d, 64);
        for (int i = 0; i < count; i++, received++) {
            struct meta meta = entrance_meta(&p.b, &d[i]);
            uint64_t mark = entrance_mark(&p.b, &d[i]);
            assert_int_equal(meta.source, SOURCE + (mark % 37 > mark % 23));
            assert_int_equal(meta.sequence, next[meta.source - SOURCE]++);
            assert_int_equal(meta.emit_time, mark + 1000);
            entrance_give(&p.entrance, &p.b, &d[i]);
        }
    }
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_lost), 0);
    assert_true(node_count(&p.a, INS_COUNT_tx_coalesced) > MESSAGES / 2);
    pair_close(&p);
}

/* It is found out where those before it share a datagram, and nothing of that is sent. */
static void a_descriptor_that_lies_in_the_middle_of_a_burst_is_found_out(void **state) {
    (void)state;
    enum { BEFORE = 30, AFTER = 10 };
    static const struct { uint32_t offset, length, channel, source, flags; } lies[] = {
        {1 << 30, 64, 0, 0, 0}, {INS_POOL_HEADER_ROOM - 1, 64, 0, 0, 0}, {INS_POOL_HEADER_ROOM, 2049, 0, 0, 0},
        {INS_POOL_HEADER_ROOM, 64, 1, 0, 0}, {INS_POOL_HEADER_ROOM, 64, 0, 7, 0}, {INS_POOL_HEADER_ROOM, 64, 0, 0, 1}};
    for (uint32_t lie = 0; lie < sizeof lies / sizeof *lies; lie++) {
        struct pair p;
        pair_open(&p, NULL);
        dispatch(&p, 0, BEFORE, 64);
        assert_true(ins_producer_push(&p.exit.producer, 0, (uint32_t)ins_pool_take(&p.exit.pool), 0, lies[lie].offset,
                                      lies[lie].length, lies[lie].channel, lies[lie].source, lies[lie].flags) >= 0);
        dispatch(&p, BEFORE, AFTER, 64);
        HARNESS_UNTIL(node_count(&p.a, INS_COUNT_bad_descriptor) == 1, &p.a, &p.b) continue;
        assert_int_equal(node_count(&p.a, INS_COUNT_link_faults), 1);
        assert_int_equal(node_count(&p.a, INS_COUNT_tx_messages), 0);
        node_do(&p.a, ins_engine_remove_link(p.a.engine, EXIT));
        exit_reclaim(&p.exit);
        struct ins_returned returned[64];
        uint32_t left = ins_producer_abandon(&p.exit.producer, returned, 64);
        assert_int_equal(left, BEFORE + AFTER + 1); /* a link at fault gives nothing back */
        for (uint32_t i = 0; i < left; i++)
            assert_int_equal(ins_pool_unref(&p.exit.pool, returned[i].slot), 0);
        exit_forget(&p.exit);
        entrance_close(&p.entrance, &p.b);
        node_close(&p.a);
        node_close(&p.b);
    }
}

static void a_sink_that_sleeps_gets_small_messages_copied_together(void **state) {
    (void)state;
    enum { BURSTS = 20, BURST = 40 };
    struct pair p;
    struct ins_descriptor d[BURSTS * BURST];
    pair_open(&p, NULL);
    ins_parked_set((uint32_t *)(void *)p.entrance.parked, INS_PARKED_PAGE_WISH_MESSAGES);
    for (uint32_t i = 0; i < BURSTS; i++) {
        dispatch(&p, i * BURST, BURST, 64);
        HARNESS_UNTIL(node_count(&p.b, INS_COUNT_rx_messages) == (i + 1) * BURST, &p.a, &p.b) continue;
    }
    ins_parked_clear((uint32_t *)(void *)p.entrance.parked);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_copied_small), BURSTS * BURST);
    assert_true(node_count(&p.b, INS_COUNT_slots_out) <= 3); /* not one for each burst */
    assert_int_equal(entrance_take(&p.entrance, &p.b, d, BURSTS * BURST), BURSTS * BURST);
    for (uint32_t i = 0; i < BURSTS * BURST; i++) {
        assert_int_equal(d[i].flags & ~INS_DESCRIPTOR_FLAG_FIRST, INS_DESCRIPTOR_FLAG_COPIED);
        assert_int_equal(entrance_meta(&p.b, &d[i]).sequence, i);
        assert_int_equal(entrance_mark(&p.b, &d[i]), i);
        entrance_give(&p.entrance, &p.b, &d[i]);
    }
    pair_close(&p);
}

static void a_sink_that_keeps_small_messages_keeps_few_slots(void **state) {
    (void)state;
    enum { MESSAGES = 1000 };
    struct pair p;
    static struct ins_descriptor d[MESSAGES];
    pair_open(&p, NULL);
    uint32_t slots = p.b.config.receive_slots;
    for (uint32_t i = 0; i < MESSAGES; i++) { /* each in a slot of its own, were it not copied */
        dispatch(&p, i, 1, 64);
        HARNESS_UNTIL(node_count(&p.b, INS_COUNT_rx_messages) == i + 1, &p.a, &p.b) continue;
    }
    assert_true(slots < MESSAGES);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_copied_small), MESSAGES - slots / 2);
    assert_true(node_count(&p.b, INS_COUNT_slots_out) <= slots / 2 + 3);
    assert_int_equal(entrance_take(&p.entrance, &p.b, d, MESSAGES), MESSAGES);
    for (uint32_t i = 0; i < MESSAGES; i++)
        entrance_give(&p.entrance, &p.b, &d[i]);
    pair_close(&p);
}

/* Two sinks hold parts of one slot. One is gone, or gives back what it does not hold: the other's stays as it is. */
static void two_sinks_share_a_slot(int lies) {
    enum { MESSAGES = 20 };
    struct pair p;
    struct entrance other;
    struct ins_descriptor mine[MESSAGES], others[MESSAGES];
    pair_open(&p, NULL);
    entrance_open(&other, &p.b, 10, 64);
    node_do(&p.b, ins_engine_subscribe(p.b.engine, 10, TAG, CHANNEL, 0));
    dispatch(&p, 0, MESSAGES, 64);
    int got = 0, others_got = 0;
    HARNESS_UNTIL(got == MESSAGES && others_got == MESSAGES, &p.a, &p.b) {
        got += entrance_take(&p.entrance, &p.b, mine + got, MESSAGES - got);
        others_got += entrance_take(&other, &p.b, others + others_got, MESSAGES - others_got);
    }
    for (int i = 1; i < MESSAGES; i++)
        entrance_give(&p.entrance, &p.b, &mine[i]);
    if (lies) { /* one entry as often as there are messages: each but the first is no entry of its link */
        for (int i = 0; i < MESSAGES; i++)
            entrance_give(&other, &p.b, &others[3]);
        HARNESS_UNTIL(node_events(&p.b, INS_EVENT_LINK_FAULT, NULL) == 1, &p.a, &p.b) continue;
    }
    node_do(&p.b, ins_engine_remove_link(p.b.engine, 10)); /* as when its application was killed */
    entrance_forget(&other);
    assert_int_equal(node_count(&p.b, INS_COUNT_slots_out), 1);
    dispatch(&p, MESSAGES, 500, 64); /* nothing of it comes into the slot that is still held */
    uint64_t next = MESSAGES;
    HARNESS_UNTIL(next == MESSAGES + 500, &p.a, &p.b) {
        struct ins_descriptor d[32];
        int count = entrance_take(&p.entrance, &p.b, d, 32);
        for (int i = 0; i < count; i++, next++)
            entrance_give(&p.entrance, &p.b, &d[i]);
    }
    assert_int_equal(entrance_mark(&p.b, &mine[0]), 0);
    entrance_give(&p.entrance, &p.b, &mine[0]);
    pair_close(&p);
}

static void who_dies_with_part_of_a_slot_lets_go_of_that_part(void **state) {
    (void)state;
    two_sinks_share_a_slot(0);
}

static void who_gives_back_what_it_does_not_hold_frees_nobody_elses(void **state) {
    (void)state;
    two_sinks_share_a_slot(1);
}

/* Whatever happens to datagrams on the way: delivered in order and once, and all else counted. */
static void what_is_lost_of_shared_datagrams_is_counted(void **state) {
    (void)state;
    enum { MESSAGES = 20000, WINDOW = 300 };
    for (uint32_t seed = 1; seed <= 4; seed++) {
        struct pair p;
        char options[96];
        snprintf(options, sizeof options, "of=udp,loss=0.05,duplicate=0.05,reorder=0.05,seed=%u", seed);
        pair_open(&p, options);
        uint64_t sent = 0, next = 0, received = 0;
        uint32_t random = seed;
        /* What is lost at the end is known by the heartbeats. */
        HARNESS_UNTIL(received + node_count(&p.b, INS_COUNT_rx_lost) == MESSAGES, &p.a, &p.b) {
            random = random * 1103515245 + 12345;
            for (uint32_t burst = random >> 16 & 127;
                 burst && sent < MESSAGES && sent - next < WINDOW &&
                 exit_send(&p.exit, &p.a, 0, 0, 8 + (random >> (burst & 15)) % 900, sent);
                 burst--)
                sent++;
            exit_reclaim(&p.exit);
            struct ins_descriptor d[64];
            int count = entrance_take(&p.entrance, &p.b, d, 64);
            for (int i = 0; i < count; i++, received++) {
                uint64_t mark = entrance_mark(&p.b, &d[i]);
                assert_true(mark >= next);
                assert_int_equal(entrance_meta(&p.b, &d[i]).sequence, mark);
                next = mark + 1;
                entrance_give(&p.entrance, &p.b, &d[i]);
            }
            if (sent - next >= WINDOW && sent < MESSAGES) /* the tail of the window is lost: its heartbeat says so */
                next = received + node_count(&p.b, INS_COUNT_rx_lost) > next
                           ? received + node_count(&p.b, INS_COUNT_rx_lost)
                           : next;
        }
        assert_int_equal(node_count(&p.b, INS_COUNT_rx_messages), received);
        assert_true(node_count(&p.b, INS_COUNT_rx_coalesced) > received / 2);
        pair_close(&p);
    }
}

/* `count` items of 8 bytes from `sequence` on. */
static void throw_items(struct bench *b, uint64_t sequence, uint32_t count) {
    uint8_t data[INS_WIRE_HEADER + 64 * 16], payload[8];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_COALESCED,
                            .tag = TAG,
                            .channel = CHANNEL,
                            .source = 5,
                            .flow = FLOW,
                            .sequence = sequence};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t mark = sequence + i;
        for (uint32_t k = 0; k < 8; k++)
            payload[k] = (uint8_t)(mark >> 8 * k);
        wire.length += ins_item_write(data + INS_WIRE_HEADER + wire.length, payload, 8, (uint32_t)i);
    }
    ins_wire_write(data, &wire);
    throw(b, data, INS_WIRE_HEADER + wire.length);
}

static void take_items(struct bench *b, uint64_t first, uint32_t count) {
    struct ins_descriptor d[64];
    uint32_t got = 0;
    HARNESS_UNTIL(got == count, &b->node, &b->node) {
        int taken = ins_consumer_take(&b->entrance.consumer, d, 64);
        for (int i = 0; i < taken; i++, got++) {
            assert_int_equal(entrance_meta(&b->node, &d[i]).sequence, first + got);
            assert_int_equal(entrance_mark(&b->node, &d[i]), first + got);
            entrance_give(&b->entrance, &b->node, &d[i]);
        }
    }
}

static void overlapping_datagrams_are_delivered_once_and_gaps_are_counted(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    throw_items(&b, 0, 5);
    take_items(&b, 0, 5);
    throw_items(&b, 3, 5); /* the first two again */
    take_items(&b, 5, 3);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_late), 2);
    throw_items(&b, 10, 4); /* 8 and 9 are missing */
    take_items(&b, 10, 4);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_lost), 2);
    throw_items(&b, 7, 4); /* 8 and 9 after all, 7 and 10 again: all late, two of them out of order */
    throw_items(&b, 14, 1); /* alone in one that could be shared */
    take_items(&b, 14, 1);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_late), 6);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_reordered), 2);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_messages), 13);
    bench_close(&b);
}

static void a_body_that_lies_is_dropped_whole(void **state) {
    (void)state;
    struct bench b;
    bench_open(&b, 1);
    uint8_t data[INS_WIRE_HEADER + 32] = {0};
    struct ins_wire wire = {
        .type = INS_WIRE_TYPE_COALESCED, .tag = TAG, .channel = CHANNEL, .source = 5, .flow = FLOW, .length = 32};
    static const uint8_t payload[8];
    ins_wire_write(data, &wire);
    uint32_t at = INS_WIRE_HEADER + ins_item_write(data + INS_WIRE_HEADER, payload, 8, 0);
    ins_item_write(data + at, payload, 8, 0);
    data[at + INS_ITEM_LENGTH + 1] = 9; /* a byte more than there is */
    throw(&b, data, sizeof data);
    data[at + INS_ITEM_LENGTH] = 0xff;
    throw(&b, data, sizeof data);
    wire.length = 28; /* ends in the middle of an item */
    ins_wire_write(data, &wire);
    throw(&b, data, INS_WIRE_HEADER + 28);
    wire.length = 0; /* none at all */
    ins_wire_write(data, &wire);
    throw(&b, data, INS_WIRE_HEADER);
    looked_at(&b, 4);
    assert_int_equal(node_count(&b.node, INS_COUNT_rx_bad_length), 4);
    assert_int_equal(b.delivered, 0);
    assert_int_equal(node_count(&b.node, INS_COUNT_trackers), 0); /* remembered nowhere */
    throw_items(&b, 0, 64);
    take_items(&b, 0, 64);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_peer_gets_every_message),
        cmocka_unit_test(sources_that_take_turns_keep_their_order),
        cmocka_unit_test(a_descriptor_that_lies_in_the_middle_of_a_burst_is_found_out),
        cmocka_unit_test(a_sink_that_sleeps_gets_small_messages_copied_together),
        cmocka_unit_test(a_sink_that_keeps_small_messages_keeps_few_slots),
        cmocka_unit_test(who_dies_with_part_of_a_slot_lets_go_of_that_part),
        cmocka_unit_test(who_gives_back_what_it_does_not_hold_frees_nobody_elses),
        cmocka_unit_test(what_is_lost_of_shared_datagrams_is_counted),
        cmocka_unit_test(overlapping_datagrams_are_delivered_once_and_gaps_are_counted),
        cmocka_unit_test(a_body_that_lies_is_dropped_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
