/* Pools: what is taken comes back once, bounds are kept, counts are counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/pool.h"

enum { SLOTS = 8, STRIDE = 128 };
static _Alignas(64) uint8_t memory[SLOTS * STRIDE];

static void set_up_refuses_what_does_not_fit(void **state) {
    (void)state;
    struct ins_pool pool;
    uint64_t bytes = sizeof memory;
    assert_int_equal(ins_pool_init(&pool, NULL, bytes, SLOTS, STRIDE), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, bytes, 0, STRIDE), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, bytes, SLOTS + 1, STRIDE), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, bytes - 1, SLOTS, STRIDE), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, bytes, 1, 64), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, bytes, 1, 100), -EINVAL);
    uint64_t huge = UINT64_MAX;
    assert_int_equal(ins_pool_init(&pool, memory, huge, INS_POOL_MAX_SLOTS + 1, STRIDE), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, huge, 1, INS_POOL_MAX_MESSAGE + 128), -EINVAL);
    /* 2^32 bytes of slots: an offset would not fit. */
    assert_int_equal(ins_pool_init(&pool, memory, huge, INS_POOL_MAX_SLOTS, 65536 + 64), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, huge, 33, INS_POOL_MAX_MESSAGE + 64), -EINVAL);
    assert_int_equal(ins_pool_init(&pool, memory, huge, 31, INS_POOL_MAX_MESSAGE + 64), 0);
    ins_pool_free(&pool);
}

static void each_slot_is_given_once_and_then_there_is_none(void **state) {
    (void)state;
    struct ins_pool pool;
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, SLOTS, STRIDE), 0);
    assert_int_equal(pool.payload, STRIDE - INS_POOL_HEADER_ROOM);
    for (int i = 0; i < SLOTS; i++) {
        assert_int_equal(ins_pool_take(&pool), i);
        assert_int_equal(ins_pool_payload(&pool, (uint32_t)i), i * STRIDE + 64);
    }
    assert_int_equal(ins_pool_take(&pool), -EAGAIN);
    /* The warmest first. */
    assert_int_equal(ins_pool_unref(&pool, 3), 0);
    assert_int_equal(ins_pool_unref(&pool, 6), 0);
    assert_int_equal(ins_pool_take(&pool), 6);
    assert_int_equal(ins_pool_take(&pool), 3);
    ins_pool_free(&pool);
}

static void a_slot_is_free_when_the_last_count_comes_back_and_not_before(void **state) {
    (void)state;
    struct ins_pool pool;
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, 1, STRIDE), 0);
    assert_int_equal(ins_pool_take(&pool), 0);
    ins_pool_ref(&pool, 0, 2);
    assert_int_equal(ins_pool_unref(&pool, 0), 0);
    assert_int_equal(ins_pool_unref(&pool, 0), 0);
    assert_int_equal(ins_pool_take(&pool), -EAGAIN);
    assert_int_equal(ins_pool_unref(&pool, 0), 0);
    assert_int_equal(pool.free_count, 1);
    assert_int_equal(ins_pool_take(&pool), 0);
    ins_pool_free(&pool);
}

static void giving_back_what_is_free_or_foreign_changes_nothing(void **state) {
    (void)state;
    struct ins_pool pool;
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, SLOTS, STRIDE), 0);
    assert_int_equal(ins_pool_unref(&pool, 0), -EINVAL);
    assert_int_equal(ins_pool_unref(&pool, SLOTS), -EINVAL);
    assert_int_equal(ins_pool_unref(&pool, UINT32_MAX), -EINVAL);
    assert_int_equal(pool.free_count, SLOTS);
    assert_int_equal(ins_pool_take(&pool), 0);
    assert_int_equal(ins_pool_unref(&pool, 0), 0);
    assert_int_equal(ins_pool_unref(&pool, 0), -EINVAL);
    assert_int_equal(pool.free_count, SLOTS);
    ins_pool_free(&pool);
}

static void random_takes_and_returns_keep_every_slot_accounted_for(void **state) {
    (void)state;
    struct ins_pool pool;
    uint32_t counts[SLOTS] = {0};
    assert_int_equal(ins_pool_init(&pool, memory, sizeof memory, SLOTS, STRIDE), 0);
    srand(7);
    for (int i = 0; i < 100000; i++) {
        uint32_t slot = (uint32_t)rand() % SLOTS;
        if (rand() % 2) {
            int64_t taken = ins_pool_take(&pool);
            uint32_t out = 0;
            for (int k = 0; k < SLOTS; k++)
                out += counts[k] > 0;
            if (out == SLOTS) {
                assert_int_equal(taken, -EAGAIN);
                continue;
            }
            assert_int_equal(counts[taken], 0);
            counts[taken] = 1;
            uint32_t more = (uint32_t)rand() % 3;
            ins_pool_ref(&pool, (uint32_t)taken, more);
            counts[taken] += more;
        } else if (counts[slot]) {
            assert_int_equal(ins_pool_unref(&pool, slot), 0);
            counts[slot]--;
        } else {
            assert_int_equal(ins_pool_unref(&pool, slot), -EINVAL);
        }
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        while (counts[slot]--)
            assert_int_equal(ins_pool_unref(&pool, slot), 0);
    assert_int_equal(pool.free_count, SLOTS);
    ins_pool_free(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_up_refuses_what_does_not_fit),
        cmocka_unit_test(each_slot_is_given_once_and_then_there_is_none),
        cmocka_unit_test(a_slot_is_free_when_the_last_count_comes_back_and_not_before),
        cmocka_unit_test(giving_back_what_is_free_or_foreign_changes_nothing),
        cmocka_unit_test(random_takes_and_returns_keep_every_slot_accounted_for),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
