/* Dispatch tables against a plain list as the oracle; limits; topics that live exactly as long as somebody needs them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/dispatch.h"

static uint64_t seed = 0x9e3779b97f4a7c15ull;
static uint32_t any(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

static void a_map_agrees_with_a_list_under_any_order_of_calls(void **state) {
    (void)state;
    enum { KEYS = 500, STEPS = 200000 };
    static uint32_t there[KEYS], values[KEYS];
    struct ins_map map;
    uint32_t count = 0;
    assert_int_equal(ins_map_init(&map, 0), 0);
    memset(there, 0, sizeof there);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t key = any(KEYS), value;
        uint64_t wide = ins_map_key(key & 7, key); /* also keys that differ in few bits */
        switch (any(3)) {
        case 0:
            assert_int_equal(ins_map_put(&map, wide, step), there[key] ? -EEXIST : 0);
            if (!there[key]) {
                there[key] = 1;
                values[key] = step;
                count++;
            }
            break;
        case 1:
            assert_int_equal(ins_map_remove(&map, wide), there[key] ? 0 : -ENOENT);
            count -= there[key];
            there[key] = 0;
            break;
        default:
            assert_int_equal(ins_map_get(&map, wide, &value), there[key]);
            if (there[key])
                assert_int_equal(value, values[key]);
        }
        assert_int_equal(map.count, count);
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t value;
        assert_int_equal(ins_map_get(&map, ins_map_key(key & 7, key), &value), there[key]);
    }
    ins_map_free(&map);
}

static void a_fixed_map_refuses_what_goes_beyond(void **state) {
    (void)state;
    struct ins_map map;
    assert_int_equal(ins_map_init(&map, 100), 0);
    struct ins_map_place *places = map.places;
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(ins_map_put(&map, i, i), 0);
    assert_int_equal(ins_map_put(&map, 100, 100), -ENOSPC);
    assert_int_equal(ins_map_remove(&map, 50), 0);
    assert_int_equal(ins_map_put(&map, 100, 100), 0);
    assert_ptr_equal(map.places, places); /* never grew: no memory is taken by a message */
    ins_map_free(&map);
}

static void a_topic_lives_while_it_is_routed_subscribed_or_held(void **state) {
    (void)state;
    struct ins_topics topics;
    uint32_t uid, dropped;
    struct ins_link *link = (struct ins_link *)&uid; /* compared, never followed */
    assert_int_equal(ins_topics_init(&topics), 0);
    struct ins_topic *topic = ins_topic_need(&topics, 1, 2);
    assert_non_null(topic);
    assert_ptr_equal(ins_topic_need(&topics, 1, 2), topic);
    assert_null(ins_topic_find(&topics, 2, 1));
    assert_int_equal(ins_topic_add_route(topic, 3, 77), 0);
    assert_int_equal(ins_topic_add_route(topic, 3, 78), -EEXIST);
    assert_int_equal(ins_topic_subscribe(topic, link, 4), 0);
    assert_int_equal(ins_topic_subscribe(topic, link, 5), -EEXIST);
    ins_topic_drop(&topics, topic);
    assert_int_equal(ins_topic_remove_route(topic, 9, &uid), -ENOENT);
    assert_int_equal(ins_topic_remove_route(topic, 3, &uid), 0);
    assert_int_equal(uid, 77);
    ins_topic_drop(&topics, topic);
    assert_ptr_equal(ins_topic_find(&topics, 1, 2), topic);
    topic->subscriptions[0].dropped = 6;
    assert_int_equal(ins_topic_unsubscribe(topic, link, &dropped), 0);
    assert_int_equal(dropped, 6);
    topic->holders = 1;
    ins_topic_drop(&topics, topic);
    assert_ptr_equal(ins_topic_find(&topics, 1, 2), topic);
    topic->holders = 0;
    ins_topic_drop(&topics, topic);
    assert_null(ins_topic_find(&topics, 1, 2));
    ins_topics_free(&topics);
}

static void many_topics_are_found_after_others_went(void **state) {
    (void)state;
    enum { TOPICS = 3000 };
    struct ins_topics topics;
    assert_int_equal(ins_topics_init(&topics), 0);
    for (uint32_t i = 0; i < TOPICS; i++)
        assert_int_equal(ins_topic_add_route(ins_topic_need(&topics, i % 7, i), 0, i), 0);
    for (uint32_t i = 0; i < TOPICS; i += 3) {
        uint32_t uid;
        struct ins_topic *topic = ins_topic_find(&topics, i % 7, i);
        assert_int_equal(ins_topic_remove_route(topic, 0, &uid), 0);
        ins_topic_drop(&topics, topic);
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        struct ins_topic *topic = ins_topic_find(&topics, i % 7, i);
        if (i % 3 == 0)
            assert_null(topic);
        else {
            assert_int_equal(topic->channel, i);
            assert_int_equal(topic->routes[0].uid, i);
        }
    }
    ins_topics_free(&topics);
}

static void a_topic_takes_no_more_routes_than_a_message_may_have(void **state) {
    (void)state;
    struct ins_topics topics;
    assert_int_equal(ins_topics_init(&topics), 0);
    struct ins_topic *topic = ins_topic_need(&topics, 1, 1);
    for (uint32_t i = 0; i < INS_TOPIC_ROUTES; i++)
        assert_int_equal(ins_topic_add_route(topic, i, i), 0);
    assert_int_equal(ins_topic_add_route(topic, INS_TOPIC_ROUTES, 0), -ENOSPC);
    ins_topics_free(&topics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_agrees_with_a_list_under_any_order_of_calls),
        cmocka_unit_test(a_fixed_map_refuses_what_goes_beyond),
        cmocka_unit_test(a_topic_lives_while_it_is_routed_subscribed_or_held),
        cmocka_unit_test(many_topics_are_found_after_others_went),
        cmocka_unit_test(a_topic_takes_no_more_routes_than_a_message_may_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
