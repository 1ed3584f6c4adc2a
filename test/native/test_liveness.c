/* That a host lives is said by its engine alone, whoever runs it; when a peer was last heard of can be read at any time;
   and what a silence does not end is not counted as lost when it is over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/wire.h"
#include "engine_harness.h"
#include "fake_datapath.h"

enum { TAG = 7, CHANNEL = 8, PEER = 5, SLOTS = 64, PAYLOAD = 128, ALIVE_MS = 20 };

static struct ins_engine_config alive_config(void) {
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = 0; /* only those that are our subject */
    config.alive_ms = ALIVE_MS;
    return config;
}

/* What control reads: when the engine last heard of a peer, in ms of CLOCK_MONOTONIC; 0: never; -1: it does not know it. */
static int64_t heard(const struct node *node, uint32_t peer) {
    const uint64_t *pairs = (const uint64_t *)(const void *)(node->counters + INS_COUNTERS_HEARD);
    for (uint32_t i = 0; i < INS_COUNTERS_HEARD_PEERS; i++)
        if (__atomic_load_n(&pairs[2 * i], __ATOMIC_ACQUIRE) == (uint64_t)peer + 1)
            return (int64_t)__atomic_load_n(&pairs[2 * i + 1], __ATOMIC_RELAXED);
    return -1;
}

static void heartbeats_keep_coming(const struct ins_engine_config *config, int polled) {
    struct node node, nobody;
    node_open(&node, config, NULL);
    struct ins_engine_config plain = node_config();
    node_open(&nobody, &plain, NULL);
    struct fake *fake = fake_new();
    node_do(&node, ins_engine_add_datapath(node.engine, NODE_DATAPATH, &fake->base));
    for (uint32_t peer = PEER; peer < PEER + 3; peer++)
        node_do(&node, ins_engine_set_peer(node.engine, peer, NODE_DATAPATH, 1, peer, 0));
    uint64_t begin = harness_ms();
    HARNESS_UNTIL(fake_get(&fake->sent_count) >= 30, &nobody, polled ? &node : &nobody);
    assert_true(harness_ms() - begin >= 9 * ALIVE_MS - 20); /* the clock is good to a tick */
    node_do(&node, ins_engine_remove_peer(node.engine, PEER + 1));
    uint32_t before = fake_get(&fake->sent_count), to[PEER + 3] = {0};
    HARNESS_UNTIL(fake_get(&fake->sent_count) >= before + 10, &nobody, polled ? &node : &nobody);
    for (uint32_t i = 0; i < before + 10; i++) {
        assert_int_equal(fake->sent[i].type, INS_WIRE_TYPE_HEARTBEAT);
        assert_int_equal(fake->sent[i].length, 0);
        if (i >= before)
            to[fake->to[i].port]++;
    }
    assert_int_equal(to[PEER], 5);
    assert_int_equal(to[PEER + 1], 0);
    assert_int_equal(to[PEER + 2], 5);
    node_do(&node, ins_engine_remove_datapath(node.engine, NODE_DATAPATH));
    fake_free(fake);
    node_close(&node);
    node_close(&nobody);
}

static void an_idle_engine_says_that_it_lives(void **state) {
    (void)state;
    struct ins_engine_config config = alive_config();
    heartbeats_keep_coming(&config, 0);
}

static void so_does_one_that_its_owner_polls_and_one_whose_owner_is_away(void **state) {
    (void)state;
    struct ins_engine_config config = alive_config();
    config.lease = INS_LEASE_INLINE;
    config.takeover_us = 1000000; /* the thread is no help */
    heartbeats_keep_coming(&config, 1);
    config.takeover_us = 1000;
    heartbeats_keep_coming(&config, 0);
}

static void a_peer_is_heard_by_whatever_it_sends_and_nobody_else_is(void **state) {
    (void)state;
    struct node a, b;
    struct ins_engine_config config = node_config(), beating = alive_config();
    node_open(&a, &config, "udp");
    node_open(&b, &beating, "udp");
    assert_int_equal(heard(&a, PEER), -1);
    node_do(&a, ins_engine_set_peer(a.engine, PEER, NODE_DATAPATH, b.at.address, b.at.port, 0));
    node_do(&a, ins_engine_set_peer(a.engine, PEER + 1, NODE_DATAPATH, b.at.address, b.at.port == 9 ? 10 : 9, 0));
    assert_int_equal(heard(&a, PEER), 0);
    /* What is no message of ours is nobody's sign of life. */
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(a.at.port), .sin_addr.s_addr = a.at.address};
    int stranger = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint8_t header[INS_WIRE_HEADER];
    struct ins_wire wire = {.type = INS_WIRE_TYPE_HEARTBEAT};
    ins_wire_write(header, &wire);
    assert_int_equal(sendto(stranger, header, sizeof header, 0, (struct sockaddr *)&to, sizeof to), sizeof header);
    HARNESS_UNTIL(node_count(&a, INS_COUNT_rx_unknown_peer) == 1, &a, &b);
    close(stranger);
    assert_int_equal(heard(&a, PEER), 0);

    node_do(&b, ins_engine_set_peer(b.engine, PEER, NODE_DATAPATH, a.at.address, a.at.port, 0));
    HARNESS_UNTIL(heard(&a, PEER) > 0, &a, &b);
    uint64_t now = harness_ms();
    assert_true((uint64_t)heard(&a, PEER) <= now + 20 && (uint64_t)heard(&a, PEER) + 10000 > now);
    int64_t first = heard(&a, PEER);
    HARNESS_UNTIL(heard(&a, PEER) > first, &a, &b);
    assert_int_equal(heard(&a, PEER + 1), 0);
    node_do(&a, ins_engine_remove_peer(a.engine, PEER));
    assert_int_equal(heard(&a, PEER), -1);
    node_close(&a);
    node_close(&b);
}

/* An application that sends by a fake datapath to one peer. */
struct sender {
    struct node node;
    struct fake *fake;
    struct exit_link exit;
};

static void sender_open(struct sender *s, const struct ins_engine_config *config) {
    memset(s, 0, sizeof *s);
    node_open(&s->node, config, NULL);
    s->fake = fake_new();
    node_do(&s->node, ins_engine_add_datapath(s->node.engine, NODE_DATAPATH, &s->fake->base));
    node_do(&s->node, ins_engine_set_peer(s->node.engine, PEER, NODE_DATAPATH, 1, PEER, 0));
    node_do(&s->node, ins_engine_add_route(s->node.engine, TAG, CHANNEL, PEER));
    exit_open(&s->exit, &s->node, 1, TAG, SLOTS, SLOTS, PAYLOAD);
    node_do(&s->node, ins_engine_add_source(s->node.engine, 1, 2, 500, 3, CHANNEL));
}

static void sender_close(struct sender *s) {
    exit_close(&s->exit, &s->node);
    node_do(&s->node, ins_engine_remove_datapath(s->node.engine, NODE_DATAPATH));
    fake_free(s->fake);
    node_close(&s->node);
}

static void send_one(struct sender *s, uint32_t status) {
    uint64_t before = s->exit.returned[status];
    assert_int_equal(exit_send(&s->exit, &s->node, 2, 3, 8, 1), 1);
    HARNESS_UNTIL(s->exit.returned[status] == before + 1, &s->node, &s->node) exit_reclaim(&s->exit);
}

static void a_muted_peer_gets_no_message_and_its_flow_goes_on_afterwards(void **state) {
    (void)state;
    struct sender s;
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = 0;
    sender_open(&s, &config);
    struct ins_engine *e = s.node.engine;
    send_one(&s, INS_STATUS_DONE);
    node_do(&s.node, ins_engine_mute_peer(e, PEER, 1));
    send_one(&s, INS_STATUS_NO_PEER);
    send_one(&s, INS_STATUS_NO_PEER);
    assert_int_equal(fake_get(&s.fake->sent_count), 1);
    node_do(&s.node, ins_engine_mute_peer(e, PEER, 0));
    send_one(&s, INS_STATUS_DONE);
    assert_int_equal(fake_get(&s.fake->sent_count), 2);
    assert_int_equal(s.fake->sent[1].sequence, 1);
    assert_int_equal(s.fake->sent[1].flow, s.fake->sent[0].flow);
    assert_int_equal(node_ack(&s.node, ins_engine_mute_peer(e, PEER + 1, 1), NULL), -ENOENT);
    sender_close(&s);
}

static void the_mark_of_a_quiet_flow_goes_with_every_heartbeat(void **state) {
    (void)state;
    struct sender s;
    struct ins_engine_config config = alive_config();
    sender_open(&s, &config);
    send_one(&s, INS_STATUS_DONE);
    uint32_t before = fake_get(&s.fake->sent_count);
    HARNESS_UNTIL(fake_get(&s.fake->sent_count) >= before + 10, &s.node, &s.node);
    for (uint32_t i = before; i < before + 10; i++) {
        assert_int_equal(s.fake->sent[i].type, INS_WIRE_TYPE_HEARTBEAT);
        assert_int_equal(s.fake->sent[i].length, INS_HEARTBEAT_RECORD_BYTES);
    }
    /* Also when its source is gone: its receiver may not have heard of the end yet. */
    node_do(&s.node, ins_engine_remove_source(s.node.engine, 1, 2));
    before = fake_get(&s.fake->sent_count);
    HARNESS_UNTIL(fake_get(&s.fake->sent_count) >= before + 10, &s.node, &s.node);
    assert_int_equal(s.fake->sent[before + 9].length, INS_HEARTBEAT_RECORD_BYTES);
    sender_close(&s);
}

static void many_flows_are_marked_in_turn_and_every_peer_gets_a_heartbeat(void **state) {
    (void)state;
    enum { SOURCES = 600 }; /* more than one round takes */
    struct sender s;
    struct ins_engine_config config = alive_config();
    sender_open(&s, &config);
    struct ins_engine *e = s.node.engine;
    node_do(&s.node, ins_engine_set_peer(e, PEER + 1, NODE_DATAPATH, 1, PEER + 1, 0));
    for (uint32_t i = 0; i < SOURCES; i++)
        node_do(&s.node, ins_engine_add_source(e, 1, 10 + i, 1000 + i, 3, CHANNEL));
    uint64_t sent = 0;
    HARNESS_UNTIL(sent == SOURCES, &s.node, &s.node) {
        exit_reclaim(&s.exit);
        while (sent < SOURCES && exit_send(&s.exit, &s.node, 10 + (uint32_t)sent, 3, 8, sent))
            sent++;
    }
    uint32_t before = fake_get(&s.fake->sent_count), marked = 0, empty = 0;
    HARNESS_UNTIL(marked >= 4 * SOURCES && empty >= 8, &s.node, &s.node) {
        for (; before < fake_get(&s.fake->sent_count); before++) {
            const struct ins_wire *wire = &s.fake->sent[before];
            if (wire->type != INS_WIRE_TYPE_HEARTBEAT)
                continue;
            uint32_t records = wire->length / INS_HEARTBEAT_RECORD_BYTES;
            assert_true(records <= INS_HEARTBEAT_MAX_RECORDS);
            assert_int_equal(s.fake->to[before].port, records ? PEER : PEER + 1);
            marked += records;
            empty += records == 0;
        }
    }
    sender_close(&s);
}

/* Both ends real: what the tail's heartbeats did not tell, later ones do, and a silence ends with exact sums. */
static void a_tail_that_was_lost_with_its_heartbeats_is_found_out(void **state) {
    (void)state;
    struct node a, b;
    struct ins_engine_config config = alive_config();
    config.heartbeat_ms = 1; /* over after 63 ms */
    uint64_t lost = 0;
    node_open(&a, &config, "udp");
    node_open(&b, &config, "udp");
    struct entrance entrance;
    entrance_open(&entrance, &b, 1, 64);
    node_do(&b, ins_engine_subscribe(b.engine, 1, TAG, CHANNEL, 0));
    struct exit_link exit;
    node_do(&a, ins_engine_set_peer(a.engine, PEER, NODE_DATAPATH, b.at.address, b.at.port, 0));
    node_do(&a, ins_engine_add_route(a.engine, TAG, CHANNEL, PEER));
    exit_open(&exit, &a, 1, TAG, SLOTS, SLOTS, PAYLOAD);
    node_do(&a, ins_engine_add_source(a.engine, 1, 2, 500, 3, CHANNEL));
    /* b does not listen to a yet: all of this is lost, as in a network that lets nothing through. */
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(exit_send(&exit, &a, 2, 3, 8, i), 1);
    HARNESS_UNTIL(node_count(&b, INS_COUNT_rx_unknown_peer) >= 5 + 6, &a, &b) exit_reclaim(&exit);
    uint64_t quiet = harness_ms() + 100; /* so that the flow's own heartbeats are over */
    HARNESS_UNTIL(harness_ms() > quiet, &a, &b);
    node_do(&b, ins_engine_set_peer(b.engine, PEER, NODE_DATAPATH, a.at.address, a.at.port, 0));
    HARNESS_UNTIL((node_events(&b, INS_EVENT_LOST, &lost), lost == 5), &a, &b);
    assert_int_equal(node_count(&b, INS_COUNT_rx_lost), 5);

    /* The same peer once more, as after a restart of b's engine: what went before is no loss, what follows is. */
    assert_int_equal(exit_send(&exit, &a, 2, 3, 8, 5), 1);
    HARNESS_UNTIL(node_count(&b, INS_COUNT_rx_messages) == 1, &a, &b);
    node_do(&b, ins_engine_remove_peer(b.engine, PEER));
    assert_int_equal(exit_send(&exit, &a, 2, 3, 8, 6), 1);
    uint64_t unknown = node_count(&b, INS_COUNT_rx_unknown_peer);
    HARNESS_UNTIL(node_count(&b, INS_COUNT_rx_unknown_peer) > unknown, &a, &b);
    node_do(&b, ins_engine_resume_peer(b.engine, PEER, NODE_DATAPATH, a.at.address, a.at.port, 0));
    assert_int_equal(exit_send(&exit, &a, 2, 3, 8, 7), 1);
    HARNESS_UNTIL(node_count(&b, INS_COUNT_rx_messages) == 2, &a, &b);
    assert_int_equal(node_count(&b, INS_COUNT_rx_lost), 5);

    struct ins_descriptor d[8];
    int taken = 0;
    HARNESS_UNTIL(taken == 2, &a, &b) taken += entrance_take(&entrance, &b, &d[taken], 8 - taken);
    for (int i = 0; i < taken; i++)
        entrance_give(&entrance, &b, &d[i]);
    HARNESS_UNTIL(exit.returned[INS_STATUS_DONE] == 8, &a, &b) exit_reclaim(&exit);
    exit_close(&exit, &a);
    entrance_close(&entrance, &b);
    node_close(&a);
    node_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_engine_says_that_it_lives),
        cmocka_unit_test(so_does_one_that_its_owner_polls_and_one_whose_owner_is_away),
        cmocka_unit_test(a_peer_is_heard_by_whatever_it_sends_and_nobody_else_is),
        cmocka_unit_test(a_muted_peer_gets_no_message_and_its_flow_goes_on_afterwards),
        cmocka_unit_test(the_mark_of_a_quiet_flow_goes_with_every_heartbeat),
        cmocka_unit_test(many_flows_are_marked_in_turn_and_every_peer_gets_a_heartbeat),
        cmocka_unit_test(a_tail_that_was_lost_with_its_heartbeats_is_found_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
