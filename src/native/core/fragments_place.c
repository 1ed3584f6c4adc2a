/* Fragments received in place, see fragments_place.h. Predicted is what follows the last fragment: the next ones of its
   message, or the first ones of the next message of its flow, for which a slot is kept. Only holes are offered, so nothing
   that is there is ever written over; and only in memory that the applications may see which see the receive pool. */
#include <string.h>
#include <sys/uio.h>

#include "fragments_state.h"
#include "fragments_place.h"
#include "ingress.h"
#include "liveness.h"
#include "tracker.h"

enum {
    TRAIN_BYTES = 65507, /* most that one call brings */
    MISSES = 4,          /* in a row, after which it is read without a prediction for a while: when nothing is under way, */
    MISSES_BEGUN = 32,   /* and while a message is */
    REST = 2,            /* bursts */
};

static struct ins_assembly *current(struct ins_engine *e, uint32_t port) {
    struct ins_fragments *f = e->fragments;
    if (f->cached >= INS_ASSEMBLIES)
        return NULL;
    struct ins_assembly *a = &f->assemblies[f->cached];
    return a->used && !a->complete && a->port == port && a->end < a->count && !a->pool->foreign ? a : NULL;
}

void ins_place_forget(struct ins_engine *e) {
    struct ins_following *next = &e->fragments->following;
    if (next->slot != INS_NONE) {
        ins_domain_unref(e, &next->pool->pool, next->slot);
        ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    }
    *next = (struct ins_following){.slot = INS_NONE};
    e->expecting = 0;
}

/* Another message of the stream will have fragments as large, if there is one, whosever and however long. */
void ins_place_follow(struct ins_engine *e, const struct ins_assembly *a) {
    struct ins_following *next = &e->fragments->following;
    if (next->pool != a->pool)
        ins_place_forget(e);
    if (a->pool->foreign)
        return;
    e->expecting = 1;
    next->pool = a->pool;
    next->port = a->port;
    next->size = a->wire.size;
    next->until_ms = e->now_ms + INS_FOLLOW_MS;
    ins_due(e, next->until_ms);
}

void ins_place_beat(struct ins_engine *e) {
    struct ins_following *next = &e->fragments->following;
    if (!next->pool)
        return;
    if (e->now_ms >= next->until_ms)
        ins_place_forget(e);
    else
        ins_due(e, next->until_ms);
}

/* As ins_place_ready. */
static int follows(struct ins_engine *e, uint32_t port) {
    struct ins_following *next = &e->fragments->following;
    if (!next->pool || next->port != port)
        return 0;
    if (next->slot == INS_NONE) {
        int64_t slot = ins_fragments_slot(e, next->pool);
        if (slot < 0)
            return -1;
        ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
        next->slot = (uint32_t)slot;
    }
    return 1;
}

int ins_place_ready(struct ins_engine *e, uint32_t port) {
    struct ins_fragments *f = e->fragments;
    if (!e->ports[port].datapath->ops->rx_place || e->ports[port].schedule)
        return 0;
    if (f->rest) {
        f->rest--;
        return 0;
    }
    return current(e, port) ? 1 : follows(e, port);
}

/* What was offered to the datapath. */
struct offer {
    struct ins_assembly *a; /* NULL: a new message */
    struct ins_wire wire;   /* of the first fragment predicted; of a new message its size alone */
    uint32_t count;
    uint8_t *at; /* payload of the first one */
    uint32_t room; /* bytes from there */
    struct iovec iov[2 * INS_PLACES + 1];
};

static uint32_t place_of(const struct offer *o, uint32_t k) {
    const uint32_t from = k * o->wire.size;
    return o->room - from < o->wire.size ? o->room - from : o->wire.size;
}

static void predict(struct ins_engine *e, uint32_t port, struct offer *o) {
    struct ins_fragments *f = e->fragments;
    const struct ins_pool *pool;
    uint32_t slot;
    o->a = current(e, port);
    if (o->a) {
        o->wire = o->a->wire;
        o->wire.index = o->a->end;
        pool = &o->a->pool->pool;
        slot = o->a->slot;
    } else {
        pool = &f->following.pool->pool;
        slot = f->following.slot;
        o->wire = (struct ins_wire){.size = f->following.size, .length = pool->payload};
    }
    const uint32_t from = o->wire.index * o->wire.size;
    o->room = o->wire.length - from;
    o->at = pool->base + ins_pool_payload(pool, slot) + from;
    o->count = 0;
    for (uint32_t bytes = 0, k = 0; k < INS_PLACES && k * o->wire.size < o->room; k++, o->count++) {
        const uint32_t part = place_of(o, k);
        bytes += INS_WIRE_HEADER + part;
        if (bytes > TRAIN_BYTES)
            return;
        o->iov[2 * k] = (struct iovec){f->headers[k], INS_WIRE_HEADER};
        o->iov[2 * k + 1] = (struct iovec){o->at + k * o->wire.size, part};
    }
}

/* Brings what landed in places from the k-th on into the buffer behind it, as if it had been received there. */
static void gather(struct ins_engine *e, const struct offer *o, uint32_t k, uint32_t left, struct ins_rx *rx) {
    uint8_t *to = e->pool.base + rx->offset;
    uint32_t placed = 0;
    for (uint32_t i = 2 * k; i < 2 * o->count; i++)
        placed += (uint32_t)o->iov[i].iov_len;
    if (placed < left)
        memmove(to + placed, to, left - placed);
    for (uint32_t i = 2 * k, rest = left; i < 2 * o->count && rest; i++) {
        const uint32_t part = o->iov[i].iov_len < rest ? (uint32_t)o->iov[i].iov_len : rest;
        memcpy(to, o->iov[i].iov_base, part);
        to += part;
        rest -= part;
    }
    rx->length = left;
    /* A header alone has a place of its own: it is another message, and stood in nobody's way. */
    if (left > INS_WIRE_HEADER)
        ins_count(e, INS_COUNT_rx_fragment_moved, left);
}

/* The k-th place holds what was predicted for it, and nothing of what follows is at a wrong place because of it. */
static int right(const struct offer *o, uint32_t k, uint32_t left, struct ins_wire *wire) {
    const uint8_t *header = o->iov[2 * k].iov_base;
    if (left < INS_WIRE_HEADER || header[INS_WIRE_TYPE] != INS_WIRE_TYPE_FRAGMENT ||
        ins_wire_parse(header, left, wire) != INS_WIRE_OK || wire->size != o->wire.size)
        return 0;
    /* One that is shorter than its place is the last one of all. */
    const uint32_t place = (uint32_t)o->iov[2 * k + 1].iov_len;
    if (wire->body > place || (wire->body < place && wire->body + INS_WIRE_HEADER != left))
        return 0;
    if (!o->a)
        return wire->index == 0 && wire->length <= o->wire.length;
    return wire->flow == o->wire.flow && wire->sequence == o->wire.sequence && wire->index == o->wire.index + k &&
           wire->length == o->wire.length && wire->tag == o->wire.tag && wire->channel == o->wire.channel &&
           wire->source == o->wire.source;
}

int ins_place_receive(struct ins_engine *e, uint32_t port, struct ins_rx *rx, uint32_t *pushed) {
    struct offer offer, *o = &offer;
    struct ins_fragments *f = e->fragments;
    struct ins_datapath *dp = e->ports[port].datapath;
    predict(e, port, o);
    const uint32_t begun = o->a != NULL;
    int result = dp->ops->rx_place(dp, o->iov, 2 * o->count, rx);
    if (result <= 0)
        return result;
    const uint32_t peer = ins_ingress_peer(e, port, &rx->from);
    uint32_t left = rx->length, k = 0;
    struct ins_wire wire;
    if (peer != INS_NONE && (!o->a || peer == o->a->peer))
        for (; k < o->count && left && right(o, k, left, &wire); k++) {
            if (!o->a) {
                if (ins_assembly_find(e, peer, &wire))
                    break;
                if (!(o->a = ins_fragments_begin(e, port, peer, &wire))) {
                    /* Answered, and counted. */
                    left -= INS_WIRE_HEADER + wire.body;
                    ins_count(e, INS_COUNT_rx_datagrams, 1);
                    k++;
                    break;
                }
                o->wire = o->a->wire;
            }
            /* It got another slot than the one that was kept. */
            if (o->a->pool->pool.base + ins_pool_payload(&o->a->pool->pool, o->a->slot) +
                    (uint64_t)o->wire.index * o->wire.size != o->at)
                break;
            left -= INS_WIRE_HEADER + wire.body;
            *pushed += ins_fragments_placed(e, o->a, &wire);
            ins_count(e, INS_COUNT_rx_datagrams, 1);
        }
    if (k || left <= INS_WIRE_HEADER)
        f->misses = 0;
    else if (++f->misses >= (begun ? MISSES_BEGUN : MISSES)) {
        f->misses = 0;
        f->rest = REST;
    }
    if (k)
        ins_heard(e, peer);
    rx->length = 0;
    if (left)
        gather(e, o, k, left, rx);
    else {
        e->slots_out++; /* as the ingress has it while it holds one */
        ins_domain_unref(e, &e->pool, rx->slot);
    }
    return 1;
}
