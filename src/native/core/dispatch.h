/* Where messages go: a hash map of u64 to u32 that a stranger's keys cannot degrade, and topics, one for each (tag,
   channel) that anybody here asked for, with the peers it is routed to and the links it is delivered on. Private to the
   thread inside the engine; memory is taken by commands only, never by a message, except by maps made with a fixed
   capacity (which never grow). */
#ifndef INSANE_DISPATCH_H
#define INSANE_DISPATCH_H

#include <stdint.h>

struct ins_map_place {
    uint64_t key;
    uint32_t value;
    uint32_t used;
};
struct ins_map {
    struct ins_map_place *places;
    uint64_t seed;
    uint32_t mask;
    uint32_t count;
    uint32_t fixed; /* most keys it may hold; 0: grows */
};

/* fixed: see above. -ENOMEM. */
int ins_map_init(struct ins_map *map, uint32_t fixed);
void ins_map_free(struct ins_map *map);
/* 1 and *value, or 0. */
int ins_map_get(const struct ins_map *map, uint64_t key, uint32_t *value);
/* -EEXIST, -ENOSPC (fixed and full), -ENOMEM. */
int ins_map_put(struct ins_map *map, uint64_t key, uint32_t value);
/* -ENOENT. */
int ins_map_remove(struct ins_map *map, uint64_t key);

static inline uint64_t ins_map_key(uint32_t high, uint32_t low) { return (uint64_t)high << 32 | low; }

struct ins_link;

enum {
    INS_TOPICS = 65536,
    /* Peers one message may have to be sent to; a whole message fits the datapath's stage (egress.h). */
    INS_TOPIC_ROUTES = 256,
    INS_TOPIC_SUBSCRIPTIONS = 1024,
};

struct ins_route {
    uint32_t peer; /* index in the engine's peer table */
    uint32_t uid;  /* of this route: a route that comes again is another one, with new flows */
};
struct ins_subscription {
    struct ins_link *link;
    uint32_t channel_index;
    uint32_t dropped; /* not delivered for want of credit, and not told control yet */
};
struct ins_topic {
    uint32_t tag;
    uint32_t channel;
    uint32_t route_count, route_capacity;
    uint32_t held; /* routes that are being moved: messages wait */
    uint32_t subscription_count, subscription_capacity;
    struct ins_route *routes;
    struct ins_subscription *subscriptions;
    uint32_t index;   /* in the table */
    uint32_t holders; /* sources and trackers that point here */
    uint32_t dirty;   /* on the list of topics with drops to tell */
    struct ins_topic *next_dirty;
};
struct ins_topics {
    struct ins_map map;
    struct ins_topic **table; /* dense, `count` of them */
    uint32_t count, capacity;
};

int ins_topics_init(struct ins_topics *topics);
void ins_topics_free(struct ins_topics *topics);
struct ins_topic *ins_topic_find(const struct ins_topics *topics, uint32_t tag, uint32_t channel);
/* Finds or makes it. NULL: no memory or too many. */
struct ins_topic *ins_topic_need(struct ins_topics *topics, uint32_t tag, uint32_t channel);
/* Frees it when nobody holds it, nothing is routed, subscribed or to be told. */
void ins_topic_drop(struct ins_topics *topics, struct ins_topic *topic);

/* -EEXIST, -ENOSPC, -ENOMEM. */
int ins_topic_add_route(struct ins_topic *topic, uint32_t peer, uint32_t uid);
/* -ENOENT; *uid gets the route's. */
int ins_topic_remove_route(struct ins_topic *topic, uint32_t peer, uint32_t *uid);
int ins_topic_subscribe(struct ins_topic *topic, struct ins_link *link, uint32_t channel_index);
/* -ENOENT; *dropped gets what was not told yet. */
int ins_topic_unsubscribe(struct ins_topic *topic, const struct ins_link *link, uint32_t *dropped);

#endif
