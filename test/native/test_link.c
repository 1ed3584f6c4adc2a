/* Links, one operation at a time: credits, order, statuses, and what each side does about a peer that lies. What two
   threads and two processes do to each other is stress_link.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/link.h"

enum { W = 16 };

struct fixture {
    uint8_t *segment;
    struct ins_producer p;
    struct ins_consumer c;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    uint64_t bytes = ins_link_bytes(W);
    f->segment = aligned_alloc(4096, bytes);
    memset(f->segment, 0, bytes);
    assert_int_equal(ins_producer_init(&f->p, f->segment, bytes, W), 0);
    assert_int_equal(ins_consumer_init(&f->c, f->segment, bytes, W), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    ins_producer_free(&f->p);
    free(f->segment);
    free(f);
    return 0;
}

static int push(struct fixture *f, uint32_t slot) {
    return ins_producer_push(&f->p, 3, slot, slot + 100, slot * 64, 10 + slot, 5, 6, 0);
}
static void push_all(struct fixture *f) {
    for (uint32_t i = 0; i < W; i++)
        assert_int_equal(push(f, i), i);
    assert_int_equal(ins_producer_publish(&f->p), W);
}
static void *at(struct fixture *f, uint32_t offset) {
    return f->segment + offset;
}
static int reclaim(struct fixture *f, struct ins_returned *out, uint32_t *count) {
    return ins_producer_reclaim(&f->p, out, W, count);
}

static void set_up_refuses_shapes_that_are_none(void **state) {
    struct fixture *f = *state;
    struct ins_producer p;
    struct ins_consumer c;
    uint64_t bytes = ins_link_bytes(W);
    const uint32_t bad[] = {0, 1, 8, 15, 17, 24, 48, 65536, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ins_producer_init(&p, f->segment, UINT64_MAX, bad[i]), -EINVAL);
        assert_int_equal(ins_consumer_init(&c, f->segment, UINT64_MAX, bad[i]), -EINVAL);
    }
    assert_int_equal(ins_producer_init(&p, f->segment, bytes - 1, W), -EINVAL);
    assert_int_equal(ins_consumer_init(&c, f->segment, bytes - 1, W), -EINVAL);
    assert_int_equal(ins_producer_init(&p, NULL, bytes, W), -EINVAL);
    assert_int_equal(ins_consumer_init(&c, NULL, bytes, W), -EINVAL);
    assert_int_equal(ins_consumer_init(&c, f->segment + 4, bytes, W), -EINVAL);
    ins_producer_free(&p); /* of one that never was: nothing happens */
}

static void a_descriptor_arrives_as_it_was_pushed(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d = {0};
    uint32_t top = UINT32_MAX;
    assert_int_equal(ins_producer_push(&f->p, 0xff, top, top, top, top, 0xffff, 0xffff, 0xff), 0);
    assert_int_equal(ins_consumer_ready(&f->c), 0);
    assert_int_equal(ins_consumer_take(&f->c, &d, 1), 0);
    assert_int_equal(ins_producer_publish(&f->p), 1);
    assert_int_equal(ins_producer_publish(&f->p), 0);
    assert_int_equal(ins_consumer_ready(&f->c), 1);
    assert_int_equal(ins_consumer_take(&f->c, &d, 1), 1);
    assert_int_equal(ins_consumer_ready(&f->c), 0);
    assert_int_equal(d.entry, 0);
    assert_int_equal(d.pool, 0xff);
    assert_int_equal(d.flags, 0xff);
    assert_int_equal(d.offset, top);
    assert_int_equal(d.length, top);
    assert_int_equal(d.channel, 0xffff);
    assert_int_equal(d.source, 0xffff);
}

static void fields_that_are_too_wide_do_not_spill_into_their_neighbours(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d = {0};
    assert_int_equal(ins_producer_push(&f->p, 0x100, 1, 1, 1, 1, 0x10000, 7, 0x101), 0);
    ins_producer_publish(&f->p);
    assert_int_equal(ins_consumer_take(&f->c, &d, 1), 1);
    assert_int_equal(d.entry, 0);
    assert_int_equal(d.pool, 0);
    assert_int_equal(d.flags, 1);
    assert_int_equal(d.channel, 0);
    assert_int_equal(d.source, 7);
}

static void a_return_brings_slot_context_pool_and_status_back(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W];
    struct ins_returned r[W];
    uint32_t count;
    push_all(f);
    assert_int_equal(f->p.live, W);
    assert_int_equal(ins_consumer_take(&f->c, d, W), W);
    for (uint32_t i = 0; i < W; i++)
        ins_consumer_return(&f->c, d[W - 1 - i].entry, i);
    assert_int_equal(reclaim(f, r, &count), 0);
    assert_int_equal(ins_consumer_publish(&f->c), W);
    assert_int_equal(ins_consumer_publish(&f->c), 0);
    assert_int_equal(reclaim(f, r, &count), W);
    assert_int_equal(count, W);
    for (uint32_t i = 0; i < W; i++) {
        assert_int_equal(r[i].slot, W - 1 - i);
        assert_int_equal(r[i].context, W - 1 - i + 100);
        assert_int_equal(r[i].pool, 3);
        assert_int_equal(r[i].status, i);
    }
    assert_int_equal(f->p.live, 0);
    assert_int_equal(reclaim(f, r, &count), 0);
}

static void without_a_credit_there_is_no_push_and_one_return_is_one_credit(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W];
    struct ins_returned r[W];
    uint32_t count;
    push_all(f);
    assert_int_equal(push(f, 99), -EAGAIN);
    assert_int_equal(ins_consumer_take(&f->c, d, W), W);
    ins_consumer_return(&f->c, 9, INS_STATUS_DONE);
    ins_consumer_publish(&f->c);
    assert_int_equal(push(f, 99), -EAGAIN);
    assert_int_equal(reclaim(f, r, &count), 1);
    /* The entry that came back last is used first. */
    assert_int_equal(push(f, 99), 9);
    assert_int_equal(push(f, 100), -EAGAIN);
    ins_producer_publish(&f->p);
    assert_int_equal(ins_consumer_take(&f->c, d, W), 1);
    assert_int_equal(d[0].entry, 9);
    assert_int_equal(d[0].length, 109);
}

static void bursts_are_taken_and_reclaimed_in_the_portions_asked_for(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W];
    struct ins_returned r[W];
    uint32_t count;
    push_all(f);
    assert_int_equal(ins_consumer_take(&f->c, d, 5), 5);
    assert_int_equal(ins_consumer_take(&f->c, d + 5, 0), 0);
    assert_int_equal(ins_consumer_take(&f->c, d + 5, W), W - 5);
    for (uint32_t i = 0; i < W; i++) {
        assert_int_equal(d[i].length, 10 + i);
        ins_consumer_return(&f->c, d[i].entry, 0);
    }
    ins_consumer_publish(&f->c);
    assert_int_equal(ins_producer_reclaim(&f->p, r, 3, &count), 3);
    assert_int_equal(ins_producer_reclaim(&f->p, r, 0, &count), 0);
    assert_int_equal(reclaim(f, r, &count), W - 3);
}

static void indices_wrap_at_two_to_the_thirty_two(void **state) {
    struct fixture *f = *state;
    const uint32_t near = UINT32_MAX - 5;
    f->p.tail = f->p.published = f->p.return_head = near;
    f->c.head = f->c.cached_tail = f->c.return_tail = f->c.published_returns = near;
    memcpy(at(f, INS_LINK_FORWARD_TAIL), &near, 4);
    memcpy(at(f, INS_LINK_RETURN_TAIL), &near, 4);
    struct ins_descriptor d[W];
    struct ins_returned r[W];
    uint32_t count;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < W; i++)
            assert_true(push(f, i) >= 0);
        ins_producer_publish(&f->p);
        assert_int_equal(ins_consumer_take(&f->c, d, W), W);
        for (uint32_t i = 0; i < W; i++) {
            assert_int_equal(d[i].length, 10 + i);
            ins_consumer_return(&f->c, d[i].entry, 0);
        }
        ins_consumer_publish(&f->c);
        assert_int_equal(reclaim(f, r, &count), W);
    }
    assert_true(f->p.tail < near);
}

/* ---- a consumer that lies ---- */

static void forge_returns(struct fixture *f, uint32_t tail, const uint32_t *words, uint32_t count) {
    memcpy(at(f, INS_LINK_RING + W * INS_LINK_DESCRIPTOR_BYTES), words, count * 4);
    memcpy(at(f, INS_LINK_RETURN_TAIL), &tail, 4);
}

static void a_repeated_return_is_refused_and_what_came_before_counts(void **state) {
    struct fixture *f = *state;
    struct ins_returned r[W];
    uint32_t count, words[] = {4, 7, 4};
    push_all(f);
    forge_returns(f, 3, words, 3);
    assert_int_equal(reclaim(f, r, &count), -EPROTO);
    assert_int_equal(count, 2);
    assert_int_equal(r[0].slot, 4);
    assert_int_equal(r[1].slot, 7);
    assert_int_equal(f->p.live, W - 2);
    assert_int_equal(reclaim(f, r, &count), -EPROTO);
    assert_int_equal(count, 0);
    /* Nothing is lost by it: the rest comes home when the link is closed. */
    assert_int_equal(ins_producer_abandon(&f->p, r, W), W - 2);
}

static void an_entry_that_is_free_or_of_no_link_is_refused(void **state) {
    struct fixture *f = *state;
    struct ins_returned r[W];
    uint32_t count;
    assert_int_equal(push(f, 1), 0);
    ins_producer_publish(&f->p);
    const uint32_t lies[] = {1, W - 1, W, 0x7fff, 0xffff};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        forge_returns(f, 1, &lies[i], 1);
        assert_int_equal(reclaim(f, r, &count), -EPROTO);
        assert_int_equal(count, 0);
    }
    assert_int_equal(f->p.live, 1);
}

static void a_return_tail_outside_its_window_is_refused(void **state) {
    struct fixture *f = *state;
    struct ins_returned r[W];
    uint32_t count, words[W];
    for (uint32_t i = 0; i < W; i++)
        words[i] = i;
    for (uint32_t i = 0; i < 3; i++)
        push(f, i);
    ins_producer_publish(&f->p);
    const uint32_t tails[] = {4, W, W + 1, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        forge_returns(f, tails[i], words, W);
        assert_int_equal(reclaim(f, r, &count), -EPROTO);
        assert_int_equal(count, 0);
    }
    forge_returns(f, 3, words, W);
    assert_int_equal(reclaim(f, r, &count), 3);
}

static void spare_bits_and_unknown_statuses_do_not_hurt(void **state) {
    struct fixture *f = *state;
    struct ins_returned r[W];
    uint32_t count, word = 0xffff0000u;
    push(f, 8);
    ins_producer_publish(&f->p);
    forge_returns(f, 1, &word, 1);
    assert_int_equal(reclaim(f, r, &count), 1);
    assert_int_equal(r[0].slot, 8);
    assert_int_equal(r[0].status, 0xff);
}

static void what_a_dead_consumer_held_comes_back_once_as_abandoned(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W];
    struct ins_returned r[W];
    uint32_t count;
    for (uint32_t i = 0; i < 10; i++)
        push(f, i);
    ins_producer_publish(&f->p);
    push(f, 10); /* pushed, never published */
    assert_int_equal(ins_consumer_take(&f->c, d, 4), 4);
    ins_consumer_return(&f->c, d[2].entry, INS_STATUS_DONE);
    ins_consumer_publish(&f->c);
    ins_consumer_return(&f->c, d[3].entry, INS_STATUS_DONE); /* died before publishing this one */
    assert_int_equal(reclaim(f, r, &count), 1);
    assert_int_equal(ins_producer_abandon(&f->p, r, 6), 6);
    assert_int_equal(ins_producer_abandon(&f->p, r + 6, W), 4);
    assert_int_equal(ins_producer_abandon(&f->p, r, 0), 0);
    assert_int_equal(ins_producer_abandon(&f->p, r + 10, W), 0);
    const uint32_t expected[] = {0, 1, 3, 4, 5, 6, 7, 8, 9, 10};
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(r[i].slot, expected[i]);
        assert_int_equal(r[i].context, expected[i] + 100);
        assert_int_equal(r[i].status, INS_STATUS_ABANDONED);
    }
    assert_int_equal(f->p.live, 0);
    assert_int_equal(f->p.free_count, W);
}

/* ---- a producer that lies ---- */

static void a_forward_tail_outside_its_window_is_refused(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W + 1];
    const uint32_t tails[] = {W + 1, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        memcpy(at(f, INS_LINK_FORWARD_TAIL), &tails[i], 4);
        assert_int_equal(ins_consumer_ready(&f->c), 1);
        assert_int_equal(ins_consumer_take(&f->c, d, W + 1), -EPROTO);
    }
    /* More than the credits that are left: the consumer would hold more than the link has. */
    push_all(f);
    assert_int_equal(ins_consumer_take(&f->c, d, W), W);
    ins_consumer_return(&f->c, 0, 0);
    uint32_t tail = W + 2;
    memcpy(at(f, INS_LINK_FORWARD_TAIL), &tail, 4);
    assert_int_equal(ins_consumer_take(&f->c, d, W), -EPROTO);
    /* Backwards. */
    tail = W - 1;
    memcpy(at(f, INS_LINK_FORWARD_TAIL), &tail, 4);
    assert_int_equal(ins_consumer_take(&f->c, d, W), -EPROTO);
    tail = W + 1;
    memcpy(at(f, INS_LINK_FORWARD_TAIL), &tail, 4);
    assert_int_equal(ins_consumer_take(&f->c, d, W), 1);
}

static void an_entry_of_no_link_is_refused_after_the_good_ones_before_it(void **state) {
    struct fixture *f = *state;
    struct ins_descriptor d[W];
    push_all(f);
    uint32_t lie = W;
    memcpy(at(f, INS_LINK_RING + 3 * INS_LINK_DESCRIPTOR_BYTES), &lie, 4);
    assert_int_equal(ins_consumer_take(&f->c, d, W), 3);
    assert_int_equal(d[2].length, 12);
    assert_int_equal(ins_consumer_take(&f->c, d, W), -EPROTO);
    assert_int_equal(ins_consumer_take(&f->c, d, W), -EPROTO);
}

static void random_words_from_the_other_side_never_lose_or_double_an_entry(void **state) {
    struct fixture *f = *state;
    struct ins_returned r[W];
    uint32_t count;
    srand(11);
    for (int life = 0; life < 2000; life++) {
        ins_producer_free(&f->p);
        memset(f->segment, 0, ins_link_bytes(W));
        assert_int_equal(ins_producer_init(&f->p, f->segment, ins_link_bytes(W), W), 0);
        uint32_t out[256] = {0}, next = 0, home = 0;
        for (int step = 0; step < 40; step++) {
            if (rand() % 2 && next < 256 && push(f, next) >= 0)
                out[next++] = 1;
            if (rand() % 3 == 0)
                ins_producer_publish(&f->p);
            uint32_t word = rand() % 4 ? (uint32_t)rand() % (W + 1) : (uint32_t)rand() * 2654435761u;
            memcpy(at(f, INS_LINK_RING + W * INS_LINK_DESCRIPTOR_BYTES + 4 * ((uint32_t)rand() % W)), &word, 4);
            uint32_t tail = rand() % 8 ? f->p.return_head + (uint32_t)rand() % 3 : word;
            memcpy(at(f, INS_LINK_RETURN_TAIL), &tail, 4);
            int result = reclaim(f, r, &count);
            assert_true(result == (int)count || result == -EPROTO);
            for (uint32_t i = 0; i < count; i++) {
                assert_int_equal(out[r[i].slot], 1);
                out[r[i].slot] = 0;
                home++;
            }
            assert_int_equal(f->p.live, next - home);
            assert_int_equal(f->p.live + f->p.free_count, W);
        }
        uint32_t rest = ins_producer_abandon(&f->p, r, W);
        for (uint32_t i = 0; i < rest; i++) {
            assert_int_equal(out[r[i].slot], 1);
            home++;
        }
        assert_int_equal(home, next);
        assert_int_equal(f->p.live, 0);
    }
}

#define link_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        link_test(set_up_refuses_shapes_that_are_none),
        link_test(a_descriptor_arrives_as_it_was_pushed),
        link_test(fields_that_are_too_wide_do_not_spill_into_their_neighbours),
        link_test(a_return_brings_slot_context_pool_and_status_back),
        link_test(without_a_credit_there_is_no_push_and_one_return_is_one_credit),
        link_test(bursts_are_taken_and_reclaimed_in_the_portions_asked_for),
        link_test(indices_wrap_at_two_to_the_thirty_two),
        link_test(a_repeated_return_is_refused_and_what_came_before_counts),
        link_test(an_entry_that_is_free_or_of_no_link_is_refused),
        link_test(a_return_tail_outside_its_window_is_refused),
        link_test(spare_bits_and_unknown_statuses_do_not_hurt),
        link_test(what_a_dead_consumer_held_comes_back_once_as_abandoned),
        link_test(a_forward_tail_outside_its_window_is_refused),
        link_test(an_entry_of_no_link_is_refused_after_the_good_ones_before_it),
        link_test(random_words_from_the_other_side_never_lose_or_double_an_entry),
    };
    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
