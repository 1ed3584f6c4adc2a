/* Maps and topics, see dispatch.h. */
#include "dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { FIRST_PLACES = 64 };

/* Open addressing, linear probing, at most half full. The seed is secret, so that whoever chooses keys (a peer its flow
   ids) cannot choose collisions. */
static uint32_t place_of(const struct ins_map *map, uint64_t key) {
    uint64_t hash = (key ^ map->seed) * 0xff51afd7ed558ccdull;
    hash = (hash ^ hash >> 32) * 0xc4ceb9fe1a85ec53ull;
    return (uint32_t)(hash >> 32) & map->mask;
}

int ins_map_init(struct ins_map *map, uint32_t fixed) {
    memset(map, 0, sizeof *map);
    uint32_t places = FIRST_PLACES;
    while (places / 2 < fixed)
        places *= 2;
    if (getrandom(&map->seed, sizeof map->seed, 0) != (ssize_t)sizeof map->seed)
        map->seed = (uint64_t)(uintptr_t)map * 0x9e3779b97f4a7c15ull;
    map->places = calloc(places, sizeof *map->places);
    if (!map->places)
        return -ENOMEM;
    map->mask = places - 1;
    map->fixed = fixed;
    return 0;
}

void ins_map_free(struct ins_map *map) {
    free(map->places);
    memset(map, 0, sizeof *map);
}

int ins_map_get(const struct ins_map *map, uint64_t key, uint32_t *value) {
    for (uint32_t i = place_of(map, key); map->places[i].used; i = (i + 1) & map->mask)
        if (map->places[i].key == key) {
            *value = map->places[i].value;
            return 1;
        }
    return 0;
}

static int grow(struct ins_map *map) {
    struct ins_map larger = *map;
    larger.mask = map->mask * 2 + 1;
    larger.places = calloc((size_t)larger.mask + 1, sizeof *larger.places);
    if (!larger.places)
        return -ENOMEM;
    for (uint32_t old = 0; old <= map->mask; old++) {
        if (!map->places[old].used)
            continue;
        uint32_t i = place_of(&larger, map->places[old].key);
        while (larger.places[i].used)
            i = (i + 1) & larger.mask;
        larger.places[i] = map->places[old];
    }
    free(map->places);
    *map = larger;
    return 0;
}

int ins_map_put(struct ins_map *map, uint64_t key, uint32_t value) {
    uint32_t found;
    if (ins_map_get(map, key, &found))
        return -EEXIST;
    if (map->fixed && map->count >= map->fixed)
        return -ENOSPC;
    if (map->count * 2 >= map->mask + 1 && grow(map))
        return -ENOMEM;
    uint32_t i = place_of(map, key);
    while (map->places[i].used)
        i = (i + 1) & map->mask;
    map->places[i] = (struct ins_map_place){.key = key, .value = value, .used = 1};
    map->count++;
    return 0;
}

int ins_map_remove(struct ins_map *map, uint64_t key) {
    uint32_t hole = place_of(map, key);
    while (map->places[hole].used && map->places[hole].key != key)
        hole = (hole + 1) & map->mask;
    if (!map->places[hole].used)
        return -ENOENT;
    /* Close the gap: whatever follows and would rather be at the hole moves there. */
    for (uint32_t i = (hole + 1) & map->mask; map->places[i].used; i = (i + 1) & map->mask) {
        uint32_t home = place_of(map, map->places[i].key);
        if (((i - home) & map->mask) >= ((i - hole) & map->mask)) {
            map->places[hole] = map->places[i];
            hole = i;
        }
    }
    map->places[hole].used = 0;
    map->count--;
    return 0;
}

int ins_topics_init(struct ins_topics *topics) {
    memset(topics, 0, sizeof *topics);
    return ins_map_init(&topics->map, 0);
}

static void topic_free(struct ins_topic *topic) {
    free(topic->routes);
    free(topic->subscriptions);
    free(topic);
}

void ins_topics_free(struct ins_topics *topics) {
    for (uint32_t i = 0; i < topics->count; i++)
        topic_free(topics->table[i]);
    free(topics->table);
    ins_map_free(&topics->map);
    memset(topics, 0, sizeof *topics);
}

struct ins_topic *ins_topic_find(const struct ins_topics *topics, uint32_t tag, uint32_t channel) {
    uint32_t index;
    return ins_map_get(&topics->map, ins_map_key(tag, channel), &index) ? topics->table[index] : NULL;
}

/* Makes room for one more in an array that starts with 4 and doubles: the array, moved perhaps, and *error. */
static void *make_room(void *array, uint32_t count, uint32_t *capacity, size_t size, uint32_t most, int *error) {
    *error = count >= most ? -ENOSPC : 0;
    if (count < *capacity || *error)
        return array;
    uint32_t larger = *capacity ? *capacity * 2 : 4;
    void *moved = realloc(array, larger * size);
    if (!moved) {
        *error = -ENOMEM;
        return array;
    }
    *capacity = larger;
    return moved;
}

struct ins_topic *ins_topic_need(struct ins_topics *topics, uint32_t tag, uint32_t channel) {
    struct ins_topic *topic = ins_topic_find(topics, tag, channel);
    if (topic)
        return topic;
    int error;
    topics->table = make_room(topics->table, topics->count, &topics->capacity, sizeof(void *), INS_TOPICS, &error);
    if (error)
        return NULL;
    topic = calloc(1, sizeof *topic);
    if (!topic || ins_map_put(&topics->map, ins_map_key(tag, channel), topics->count)) {
        free(topic);
        return NULL;
    }
    topic->tag = tag;
    topic->channel = channel;
    topic->index = topics->count;
    topics->table[topics->count++] = topic;
    return topic;
}

void ins_topic_drop(struct ins_topics *topics, struct ins_topic *topic) {
    if (topic->holders || topic->route_count || topic->subscription_count || topic->dirty)
        return;
    ins_map_remove(&topics->map, ins_map_key(topic->tag, topic->channel));
    struct ins_topic *last = topics->table[--topics->count];
    if (last != topic) {
        topics->table[topic->index] = last;
        last->index = topic->index;
        ins_map_remove(&topics->map, ins_map_key(last->tag, last->channel));
        ins_map_put(&topics->map, ins_map_key(last->tag, last->channel), last->index);
    }
    topic_free(topic);
}

int ins_topic_add_route(struct ins_topic *topic, uint32_t peer, uint32_t uid) {
    for (uint32_t i = 0; i < topic->route_count; i++)
        if (topic->routes[i].peer == peer)
            return -EEXIST;
    int error;
    topic->routes = make_room(topic->routes, topic->route_count, &topic->route_capacity, sizeof *topic->routes,
                              INS_TOPIC_ROUTES, &error);
    if (error)
        return error;
    topic->routes[topic->route_count++] = (struct ins_route){.peer = peer, .uid = uid};
    return 0;
}

int ins_topic_remove_route(struct ins_topic *topic, uint32_t peer, uint32_t *uid) {
    for (uint32_t i = 0; i < topic->route_count; i++)
        if (topic->routes[i].peer == peer) {
            *uid = topic->routes[i].uid;
            topic->routes[i] = topic->routes[--topic->route_count];
            return 0;
        }
    return -ENOENT;
}

int ins_topic_subscribe(struct ins_topic *topic, struct ins_link *link, uint32_t channel_index) {
    for (uint32_t i = 0; i < topic->subscription_count; i++)
        if (topic->subscriptions[i].link == link)
            return -EEXIST;
    int error;
    topic->subscriptions =
        make_room(topic->subscriptions, topic->subscription_count, &topic->subscription_capacity,
                  sizeof *topic->subscriptions, INS_TOPIC_SUBSCRIPTIONS, &error);
    if (error)
        return error;
    topic->subscriptions[topic->subscription_count++] =
        (struct ins_subscription){.link = link, .channel_index = channel_index};
    return 0;
}

int ins_topic_unsubscribe(struct ins_topic *topic, const struct ins_link *link, uint32_t *dropped) {
    for (uint32_t i = 0; i < topic->subscription_count; i++)
        if (topic->subscriptions[i].link == link) {
            *dropped = topic->subscriptions[i].dropped;
            topic->subscriptions[i] = topic->subscriptions[--topic->subscription_count];
            return 0;
        }
    return -ENOENT;
}
