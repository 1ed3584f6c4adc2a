/* From the network to applications' links, see ingress.h. A payload stays where the datapath put it; its header is
   rewritten in place into the metadata that the sink reads. */
#include "ingress.h"

#include <errno.h>

#include "domain.h"
#include "egress.h"
#include "engine_links.h"
#include "farewell.h"
#include "fragments.h"
#include "ledger.h"
#include "liveness.h"
#include "tracker.h"
#include "wire.h"

/* A slot holds up to a train of messages, any of which keeps it from being used again. */
static void release(struct ins_ingress *in, uint32_t slot) {
    if (--in->holds[slot] == 0)
        in->pinned--;
}

static inline void give_back(struct ins_engine *e, struct ins_link *link, const struct ins_returned *returned,
                             uint32_t count) {
    if (!link->in.assembly)
        for (uint32_t i = 0; i < count; i++) {
            release(&link->in, returned[i].slot);
            ins_domain_unref(e, ins_domain_pool(e, link), returned[i].slot);
        }
    else
        for (uint32_t i = 0; i < count; i++)
            if (returned[i].pool)
                ins_domain_unref(e, &link->in.assembly->pool, returned[i].slot);
            else {
                release(&link->in, returned[i].slot);
                ins_domain_unref(e, ins_domain_pool(e, link), returned[i].slot);
            }
}

/* Takes what came back on one link. Returns how many. */
static uint32_t reclaim(struct ins_engine *e, struct ins_link *link) {
    struct ins_returned returned[INS_BURST];
    uint32_t total = 0, undelivered = 0, count;
    int result;
    if (link->faulted || link->in.producer.live == 0)
        return 0;
    do {
        result = ins_producer_reclaim(&link->in.producer, returned, INS_BURST, &count);
        for (uint32_t i = 0; i < count; i++)
            undelivered += returned[i].status != INS_STATUS_DONE;
        give_back(e, link, returned, count);
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

uint32_t ins_ingress_reclaim_link(struct ins_engine *e, struct ins_link *link) { return reclaim(e, link); }

static uint32_t look(struct ins_engine *e, struct ins_link *link) {
    uint32_t moved = reclaim(e, link);
    if (moved)
        ins_links_heat(&e->ingress, link);
    else
        ins_links_cool(&e->ingress, link);
    return moved;
}

uint32_t ins_ingress_reclaim(struct ins_engine *e) {
    struct ins_link_set *set = &e->ingress;
    uint32_t moved = 0;
    for (uint32_t i = set->hot; i-- > 0;)
        moved += look(e, set->links[i]);
    for (uint32_t i = 0; i < INS_LINKS_SLICE && set->hot < set->count; i++) {
        if (set->cursor < set->hot || set->cursor >= set->count)
            set->cursor = set->hot;
        moved += look(e, set->links[set->cursor++]);
    }
    return moved;
}

uint32_t ins_ingress_reclaim_all(struct ins_engine *e) {
    uint32_t moved = 0;
    for (uint32_t i = 0; i < e->ingress.count; i++)
        moved += reclaim(e, e->ingress.links[i]);
    return moved;
}

uint32_t ins_ingress_abandon(struct ins_engine *e, struct ins_link *link) {
    struct ins_returned returned[INS_BURST];
    uint32_t total = 0, count;
    reclaim(e, link);
    while ((count = ins_producer_abandon(&link->in.producer, returned, INS_BURST))) {
        give_back(e, link, returned, count);
        total += count;
    }
    ins_count(e, INS_COUNT_rx_abandoned, total);
    ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    return total;
}

/* One link's descriptor. 1, or 0 for want of a credit or of a share. As long as there are slots a link may pin as many as
   it has credits for. When they are used up, those that hold more than their share get nothing, so that the few slots
   still with the datapaths go round among the others: who keeps everything starves itself only. (Within a
   foreign domain, which has slots of its own, there are no shares.) */
static int push(struct ins_engine *e, struct ins_subscription *to, uint32_t slot, uint32_t offset, uint32_t length) {
    struct ins_link *link = to->link;
    struct ins_ingress *in = &link->in;
    struct ins_pool *pool = ins_domain_pool(e, link);
    if (!in->domain && pool->free_count == 0 && in->holds[slot] == 0 &&
        in->pinned >= pool->slots / e->ingress.count && e->ingress.count > 1 && !reclaim(e, link)) {
        ins_count(e, INS_COUNT_rx_no_share, 1);
        return 0;
    }
    if (link->faulted) /* found out by reclaim; nothing may go out on it any more */
        return 0;
    int entry = ins_producer_push(&in->producer, 0, slot, 0, offset, length, to->channel_index, 0, 0);
    if (entry < 0 && reclaim(e, link) && !link->faulted)
        entry = ins_producer_push(&in->producer, 0, slot, 0, offset, length, to->channel_index, 0, 0);
    if (entry < 0)
        return 0;
    ins_pool_ref(pool, slot, 1);
    if (in->holds[slot]++ == 0)
        in->pinned++;
    ins_link_touch(e, link);
    return 1;
}

void ins_ingress_dropped(struct ins_engine *e, struct ins_topic *topic, struct ins_subscription *subscription) {
    enum { TELL_MS = 10 };
    subscription->link->starved = 1;
    subscription->dropped++;
    e->starved = 1;
    e->untold = 1;
    ins_count(e, INS_COUNT_rx_no_credit, 1);
    if (!topic->dirty) {
        topic->dirty = 1;
        topic->next_dirty = e->dirty_topics;
        e->dirty_topics = topic;
    }
    ins_due(e, e->told_ms + TELL_MS);
}

/* The same for a link of a foreign trust domain, which gets a copy. */
static int push_copy(struct ins_engine *e, struct ins_subscription *to, uint32_t offset, uint32_t length,
                     struct ins_domain **copied) {
    struct ins_link *link = to->link;
    struct ins_domain *domain = link->in.domain;
    if (!ins_domain_copy(e, domain, offset, length, copied) &&
        !(reclaim(e, link) && ins_domain_copy(e, domain, offset, length, copied))) {
        ins_count(e, INS_COUNT_rx_domain_full, 1);
        return 0;
    }
    return push(e, to, domain->slot, ins_pool_payload(&domain->pool, domain->slot), length);
}

/* One descriptor to every link subscribed. Returns how many were pushed. */
static uint32_t deliver(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t offset,
                        uint32_t length) {
    uint32_t pushed = 0;
    struct ins_domain *copied = NULL;
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        struct ins_subscription *subscription = &topic->subscriptions[i];
        if (subscription->link->faulted)
            continue;
        if (subscription->link->in.domain ? push_copy(e, subscription, offset, length, &copied)
                                          : push(e, subscription, slot, offset, length))
            pushed++;
        else if (!subscription->link->faulted)
            ins_ingress_dropped(e, topic, subscription);
    }
    if (copied)
        ins_domain_copied(e, copied);
    return pushed;
}

static inline struct ins_tracker *admit(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
    struct ins_tracker *tracker = ins_tracker_find(e, peer, wire->flow);
    if (!tracker) {
        struct ins_topic *topic = ins_topic_find(&e->topics, wire->tag, wire->channel);
        if (!topic || topic->subscription_count == 0) {
            ins_count(e, INS_COUNT_rx_no_subscriber, 1);
            return NULL;
        }
        uint64_t expected = e->peers[peer].forgetful ? wire->sequence : 0;
        if (wire->sequence - expected <= INS_TRACKER_LEAP)
            tracker = ins_tracker_make(e, peer, wire->flow, wire->source, topic, expected);
        if (!tracker) {
            ins_count(e, INS_COUNT_rx_bad_flow, 1);
            return NULL;
        }
    }
    const struct ins_topic *topic = tracker->topic;
    if (topic->tag != wire->tag || topic->channel != wire->channel || tracker->source != wire->source ||
        (wire->sequence > tracker->expected && wire->sequence - tracker->expected > INS_TRACKER_LEAP)) {
        ins_count(e, INS_COUNT_rx_bad_flow, 1);
        return NULL;
    }
    return tracker;
}

struct ins_tracker *ins_ingress_admit(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
    return admit(e, peer, wire);
}

static inline void settle(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence) {
    if (sequence > tracker->expected) {
        tracker->gap = tracker->expected;
        tracker->gap_end = sequence;
        ins_tracker_lost(e, tracker, sequence - tracker->expected);
    }
    tracker->expected = sequence + 1;
    ins_ledger_next(&e->received[tracker - e->trackers], tracker->expected);
    tracker->seen = e->turn;
}

void ins_ingress_settle(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence) {
    settle(e, tracker, sequence);
}

/* A data message of a known peer. Returns to how many links it was pushed. */
static uint32_t accept(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire, uint8_t *header,
                       uint32_t slot, uint32_t offset) {
    /* A sender has done with its large messages before it sends this. */
    uint32_t pushed = e->assembling ? ins_fragments_pass(e, peer, wire->flow, wire->sequence) : 0;
    struct ins_tracker *tracker = admit(e, peer, wire);
    if (!tracker)
        return pushed;
    struct ins_topic *topic = tracker->topic;
    if (wire->sequence < tracker->expected) {
        ins_count(e, INS_COUNT_rx_late, 1);
        if (wire->sequence >= tracker->gap && wire->sequence < tracker->gap_end)
            ins_count(e, INS_COUNT_rx_reordered, 1);
        return pushed;
    }
    settle(e, tracker, wire->sequence);
    ins_count(e, INS_COUNT_rx_bytes, wire->length);
    if (topic->subscription_count == 0) {
        ins_count(e, INS_COUNT_rx_no_subscriber, 1);
        return pushed;
    }
    ins_wire_to_meta(header, wire, e->stamp);
    return pushed + deliver(e, topic, slot, offset, wire->length);
}

/* Index of the peer that sends from there, or INS_NONE. */
static uint32_t peer_at(struct ins_engine *e, uint32_t port, const struct ins_endpoint *from) {
    uint64_t key = ins_map_key(from->address, port << 16 | from->port);
    if (e->cached_endpoint == key)
        return e->cached_peer;
    uint32_t peer;
    if (!ins_map_get(&e->endpoints, key, &peer))
        return INS_NONE;
    e->cached_endpoint = key;
    e->cached_peer = peer;
    return peer;
}

static uint32_t ingest(struct ins_engine *e, uint32_t port, const struct ins_rx *rx) {
    uint32_t peer = peer_at(e, port, &rx->from), at = rx->offset, left = rx->length, pushed = 0, messages = 0;
    e->slots_out++; /* ours, until the descriptors pushed have counts of their own */
    do {
        struct ins_wire wire;
        uint8_t *header = e->pool.base + at;
        messages++;
        enum ins_wire_fault fault = INS_WIRE_OK;
        if (!ins_wire_parse_plain(header, left, &wire))
            fault = ins_wire_parse(header, left, &wire);
        if (fault) {
            /* Where the next one would begin is not known. */
            ins_count(e, INS_COUNT_rx_bad_short + (fault - INS_WIRE_BAD_SHORT), 1);
            break;
        }
        if (peer == INS_NONE) {
            ins_count(e, INS_COUNT_rx_unknown_peer, 1);
            break;
        }
        ins_heard(e, peer);
        uint32_t body = at + INS_WIRE_HEADER, bytes = wire.length;
        if (wire.type == INS_WIRE_TYPE_DATA)
            pushed += accept(e, peer, &wire, header, rx->slot, body);
        else if (wire.type == INS_WIRE_TYPE_FRAGMENT) {
            pushed += ins_fragment_receive(e, port, peer, &wire, e->pool.base + body);
            bytes = wire.body;
        } else if (wire.type == INS_WIRE_TYPE_STATUS)
            ins_fragments_status(e, port, peer, &wire, e->pool.base + body);
        else if (wire.type == INS_WIRE_TYPE_MARKER)
            ins_farewell_marker(e, port, peer, &wire);
        else if (wire.type == INS_WIRE_TYPE_MARKER_ECHO)
            ins_farewell_echoed(e, peer, &wire);
        else
            ins_trackers_heartbeat(e, peer, e->pool.base + body, wire.length);
        at = body + bytes;
        left -= INS_WIRE_HEADER + bytes;
    } while (left);
    ins_count(e, INS_COUNT_rx_datagrams, messages);
    ins_domain_unref(e, &e->pool, rx->slot);
    return pushed;
}

uint32_t ins_ingress_turn(struct ins_engine *e, uint32_t budget) {
    struct ins_rx rx[INS_BURST];
    uint32_t moved = 0, pushed = 0;
    e->no_slot = 0;
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        if (!port->datapath || port->down)
            continue;
        int count = port->datapath->ops->rx_burst(port->datapath, rx, budget);
        if (count == -ENOBUFS) {
            ins_count(e, INS_COUNT_rx_no_slot, 1);
            e->starved = 1;
            e->no_slot = 1;
            continue;
        }
        if (count < 0) {
            ins_port_down(e, port, count);
            continue;
        }
        if (count)
            e->stamp = ins_clock_now(&e->clock);
        for (int k = 0; k < count; k++)
            pushed += ingest(e, i, &rx[k]);
        moved += (uint32_t)count;
    }
    if (pushed) {
        ins_count(e, INS_COUNT_rx_messages, pushed);
        ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    }
    return moved;
}
