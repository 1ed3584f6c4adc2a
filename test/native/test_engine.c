/* An engine's life: commands and their acknowledgements, the inline lease, sleep, breakage, quarantine. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "engine_harness.h"
#include "fake_datapath.h"

static struct fake *attach(struct node *node, uint32_t id) {
    struct fake *fake = fake_new();
    node_do(node, ins_engine_add_datapath(node->engine, id, &fake->base));
    return fake;
}

static void nonsense_is_refused_at_creation(void **state) {
    (void)state;
    static _Alignas(64) uint8_t memory[2 * 65600], page[INS_PARKED_PAGE_BYTES];
    static _Alignas(8) uint8_t counters[INS_COUNTERS_BYTES];
    struct ins_engine *engine;
    struct ins_engine_config good = node_config();
    good.receive_slots = 2;
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        struct ins_engine_config config = good;                                                                        \
        config.change;                                                                                                 \
        assert_int_equal(ins_engine_create(&config, memory, sizeof memory, page, counters, 0, &engine), -EINVAL);      \
    } while (0)
    REFUSED(idle = 3);
    REFUSED(lease = 2);
    REFUSED(cpu_plus_one = 5000);
    REFUSED(link_burst = 0);
    REFUSED(link_burst = 65);
    REFUSED(receive_burst = 0);
    REFUSED(receive_burst = 65);
    REFUSED(receive_slots = 0);
    REFUSED(receive_slots = 3);
    REFUSED(receive_bytes = 1);
    REFUSED(receive_bytes = UINT32_MAX);
    REFUSED(heartbeat_ms = UINT32_MAX);
    REFUSED(fifo_priority = 100);
    good.lease = INS_LEASE_INLINE;
    REFUSED(takeover_us = 0);
    REFUSED(takeover_us = UINT32_MAX);
    assert_int_equal(ins_engine_create(&good, memory, sizeof memory, page, NULL, 0, &engine), -EINVAL);
    assert_int_equal(ins_engine_create(&good, memory, sizeof memory, page, counters, INS_COUNTERS_MAX, &engine), -EINVAL);
    assert_int_equal(ins_engine_create(&good, memory, sizeof memory, page, counters, 0, &engine), 0);
    assert_int_equal(ins_engine_destroy(engine), -EBUSY);
    assert_int_equal(ins_engine_stop(engine, 5000), 0);
    assert_int_equal(ins_engine_stop(engine, 5000), 0);
    assert_true(ins_engine_ping(engine) == -ESHUTDOWN);
    assert_int_equal(ins_engine_poll(engine, 1), -ESHUTDOWN);
    assert_int_equal(ins_engine_destroy(engine), 0);
    assert_string_equal((char *)counters, "engine.rx_datagrams");
}

static void every_command_is_acknowledged_with_its_result(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    node_open(&node, &config, NULL);
    struct ins_engine *e = node.engine;
    node_do(&node, ins_engine_ping(e));
    assert_int_equal(node_ack(&node, ins_engine_remove_datapath(e, 1), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_remove_peer(e, 1), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_remove_link(e, 1), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_add_route(e, 1, 2, 3), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_remove_route(e, 1, 2, 3), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_set_peer(e, 1, 1, 1, 1, 0), NULL), -ENODEV);
    assert_true(ins_engine_set_peer(e, 1, 1, 0, 1, 0) == -EINVAL);
    assert_true(ins_engine_set_peer(e, 1, 1, 1, 65536, 0) == -EINVAL);
    struct fake *fake = attach(&node, 1);
    assert_int_equal(node_ack(&node, ins_engine_add_datapath(e, 1, &fake->base), NULL), -EEXIST);
    node_do(&node, ins_engine_set_peer(e, 1, 1, 1, 1, 0));
    node_do(&node, ins_engine_set_peer(e, 1, 1, 1, 2, 0)); /* moved */
    assert_int_equal(node_ack(&node, ins_engine_set_peer(e, 2, 1, 1, 2, 0), NULL), -EADDRINUSE);
    node_do(&node, ins_engine_set_peer(e, 2, 1, 1, 1, 0)); /* the first endpoint is free again */
    node_do(&node, ins_engine_add_route(e, 7, 8, 1));
    assert_int_equal(node_ack(&node, ins_engine_add_route(e, 7, 8, 1), NULL), -EEXIST);
    node_do(&node, ins_engine_remove_route(e, 7, 8, 1));
    node_do(&node, ins_engine_add_route(e, 7, 8, 1));
    /* Many in one command: in order, up to the first that is refused. */
    uint32_t pairs[2 * INS_ROUTES_AT_ONCE];
    uint64_t done;
    for (uint32_t i = 0; i < INS_ROUTES_AT_ONCE; i++)
        pairs[2 * i] = 7, pairs[2 * i + 1] = 100 + i;
    assert_true(ins_engine_add_routes(e, 1, pairs, 0) == -EINVAL);
    assert_true(ins_engine_add_routes(e, 1, pairs, INS_ROUTES_AT_ONCE + 1) == -EINVAL);
    assert_int_equal(node_ack(&node, ins_engine_add_routes(e, 1, pairs, INS_ROUTES_AT_ONCE), &done), 0);
    assert_int_equal(done, INS_ROUTES_AT_ONCE);
    pairs[2 * 9 + 1] = 9;
    assert_int_equal(node_ack(&node, ins_engine_remove_routes(e, 1, pairs, INS_ROUTES_AT_ONCE), &done), -ENOENT);
    assert_int_equal(done, 9);
    pairs[2 * 9 + 1] = 109;
    assert_int_equal(node_ack(&node, ins_engine_add_routes(e, 1, pairs, INS_ROUTES_AT_ONCE), &done), -EEXIST);
    assert_int_equal(done, 9);
    assert_int_equal(node_ack(&node, ins_engine_add_routes(e, 99, pairs, 1), &done), -ENOENT);
    assert_int_equal(done, 0);
    node_do(&node, ins_engine_remove_peer(e, 1)); /* and its routes with it */
    assert_int_equal(node_ack(&node, ins_engine_remove_route(e, 7, 8, 1), NULL), -ENOENT);
    assert_int_equal(node_count(&node, INS_COUNT_peers), 1);
    node_do(&node, ins_engine_add_bell(e, node.bell[1]));
    node_do(&node, ins_engine_add_bell(e, node.bell[1]));
    node_do(&node, ins_engine_remove_bell(e, node.bell[1]));
    node_do(&node, ins_engine_remove_bell(e, node.bell[1]));
    assert_int_equal(node_ack(&node, ins_engine_remove_bell(e, node.bell[1]), NULL), -ENOENT);

    struct exit_link exit;
    struct entrance entrance;
    exit_open(&exit, &node, 1, 7, 16, 4, 64);
    entrance_open(&entrance, &node, 2, 16);
    assert_int_equal(node_ack(&node, ins_engine_add_pool(e, 1, 0, exit.memory, 64, 64), NULL), -EEXIST);
    assert_int_equal(node_ack(&node, ins_engine_add_pool(e, 2, 0, exit.memory, 64, 64), NULL), -EINVAL);
    assert_int_equal(node_ack(&node, ins_engine_remove_pool(e, 1, 1), NULL), -ENOENT);
    assert_int_equal(node_ack(&node, ins_engine_subscribe(e, 1, 7, 8, 0), NULL), -EINVAL);
    node_do(&node, ins_engine_subscribe(e, 2, 7, 8, 0));
    assert_int_equal(node_ack(&node, ins_engine_subscribe(e, 2, 7, 8, 0), NULL), -EEXIST);
    node_do(&node, ins_engine_unsubscribe(e, 2, 7, 8));
    assert_int_equal(node_ack(&node, ins_engine_unsubscribe(e, 2, 7, 8), NULL), -ENOENT);
    node_do(&node, ins_engine_add_source(e, 1, 900, 1, 0, 8));
    assert_int_equal(node_ack(&node, ins_engine_add_source(e, 1, 900, 1, 0, 8), NULL), -EEXIST);
    node_do(&node, ins_engine_remove_source(e, 1, 900));
    assert_int_equal(node_ack(&node, ins_engine_remove_source(e, 1, 900), NULL), -ENOENT);
    assert_true(ins_engine_add_source(e, 1, 1u << 20, 1, 0, 8) == -EINVAL);
    assert_true(ins_engine_add_egress(e, 3, 1, 7, exit.segment, 64, 16, NULL, -1) == -EINVAL);
    assert_true(ins_engine_add_ingress(e, 3, exit.segment, exit.bytes, 17, NULL, -1) == -EINVAL);
    assert_int_equal(node_ack(&node, ins_engine_add_egress(e, 1, 1, 7, exit.segment, exit.bytes, 16, NULL, -1), NULL), -EEXIST);
    exit_close(&exit, &node);
    entrance_close(&entrance, &node);
    node_do(&node, ins_engine_remove_datapath(e, 1));
    assert_int_equal(fake_get(&fake->bound), 0);
    fake_free(fake);
    assert_int_equal(node_count(&node, INS_COUNT_links), 0);
    node_close(&node);
}

static void a_hanging_engine_acknowledges_nothing_and_does_not_end_until_it_is_free(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    struct ins_event event;
    node_open(&node, &config, NULL);
    struct fake *fake = attach(&node, 1);
    fake_set(&fake->hangs, 1);
    ins_engine_ping(node.engine); /* wakes it, so that it looks for datagrams */
    while (!fake_get(&fake->hanging)) {
    }
    while (ins_engine_next_event(node.engine, &event)) {
    }
    int64_t last = 0;
    uint32_t queued = 0;
    for (int64_t next; (next = ins_engine_ping(node.engine)) > 0; last = next)
        queued++;
    assert_true(ins_engine_ping(node.engine) == -EAGAIN); /* the queue is bounded */
    assert_true(queued > 0 && queued <= 256);
    struct pollfd fd = {.fd = ins_engine_event_fd(node.engine), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 20), 0);
    fake_set(&fake->hangs, 0);
    for (uint64_t until = harness_ms() + 10000;; harness_deadline(until, "the last ping", __FILE__, __LINE__))
        if (ins_engine_next_event(node.engine, &event) && event.type == INS_EVENT_ACK && event.a == last)
            break;

    fake_set(&fake->hangs, 1);
    ins_engine_ping(node.engine);
    while (!fake_get(&fake->hanging)) {
    }
    assert_int_equal(ins_engine_stop(node.engine, 20), -ETIMEDOUT); /* to be quarantined */
    assert_int_equal(ins_engine_destroy(node.engine), -EBUSY);
    assert_int_equal(fake_get(&fake->bound), 1);
    fake_set(&fake->hangs, 0);
    assert_int_equal(ins_engine_stop(node.engine, 5000), 0);
    assert_int_equal(fake_get(&fake->bound), 0); /* torn down all the same */
    fake_free(fake);
    node_close(&node);
}

static void a_broken_datapath_is_told_once_and_used_no_more(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    struct exit_link exit;
    node_open(&node, &config, NULL);
    struct fake *fake = attach(&node, NODE_DATAPATH);
    node_do(&node, ins_engine_set_peer(node.engine, 1, NODE_DATAPATH, 1, 1, 0));
    node_do(&node, ins_engine_add_route(node.engine, 7, 8, 1));
    exit_open(&exit, &node, 1, 7, 16, 8, 64);
    node_do(&node, ins_engine_add_source(node.engine, 1, 0, 5, 0, 8));
    fake_set((uint32_t *)&fake->tx_error, (uint32_t)-ENETDOWN);
    assert_int_equal(exit_send(&exit, &node, 0, 0, 8, 1), 1);
    HARNESS_UNTIL(exit.returned[INS_STATUS_NETWORK] == 1, &node, &node) exit_reclaim(&exit);
    HARNESS_UNTIL(node_events(&node, INS_EVENT_DATAPATH_DOWN, NULL) == 1, &node, &node);
    assert_int_equal(node.events[0].a, NODE_DATAPATH);
    assert_int_equal(node.events[0].status, -ENETDOWN);
    assert_int_equal(exit_send(&exit, &node, 0, 0, 8, 2), 1);
    HARNESS_UNTIL(exit.returned[INS_STATUS_NETWORK] == 2, &node, &node) exit_reclaim(&exit);
    assert_int_equal(node_count(&node, INS_COUNT_tx_no_datapath), 1);
    exit_close(&exit, &node);
    node_do(&node, ins_engine_remove_datapath(node.engine, NODE_DATAPATH));
    assert_int_equal(node_events(&node, INS_EVENT_DATAPATH_DOWN, NULL), 1);
    fake_free(fake);
    node_close(&node);
}

/* Acknowledgements that came, as they came; *status of the last one of `command`. */
static uint32_t acknowledged(struct node *node, int64_t command, int32_t *status) {
    struct ins_event event;
    uint32_t count = 0;
    while (ins_engine_next_event(node->engine, &event))
        if (event.type == INS_EVENT_ACK && event.a == command) {
            count++;
            *status = event.status;
        }
    return count;
}

static void a_peer_is_set_when_its_greeting_has_left(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    int32_t status = 1;
    node_open(&node, &config, NULL);
    struct ins_engine *e = node.engine;
    struct fake *fake = fake_new();
    fake_may_hold(fake);
    node_do(&node, ins_engine_add_datapath(e, 1, &fake->base));
    node_do(&node, ins_engine_set_peer(e, 1, 1, 1, 1, 0)); /* at once: nothing is held back */
    assert_int_equal(fake_get(&fake->sent_count), 1);
    assert_int_equal(fake->sent[0].type, INS_WIRE_TYPE_HEARTBEAT);
    assert_int_equal(fake->sent[0].length, 0);
    /* Not yet: other commands are served meanwhile. */
    fake_set(&fake->holds, 1);
    int64_t second = ins_engine_set_peer(e, 2, 1, 1, 2, 0), ping = ins_engine_ping(e);
    for (uint64_t until = harness_ms() + 10000;; harness_deadline(until, "the ping's", __FILE__, __LINE__)) {
        struct ins_event event;
        if (!ins_engine_next_event(e, &event))
            continue;
        assert_int_equal(event.a, ping);
        break;
    }
    fake_set(&fake->holds, 0);
    for (uint64_t until = harness_ms() + 10000; !acknowledged(&node, second, &status);)
        harness_deadline(until, "the peer's", __FILE__, __LINE__);
    assert_int_equal(status, 0);
    assert_int_equal(fake_get(&fake->sent_count), 2); /* greeted once */
    /* One that nobody answers for is set all the same, before control gives the engine up. */
    fake_set(&fake->holds, 1);
    uint64_t before = harness_ms();
    node_do(&node, ins_engine_set_peer(e, 3, 1, 1, 3, 0));
    assert_true(harness_ms() - before >= 100);
    /* Of one that has gone meanwhile, or whose engine ends, control hears as well. */
    int64_t fourth = ins_engine_set_peer(e, 4, 1, 1, 4, 0), gone = ins_engine_remove_peer(e, 4);
    uint32_t both = 0;
    for (uint64_t until = harness_ms() + 10000; both < 2; harness_deadline(until, "both", __FILE__, __LINE__)) {
        struct ins_event event;
        if (ins_engine_next_event(e, &event))
            both += (event.a == fourth || event.a == gone) && event.status == 0;
    }
    int64_t last = ins_engine_set_peer(e, 5, 1, 1, 5, 0);
    for (uint64_t until = harness_ms() + 10000; fake_get(&fake->sent_count) < 5;)
        harness_deadline(until, "the greeting of the fifth", __FILE__, __LINE__);
    assert_int_equal(ins_engine_stop(e, 5000), 0);
    assert_int_equal(acknowledged(&node, last, &status), 1);
    fake_free(fake);
    node_close(&node);
}

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void an_idle_engine_sleeps_and_costs_nothing(void **state) {
    (void)state;
    struct node node;
    struct ins_engine_config config = node_config();
    node_open(&node, &config, "udp");
    node_do(&node, ins_engine_ping(node.engine));
    struct pollfd never = {.fd = -1};
    const uint32_t *word = (const uint32_t *)(const void *)node.parked;
    while (!(__atomic_load_n(word, __ATOMIC_RELAXED) & INS_PARKED_PAGE_WISH_MESSAGES))
        poll(&never, 1, 1);
    uint64_t sleeps = node_count(&node, INS_COUNT_sleeps), cpu = cpu_ns();
    poll(&never, 1, 200);
    /* The sleep that its word told of is counted a moment later. */
    assert_true(node_count(&node, INS_COUNT_sleeps) <= sleeps + 1);
    assert_true(cpu_ns() - cpu < 1000000); /* 0.5 %, nearly all of it this test's */
    node_close(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_refused_at_creation),
        cmocka_unit_test(every_command_is_acknowledged_with_its_result),
        cmocka_unit_test(a_hanging_engine_acknowledges_nothing_and_does_not_end_until_it_is_free),
        cmocka_unit_test(a_broken_datapath_is_told_once_and_used_no_more),
        cmocka_unit_test(a_peer_is_set_when_its_greeting_has_left),
        cmocka_unit_test(an_idle_engine_sleeps_and_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
