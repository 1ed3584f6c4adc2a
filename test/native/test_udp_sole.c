/* The socket of the udp datapath is connected to its only peer once messages come one by one, and to nobody as soon as
   there is a second one; nothing is lost or taken for somebody else's on the way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_harness.h"

enum { TAG = 0x50, CHANNEL = 4, SOURCE = 800, LONE = 1024 };

/* Sends messages of its own to the one node that all of these tests watch. */
struct sender {
    struct node node;
    struct exit_link exit;
    uint32_t peer;
    uint64_t sent;
};

static void sender_open(struct sender *s, struct node *to, uint32_t peer) {
    struct ins_engine_config config = node_config();
    node_open(&s->node, &config, "udp");
    node_introduce(&s->node, to, peer);
    exit_open(&s->exit, &s->node, 1, TAG, 1024, 512, 2048);
    node_do(&s->node, ins_engine_add_source(s->node.engine, 1, 0, SOURCE + peer, 0, CHANNEL));
    node_do(&s->node, ins_engine_add_route(s->node.engine, TAG, CHANNEL, peer));
    s->peer = peer;
    s->sent = 0;
}

static void sender_close(struct sender *s) {
    HARNESS_UNTIL(s->exit.returned[INS_STATUS_DONE] == s->sent, &s->node, &s->node) exit_reclaim(&s->exit);
    exit_close(&s->exit, &s->node);
    node_close(&s->node);
}

static uint64_t connects(struct node *node) {
    char name[64];
    uint64_t value;
    for (uint32_t i = 0; ins_datapath_stat(node->datapath, i, name, sizeof name, &value) == 0; i++)
        if (strcmp(name, "connects") == 0)
            return value;
    fail_msg("no such counter");
    return 0;
}

/* One message after the other: each has arrived before the next one leaves. */
static void send_alone(struct sender *s, struct node *to, struct entrance *entrance, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct ins_descriptor d;
        assert_int_equal(exit_send(&s->exit, &s->node, 0, 0, 64, s->sent), 1);
        HARNESS_UNTIL(entrance_take(entrance, to, &d, 1) == 1, &s->node, to) exit_reclaim(&s->exit);
        struct meta meta = entrance_meta(to, &d);
        assert_int_equal(meta.source, SOURCE + s->peer);
        assert_int_equal(meta.sequence, s->sent++);
        entrance_give(entrance, to, &d);
    }
}

static void open_all(struct node *to, struct entrance *entrance) {
    struct ins_engine_config config = node_config();
    node_open(to, &config, "udp");
    entrance_open(entrance, to, 2, 1024);
    node_do(to, ins_engine_subscribe(to->engine, 2, TAG, CHANNEL, 0));
}

static void the_only_peer_is_connected_and_a_second_one_ends_that(void **state) {
    (void)state;
    struct node to;
    struct entrance entrance;
    struct sender a, b;
    open_all(&to, &entrance);
    sender_open(&a, &to, 5);
    send_alone(&a, &to, &entrance, LONE / 2);
    assert_int_equal(connects(&to), 0);
    /* Until it is connected, and on until it has relied on that for a while. */
    for (uint32_t i = 0; connects(&to) == 0 && i < 64; i++)
        send_alone(&a, &to, &entrance, LONE / 4);
    assert_int_equal(connects(&to), 1);
    send_alone(&a, &to, &entrance, 2 * LONE);

    sender_open(&b, &to, 6);
    for (uint32_t i = 0; i < 50; i++) {
        send_alone(&b, &to, &entrance, 1);
        send_alone(&a, &to, &entrance, 1);
    }
    assert_int_equal(node_count(&to, INS_COUNT_rx_unknown_peer), 0);
    sender_close(&a); /* with its heartbeats, which would come from a stranger */
    node_do(&to, ins_engine_remove_peer(to.engine, 5));
    for (uint32_t i = 0; connects(&to) == 1 && i < 64; i++)
        send_alone(&b, &to, &entrance, LONE / 4);
    assert_int_equal(connects(&to), 2);
    send_alone(&b, &to, &entrance, 2 * LONE);
    assert_int_equal(node_count(&to, INS_COUNT_rx_lost), 0);
    assert_int_equal(node_count(&to, INS_COUNT_rx_bad_flow), 0);
    sender_close(&b);
    entrance_close(&entrance, &to);
    node_close(&to);
}

static void while_strangers_knock_they_are_counted_and_bursts_stay_whole(void **state) {
    (void)state;
    struct node to;
    struct entrance entrance;
    struct sender a;
    open_all(&to, &entrance);
    sender_open(&a, &to, 5);
    int stranger = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(to.at.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(stranger >= 0);
    for (uint32_t i = 0; i < 4 * LONE; i++) {
        char junk[48] = "IN";
        if (i % 16 == 0)
            assert_int_equal(sendto(stranger, junk, sizeof junk, 0, (struct sockaddr *)&name, sizeof name), sizeof junk);
        send_alone(&a, &to, &entrance, 1);
    }
    assert_int_equal(connects(&to), 0);
    assert_true(node_count(&to, INS_COUNT_rx_bad_version) > 0); /* that is how they are seen */
    close(stranger);
    for (uint32_t i = 0; connects(&to) == 0 && i < 64; i++)
        send_alone(&a, &to, &entrance, LONE / 4);
    assert_int_equal(connects(&to), 1);
    /* A burst is as whole as before, and messages one by one after it. */
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t burst = 200, got = 0;
        for (uint32_t i = 0; i < burst; i++)
            assert_int_equal(exit_send(&a.exit, &a.node, 0, 0, 64, a.sent + i), 1);
        HARNESS_UNTIL(got == burst, &a.node, &to) {
            struct ins_descriptor d[32];
            int count = entrance_take(&entrance, &to, d, 32);
            for (int i = 0; i < count; i++, got++) {
                assert_int_equal(entrance_mark(&to, &d[i]), a.sent + got);
                entrance_give(&entrance, &to, &d[i]);
            }
            exit_reclaim(&a.exit);
        }
        a.sent += burst;
        send_alone(&a, &to, &entrance, 20);
    }
    assert_int_equal(node_count(&to, INS_COUNT_rx_lost), 0);
    sender_close(&a);
    entrance_close(&entrance, &to);
    node_close(&to);
}

static void a_peer_whose_port_is_closed_costs_no_later_message(void **state) {
    (void)state;
    struct node to;
    struct entrance entrance;
    struct sender a;
    struct exit_link exit;
    open_all(&to, &entrance);
    sender_open(&a, &to, 5);
    for (uint32_t i = 0; connects(&to) == 0 && i < 64; i++)
        send_alone(&a, &to, &entrance, LONE / 4);
    exit_open(&exit, &to, 9, TAG, 64, 64, 2048);
    node_do(&to, ins_engine_add_source(to.engine, 9, 0, SOURCE + 9, 0, CHANNEL + 1));
    node_do(&to, ins_engine_add_route(to.engine, TAG, CHANNEL + 1, 5));
    struct ins_endpoint was = a.node.at;
    sender_close(&a);
    /* The kernel answers for it: refused. That comes back with the next call, which is not the one to blame. */
    uint64_t sent = 0;
    HARNESS_UNTIL(exit.returned[INS_STATUS_DONE] == 100, &to, &to) {
        if (sent < 100 && exit_send(&exit, &to, 0, 0, 64, sent))
            sent++;
        exit_reclaim(&exit);
    }
    assert_int_equal(node_count(&to, INS_COUNT_tx_refused), 0);
    /* Somebody takes the port again and gets what is sent to it. */
    int again = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons(was.port), .sin_addr.s_addr = was.address};
    struct timeval patience = {.tv_sec = 20};
    char data[2048];
    assert_int_equal(bind(again, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(setsockopt(again, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    for (uint32_t i = 0; i < 20; i++) {
        uint64_t done = exit.returned[INS_STATUS_DONE];
        assert_int_equal(exit_send(&exit, &to, 0, 0, 64, sent++), 1);
        HARNESS_UNTIL(exit.returned[INS_STATUS_DONE] == done + 1, &to, &to) exit_reclaim(&exit);
        do
            assert_true(recv(again, data, sizeof data, 0) > 0);
        while (data[3] != 1); /* heartbeats come as well */
    }
    close(again);
    exit_close(&exit, &to);
    entrance_close(&entrance, &to);
    node_close(&to);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_peer_is_connected_and_a_second_one_ends_that),
        cmocka_unit_test(while_strangers_knock_they_are_counted_and_bursts_stay_whole),
        cmocka_unit_test(a_peer_whose_port_is_closed_costs_no_later_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
