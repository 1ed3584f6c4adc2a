/* Trust domains at the engine: links of a foreign one deliver copies from a pool of their own, one a message however many
   links there are; what they hold or how they end touches nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "engine_harness.h"

enum { TAG = 7, CHANNEL = 8, PEER = 1, SOURCE = 9, DOMAIN = 5, FOREIGN_SLOTS = 8 };

/* A sends to B, which has a link of its own domain and two of a foreign one. */
struct bench {
    struct node a, b;
    struct exit_link exit;
    struct entrance own, foreign[2];
    uint8_t *memory;
    uint64_t bytes;
    uint64_t sent;
};

static void bench_open(struct bench *b) {
    struct ins_engine_config config = node_config();
    memset(b, 0, sizeof *b);
    node_open(&b->a, &config, "udp");
    node_open(&b->b, &config, "udp");
    node_introduce(&b->a, &b->b, PEER);
    uint64_t stride = b->b.receive_bytes / config.receive_slots;
    b->bytes = FOREIGN_SLOTS * stride;
    b->memory = mmap(NULL, b->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(b->memory != MAP_FAILED);
    exit_open(&b->exit, &b->a, 1, TAG, 64, 64, 2048);
    node_do(&b->a, ins_engine_add_source(b->a.engine, 1, 0, SOURCE, 0, CHANNEL));
    node_do(&b->b, ins_engine_add_domain(b->b.engine, DOMAIN, b->memory, b->bytes));
    entrance_open(&b->own, &b->b, 2, 256);
    for (uint32_t i = 0; i < 2; i++) {
        entrance_open(&b->foreign[i], &b->b, 3 + i, 64);
        node_do(&b->b, ins_engine_set_domain(b->b.engine, 3 + i, DOMAIN));
    }
    for (uint32_t link = 2; link <= 4; link++)
        node_do(&b->b, ins_engine_subscribe(b->b.engine, link, TAG, CHANNEL, 0));
    node_do(&b->a, ins_engine_add_route(b->a.engine, TAG, CHANNEL, PEER));
}

static void bench_close(struct bench *b) {
    exit_close(&b->exit, &b->a);
    entrance_close(&b->own, &b->b);
    for (uint32_t i = 0; i < 2; i++)
        entrance_close(&b->foreign[i], &b->b);
    node_do(&b->b, ins_engine_remove_domain(b->b.engine, DOMAIN));
    assert_int_equal(node_count(&b->b, INS_COUNT_slots_total), b->b.config.receive_slots);
    node_close(&b->a);
    node_close(&b->b); /* checks that no slot is out */
    munmap(b->memory, b->bytes);
}

static void send_one(struct bench *b, uint32_t length) {
    HARNESS_UNTIL(exit_send(&b->exit, &b->a, 0, 0, length, b->sent), &b->a, &b->b) {
    }
    b->sent++;
}

/* The next message of a link, which must be the one with that mark; payloads are read at `base`. */
static struct ins_descriptor next(struct bench *b, struct entrance *at, const uint8_t *base, uint64_t mark,
                                  uint32_t length) {
    struct ins_descriptor d = {0};
    int got = 0;
    HARNESS_UNTIL(got, &b->a, &b->b) {
        got = ins_consumer_take(&at->consumer, &d, 1);
        assert_true(got >= 0);
    }
    assert_int_equal(d.pool, 0);
    assert_int_equal(d.length, length);
    uint64_t seen, emit_time;
    memcpy(&seen, base + d.offset, sizeof seen);
    memcpy(&emit_time, base + d.offset - INS_META_BYTES + INS_META_EMIT_TIME, sizeof emit_time);
    assert_int_equal(seen, mark);
    assert_int_equal(emit_time, mark + 1000);
    for (uint32_t i = 8; i < length; i++)
        assert_int_equal(base[d.offset + i], (uint8_t)(mark * 31 + i * 7 + (i >> 8)));
    return d;
}

static void foreign_links_get_one_copy_a_message(void **state) {
    (void)state;
    static struct bench b;
    const uint32_t lengths[] = {8, 9, 64, 511, 1400, 2048};
    bench_open(&b);
    assert_int_equal(node_count(&b.b, INS_COUNT_slots_total), b.b.config.receive_slots + FOREIGN_SLOTS);
    for (uint64_t round = 0; round < 300; round++) {
        uint32_t length = lengths[round % 6];
        send_one(&b, length);
        struct ins_descriptor own = next(&b, &b.own, b.b.receive, round, length);
        struct ins_descriptor first = next(&b, &b.foreign[0], b.memory, round, length);
        struct ins_descriptor second = next(&b, &b.foreign[1], b.memory, round, length);
        assert_int_equal(first.offset, second.offset);
        entrance_give(&b.own, &b.b, &own);
        entrance_give(&b.foreign[0], &b.b, &first);
        entrance_give(&b.foreign[1], &b.b, &second);
    }
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_copied_domain), 300);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_messages), 900);
    bench_close(&b);
}

static void a_domain_that_holds_everything_starves_itself_only(void **state) {
    (void)state;
    static struct bench b;
    enum { MESSAGES = 100 };
    bench_open(&b);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        send_one(&b, 100);
        struct ins_descriptor own = next(&b, &b.own, b.b.receive, i, 100);
        entrance_give(&b.own, &b.b, &own);
    }
    /* Nobody of the domain has given anything back. */
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_copied_domain), FOREIGN_SLOTS);
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_no_credit), 2 * (MESSAGES - FOREIGN_SLOTS));
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_domain_full),
                     2 * (MESSAGES - FOREIGN_SLOTS));
    /* When it does, it is served again. */
    for (uint64_t i = 0; i < FOREIGN_SLOTS; i++)
        for (uint32_t k = 0; k < 2; k++) {
            struct ins_descriptor d = next(&b, &b.foreign[k], b.memory, i, 100);
            entrance_give(&b.foreign[k], &b.b, &d);
        }
    send_one(&b, 100);
    for (uint32_t k = 0; k < 2; k++) {
        struct ins_descriptor d = next(&b, &b.foreign[k], b.memory, MESSAGES, 100);
        entrance_give(&b.foreign[k], &b.b, &d);
    }
    uint64_t dropped;
    HARNESS_UNTIL((node_events(&b.b, INS_EVENT_DROPPED, &dropped), dropped == 2 * (MESSAGES - FOREIGN_SLOTS)), &b.a, &b.b) {
    }
    bench_close(&b);
}

static void a_link_that_goes_leaves_its_copies_to_the_others(void **state) {
    (void)state;
    static struct bench b;
    bench_open(&b);
    for (uint64_t round = 0; round < 10; round++) {
        for (uint64_t i = 0; i < FOREIGN_SLOTS; i++) {
            send_one(&b, 64);
            struct ins_descriptor own = next(&b, &b.own, b.b.receive, b.sent - 1, 64);
            entrance_give(&b.own, &b.b, &own);
            struct ins_descriptor d = next(&b, &b.foreign[0], b.memory, b.sent - 1, 64);
            entrance_give(&b.foreign[0], &b.b, &d);
        }
        entrance_close(&b.foreign[1], &b.b); /* it holds all of them */
        entrance_open(&b.foreign[1], &b.b, 4, 64);
        node_do(&b.b, ins_engine_set_domain(b.b.engine, 4, DOMAIN));
        node_do(&b.b, ins_engine_subscribe(b.b.engine, 4, TAG, CHANNEL, 0));
    }
    assert_int_equal(node_count(&b.b, INS_COUNT_rx_no_credit), 0);
    bench_close(&b);
}

static void commands_that_make_no_sense_are_refused(void **state) {
    (void)state;
    static struct bench b;
    bench_open(&b);
    struct ins_engine *e = b.b.engine;
    assert_true(ins_engine_add_domain(e, 6, NULL, b.bytes) == -EINVAL);
    assert_true(ins_engine_add_domain(e, 6, b.memory, 64) == -EINVAL);
    assert_true(ins_engine_add_domain(e, 6, b.memory, b.bytes * 1000) == -EINVAL);
    assert_int_equal(node_ack(&b.b, ins_engine_add_domain(e, DOMAIN, b.memory, b.bytes), NULL), -EEXIST);
    assert_int_equal(node_ack(&b.b, ins_engine_remove_domain(e, DOMAIN), NULL), -EBUSY);
    assert_int_equal(node_ack(&b.b, ins_engine_remove_domain(e, 6), NULL), -ENOENT);
    assert_int_equal(node_ack(&b.b, ins_engine_set_domain(e, 2, 6), NULL), -ENOENT);
    assert_int_equal(node_ack(&b.b, ins_engine_set_domain(e, 3, DOMAIN), NULL), -EBUSY);
    assert_int_equal(node_ack(&b.b, ins_engine_set_domain(e, 99, DOMAIN), NULL), -ENOENT);
    send_one(&b, 64);
    struct ins_descriptor own = next(&b, &b.own, b.b.receive, 0, 64);
    /* What was delivered in place cannot be taken back. */
    assert_int_equal(node_ack(&b.b, ins_engine_set_domain(e, 2, DOMAIN), NULL), -EBUSY);
    entrance_give(&b.own, &b.b, &own);
    bench_close(&b);
}

static void an_engine_that_is_torn_down_takes_its_domains_with_it(void **state) {
    (void)state;
    static struct bench b;
    bench_open(&b);
    for (uint32_t i = 0; i < 4; i++)
        send_one(&b, 64);
    next(&b, &b.foreign[0], b.memory, 0, 64);
    node_do(&b.b, ins_engine_remove_datapath(b.b.engine, NODE_DATAPATH));
    assert_int_equal(ins_engine_stop(b.b.engine, 5000), 0);
    assert_int_equal(ins_engine_destroy(b.b.engine), 0);
    assert_int_equal(ins_datapath_close(b.b.datapath), 0);
    exit_close(&b.exit, &b.a);
    node_close(&b.a);
    munmap(b.memory, b.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_links_get_one_copy_a_message),
        cmocka_unit_test(a_domain_that_holds_everything_starves_itself_only),
        cmocka_unit_test(a_link_that_goes_leaves_its_copies_to_the_others),
        cmocka_unit_test(commands_that_make_no_sense_are_refused),
        cmocka_unit_test(an_engine_that_is_torn_down_takes_its_domains_with_it),
    };
    return cmocka_run_group_tests_name("domain", tests, NULL, NULL);
}
