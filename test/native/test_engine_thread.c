/* One thread serves several engines: traffic goes on while they are given back and forth, each can end at any time, and what
   their thread worked for them is counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "engine_harness.h"
#include "fake_datapath.h"

enum { TAG = 11, CHANNEL = 5, PEER = 3, ENTRIES = 256 };

struct pair {
    struct node a, b;
    struct exit_link out;
    struct entrance in;
    uint64_t sent, got;
};

static struct ins_engine_config config_of(uint32_t idle) {
    struct ins_engine_config config = node_config();
    config.idle = idle;
    return config;
}

static void pair_open(struct pair *p, uint32_t idle) {
    struct ins_engine_config config = config_of(idle);
    p->sent = p->got = 0;
    node_open(&p->a, &config, "udp");
    node_open(&p->b, &config, "udp");
    node_introduce(&p->a, &p->b, PEER);
    exit_open(&p->out, &p->a, 1, TAG, ENTRIES, ENTRIES, 256);
    node_do(&p->a, ins_engine_add_source(p->a.engine, 1, 0, 77, 0, CHANNEL));
    entrance_open(&p->in, &p->b, 2, ENTRIES);
    node_do(&p->b, ins_engine_subscribe(p->b.engine, 2, TAG, CHANNEL, 0));
    node_do(&p->a, ins_engine_add_route(p->a.engine, TAG, CHANNEL, PEER));
}

/* What was sent arrives, in order and once. */
static void pass(struct pair *p, uint32_t count) {
    struct ins_descriptor taken[32];
    uint64_t until = p->sent + count;
    HARNESS_UNTIL(p->got == until, &p->a, &p->b) {
        while (p->sent < until && exit_send(&p->out, &p->a, 0, 0, 64, p->sent))
            p->sent++;
        exit_reclaim(&p->out);
        int found = entrance_take(&p->in, &p->b, taken, 32);
        for (int i = 0; i < found; i++) {
            assert_true(entrance_mark(&p->b, &taken[i]) == p->got++);
            entrance_give(&p->in, &p->b, &taken[i]);
        }
    }
}

static void pair_close(struct pair *p) {
    exit_close(&p->out, &p->a);
    entrance_close(&p->in, &p->b);
    node_close(&p->a);
    node_close(&p->b);
}

static void traffic_goes_on_while_threads_change(uint32_t idle) {
    struct pair p;
    pair_open(&p, idle);
    pass(&p, 100);
    for (uint32_t round = 0; round < 20; round++) {
        struct ins_engine *guest = round & 1 ? p.a.engine : p.b.engine, *host = round & 1 ? p.b.engine : p.a.engine;
        assert_int_equal(ins_engine_serve_by(guest, host), 0);
        pass(&p, 50);
        if (round % 3 == 0) /* both live on the one thread, also when it has slept */
            for (uint32_t i = 0; i < 5; i++) {
                node_do(&p.a, ins_engine_ping(p.a.engine));
                node_do(&p.b, ins_engine_ping(p.b.engine));
            }
        assert_int_equal(ins_engine_serve_by(guest, NULL), 0);
        pass(&p, 50);
    }
    for (uint64_t i = 0; i < 1000 && node_count(&p.b, INS_COUNT_busy_ns) == 0; i++)
        pass(&p, 50);
    assert_true(node_count(&p.b, INS_COUNT_busy_ns) > 0);
    pair_close(&p);
}
static void a_parking_thread_serves_two(void **state) {
    (void)state;
    traffic_goes_on_while_threads_change(INS_IDLE_PARK);
}
static void a_yielding_thread_serves_two(void **state) {
    (void)state;
    traffic_goes_on_while_threads_change(INS_IDLE_YIELD);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    struct ins_engine_config config = config_of(INS_IDLE_PARK), inline_config = config;
    inline_config.lease = INS_LEASE_INLINE;
    struct node a, b, c, leased;
    node_open(&a, &config, NULL);
    node_open(&b, &config, NULL);
    node_open(&c, &config, NULL);
    node_open(&leased, &inline_config, NULL);
    assert_int_equal(ins_engine_serve_by(leased.engine, a.engine), -EPERM);
    assert_int_equal(ins_engine_serve_by(a.engine, leased.engine), -EPERM);
    assert_int_equal(ins_engine_serve_by(a.engine, a.engine), 0);
    assert_int_equal(ins_engine_serve_by(b.engine, a.engine), 0);
    assert_int_equal(ins_engine_serve_by(b.engine, a.engine), 0);
    assert_int_equal(ins_engine_serve_by(c.engine, b.engine), -EBUSY); /* a guest has no guests */
    assert_int_equal(ins_engine_serve_by(a.engine, c.engine), -EBUSY); /* nor goes a host */
    assert_int_equal(ins_engine_stop(c.engine, 5000), 0);
    assert_int_equal(ins_engine_serve_by(c.engine, a.engine), -ESHUTDOWN);
    node_do(&b, ins_engine_ping(b.engine));
    node_close(&c);
    node_close(&leased);
    node_close(&a); /* before its guest, which goes on */
    node_do(&b, ins_engine_ping(b.engine));
    node_close(&b);
}

/* Any order of moves and ends. */
static void engines_are_passed_around_and_end(void **state) {
    (void)state;
    enum { COUNT = 5, STEPS = 400 };
    struct node nodes[COUNT];
    int open[COUNT] = {0};
    struct ins_engine_config config = config_of(INS_IDLE_PARK);
    srand(7);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t x = (uint32_t)rand() % COUNT, y = (uint32_t)rand() % COUNT;
        if (!open[x]) {
            node_open(&nodes[x], &config, NULL);
            open[x] = 1;
        } else if (rand() % 8 == 0) {
            node_close(&nodes[x]);
            open[x] = 0;
        } else if (open[y]) {
            int result = ins_engine_serve_by(nodes[x].engine, rand() % 3 ? nodes[y].engine : NULL);
            assert_true(result == 0 || result == -EBUSY);
        }
        for (uint32_t i = 0; i < COUNT; i++)
            if (open[i] && rand() % 2)
                node_do(&nodes[i], ins_engine_ping(nodes[i].engine));
    }
    for (uint32_t i = 0; i < COUNT; i++)
        if (open[i])
            node_close(&nodes[i]);
}

static void a_thread_that_hangs_takes_its_guest_with_it(void **state) {
    (void)state;
    struct ins_engine_config config = config_of(INS_IDLE_PARK);
    struct node host, guest;
    node_open(&host, &config, NULL);
    node_open(&guest, &config, NULL);
    struct fake *fake = fake_new();
    node_do(&host, ins_engine_add_datapath(host.engine, 1, &fake->base));
    assert_int_equal(ins_engine_serve_by(guest.engine, host.engine), 0);
    node_do(&guest, ins_engine_ping(guest.engine));
    fake_set(&fake->hangs, 1);
    assert_true(ins_engine_ping(host.engine) > 0);
    HARNESS_UNTIL(fake_get(&fake->hanging), &guest, &guest);
    assert_int_equal(ins_engine_stop(guest.engine, 50), -ETIMEDOUT);
    fake_set(&fake->hangs, 0);
    struct ins_event event;
    HARNESS_UNTIL(ins_engine_stop(guest.engine, 50) == 0, &guest, &guest);
    while (ins_engine_next_event(host.engine, &event));
    node_close(&guest);
    node_do(&host, ins_engine_remove_datapath(host.engine, 1));
    fake_free(fake);
    node_close(&host);
}

static void a_core_that_is_not_there_is_told(void **state) {
    (void)state;
    struct ins_engine_config config = config_of(INS_IDLE_PARK);
    config.cpu_plus_one = 1 + 1000;
    struct node node;
    node_open(&node, &config, NULL);
    HARNESS_UNTIL(ins_engine_pinned(node.engine) != -EAGAIN, &node, &node);
    assert_int_equal(ins_engine_pinned(node.engine), -EINVAL);
    node_close(&node);
    config.cpu_plus_one = 1;
    node_open(&node, &config, NULL);
    HARNESS_UNTIL(ins_engine_pinned(node.engine) == 0, &node, &node);
    node_close(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parking_thread_serves_two),
        cmocka_unit_test(a_yielding_thread_serves_two),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(engines_are_passed_around_and_end),
        cmocka_unit_test(a_thread_that_hangs_takes_its_guest_with_it),
        cmocka_unit_test(a_core_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
