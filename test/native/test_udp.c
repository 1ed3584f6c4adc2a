/* Two engines with threads of their own over UDP on loopback: what one application sends, the others receive, and what is
   dropped is counted and told. */
#include "udp_pair.h"

#include <poll.h>

#include "core/parked.h"

static void messages_arrive_in_order_with_their_metadata(void **state) {
    (void)state;
    enum { MESSAGES = 20000, WINDOW = 128 };
    struct pair p;
    struct ins_engine_config config = node_config();
    pair_open(&p, &config);
    uint64_t sent = 0, received = 0;
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        while (sent < MESSAGES && sent - received < WINDOW &&
               exit_send(&p.exit, &p.a, 0, 3, (uint32_t)(sent % 1400), sent))
            sent++;
        received = consume(&p, received);
    }
    HARNESS_UNTIL(p.exit.returned[INS_STATUS_DONE] == MESSAGES, &p.a, &p.b) exit_reclaim(&p.exit);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_messages), MESSAGES);
    assert_int_equal(node_count(&p.a, INS_COUNT_tx_messages), MESSAGES);
    pair_close(&p);
}

static void every_sink_gets_every_message(void **state) {
    (void)state;
    enum { SINKS = 8, MESSAGES = 2000, WINDOW = 64 };
    struct pair p;
    struct ins_engine_config config = node_config();
    static struct entrance sinks[SINKS];
    uint64_t received[SINKS] = {0}, sent = 0, first = 0, slowest = 0;
    pair_open(&p, &config);
    for (uint32_t i = 0; i < SINKS; i++) {
        entrance_open(&sinks[i], &p.b, 10 + i, 128);
        node_do(&p.b, ins_engine_subscribe(p.b.engine, 10 + i, TAG, CHANNEL, i));
    }
    HARNESS_UNTIL(slowest == MESSAGES, &p.a, &p.b) {
        while (sent < MESSAGES && sent - slowest < WINDOW && exit_send(&p.exit, &p.a, 0, 3, 64, sent))
            sent++;
        slowest = first = consume(&p, first);
        for (uint32_t i = 0; i < SINKS; i++) {
            struct ins_descriptor d[32];
            int count = entrance_take(&sinks[i], &p.b, d, 32);
            for (int k = 0; k < count; k++) {
                assert_int_equal(d[k].channel, i);
                assert_int_equal(entrance_mark(&p.b, &d[k]), received[i]++);
                entrance_give(&sinks[i], &p.b, &d[k]);
            }
            slowest = received[i] < slowest ? received[i] : slowest;
        }
    }
    for (uint32_t i = 0; i < SINKS; i++)
        entrance_close(&sinks[i], &p.b);
    pair_close(&p);
}

static void a_sink_without_credit_loses_alone_and_is_told(void **state) {
    (void)state;
    enum { MESSAGES = 500, CREDITS = 16 };
    struct pair p;
    struct ins_engine_config config = node_config();
    struct entrance slow;
    struct ins_descriptor d[64];
    uint64_t received = 0, sent = 0, told = 0;
    pair_open(&p, &config);
    entrance_open(&slow, &p.b, 10, CREDITS);
    node_do(&p.b, ins_engine_subscribe(p.b.engine, 10, TAG, CHANNEL, 1));
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        while (sent < MESSAGES && sent - received < 32 && exit_send(&p.exit, &p.a, 0, 3, 64, sent))
            sent++;
        received = consume(&p, received);
    }
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_no_credit), MESSAGES - CREDITS);
    HARNESS_UNTIL((node_events(&p.b, INS_EVENT_DROPPED, &told), told == MESSAGES - CREDITS), &p.a, &p.b);
    assert_true(p.b.event_count < MESSAGES / 2); /* told in sums, not one by one */
    for (uint32_t i = 0; i < p.b.event_count; i++) {
        assert_int_equal(p.b.events[i].a, 10);
        assert_int_equal(p.b.events[i].b, CHANNEL);
        assert_int_equal(p.b.events[i].c, INS_STATUS_NO_CREDIT);
    }
    assert_int_equal(entrance_take(&slow, &p.b, d, 64), CREDITS); /* the first ones, untouched */
    for (uint32_t i = 0; i < CREDITS; i++)
        assert_int_equal(entrance_mark(&p.b, &d[i]), i);
    assert_int_equal(node_count(&p.b, INS_COUNT_slots_out) > 0, 1);
    entrance_close(&slow, &p.b); /* with all of them out: they come home */
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_abandoned), CREDITS);
    pair_close(&p);
}

static void an_application_that_keeps_everything_starves_itself_only(void **state) {
    (void)state;
    enum { MESSAGES = 3000, WINDOW = 8, POOL = 64 };
    struct pair p;
    struct ins_engine_config config = node_config();
    struct entrance hog;
    uint64_t received = 0, sent = 0;
    config.receive_slots = POOL;
    pair_open(&p, &config);
    entrance_open(&hog, &p.b, 10, 1024); /* more credits than there are slots, and it gives none back */
    node_do(&p.b, ins_engine_subscribe(p.b.engine, 10, TAG, CHANNEL, 1));
    HARNESS_UNTIL(received == MESSAGES, &p.a, &p.b) {
        /* Not small: small ones would be copied together. */
        while (sent < MESSAGES && sent - received < WINDOW && exit_send(&p.exit, &p.a, 0, 3, 1200, sent))
            sent++;
        received = consume(&p, received);
    }
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_lost), 0);
    assert_true(node_count(&p.b, INS_COUNT_rx_no_share) > MESSAGES / 2);
    assert_true(node_count(&p.b, INS_COUNT_slots_out) >= POOL / 4);
    entrance_close(&hog, &p.b);
    pair_close(&p);
}

static void a_consumer_that_forges_returns_is_closed_and_hurts_nobody(void **state) {
    (void)state;
    enum { MESSAGES = 200 };
    struct pair p;
    struct ins_engine_config config = node_config();
    uint64_t received = 0, sent = 0;
    pair_open(&p, &config);
    for (uint32_t round = 0; round < 4; round++) {
        struct entrance bad;
        struct ins_descriptor d[4];
        uint64_t until = received + MESSAGES;
        entrance_open(&bad, &p.b, 10, 64);
        node_do(&p.b, ins_engine_subscribe(p.b.engine, 10, TAG, CHANNEL, 1));
        int taken = 0;
        HARNESS_UNTIL(received == until, &p.a, &p.b) {
            while (sent < until && sent - received < 8 && exit_send(&p.exit, &p.a, 0, 3, 64, sent))
                sent++;
            received = consume(&p, received);
            if (taken || (taken = entrance_take(&bad, &p.b, d, 4)) == 0)
                continue;
            uint32_t tail = 1;
            *ins_link_return(bad.segment, 64, 0) = d[0].entry;
            if (round == 1) /* the same one twice */
                *ins_link_return(bad.segment, 64, tail++) = d[0].entry;
            if (round == 2) /* one that never was */
                *ins_link_return(bad.segment, 64, 0) = 0xffff;
            if (round == 3) /* more than there are */
                tail = 65;
            __atomic_store_n(ins_link_return_tail(bad.segment), tail, __ATOMIC_RELEASE);
        }
        /* In round 1 the second entry may be live by now, or not: either way what is out comes home. */
        if (round >= 2)
            HARNESS_UNTIL(node_events(&p.b, INS_EVENT_LINK_FAULT, NULL) >= round - 1, &p.a, &p.b);
        entrance_close(&bad, &p.b);
    }
    assert_int_equal(node_count(&p.b, INS_COUNT_rx_lost), 0);
    pair_close(&p);
}

static void links_and_datapaths_go_under_traffic_and_leave_nothing_out(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 20; round++) {
        struct pair p;
        struct ins_engine_config config = node_config();
        struct ins_descriptor d[8];
        uint64_t sent = 0;
        pair_open(&p, &config);
        HARNESS_UNTIL(node_count(&p.b, INS_COUNT_rx_messages) > round * 20, &p.a, &p.b) {
            for (uint32_t i = 0; i < 64 && exit_send(&p.exit, &p.a, 0, 3, 500, sent); i++)
                sent++;
            int count = entrance_take(&p.entrance, &p.b, d, 8);
            for (int i = 0; i < count; i += 2) /* half of it is never given back */
                entrance_give(&p.entrance, &p.b, &d[i]);
        }
        for (uint32_t i = 0; i < 64; i++)
            exit_send(&p.exit, &p.a, 0, 3, 500, sent++);
        if (round % 2) {
            node_do(&p.b, ins_engine_remove_datapath(p.b.engine, NODE_DATAPATH));
            ins_datapath_close(p.b.datapath);
            p.b.datapath = NULL;
        }
        if (round % 3 == 0)
            node_do(&p.a, ins_engine_remove_peer(p.a.engine, PEER));
        pair_close(&p); /* checks slots and entries */
    }
}

static void an_engine_torn_down_with_everything_open_leaves_nothing_out(void **state) {
    (void)state;
    struct pair p;
    struct ins_engine_config config = node_config();
    pair_open(&p, &config);
    for (uint64_t i = 0; i < 200; i++)
        exit_send(&p.exit, &p.a, 0, 3, 500, i);
    HARNESS_UNTIL(node_count(&p.b, INS_COUNT_rx_messages) > 0, &p.a, &p.b);
    assert_int_equal(ins_engine_stop(p.b.engine, 5000), 0);
    assert_int_equal(ins_engine_stop(p.a.engine, 5000), 0);
    exit_forget(&p.exit); /* checks that nothing is out */
    entrance_forget(&p.entrance);
    assert_int_equal(node_count(&p.b, INS_COUNT_slots_out), 0);
    ins_datapath_close(p.a.datapath);
    ins_datapath_close(p.b.datapath);
    p.a.datapath = p.b.datapath = NULL;
    node_close(&p.a);
    node_close(&p.b);
}

static void wait_parked(const struct node *node) {
    const uint32_t *word = (const uint32_t *)(const void *)node->parked;
    struct pollfd never = {.fd = -1};
    uint64_t until = harness_ms() + 10000;
    while (!(__atomic_load_n(word, __ATOMIC_RELAXED) & INS_PARKED_PAGE_WISH_MESSAGES)) {
        poll(&never, 1, 1);
        harness_deadline(until, "the engine to park", __FILE__, __LINE__);
    }
}

static void parked_engines_wake_by_bell_and_by_packet_and_wake_the_application(void **state) {
    (void)state;
    struct pair p;
    struct ins_engine_config config = node_config();
    config.spin_us = 0;
    config.heartbeat_ms = 0; /* else they wake by themselves */
    pair_open(&p, &config);
    for (uint64_t i = 0; i < 200; i++) {
        uint32_t *word = (uint32_t *)(void *)p.entrance.parked;
        wait_parked(&p.a);
        wait_parked(&p.b);
        ins_bell_drain(p.b.bell[0]);
        ins_parked_set(word, INS_PARKED_PAGE_WISH_MESSAGES);
        assert_int_equal(exit_send(&p.exit, &p.a, 0, 3, 64, i), 1);
        struct pollfd bell = {.fd = p.b.bell[0], .events = POLLIN};
        assert_int_equal(poll(&bell, 1, 10000), 1);
        ins_parked_clear(word);
        assert_int_equal(consume(&p, i), i + 1);
    }
    node_do(&p.b, ins_engine_ping(p.b.engine)); /* counted after it is rung */
    assert_int_equal(node_count(&p.b, INS_COUNT_bells_rung), 200);
    assert_true(node_count(&p.a, INS_COUNT_sleeps) >= 200);
    pair_close(&p);
}

static void one_engine_serves_two_datapaths(void **state) {
    (void)state;
    enum { OTHER = NODE_DATAPATH + 1, MESSAGES = 500 };
    struct pair p;
    struct ins_engine_config config = node_config();
    struct exit_link exit;
    struct ins_datapath *second;
    struct ins_endpoint at = {.address = htonl(INADDR_LOOPBACK)};
    uint64_t received = 0, others = 0, sent = 0;
    pair_open(&p, &config);
    assert_int_equal(ins_datapath_open("udp", "rcvbuf=100000,sndbuf=100000", &at, &second), 0);
    node_do(&p.a, ins_engine_add_datapath(p.a.engine, OTHER, second));
    node_do(&p.a, ins_engine_set_peer(p.a.engine, PEER, OTHER, p.b.at.address, p.b.at.port, 0));
    node_do(&p.b, ins_engine_set_peer(p.b.engine, PEER + 1, NODE_DATAPATH, at.address, at.port, 0));
    exit_open(&exit, &p.a, 20, TAG, 128, 128, 64);
    node_do(&p.a, ins_engine_remove_link(p.a.engine, 20)); /* it was opened on the first */
    node_do(&p.a, ins_engine_add_egress(p.a.engine, 20, OTHER, TAG, exit.segment, exit.bytes, 128, NULL, -1));
    node_do(&p.a, ins_engine_add_pool(p.a.engine, 20, 0, exit.memory, exit.pool.bytes, 64));
    node_do(&p.a, ins_engine_add_source(p.a.engine, 20, 0, SOURCE + 1, 0, CHANNEL));
    HARNESS_UNTIL(received == MESSAGES && others == MESSAGES, &p.a, &p.b) {
        struct ins_descriptor d[32];
        if (sent < MESSAGES && sent - received < 32 && sent - others < 32 && exit_send(&p.exit, &p.a, 0, 3, 8, sent)) {
            HARNESS_UNTIL(exit_send(&exit, &p.a, 0, 0, 8, sent), &p.a, &p.b);
            sent++;
        }
        int count = entrance_take(&p.entrance, &p.b, d, 32);
        for (int i = 0; i < count; i++) {
            uint64_t *next = entrance_meta(&p.b, &d[i]).source == SOURCE ? &received : &others;
            assert_int_equal(entrance_mark(&p.b, &d[i]), (*next)++);
            entrance_give(&p.entrance, &p.b, &d[i]);
        }
    }
    exit_close(&exit, &p.a);
    node_do(&p.a, ins_engine_remove_datapath(p.a.engine, OTHER));
    ins_datapath_close(second);
    pair_close(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order_with_their_metadata),
        cmocka_unit_test(every_sink_gets_every_message),
        cmocka_unit_test(a_sink_without_credit_loses_alone_and_is_told),
        cmocka_unit_test(an_application_that_keeps_everything_starves_itself_only),
        cmocka_unit_test(a_consumer_that_forges_returns_is_closed_and_hurts_nobody),
        cmocka_unit_test(links_and_datapaths_go_under_traffic_and_leave_nothing_out),
        cmocka_unit_test(an_engine_torn_down_with_everything_open_leaves_nothing_out),
        cmocka_unit_test(parked_engines_wake_by_bell_and_by_packet_and_wake_the_application),
        cmocka_unit_test(one_engine_serves_two_datapaths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
