/* Large messages at the receiver: each fragment is checked against the first one seen and copied to its place in a slot of
   the stream's assembly pool, unless it was received there (fragments_place.c). See fragments.h. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "engine_links.h"
#include "fragments_state.h"
#include "ingress.h"
#include "tracker.h"

void ins_fragments_forget_peer(struct ins_engine *e, uint32_t peer) {
    for (uint32_t i = 0; i < INS_ASSEMBLIES && e->assembling; i++)
        if (e->fragments->assemblies[i].used && e->fragments->assemblies[i].peer == peer)
            ins_assembly_give_up(e, &e->fragments->assemblies[i]);
}

struct ins_assembly *ins_assembly_find(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
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
    struct ins_fragments *f = e->fragments;
    struct ins_tracker *tracker = ins_ingress_admit(e, peer, wire);
    if (!tracker)
        return NULL;
    if (wire->sequence < tracker->expected) {
        ins_count(e, INS_COUNT_rx_fragment_late, 1);
        ins_assembly_answer(e, port, peer, wire, 1);
        return NULL;
    }
    struct ins_topic *topic = tracker->topic;
    const uint32_t count = (wire->length + wire->size - 1) / wire->size;
    struct ins_domain *pool = pool_for(topic, wire->length);
    if (!pool || count > INS_FRAGMENTS_MOST) {
        ins_count(e, INS_COUNT_rx_fragment_unfit, 1);
        ins_fragments_pass(e, peer, wire->flow, wire->sequence);
        ins_assemblies_lose(e, peer, wire->flow, wire->sequence);
        ins_assembly_answer(e, port, peer, wire, 1);
        return NULL;
    }
    uint32_t mine = 0, same = 0;
    uint64_t earlier = 0;
    struct ins_assembly *a = NULL;
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++) {
        if (!f->assemblies[i].used)
            a = &f->assemblies[i];
        else if (f->assemblies[i].peer == peer) {
            mine++;
            same += f->assemblies[i].pool == pool;
            earlier += f->assemblies[i].wire.flow == wire->flow && f->assemblies[i].wire.sequence < wire->sequence;
        }
    }
    /* One peer leaves slots to the others; and what waits for one that has not come yet leaves the last one to that, or it
       would wait for good. */
    const uint32_t waits = !(wire->flags & INS_WIRE_FLAG_FIRST) && earlier < wire->sequence - tracker->expected;
    const uint32_t share = (pool->pool.slots > 1 ? (pool->pool.slots + 1) / 2 : 1) - waits;
    /* What is later than one that was refused would take its place, and wait for it. */
    struct ins_refusal *refusal = &f->refusals[wire->flow % INS_REFUSALS];
    const int known = refusal->peer == peer && refusal->flow == wire->flow && refusal->next > tracker->expected;
    const int before = known && wire->sequence >= refusal->next;
    const int64_t slot = a && !before && mine < INS_PEER_ASSEMBLIES - waits && same < share ? ins_fragments_slot(e, pool) : -EAGAIN;
    if (slot < 0) {
        if (!before)
            *refusal = (struct ins_refusal){.peer = peer, .flow = wire->flow, .next = wire->sequence + 1};
        ins_count(e, INS_COUNT_rx_fragment_no_room, 1);
        ins_assembly_answer(e, port, peer, wire, 0);
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
    a->progress_ms = e->now_ms;
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
            ins_assembly_tell(e, a, 0);
        return pushed;
    }
    ins_assembly_tell(e, a, 0);
    a->complete = 1;
    ins_place_follow(e, a);
    return pushed + ins_assemblies_deliver(e, a->peer, wire->flow);
}

/* What all fragments of a message say alike. */
static int agrees(struct ins_engine *e, const struct ins_assembly *a, const struct ins_wire *wire) {
    if (a->wire.length == wire->length && a->wire.size == wire->size && a->wire.tag == wire->tag &&
        a->wire.channel == wire->channel && a->wire.source == wire->source)
        return 1;
    ins_count(e, INS_COUNT_rx_fragment_lies, 1);
    return 0;
}

/* Something of it that is there already, or nothing but its header: the sender wants to hear what there is. `sent`: so many
   fragments at least. */
static uint32_t asked(struct ins_engine *e, struct ins_assembly *a, const struct ins_wire *wire, uint32_t sent) {
    const uint32_t peer = a->peer, flow = wire->flow;
    if (ins_fragments_ns() - a->status_ns >= INS_STATUS_NS)
        ins_assembly_tell(e, a, sent);
    if (!(wire->flags & INS_WIRE_FLAG_FIRST) || a->first)
        return 0;
    a->first = 1;
    const uint32_t pushed = ins_fragments_pass(e, peer, flow, wire->sequence);
    return pushed + ins_assemblies_deliver(e, peer, flow);
}

uint32_t ins_fragment_asked(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire) {
    struct ins_assembly *a = ins_assembly_find(e, peer, wire);
    ins_count(e, INS_COUNT_rx_fragment_asks, 1);
    if (!a && !(a = ins_fragments_begin(e, port, peer, wire)))
        return 0;
    /* Of the first one it is not said whether it was sent. */
    return agrees(e, a, wire) ? asked(e, a, wire, wire->index ? wire->index + 1 : 0) : 0;
}

uint32_t ins_fragment_receive(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                              const uint8_t *payload) {
    struct ins_assembly *a = ins_assembly_find(e, peer, wire);
    if (!a && !(a = ins_fragments_begin(e, port, peer, wire)))
        return 0;
    if (!agrees(e, a, wire))
        return 0;
    if (ins_bit(a->have, wire->index)) {
        ins_count(e, INS_COUNT_rx_fragment_twice, 1);
        return asked(e, a, wire, 0);
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
                ins_assemblies_deliver(e, a->peer, a->wire.flow);
            }
            continue;
        }
        if (e->now_ms - a->progress_ms < INS_PROGRESS_MS && e->now_ms < a->until_ms) {
            ins_due(e, a->progress_ms + INS_PROGRESS_MS);
            continue;
        }
        const uint32_t peer = a->peer, flow = a->wire.flow;
        const uint64_t sequence = a->wire.sequence;
        ins_assembly_give_up(e, a);
        ins_assemblies_lose(e, peer, flow, sequence);
        ins_assemblies_deliver(e, peer, flow);
    }
    ins_links_publish(e);
}
