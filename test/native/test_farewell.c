/* Links that are held and retired, routes that move, flows that end: what the receiver is told, and what it counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#include "engine_harness.h"
#include "fake_datapath.h"

enum { TAG = 1, CHANNEL = 2, SOURCE = 9, EXIT = 1, SECOND_EXIT = 2, ENTRANCE = 3, HOST = 5, PATIENCE_MS = 20000 };
enum { FIRST = HOST * INS_PEER_ENDPOINTS, SECOND = FIRST + 1 };

struct bed {
    struct node near, far, other; /* far and other: two endpoints of one host */
    struct exit_link exit;
    struct entrance entrance, beside;
};

static void receive_at(struct node *node, struct entrance *entrance) {
    entrance_open(entrance, node, ENTRANCE, 256);
    node_do(node, ins_engine_subscribe(node->engine, ENTRANCE, TAG, CHANNEL, 0));
}

static void bed_open(struct bed *bed) {
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = 0; /* what is counted comes from markers */
    node_open(&bed->near, &config, "udp");
    node_open(&bed->far, &config, "udp");
    node_open(&bed->other, &config, "udp");
    node_introduce(&bed->near, &bed->far, FIRST);
    node_introduce(&bed->near, &bed->other, SECOND);
    receive_at(&bed->far, &bed->entrance);
    receive_at(&bed->other, &bed->beside);
    exit_open(&bed->exit, &bed->near, EXIT, TAG, 256, 256, 1024);
    node_do(&bed->near, ins_engine_add_source(bed->near.engine, EXIT, 0, SOURCE, 0, CHANNEL));
    node_do(&bed->near, ins_engine_add_route(bed->near.engine, TAG, CHANNEL, FIRST));
}

static void bed_close(struct bed *bed) {
    exit_close(&bed->exit, &bed->near);
    entrance_close(&bed->entrance, &bed->far);
    entrance_close(&bed->beside, &bed->other);
    node_close(&bed->near);
    node_close(&bed->far);
    node_close(&bed->other);
}

static void send(struct bed *bed, uint64_t from, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        assert_true(exit_send(&bed->exit, &bed->near, 0, 0, 64, from + i));
}

/* Takes what is there; it goes on from *next. */
static void take(struct node *node, struct entrance *entrance, uint64_t *next) {
    struct ins_descriptor d[32];
    int count = entrance_take(entrance, node, d, 32);
    for (int i = 0; i < count; i++) {
        assert_int_equal(entrance_mark(node, &d[i]), (*next)++);
        entrance_give(entrance, node, &d[i]);
    }
}

static const struct ins_event *event_of(const struct node *node, uint32_t type) {
    for (uint32_t i = 0; i < node->event_count; i++)
        if (node->events[i].type == type)
            return &node->events[i];
    return NULL;
}

static void a_held_link_waits_until_it_is_let_go(void **state) {
    (void)state;
    static struct bed bed;
    uint64_t next = 0;
    bed_open(&bed);
    node_do(&bed.near, ins_engine_hold_link(bed.near.engine, EXIT, 1));
    assert_int_equal(node_ack(&bed.near, ins_engine_hold_link(bed.near.engine, 99, 1), NULL), -ENOENT);
    send(&bed, 0, 10);
    node_do(&bed.near, ins_engine_ping(bed.near.engine));
    assert_int_equal(node_count(&bed.near, INS_COUNT_tx_datagrams), 0);
    node_do(&bed.near, ins_engine_hold_link(bed.near.engine, EXIT, 0));
    HARNESS_UNTIL(next == 10, &bed.near, &bed.far)
    take(&bed.far, &bed.entrance, &next);
    bed_close(&bed);
}

static void a_retired_link_is_marked_when_all_of_it_has_arrived(void **state) {
    (void)state;
    static struct bed bed;
    uint64_t next = 0;
    bed_open(&bed);
    send(&bed, 0, 100);
    node_do(&bed.near, ins_engine_retire_link(bed.near.engine, EXIT, PATIENCE_MS));
    HARNESS_UNTIL(node_events(&bed.near, INS_EVENT_MARKED, NULL), &bed.near, &bed.far) {}
    const struct ins_event *marked = event_of(&bed.near, INS_EVENT_MARKED);
    assert_int_equal(marked->a, EXIT);
    assert_int_equal(marked->b, 0);
    assert_int_equal(marked->value, 0);
    /* Everything is on the link already: no further turn of the receiver's engine is needed. */
    assert_int_equal(node_count(&bed.far, INS_COUNT_rx_messages), 100);
    assert_int_equal(node_count(&bed.near, INS_COUNT_flows), 0);
    HARNESS_UNTIL(next == 100, &bed.near, &bed.far)
    take(&bed.far, &bed.entrance, &next);
    bed_close(&bed);
}

static void a_link_on_which_nothing_was_sent_is_marked_at_once(void **state) {
    (void)state;
    static struct bed bed;
    bed_open(&bed);
    node_do(&bed.near, ins_engine_retire_link(bed.near.engine, EXIT, PATIENCE_MS));
    HARNESS_UNTIL(node_events(&bed.near, INS_EVENT_MARKED, NULL), &bed.near, &bed.far) {}
    assert_int_equal(node_count(&bed.near, INS_COUNT_markers_out), 0);
    bed_close(&bed);
}

static void a_receiver_that_does_not_echo_is_waited_for_no_longer_than_patience(void **state) {
    (void)state;
    static struct bed bed;
    bed_open(&bed);
    send(&bed, 0, 5);
    HARNESS_UNTIL(node_count(&bed.far, INS_COUNT_rx_messages) == 5, &bed.near, &bed.far) {}
    node_do(&bed.far, ins_engine_remove_peer(bed.far.engine, FIRST)); /* knows the sender no more */
    node_do(&bed.near, ins_engine_retire_link(bed.near.engine, EXIT, 50));
    HARNESS_UNTIL(node_events(&bed.near, INS_EVENT_MARKED, NULL), &bed.near, &bed.far) {}
    assert_int_equal(event_of(&bed.near, INS_EVENT_MARKED)->b, 1);
    /* The other endpoint of its host hears of it, and asks its control, which finds what was left behind. */
    HARNESS_UNTIL(node_events(&bed.other, INS_EVENT_ENDED, NULL), &bed.near, &bed.other) {}
    const struct ins_event *ended = event_of(&bed.other, INS_EVENT_ENDED);
    assert_int_equal(ended->status, HOST);
    assert_int_equal(ended->a, TAG);
    assert_int_equal(ended->b, CHANNEL);
    assert_int_equal(ended->c, SOURCE);
    assert_int_equal(ended->value, 5);
    uint64_t known;
    struct ins_engine *far = bed.far.engine;
    assert_int_equal(node_ack(&bed.far, ins_engine_account_flow(far, HOST, TAG, CHANNEL, SOURCE, ended->d, 5), &known), 0);
    assert_int_equal(known, 1);
    assert_int_equal(node_count(&bed.far, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_ack(&bed.far, ins_engine_account_flow(far, HOST, TAG, CHANNEL, SOURCE, ended->d + 1, 5), &known), 0);
    assert_int_equal(known, 0);
    bed_close(&bed);
}

static void a_route_moves_to_another_endpoint_and_nothing_overtakes(void **state) {
    (void)state;
    static struct bed bed;
    uint64_t at_far = 0, at_other = 100;
    bed_open(&bed);
    send(&bed, 0, 100);
    HARNESS_UNTIL(node_count(&bed.near, INS_COUNT_tx_messages) == 100, &bed.near, &bed.near) {}
    node_do(&bed.near, ins_engine_move_route(bed.near.engine, TAG, CHANNEL, FIRST, SECOND, PATIENCE_MS));
    send(&bed, 100, 100);
    HARNESS_UNTIL(at_other > 100, &bed.near, &bed.other) {
        take(&bed.other, &bed.beside, &at_other);
        node_pump(&bed.far);
    }
    assert_int_equal(node_count(&bed.far, INS_COUNT_rx_messages), 100);
    HARNESS_UNTIL(at_far == 100 && at_other == 200, &bed.near, &bed.far) {
        take(&bed.far, &bed.entrance, &at_far);
        take(&bed.other, &bed.beside, &at_other);
    }
    assert_int_equal(node_count(&bed.far, INS_COUNT_rx_lost) + node_count(&bed.other, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_ack(&bed.near, ins_engine_move_route(bed.near.engine, TAG, CHANNEL, FIRST, SECOND, 0), NULL), -ENOENT);
    bed_close(&bed);
}

static void what_was_sent_to_an_endpoint_that_died_is_counted_at_another(void **state) {
    (void)state;
    static struct bed bed;
    uint64_t at_other = 30;
    bed_open(&bed);
    send(&bed, 0, 10);
    HARNESS_UNTIL(node_count(&bed.far, INS_COUNT_rx_messages) == 10, &bed.near, &bed.far) {}
    node_do(&bed.far, ins_engine_remove_datapath(bed.far.engine, NODE_DATAPATH));
    assert_int_equal(ins_datapath_close(bed.far.datapath), 0);
    bed.far.datapath = NULL;
    send(&bed, 10, 20);
    HARNESS_UNTIL(node_count(&bed.near, INS_COUNT_tx_messages) == 30, &bed.near, &bed.other) {}
    node_do(&bed.near, ins_engine_move_route(bed.near.engine, TAG, CHANNEL, FIRST, SECOND, 0));
    node_do(&bed.near, ins_engine_remove_peer(bed.near.engine, FIRST));
    send(&bed, 30, 10);
    HARNESS_UNTIL(at_other == 40, &bed.near, &bed.other)
    take(&bed.other, &bed.beside, &at_other);
    HARNESS_UNTIL(node_events(&bed.other, INS_EVENT_ENDED, NULL), &bed.near, &bed.other) {}
    const struct ins_event *ended = event_of(&bed.other, INS_EVENT_ENDED);
    assert_int_equal(ended->value, 30);
    uint64_t known, lost;
    for (int again = 0; again < 2; again++) {
        int64_t asked = ins_engine_account_flow(bed.far.engine, HOST, TAG, CHANNEL, SOURCE, ended->d, ended->value);
        assert_int_equal(node_ack(&bed.far, asked, &known), 0);
        assert_int_equal(known, 1);
    }
    HARNESS_UNTIL(node_events(&bed.far, INS_EVENT_LOST, &lost), &bed.near, &bed.far) {}
    assert_int_equal(lost, 20);
    assert_int_equal(node_count(&bed.far, INS_COUNT_rx_lost), 20);
    uint64_t at_far = 0;
    HARNESS_UNTIL(at_far == 10, &bed.near, &bed.far)
    take(&bed.far, &bed.entrance, &at_far);
    bed_close(&bed);
}

/* A source whose only peer is behind a datapath that answers nothing. */
static struct fake *lone_open(struct node *node, struct exit_link *exit) {
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = 0;
    node_open(node, &config, NULL);
    struct fake *fake = fake_new();
    node_do(node, ins_engine_add_datapath(node->engine, NODE_DATAPATH, &fake->base));
    node_do(node, ins_engine_set_peer(node->engine, FIRST, NODE_DATAPATH, 1, 1, 0));
    node_do(node, ins_engine_add_route(node->engine, TAG, CHANNEL, FIRST));
    exit_open(exit, node, EXIT, TAG, 16, 16, 64);
    node_do(node, ins_engine_add_source(node->engine, EXIT, 0, SOURCE, 0, CHANNEL));
    return fake;
}

/* Of 5 messages the device takes 3 and then breaks: 2 come back as dropped, and 3 is what control is to tell of. */
static void what_a_broken_datapath_did_not_send_is_not_told_as_sent(void **state) {
    (void)state;
    struct node node;
    struct exit_link exit;
    struct fake *fake = lone_open(&node, &exit);
    fake_set(&fake->takes, 3);
    for (uint64_t i = 0; i < 5; i++)
        assert_true(exit_send(&exit, &node, 0, 0, 16, i));
    HARNESS_UNTIL(node_count(&node, INS_COUNT_tx_messages) == 3 && node_count(&node, INS_COUNT_tx_again), &node, &node) {}
    fake_set((uint32_t *)&fake->tx_error, (uint32_t)-EIO);
    HARNESS_UNTIL(node_events(&node, INS_EVENT_DATAPATH_DOWN, NULL), &node, &node) {}
    HARNESS_UNTIL(exit.returned[INS_STATUS_NETWORK] == 2, &node, &node)
    exit_reclaim(&exit);
    assert_int_equal(exit.returned[INS_STATUS_DONE], 3);
    node_do(&node, ins_engine_retire_link(node.engine, EXIT, PATIENCE_MS));
    uint64_t sent;
    HARNESS_UNTIL(node_events(&node, INS_EVENT_UNTOLD, &sent), &node, &node) {}
    assert_int_equal(sent, 3);
    assert_int_equal(event_of(&node, INS_EVENT_UNTOLD)->status, HOST);
    HARNESS_UNTIL(node_events(&node, INS_EVENT_MARKED, NULL), &node, &node) {}
    assert_int_equal(event_of(&node, INS_EVENT_MARKED)->b, 1);
    exit_close(&exit, &node);
    node_do(&node, ins_engine_remove_datapath(node.engine, NODE_DATAPATH));
    fake_free(fake);
    node_close(&node);
}

static void takes(struct fake *fake, struct node *node, uint32_t count, int error) {
    const uint32_t before = fake_get(&fake->sent_count);
    fake_set((uint32_t *)&fake->refuses, (uint32_t)error);
    fake_set(&fake->takes, count);
    HARNESS_UNTIL(fake_get(&fake->sent_count) == before + count, node, node) {}
    node_do(node, ins_engine_ping(node->engine));
}

/* Of 8 messages the device refuses the 3rd to 5th and, when their flow has ended, the 7th. These come back as dropped: what
   follows them moves up, and the marker tells of 4. */
static void what_a_datapath_refused_is_not_missed_as_well(void **state) {
    (void)state;
    struct node node;
    struct exit_link exit;
    struct fake *fake = lone_open(&node, &exit);
    fake_set(&fake->takes, 0);
    for (uint64_t i = 0; i < 8; i++)
        assert_true(exit_send(&exit, &node, 0, 0, 16, i));
    takes(fake, &node, 2, 0);
    takes(fake, &node, 3, -EHOSTUNREACH);
    takes(fake, &node, 1, 0);
    assert_int_equal(fake->sent[5].sequence, 2);
    node_do(&node, ins_engine_retire_link(node.engine, EXIT, PATIENCE_MS));
    HARNESS_UNTIL(node_count(&node, INS_COUNT_flows) == 0, &node, &node) {}
    takes(fake, &node, 1, -EHOSTUNREACH);
    takes(fake, &node, 1, 0);
    assert_int_equal(fake->sent[7].type, INS_WIRE_TYPE_DATA);
    assert_int_equal(fake->sent[7].sequence, 3);
    takes(fake, &node, 1, 0);
    assert_int_equal(fake->sent[8].type, INS_WIRE_TYPE_MARKER);
    assert_int_equal(fake->sent[8].sequence, 4);
    HARNESS_UNTIL(exit.returned[INS_STATUS_NETWORK] == 4, &node, &node)
    exit_reclaim(&exit);
    assert_int_equal(exit.returned[INS_STATUS_DONE], 4);
    exit_close(&exit, &node);
    node_do(&node, ins_engine_remove_datapath(node.engine, NODE_DATAPATH));
    fake_free(fake);
    node_close(&node);
}

/* Of 3 messages, to an endpoint that is gone and has no other here (an engine of RDMA knows of none but RDMA's), and to one
   that is there and does not answer. */
static void what_this_engine_cannot_tell_is_told_to_control(void **state) {
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct node node;
        struct exit_link exit;
        struct fake *fake = lone_open(&node, &exit);
        for (uint64_t i = 0; i < 3; i++)
            assert_true(exit_send(&exit, &node, 0, 0, 16, i));
        HARNESS_UNTIL(node_count(&node, INS_COUNT_tx_messages) == 3, &node, &node) {}
        if (gone)
            node_do(&node, ins_engine_remove_peer(node.engine, FIRST));
        else
            node_do(&node, ins_engine_retire_link(node.engine, EXIT, 50));
        uint64_t sent;
        HARNESS_UNTIL(node_events(&node, INS_EVENT_UNTOLD, &sent), &node, &node) {}
        assert_int_equal(sent, 3);
        assert_int_equal(event_of(&node, INS_EVENT_UNTOLD)->status, HOST);
        exit_close(&exit, &node);
        node_do(&node, ins_engine_remove_datapath(node.engine, NODE_DATAPATH));
        fake_free(fake);
        node_close(&node);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_link_waits_until_it_is_let_go),
        cmocka_unit_test(a_retired_link_is_marked_when_all_of_it_has_arrived),
        cmocka_unit_test(a_link_on_which_nothing_was_sent_is_marked_at_once),
        cmocka_unit_test(a_receiver_that_does_not_echo_is_waited_for_no_longer_than_patience),
        cmocka_unit_test(a_route_moves_to_another_endpoint_and_nothing_overtakes),
        cmocka_unit_test(what_was_sent_to_an_endpoint_that_died_is_counted_at_another),
        cmocka_unit_test(what_a_broken_datapath_did_not_send_is_not_told_as_sent),
        cmocka_unit_test(what_a_datapath_refused_is_not_missed_as_well),
        cmocka_unit_test(what_this_engine_cannot_tell_is_told_to_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
