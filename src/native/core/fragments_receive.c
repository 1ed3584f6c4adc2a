/* Large messages at the receiver: each fragment is checked against the first one seen and copied to its place in a slot of
   the stream's assembly pool; statuses tell the sender what is missing. A message is delivered when it is complete and no
   earlier one of its flow is still being put together. See fragments.h. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "engine_links.h"
#include "fragments_state.h"
#include "ingress.h"
#include "ledger.h"
#include "scheduler_port.h"
#include "tracker.h"

/* ---- pools ---- */

static struct ins_domain *pool_of(struct ins_engine *e, uint32_t id) {
    struct ins_domain *pool = e->assemblies;
    while (pool && pool->id != id)
        pool = pool->next;
    return pool;
}

int ins_assembly_add(struct ins_engine *e, struct ins_domain *pool) {
    if (pool_of(e, pool->id))
        return -EEXIST;
    pool->next = e->assemblies;
    e->assemblies = pool;
    ins_domains_gauge(e);
    return 0;
}

/* Gives the memory back; whether the message is lost is found out by its flow. */
static void drop(struct ins_engine *e, struct ins_assembly *a) {
    a->used = 0;
    e->assembling--;
    e->fragments->cached = INS_NONE;
    ins_domain_unref(e, &a->pool->pool, a->slot);
    ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
}

static void give_up(struct ins_engine *e, struct ins_assembly *a) {
    ins_count(e, INS_COUNT_rx_incomplete, 1);
    drop(e, a);
}

int ins_assembly_remove(struct ins_engine *e, uint32_t id) {
    struct ins_domain *pool = pool_of(e, id), **at = &e->assemblies;
    if (!pool)
        return -ENOENT;
    if (pool->links)
        return -EBUSY;
    if (e->fragments->following.pool == pool)
        ins_place_forget(e);
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++)
        if (e->fragments->assemblies[i].used && e->fragments->assemblies[i].pool == pool)
            give_up(e, &e->fragments->assemblies[i]);
    while (*at != pool)
        at = &(*at)->next;
    *at = pool->next;
    ins_domain_free(pool);
    ins_domains_gauge(e);
    return 0;
}

int ins_assembly_set(struct ins_engine *e, struct ins_link *link, uint32_t id) {
    struct ins_domain *pool = pool_of(e, id);
    if (!pool)
        return -ENOENT;
    if (link->in.assembly)
        return -EBUSY;
    link->in.assembly = pool;
    pool->foreign |= link->in.domain != NULL;
    pool->links++;
    return 0;
}

void ins_assembly_leave(struct ins_link *link) {
    if (link->in.assembly)
        link->in.assembly->links--;
    link->in.assembly = NULL;
}

/* ---- statuses ---- */

/* Most of what can wait here, or half of what can be received: the rest is for others' traffic. */
static uint64_t window(const struct ins_engine *e, uint32_t port, uint32_t peer, uint32_t size) {
    const struct ins_assembly *all = e->fragments->assemblies;
    const struct ins_datapath *dp = e->ports[port].datapath;
    uint64_t bytes = dp && dp->waiting ? (uint64_t)dp->waiting * 3 / 4 : (uint64_t)e->config.receive_slots * size / 2, peers = 1;
    /* Each of the peers that send gets its part; one that has several messages under way is counted once. */
    for (uint32_t i = 0; i < INS_ASSEMBLIES && e->assembling > 1; i++) {
        uint32_t known = !all[i].used || all[i].peer == peer;
        for (uint32_t k = 0; k < i && !known; k++)
            known = all[k].used && all[k].peer == all[i].peer;
        peers += !known;
    }
    if (bytes > INS_WINDOW_MOST)
        bytes = INS_WINDOW_MOST;
    bytes /= peers;
    return bytes < 8ull * size ? 8ull * size : bytes;
}

static void send_status(struct ins_engine *e, uint32_t at, uint32_t to, const struct ins_wire *about,
                        struct ins_receipt receipt, const uint8_t *bitmap) {
    struct ins_port *port = &e->ports[at];
    const struct ins_peer *peer = &e->peers[to];
    uint8_t header[64], body[INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP];
    const uint32_t bytes = INS_RECEIPT_BITMAP + receipt.bytes;
    if (!port->datapath || port->down || !peer->used || !peer->endpoints[at].used ||
        (port->schedule && !ins_schedule_beat(port, INS_WIRE_HEADER + bytes)))
        return;
    const struct ins_wire wire = {
        .type = INS_WIRE_TYPE_STATUS,
        .tag = about->tag,
        .channel = about->channel,
        .source = about->source,
        .flow = about->flow,
        .sequence = about->sequence,
        .length = bytes,
    };
    receipt.consumed = e->fragments->consumed[to];
    ins_wire_write(header, &wire);
    ins_receipt_write(body, &receipt);
    if (receipt.bytes)
        memcpy(body + INS_RECEIPT_BITMAP, bitmap, receipt.bytes);
    struct ins_tx tx = {
        .header = header,
        .payload = body,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = peer->endpoints[at].at,
    };
    /* Not taken is as good as lost on the way: the sender asks again. */
    if (port->datapath->ops->tx_burst(port->datapath, &tx, 1) == 1 && tx.error == 0)
        ins_count(e, INS_COUNT_status_out, 1);
}

static void tell(struct ins_engine *e, struct ins_assembly *a) {
    uint8_t bitmap[INS_RECEIPT_MAX_BITMAP];
    /* Whole bytes only, so that what is not sent yet is not called missing; but to the end when that is there. */
    const uint32_t first = a->base / 8 * 8, end = a->end == a->count ? (a->count + 7) / 8 * 8 : a->end / 8 * 8;
    uint32_t bytes = end > first ? (end - first) / 8 : 0;
    if (bytes > INS_RECEIPT_MAX_BITMAP)
        bytes = INS_RECEIPT_MAX_BITMAP;
    for (uint32_t i = 0; i < bytes; i++) {
        bitmap[i] = 0;
        for (uint32_t bit = 0; bit < 8; bit++)
            if (!ins_bit(a->have, first + 8 * i + bit))
                bitmap[i] |= (uint8_t)(0x80u >> bit);
    }
    a->since = 0;
    a->status_ns = ins_fragments_ns();
    struct ins_receipt receipt = {.window = window(e, a->port, a->peer, a->wire.size), .first = first, .bytes = bytes};
    a->quarter = (uint32_t)(receipt.window / 4);
    if (a->received == a->count) {
        receipt.first = (a->count + 7) / 8 * 8;
        receipt.bytes = 0;
    }
    send_status(e, a->port, a->peer, &a->wire, receipt, bitmap);
}

/* For a message of which nothing is kept: `room`: nothing more of it is wanted; else there is no memory for it now. */
static void answer(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire, uint64_t room) {
    struct ins_fragments *f = e->fragments;
    const uint64_t now = ins_fragments_ns();
    if (f->answered_peer == peer && f->answered_flow == wire->flow && f->answered_sequence == wire->sequence &&
        now - f->answered_ns < INS_STATUS_NS)
        return;
    f->answered_peer = peer;
    f->answered_flow = wire->flow;
    f->answered_sequence = wire->sequence;
    f->answered_ns = now;
    const uint32_t count = (wire->length + wire->size - 1) / wire->size;
    send_status(e, port, peer, wire, (struct ins_receipt){.window = room, .first = room ? (count + 7) / 8 * 8 : 0}, NULL);
}

/* ---- delivery ---- */

/* One link's descriptor from an assembly pool; 0 for want of a credit. */
static uint32_t push(struct ins_engine *e, struct ins_subscription *to, struct ins_domain *pool, uint32_t slot,
                     uint32_t length) {
    struct ins_link *link = to->link;
    const uint32_t offset = ins_pool_payload(&pool->pool, slot);
    int entry = ins_producer_push(&link->in.producer, 1, slot, 0, offset, length, to->channel_index, 0, 0);
    if (entry < 0 && ins_ingress_reclaim_link(e, link) && !link->faulted)
        entry = ins_producer_push(&link->in.producer, 1, slot, 0, offset, length, to->channel_index, 0, 0);
    if (entry < 0)
        return 0;
    ins_pool_ref(&pool->pool, slot, 1);
    ins_link_touch(e, link);
    return 1;
}

int64_t ins_fragments_slot(struct ins_engine *e, struct ins_domain *pool) {
    struct ins_following *next = &e->fragments->following;
    if (next->pool == pool && next->slot != INS_NONE) {
        const uint32_t kept = next->slot;
        next->slot = INS_NONE;
        return kept;
    }
    int64_t slot = ins_pool_take(&pool->pool);
    for (uint32_t i = 0; i < e->ingress.count && slot < 0; i++)
        if (e->ingress.links[i]->in.assembly == pool && ins_ingress_reclaim_link(e, e->ingress.links[i]))
            slot = ins_pool_take(&pool->pool);
    if (slot >= 0)
        e->slots_out++;
    return slot;
}

/* The message in a slot of another pool: copied there once for all links that deliver from that. */
static int copy(struct ins_engine *e, const struct ins_assembly *a, struct ins_domain *to, struct ins_domain **copied) {
    if (to->copied)
        return 1;
    const int64_t slot = a->wire.length <= to->pool.payload ? ins_fragments_slot(e, to) : -EMSGSIZE;
    if (slot < 0)
        return 0;
    memcpy(to->pool.base + ins_pool_payload(&to->pool, (uint32_t)slot) - INS_META_BYTES,
           a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) - INS_META_BYTES,
           INS_META_BYTES + (uint64_t)a->wire.length);
    ins_count(e, INS_COUNT_rx_copied_domain, 1);
    to->slot = (uint32_t)slot;
    to->copied = 1;
    to->next_copied = *copied;
    *copied = to;
    return 1;
}

static uint32_t deliver_one(struct ins_engine *e, struct ins_assembly *a) {
    uint32_t pushed = 0;
    struct ins_domain *copied = NULL;
    struct ins_tracker *tracker = ins_ingress_admit(e, a->peer, &a->wire);
    if (!tracker || a->wire.sequence < tracker->expected) {
        drop(e, a);
        return 0;
    }
    ins_ingress_settle(e, tracker, a->wire.sequence);
    ins_count(e, INS_COUNT_rx_bytes, a->wire.length);
    ins_count(e, INS_COUNT_rx_large, 1);
    ins_wire_to_meta(a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) - INS_META_BYTES, &a->wire, e->stamp);
    struct ins_topic *topic = tracker->topic;
    if (topic->subscription_count == 0)
        ins_count(e, INS_COUNT_rx_no_subscriber, 1);
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        struct ins_subscription *to = &topic->subscriptions[i];
        struct ins_domain *pool = to->link->in.assembly;
        if (to->link->faulted)
            continue;
        if (pool == a->pool ? push(e, to, pool, a->slot, a->wire.length)
                            : pool && copy(e, a, pool, &copied) && push(e, to, pool, pool->slot, a->wire.length))
            pushed++;
        else if (!to->link->faulted)
            ins_ingress_dropped(e, topic, to);
    }
    ins_domain_copied(e, copied);
    drop(e, a);
    return pushed;
}

/* The first in sequence that is being put together of the flow, below `next`; or NULL. */
static struct ins_assembly *earliest(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t next) {
    struct ins_assembly *first = NULL;
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++) {
        struct ins_assembly *a = &e->fragments->assemblies[i];
        if (a->used && a->peer == peer && a->peer_uid == e->peers[peer].uid && a->wire.flow == flow &&
            a->wire.sequence < next && (!first || a->wire.sequence < first->wire.sequence))
            first = a;
    }
    return first;
}

/* What is complete of the flow and waits for nothing any more. */
static uint32_t deliver_ready(struct ins_engine *e, uint32_t peer, uint32_t flow) {
    uint32_t pushed = 0;
    struct ins_assembly *a;
    while ((a = earliest(e, peer, flow, UINT64_MAX)) && a->complete) {
        const struct ins_tracker *tracker = ins_tracker_find(e, peer, flow);
        if (tracker && a->wire.sequence > tracker->expected && !a->first)
            break; /* one before it is still to come */
        pushed += deliver_one(e, a);
    }
    return pushed;
}

uint32_t ins_fragments_pass(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t next) {
    uint32_t pushed = 0;
    struct ins_assembly *a;
    while ((a = earliest(e, peer, flow, next))) {
        if (a->complete)
            pushed += deliver_one(e, a);
        else
            give_up(e, a);
    }
    return pushed;
}

/* Nothing up to that message is waited for any more. */
static void lose(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t sequence) {
    struct ins_tracker *tracker = ins_tracker_find(e, peer, flow);
    if (!tracker || tracker->expected > sequence || earliest(e, peer, flow, sequence))
        return;
    ins_tracker_lost(e, tracker, sequence + 1 - tracker->expected);
    tracker->expected = sequence + 1;
    ins_ledger_next(&e->received[tracker - e->trackers], tracker->expected);
}

void ins_fragments_forget_peer(struct ins_engine *e, uint32_t peer) {
    if (e->fragments->following.pool && e->fragments->following.peer == peer)
        ins_place_forget(e);
    for (uint32_t i = 0; i < INS_ASSEMBLIES && e->assembling; i++)
        if (e->fragments->assemblies[i].used && e->fragments->assemblies[i].peer == peer)
            give_up(e, &e->fragments->assemblies[i]);
}

/* ---- fragments ---- */

static struct ins_assembly *find(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
    struct ins_fragments *f = e->fragments;
    for (uint32_t i = 0; i <= INS_ASSEMBLIES && e->assembling; i++) {
        /* Most often that of the fragment before. */
        uint32_t at = i == 0 ? f->cached : i - 1;
        struct ins_assembly *a = &f->assemblies[at < INS_ASSEMBLIES ? at : 0];
        if (a->used && a->peer == peer && a->wire.flow == wire->flow && a->wire.sequence == wire->sequence) {
            f->cached = (uint32_t)(a - f->assemblies);
            return a;
        }
    }
    return NULL;
}

/* The first pool of a sink's that can take it. */
static struct ins_domain *pool_for(const struct ins_topic *topic, uint32_t length) {
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        struct ins_domain *pool = topic->subscriptions[i].link->in.assembly;
        if (pool && length <= pool->pool.payload && !topic->subscriptions[i].link->faulted)
            return pool;
    }
    return NULL;
}

struct ins_assembly *ins_fragments_begin(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire) {
    enum { ANY = 1 };
    struct ins_fragments *f = e->fragments;
    struct ins_tracker *tracker = ins_ingress_admit(e, peer, wire);
    if (!tracker)
        return NULL;
    if (wire->sequence < tracker->expected) {
        ins_count(e, INS_COUNT_rx_fragment_late, 1);
        answer(e, port, peer, wire, ANY);
        return NULL;
    }
    struct ins_topic *topic = tracker->topic;
    const uint32_t count = (wire->length + wire->size - 1) / wire->size;
    struct ins_domain *pool = pool_for(topic, wire->length);
    if (!pool || count > INS_FRAGMENTS_MOST) {
        ins_count(e, INS_COUNT_rx_fragment_unfit, 1);
        ins_fragments_pass(e, peer, wire->flow, wire->sequence);
        lose(e, peer, wire->flow, wire->sequence);
        answer(e, port, peer, wire, ANY);
        return NULL;
    }
    uint32_t mine = 0, same = 0;
    struct ins_assembly *a = NULL;
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++) {
        if (!f->assemblies[i].used)
            a = &f->assemblies[i];
        else if (f->assemblies[i].peer == peer) {
            mine++;
            same += f->assemblies[i].pool == pool;
        }
    }
    /* One peer leaves slots to the others. */
    const uint32_t share = pool->pool.slots > 1 ? (pool->pool.slots + 1) / 2 : 1;
    /* What is later than one that was refused would take its place, and wait for it. */
    struct ins_refusal *refusal = &f->refusals[wire->flow % INS_REFUSALS];
    const int known = refusal->peer == peer && refusal->flow == wire->flow && refusal->next > tracker->expected;
    const int before = known && wire->sequence >= refusal->next;
    const int64_t slot = a && !before && mine < INS_PEER_ASSEMBLIES && same < share ? ins_fragments_slot(e, pool) : -EAGAIN;
    if (slot < 0) {
        if (!before)
            *refusal = (struct ins_refusal){.peer = peer, .flow = wire->flow, .next = wire->sequence + 1};
        ins_count(e, INS_COUNT_rx_fragment_no_room, 1);
        answer(e, port, peer, wire, 0);
        return NULL;
    }
    if (known)
        refusal->next = 0;
    memset(a, 0, offsetof(struct ins_assembly, have));
    memset(a->have, 0, (count + 7) / 8);
    a->used = 1;
    a->port = port;
    a->peer = peer;
    a->peer_uid = e->peers[peer].uid;
    a->wire = *wire;
    a->pool = pool;
    a->slot = (uint32_t)slot;
    a->count = count;
    a->until_ms = e->now_ms + INS_LIFE_MS + wire->length / INS_LIFE_BYTES;
    a->since = UINT32_MAX / 2; /* the first one is confirmed at once: the sender waits for that before its next message */
    e->assembling++;
    f->cached = (uint32_t)(a - f->assemblies);
    ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    ins_due(e, e->now_ms + INS_PROGRESS_MS);
    return a;
}

uint32_t ins_fragments_placed(struct ins_engine *e, struct ins_assembly *a, const struct ins_wire *wire) {
    uint32_t pushed = 0;
    if ((wire->flags & INS_WIRE_FLAG_FIRST) && !a->first) {
        a->first = 1;
        pushed = ins_fragments_pass(e, a->peer, wire->flow, wire->sequence);
    }
    ins_bit_set(a->have, wire->index);
    ins_count(e, INS_COUNT_rx_fragments, 1);
    e->fragments->consumed[a->peer] += wire->body;
    a->received++;
    a->progress_ms = e->now_ms;
    a->since += wire->body;
    if (wire->index >= a->end)
        a->end = wire->index + 1;
    while (a->base < a->count && ins_bit(a->have, a->base))
        a->base++;
    if (a->received < a->count) {
        if (a->since >= a->quarter)
            tell(e, a);
        return pushed;
    }
    tell(e, a);
    a->complete = 1;
    ins_place_follow(e, a);
    return pushed + deliver_ready(e, a->peer, wire->flow);
}

uint32_t ins_fragment_receive(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                              const uint8_t *payload) {
    struct ins_assembly *a = find(e, peer, wire);
    if (!a && !(a = ins_fragments_begin(e, port, peer, wire)))
        return 0;
    if (a->wire.length != wire->length || a->wire.size != wire->size || a->wire.tag != wire->tag ||
        a->wire.channel != wire->channel || a->wire.source != wire->source) {
        ins_count(e, INS_COUNT_rx_fragment_lies, 1);
        return 0;
    }
    if (ins_bit(a->have, wire->index)) {
        ins_count(e, INS_COUNT_rx_fragment_twice, 1);
        if (ins_fragments_ns() - a->status_ns >= INS_STATUS_NS)
            tell(e, a);
        if (!(wire->flags & INS_WIRE_FLAG_FIRST) || a->first)
            return 0;
        a->first = 1;
        const uint32_t flow = wire->flow, pushed = ins_fragments_pass(e, peer, flow, wire->sequence);
        return pushed + deliver_ready(e, peer, flow);
    }
    memcpy(a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) + (uint64_t)wire->index * wire->size, payload,
           wire->body);
    ins_count(e, INS_COUNT_rx_fragment_copied, 1);
    return ins_fragments_placed(e, a, wire);
}

void ins_assemblies_beat(struct ins_engine *e) {
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++) {
        struct ins_assembly *a = &e->fragments->assemblies[i];
        if (!a->used)
            continue;
        if (a->complete) {
            if (e->now_ms - a->progress_ms < INS_PROGRESS_MS)
                ins_due(e, a->progress_ms + INS_PROGRESS_MS);
            else {
                a->first = 1; /* what is before it had its time */
                ins_fragments_pass(e, a->peer, a->wire.flow, a->wire.sequence);
                deliver_ready(e, a->peer, a->wire.flow);
            }
            continue;
        }
        if (e->now_ms - a->progress_ms < INS_PROGRESS_MS && e->now_ms < a->until_ms) {
            ins_due(e, a->progress_ms + INS_PROGRESS_MS);
            continue;
        }
        const uint32_t peer = a->peer, flow = a->wire.flow;
        const uint64_t sequence = a->wire.sequence;
        give_up(e, a);
        lose(e, peer, flow, sequence);
        deliver_ready(e, peer, flow);
    }
    ins_links_publish(e);
}
