/* Descriptors for what has arrived, see deliver.h. Who may free a slot: nobody but this thread, by its own counts; an
   application gives back entries of its own link, and each stands for one message that it was handed. */
#include "deliver.h"

#include <string.h>

#include "coalesce.h"
#include "domain.h"
#include "engine_links.h"
#include "ingress.h"
#include "parked.h"

/* ---- the slot a link's small messages are copied into ---- */

static void close_copies(struct ins_engine *e, struct ins_ingress *in) {
    uint32_t slot = in->copies - 1;
    in->copies = 0;
    ins_domain_unref(e, &e->pool, slot);
}

/* A sink that sleeps, or pins its quota (half an even share) when less than half of the slots are free, shall pin no other slot for a small message. */
static inline int copies_due(const struct ins_engine *e, const struct ins_link *link, uint32_t slot) {
    const struct ins_ingress *in = &link->in;
    int parked = link->sleeper &&
                 (__atomic_load_n(link->sleeper->word, __ATOMIC_RELAXED) & INS_PARKED_PAGE_WISH_MESSAGES);
    return (parked || (e->pool.free_count < e->pool.slots / 2 && in->pinned >= e->quota)) && in->holds[slot] == 0 && !in->domain;
}

/* Copies the message behind those copied before. Its offset, or 0: there is no slot for it. */
static uint32_t copy_small(struct ins_engine *e, struct ins_ingress *in, const uint8_t *meta, const uint8_t *payload,
                           uint32_t length) {
    enum { ALIGN = 16 };
    struct ins_pool *pool = &e->pool;
    uint32_t bytes = (INS_META_BYTES + length + ALIGN - 1) / ALIGN * ALIGN;
    if (in->copies && in->copied_to + bytes > in->copies * pool->stride)
        close_copies(e, in);
    if (!in->copies) {
        int64_t slot = ins_pool_take(pool);
        if (slot < 0)
            return 0;
        e->slots_out++;
        in->copies = (uint32_t)slot + 1;
        in->copied_to = ins_pool_payload(pool, (uint32_t)slot) - INS_META_BYTES;
        if (in->copied_to + bytes > in->copies * pool->stride) {
            close_copies(e, in);
            return 0;
        }
    }
    uint32_t offset = in->copied_to + INS_META_BYTES;
    memcpy(pool->base + in->copied_to, meta, INS_META_BYTES);
    memcpy(pool->base + offset, payload, length);
    in->copied_to += bytes;
    return offset;
}

/* ---- what is out on a link ---- */

/* A slot holds up to a train of messages, any of which keeps it from being used again. */
static inline void released(struct ins_engine *e, struct ins_ingress *in, uint32_t slot) {
    if (--in->holds[slot])
        return;
    in->pinned--;
    if (in->copies == slot + 1)
        close_copies(e, in);
}

static inline void take_back(struct ins_engine *e, struct ins_link *link, const struct ins_returned *returned,
                             uint32_t count) {
    if (!link->in.assembly)
        for (uint32_t i = 0; i < count; i++) {
            released(e, &link->in, returned[i].slot);
            ins_domain_unref(e, ins_domain_pool(e, link), returned[i].slot);
        }
    else
        for (uint32_t i = 0; i < count; i++)
            if (returned[i].pool)
                ins_domain_unref(e, &link->in.assembly->pool, returned[i].slot);
            else {
                released(e, &link->in, returned[i].slot);
                ins_domain_unref(e, ins_domain_pool(e, link), returned[i].slot);
            }
}

void ins_link_take_back(struct ins_engine *e, struct ins_link *link, const struct ins_returned *returned,
                        uint32_t count) {
    take_back(e, link, returned, count);
}

uint32_t ins_link_reclaim(struct ins_engine *e, struct ins_link *link) {
    struct ins_returned returned[INS_BURST];
    uint32_t total = 0, undelivered = 0, count;
    int result;
    if (link->faulted || link->in.producer.live == 0)
        return 0;
    do {
        result = ins_producer_reclaim(&link->in.producer, returned, INS_BURST, &count);
        for (uint32_t i = 0; i < count; i++)
            undelivered += returned[i].status != INS_STATUS_DONE;
        take_back(e, link, returned, count);
        total += count;
    } while (result == INS_BURST);
    if (total) {
        link->starved = 0;
        ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    }
    if (undelivered)
        ins_count(e, INS_COUNT_rx_undelivered, undelivered);
    if (result < 0)
        ins_link_fault(e, link);
    return total;
}

uint32_t ins_ingress_reclaim_link(struct ins_engine *e, struct ins_link *link) { return ins_link_reclaim(e, link); }

/* As long as there are slots a link may pin as many as it has credits for. When they are used up, those that hold more
   than their share get nothing, so that the few slots still with the datapaths go round among the others: who keeps
   everything starves itself only. (Within a foreign domain, which has slots of its own, there are no shares.) */
static inline int may_pin(struct ins_engine *e, struct ins_link *link, const struct ins_pool *pool, uint32_t slot) {
    const struct ins_ingress *in = &link->in;
    return pool->free_count || in->domain || in->holds[slot] || in->pinned < pool->slots / e->ingress.count ||
           e->ingress.count == 1 || ins_link_reclaim(e, link);
}

/* `count` messages of the slot have been pushed. */
static inline void pin(struct ins_engine *e, struct ins_link *link, struct ins_pool *pool, uint32_t slot,
                       uint32_t count) {
    struct ins_ingress *in = &link->in;
    ins_pool_ref(pool, slot, count);
    if (in->holds[slot] == 0)
        in->pinned++;
    in->holds[slot] = (uint16_t)(in->holds[slot] + count);
    ins_link_touch(e, link);
}

/* One link's descriptor. 1, or 0 for want of a credit or of a share. */
static inline int push(struct ins_engine *e, struct ins_subscription *to, uint32_t slot, uint32_t offset,
                       uint32_t length, uint32_t item, uint32_t flags) {
    struct ins_link *link = to->link;
    struct ins_producer *producer = &link->in.producer;
    struct ins_pool *pool = ins_domain_pool(e, link);
    if (!may_pin(e, link, pool, slot)) {
        ins_count(e, INS_COUNT_rx_no_share, 1);
        return 0;
    }
    if (link->faulted) /* found out by reclaim; nothing may go out on it any more */
        return 0;
    if (producer->free_count == 0 && (!ins_link_reclaim(e, link) || link->faulted))
        return 0;
    ins_producer_push(producer, 0, slot, 0, offset, length, to->channel_index, item, flags | e->first);
    pin(e, link, pool, slot, 1);
    return 1;
}

static void dropped(struct ins_engine *e, struct ins_topic *topic, struct ins_subscription *subscription,
                    uint32_t count) {
    enum { TELL_MS = 10 };
    subscription->link->starved = 1;
    subscription->dropped += count;
    e->starved = 1;
    e->untold = 1;
    ins_count(e, INS_COUNT_rx_no_credit, count);
    if (!topic->dirty) {
        topic->dirty = 1;
        topic->next_dirty = e->dirty_topics;
        e->dirty_topics = topic;
    }
    ins_due(e, e->told_ms + TELL_MS);
}

void ins_ingress_dropped(struct ins_engine *e, struct ins_topic *topic, struct ins_subscription *subscription) {
    dropped(e, topic, subscription, 1);
}

/* The same for a link of a foreign trust domain, which gets a copy. */
static int push_copy(struct ins_engine *e, struct ins_subscription *to, const uint8_t *meta, const uint8_t *payload,
                     uint32_t length, struct ins_domain **copied) {
    struct ins_link *link = to->link;
    struct ins_domain *domain = link->in.domain;
    if (!ins_domain_copy(e, domain, meta, payload, length, copied) &&
        !(ins_link_reclaim(e, link) && ins_domain_copy(e, domain, meta, payload, length, copied))) {
        ins_count(e, INS_COUNT_rx_domain_full, 1);
        return 0;
    }
    return push(e, to, domain->slot, ins_pool_payload(&domain->pool, domain->slot), length, 0, 0);
}

/* The same for a link that gets small messages copied. -1: there is no slot for copies. */
static int push_small(struct ins_engine *e, struct ins_subscription *to, const uint8_t *meta, const uint8_t *payload,
                      uint32_t length) {
    struct ins_ingress *in = &to->link->in;
    uint32_t offset = copy_small(e, in, meta, payload, length);
    if (!offset)
        return -1;
    ins_count(e, INS_COUNT_rx_copied_small, 1);
    /* What comes back meanwhile may be all that was in it: it is not let go of before the push is done. */
    uint32_t copies = in->copies;
    in->copies = 0;
    int pushed = push(e, to, copies - 1, offset, length, 0, INS_DESCRIPTOR_FLAG_COPIED);
    in->copies = copies;
    if (in->holds[copies - 1] == 0)
        close_copies(e, in);
    return pushed;
}

/* `item`: its number in a shared datagram, from 1, and then `meta` as if it had come alone; 0: its own lie before it. */
static inline uint32_t deliver(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t offset,
                               uint32_t length, uint32_t item, const uint8_t *meta) {
    uint32_t pushed = 0;
    struct ins_domain *copied = NULL;
    const uint8_t *payload = e->pool.base + offset;
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        struct ins_subscription *subscription = &topic->subscriptions[i];
        struct ins_link *link = subscription->link;
        if (link->faulted)
            continue;
        int result = -1;
        if (link->in.domain)
            result = push_copy(e, subscription, item ? meta : payload - INS_META_BYTES, payload, length, &copied);
        else if (length <= INS_COPY_MOST && copies_due(e, link, slot))
            result = push_small(e, subscription, item ? meta : payload - INS_META_BYTES, payload, length);
        if (result < 0)
            result = push(e, subscription, slot, offset, length, item, 0);
        if (result)
            pushed++;
        else if (!link->faulted)
            dropped(e, topic, subscription, 1);
    }
    if (copied)
        ins_domain_copied(e, copied);
    return pushed;
}

uint32_t ins_deliver(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t offset, uint32_t length) {
    return deliver(e, topic, slot, offset, length, 0, NULL);
}

/* ---- shared datagrams ---- */

enum { CHUNK = 64 };
struct chunk {
    uint32_t count;
    uint32_t item[CHUNK];   /* number, from 1 */
    uint32_t at[CHUNK];     /* of its header, from the first item's */
    uint32_t length[CHUNK]; /* of its payload */
};

/* Some items to one link that takes them all in place. Returns how many were pushed. */
static uint32_t push_chunk(struct ins_engine *e, struct ins_topic *topic, struct ins_subscription *to, uint32_t slot,
                           uint32_t body, const struct chunk *chunk) {
    struct ins_link *link = to->link;
    struct ins_producer *producer = &link->in.producer;
    uint32_t count = 0;
    if (!may_pin(e, link, &e->pool, slot))
        ins_count(e, INS_COUNT_rx_no_share, chunk->count);
    else if (!link->faulted) {
        if (producer->free_count < chunk->count)
            ins_link_reclaim(e, link);
        if (!link->faulted)
            count = producer->free_count < chunk->count ? producer->free_count : chunk->count;
        for (uint32_t i = 0; i < count; i++)
            ins_producer_push(producer, 0, slot, 0, body + chunk->at[i] + INS_ITEM_HEADER, chunk->length[i],
                              to->channel_index, chunk->item[i], e->first);
        if (count)
            pin(e, link, &e->pool, slot, count);
    }
    if (count < chunk->count && !link->faulted)
        dropped(e, topic, to, chunk->count - count);
    return count;
}

/* Each item by itself, as if it had come alone: some links get copies. */
static uint32_t deliver_each(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t body,
                             const struct chunk *chunk) {
    uint32_t pushed = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        uint8_t meta[INS_META_BYTES];
        ins_item_meta(e->pool.base + body, chunk->at[i], chunk->item[i] - 1, chunk->length[i], meta);
        pushed += deliver(e, topic, slot, body + chunk->at[i] + INS_ITEM_HEADER, chunk->length[i], chunk->item[i], meta);
    }
    return pushed;
}

static uint32_t deliver_chunk(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t body,
                              const struct chunk *chunk) {
    uint32_t pushed = 0, copies = 0;
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        const struct ins_link *link = topic->subscriptions[i].link;
        copies |= link->in.domain || copies_due(e, link, slot);
    }
    if (copies)
        return deliver_each(e, topic, slot, body, chunk);
    for (uint32_t i = 0; i < topic->subscription_count; i++)
        if (!topic->subscriptions[i].link->faulted)
            pushed += push_chunk(e, topic, &topic->subscriptions[i], slot, body, chunk);
    return pushed;
}

uint32_t ins_deliver_items(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t body,
                           const struct ins_wire *wire, uint32_t skip) {
    uint8_t *items = e->pool.base + body;
    uint32_t pushed = 0, at = 0;
    uint64_t bytes = 0;
    struct chunk chunk;
    chunk.count = 0;
    for (uint32_t item = 1; item <= wire->items; item++) {
        uint32_t length = ins_item_length(items + at), i = chunk.count;
        if (item > skip) {
            ins_item_to_meta(items, at);
            chunk.item[i] = item;
            chunk.at[i] = at;
            chunk.length[i] = length;
            chunk.count++;
            bytes += length;
        }
        at += ins_item_bytes(length);
        if (chunk.count && (chunk.count == CHUNK || item == wire->items)) {
            pushed += deliver_chunk(e, topic, slot, body, &chunk);
            chunk.count = 0;
        }
    }
    ins_count(e, INS_COUNT_rx_bytes, bytes);
    ins_count(e, INS_COUNT_rx_coalesced, wire->items - skip);
    if (wire->items > 1)
        ins_count(e, (enum ins_engine_counter)(INS_COUNT_rx_batches_2 + ins_coalesce_bucket(wire->items)), 1);
    return pushed;
}
