/* The inline lease: the owner polls, the engine's thread steps in when it is away, and at once when it says so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "engine_harness.h"
#include "fake_datapath.h"

static struct ins_engine_config inline_config(void) {
    struct ins_engine_config config = node_config();
    config.lease = INS_LEASE_INLINE;
    return config;
}

static void only_a_lease_allows_polling(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    node_open(&node, &config, NULL);
    assert_int_equal(ins_engine_poll(node.engine, 1), -EPERM);
    assert_int_equal(ins_engine_release(node.engine), -EPERM);
    node_close(&node);
}

static void the_owner_executes_commands_while_it_waits(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = inline_config();
    config.takeover_us = 1000000; /* the thread is no help */
    node_open(&node, &config, NULL);
    for (uint32_t i = 0; i < 1000; i++)
        node_do(&node, ins_engine_ping(node.engine));
    assert_int_equal(node_count(&node, INS_COUNT_takeovers), 0);
    node_close(&node);
}

static void waits_for(struct node *node, int64_t sequence) {
    struct ins_event event;
    struct pollfd fd = {.fd = ins_engine_event_fd(node->engine), .events = POLLIN};
    for (;;) {
        while (ins_engine_next_event(node->engine, &event))
            if (event.type == INS_EVENT_ACK && event.a == sequence)
                return;
            else if (event.type != INS_EVENT_ACK)
                node->events[node->event_count++] = event;
        assert_int_equal(poll(&fd, 1, 10000), 1);
    }
}

static void the_thread_steps_in_when_the_owner_is_away(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = inline_config();
    node_open(&node, &config, "udp");
    for (uint32_t i = 0; i < 100000; i++)
        ins_engine_poll(node.engine, 1);
    waits_for(&node, ins_engine_ping(node.engine)); /* without polling */
    assert_true(node_count(&node, INS_COUNT_takeovers) >= 1);
    HARNESS_UNTIL(node_events(&node, INS_EVENT_STALLED_OWNER, NULL) >= 1, &node, &node);
    /* And again: who comes back gets it back. */
    uint64_t before = node_count(&node, INS_COUNT_takeovers);
    HARNESS_UNTIL(ins_engine_poll(node.engine, 1) >= 0, &node, &node);
    waits_for(&node, ins_engine_ping(node.engine));
    assert_true(node_count(&node, INS_COUNT_takeovers) > before);
    node_close(&node);
}

static void a_released_lease_is_taken_at_once(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = inline_config();
    config.takeover_us = 1000000; /* it would take a second otherwise, and be counted */
    node_open(&node, &config, "udp");
    for (uint32_t round = 0; round < 50; round++) {
        HARNESS_UNTIL(ins_engine_poll(node.engine, 1) >= 0, &node, &node);
        assert_int_equal(ins_engine_release(node.engine), 0);
        waits_for(&node, ins_engine_ping(node.engine));
    }
    assert_int_equal(node_count(&node, INS_COUNT_takeovers), 0);
    assert_int_equal(node_events(&node, INS_EVENT_STALLED_OWNER, NULL), 0);
    node_close(&node);
}

static void the_owner_is_told_busy_while_the_thread_is_inside(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = inline_config();
    node_open(&node, &config, NULL);
    struct fake *fake = fake_new();
    node_do(&node, ins_engine_add_datapath(node.engine, 1, &fake->base));
    assert_int_equal(ins_engine_release(node.engine), 0);
    fake_set(&fake->hangs, 1);
    int64_t ping = ins_engine_ping(node.engine);
    while (!fake_get(&fake->hanging)) {
    }
    assert_int_equal(ins_engine_poll(node.engine, 1), -EBUSY);
    fake_set(&fake->hangs, 0);
    assert_int_equal(node_ack(&node, ping, NULL), 0);
    HARNESS_UNTIL(ins_engine_poll(node.engine, 1) >= 0, &node, &node);
    node_do(&node, ins_engine_remove_datapath(node.engine, 1));
    fake_free(fake);
    node_close(&node);
}

/* An echo that polls inline on its own thread, releases now and then, and sometimes just stays away. */
struct echo {
    struct node node;
    struct exit_link exit;
    struct entrance entrance;
    uint32_t stop;
    uint64_t echoed;
};

static void *echo_run(void *argument) {
    struct echo *echo = argument;
    struct ins_descriptor d[16];
    struct pollfd never = {.fd = -1};
    for (uint32_t turn = 1; !__atomic_load_n(&echo->stop, __ATOMIC_SEQ_CST); turn++) {
        ins_engine_poll(echo->node.engine, turn % 2 ? 1 : 16);
        int count = entrance_take(&echo->entrance, &echo->node, d, 16);
        for (int i = 0; i < count; i++) {
            while (!exit_send(&echo->exit, &echo->node, 0, 0, d[i].length, entrance_mark(&echo->node, &d[i])))
                ins_engine_poll(echo->node.engine, 0);
            entrance_give(&echo->entrance, &echo->node, &d[i]);
            echo->echoed++;
        }
        if (turn % 4001 == 0)
            ins_engine_release(echo->node.engine);
        if (turn % 1009 == 0)
            poll(&never, 1, 3);
    }
    return NULL;
}

static void nothing_is_lost_or_reordered_while_the_lease_changes_hands(void **state) {
    (void)state;
    enum { MESSAGES = 5000, WINDOW = 32, TAG = 3 };
    static struct echo echo, here;
    struct ins_engine_config config = inline_config();
    pthread_t thread;
    node_open(&here.node, &config, "udp");
    node_open(&echo.node, &config, "udp");
    node_introduce(&here.node, &echo.node, 1);
    exit_open(&here.exit, &here.node, 1, TAG, 64, 64, 2048);
    exit_open(&echo.exit, &echo.node, 1, TAG, 64, 64, 2048);
    entrance_open(&here.entrance, &here.node, 2, 64);
    entrance_open(&echo.entrance, &echo.node, 2, 64);
    node_do(&here.node, ins_engine_add_source(here.node.engine, 1, 0, 10, 0, 1));
    node_do(&echo.node, ins_engine_add_source(echo.node.engine, 1, 0, 11, 0, 2));
    node_do(&here.node, ins_engine_subscribe(here.node.engine, 2, TAG, 2, 0));
    node_do(&echo.node, ins_engine_subscribe(echo.node.engine, 2, TAG, 1, 0));
    node_do(&here.node, ins_engine_add_route(here.node.engine, TAG, 1, 1));
    node_do(&echo.node, ins_engine_add_route(echo.node.engine, TAG, 2, 1));
    assert_int_equal(pthread_create(&thread, NULL, echo_run, &echo), 0);
    uint64_t sent = 0, received = 0;
    HARNESS_UNTIL(received == MESSAGES, &here.node, &here.node) {
        struct ins_descriptor d[16];
        while (sent < MESSAGES && sent - received < WINDOW && exit_send(&here.exit, &here.node, 0, 0, 8 + sent % 1000, sent))
            sent++;
        int count = entrance_take(&here.entrance, &here.node, d, 16);
        for (int i = 0; i < count; i++) {
            assert_int_equal(entrance_mark(&here.node, &d[i]), received++);
            entrance_give(&here.entrance, &here.node, &d[i]);
        }
    }
    __atomic_store_n(&echo.stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(thread, NULL);
    struct ins_event event;
    while (ins_engine_next_event(echo.node.engine, &event))
        assert_int_equal(event.type, INS_EVENT_STALLED_OWNER);
    assert_int_equal(node_count(&here.node, INS_COUNT_rx_lost) + node_count(&here.node, INS_COUNT_rx_late), 0);
    exit_close(&here.exit, &here.node);
    exit_close(&echo.exit, &echo.node);
    entrance_close(&here.entrance, &here.node);
    entrance_close(&echo.entrance, &echo.node);
    node_close(&here.node);
    node_close(&echo.node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_lease_allows_polling),
        cmocka_unit_test(the_owner_executes_commands_while_it_waits),
        cmocka_unit_test(the_thread_steps_in_when_the_owner_is_away),
        cmocka_unit_test(a_released_lease_is_taken_at_once),
        cmocka_unit_test(the_owner_is_told_busy_while_the_thread_is_inside),
        cmocka_unit_test(nothing_is_lost_or_reordered_while_the_lease_changes_hands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
