/* Large messages at the sender: fragments straight from the application's slot, as many as the receiver's window allows,
   a burst of each message in turn, staged behind what is small; what the receiver misses is sent again while the slot is
   held. Its entry comes back when all receivers have confirmed it or it was given up. See fragments.h. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "egress.h"
#include "engine_links.h"
#include "flow.h"
#include "ledger.h"
#include "fragments_state.h"
#include "scheduler_port.h"

enum { HEADERS = INS_WIRE_HEADER + 28, TURN = 64 };

int ins_fragments_init(struct ins_engine *e) {
    e->fragments = calloc(1, sizeof *e->fragments);
    if (!e->fragments)
        return -ENOMEM;
    e->fragments->cached = e->fragments->following.slot = INS_NONE;
    return 0;
}

void ins_fragments_free(struct ins_engine *e) {
    while (e->assemblies) {
        struct ins_domain *pool = e->assemblies;
        e->assemblies = pool->next;
        ins_domain_free(pool);
    }
    free(e->fragments);
}

void ins_fragments_beat(struct ins_engine *e) {
    if (e->fragments->sending)
        ins_transmissions_beat(e);
    if (e->assembling)
        ins_assemblies_beat(e);
    ins_place_beat(e);
}

static struct ins_flow *flow_of(struct ins_engine *e, const struct ins_transmission *t) {
    struct ins_flow *flow = &e->flows[t->flow];
    return flow->used && flow->id == t->flow_id ? flow : NULL;
}

static void unship(struct ins_engine *e, struct ins_shipment *s) {
    if (--s->references)
        return;
    if (s->sent)
        ins_count(e, INS_COUNT_tx_messages, 1);
    ins_consumer_return(&s->link->out.consumer, s->entry, s->sent ? INS_STATUS_DONE : s->status);
    ins_link_touch(e, s->link);
    ins_links_heat(&e->egress, s->link);
}

/* Nothing of it is staged any more: the slot may be used again. */
static void end(struct ins_engine *e, struct ins_transmission *t) {
    struct ins_fragments *f = e->fragments;
    struct ins_flow *flow = flow_of(e, t);
    if (flow) {
        flow->sending--;
        flow->last_ms = e->now_ms;
        flow->beats = 0;
        if (!flow->active)
            ins_flow_activate(e, flow);
    }
    t->used = 0;
    f->sending--;
    t->link->out.sending--;
    t->link->out.waits = 0;
    for (uint32_t i = 0; f->crowded && i < e->egress.count; i++)
        e->egress.links[i]->out.waits = 0;
    f->crowded = 0;
    if (!t->link->out.sending)
        e->farewells_pending = 1; /* a link that retires may have waited for it */
    unship(e, &f->shipments[t->shipment]);
}

/* status: of the entry, when nothing of it has left. */
static void finish(struct ins_engine *e, struct ins_transmission *t, uint32_t status) {
    if (t->done)
        return;
    t->done = 1;
    e->fragments->shipments[t->shipment].status = status;
    if (t->sent) {
        e->fragments->shipments[t->shipment].sent = 1;
        ins_ledger_sent(e, t->flow, t->flow_id, 1);
    } else {
        /* As for small ones (egress.c): what never left must not be missed by the receiver. */
        struct ins_flow *flow = flow_of(e, t);
        if (flow && flow->next == t->sequence + 1)
            flow->next--;
    }
    if (t->staged == 0)
        end(e, t);
}

void ins_fragment_left(struct ins_engine *e, uint32_t transmission, int sent, int32_t error) {
    struct ins_transmission *t = &e->fragments->transmissions[transmission];
    t->staged--;
    if (sent && !error) {
        t->sent = 1;
        ins_count(e, INS_COUNT_tx_fragments, 1);
    }
    if (t->done) {
        if (t->staged == 0)
            end(e, t);
    } else if (sent && error && (error == -EMSGSIZE || !t->sent)) /* else as good as lost on the way: it goes again */
        finish(e, t, error == -EMSGSIZE ? INS_STATUS_TOO_LARGE : INS_STATUS_NETWORK);
}

void ins_fragments_cancel(struct ins_engine *e, const struct ins_port *port, const struct ins_link *link,
                          uint32_t status) {
    struct ins_fragments *f = e->fragments;
    uint32_t index = (uint32_t)(port - e->ports);
    /* From the last of each flow to its first, because sequences are taken back from the end. */
    while (f->sending) {
        struct ins_transmission *last = NULL;
        for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
            struct ins_transmission *t = &f->transmissions[i];
            if (t->used && !t->done && t->port == index && (!link || t->link == link) &&
                (!last || t->sequence > last->sequence))
                last = t;
        }
        if (!last)
            return;
        finish(e, last, status);
    }
}

/* Largest IP datagram to that peer that nobody on the way has to cut up, as far as is known. */
static uint32_t piece(const struct ins_engine *e, uint32_t port, const struct ins_peer *peer) {
    const uint32_t theirs = peer->endpoints[port].at.mtu, own = e->ports[port].datapath->mtu;
    return own && own < theirs ? own : theirs;
}

static uint64_t life(const struct ins_engine *e, const struct ins_transmission *t) {
    return e->now_ms + INS_LIFE_MS + t->length / INS_LIFE_BYTES;
}

static struct ins_transmission *begin(struct ins_engine *e, struct ins_link *link, const struct ins_descriptor *d,
                                      const struct ins_egress_source *source, uint32_t port, struct ins_flow *flow) {
    struct ins_fragments *f = e->fragments;
    struct ins_transmission *t = f->transmissions;
    while (t->used)
        t++;
    const struct ins_peer *peer = &e->peers[flow->peer];
    const uint32_t mtu = piece(e, port, peer);
    memset(t, 0, offsetof(struct ins_transmission, have));
    t->used = 1;
    t->link = link;
    t->source = source->uid;
    t->flow = (uint32_t)(flow - e->flows);
    t->flow_id = flow->id;
    t->port = port;
    t->peer = flow->peer;
    t->peer_uid = peer->uid;
    t->payload = link->out.pools[d->pool].base + d->offset;
    t->length = d->length;
    /* A multiple of 8, so that copies at the receiver are aligned. */
    t->size = mtu < HEADERS + INS_FRAGMENT_LEAST ? INS_FRAGMENT_LEAST : (mtu - HEADERS) / 8 * 8;
    t->count = (t->length + t->size - 1) / t->size;
    t->progress_ms = e->now_ms;
    t->until_ms = life(e, t);
    t->probe_wait = INS_PROBE_MS;
    t->probe_ms = e->now_ms + t->probe_wait;
    memset(t->have, 0, (t->count + 7) / 8);
    memcpy(&t->emit_time, t->payload - INS_META_BYTES + INS_META_EMIT_TIME, sizeof t->emit_time);
    if (t->emit_time == 0)
        t->emit_time = ins_clock_now(&e->clock);
    t->sequence = ins_flow_next(e, flow);
    flow->sending++;
    f->sending++;
    link->out.sending++;
    ins_due(e, t->probe_ms);
    return t;
}

int ins_fragments_take(struct ins_engine *e, struct ins_link *link, const struct ins_descriptor *d,
                       const struct ins_egress_source *source, uint32_t port) {
    struct ins_fragments *f = e->fragments;
    const struct ins_topic *topic = source->topic;
    uint32_t large = 0, usable = 0, mine = 0;
    const uint32_t splits = e->ports[port].datapath->ops->flags & INS_DATAPATH_SPLITS;
    for (uint32_t i = 0; i < topic->route_count; i++) {
        const struct ins_peer *peer = &e->peers[topic->routes[i].peer];
        if (!peer->endpoints[port].used || peer->muted)
            continue;
        usable++;
        large |= d->length > INS_WIRE_MAX_PAYLOAD ||
                 d->length + HEADERS > (splits ? peer->endpoints[port].at.mtu : piece(e, port, peer));
    }
    for (uint32_t i = 0; i < INS_TRANSMISSIONS && f->sending; i++) {
        const struct ins_transmission *t = &f->transmissions[i];
        if (!t->used || t->source != source->uid)
            continue;
        mine++;
    }
    /* What is small would overtake. */
    if (mine && (!large || mine + usable > INS_SOURCE_LARGE)) {
        link->out.waits = 1;
        return -EAGAIN;
    }
    if (!large || usable == 0 || usable > INS_TRANSMISSIONS)
        return 0;
    if (f->sending + usable > INS_TRANSMISSIONS) {
        link->out.waits = 1;
        f->crowded = 1;
        return -EAGAIN;
    }
    struct ins_shipment *s = f->shipments;
    while (s->references)
        s++;
    *s = (struct ins_shipment){.references = 1, .status = INS_STATUS_NETWORK, .entry = d->entry, .link = link};
    for (uint32_t i = 0; i < topic->route_count; i++) {
        const struct ins_peer *peer = &e->peers[topic->routes[i].peer];
        if (!peer->endpoints[port].used || peer->muted)
            continue;
        struct ins_flow *flow = ins_flow_need(e, source, &topic->routes[i], port);
        if (!flow) {
            ins_count(e, INS_COUNT_tx_no_flow, 1);
            continue;
        }
        struct ins_transmission *t = begin(e, link, d, source, port, flow);
        t->shipment = (uint32_t)(s - f->shipments);
        s->references++;
    }
    unship(e, s);
    return 1;
}

/* ---- what goes now ---- */

static uint32_t flight(const struct ins_transmission *t) {
    return (t->next > t->horizon ? t->next - t->horizon : 0) + t->again;
}

/* Bytes that may still go to the peer. */
static uint64_t room(const struct ins_engine *e, const struct ins_transmission *of) {
    uint64_t window = e->peers[of->peer].endpoints[of->port].window, used = 0;
    if (!window)
        window = INS_WINDOW_FIRST;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        const struct ins_transmission *t = &e->fragments->transmissions[i];
        if (t->used && !t->done && t->peer == of->peer && t->port == of->port)
            used += (uint64_t)flight(t) * t->size;
    }
    return used < window ? window - used : 0;
}

static void stage_fragment(struct ins_engine *e, struct ins_port *port, struct ins_transmission *t, uint32_t index,
                           uint32_t flags) {
    struct ins_stage *stage = port->stage;
    const struct ins_flow *flow = &e->flows[t->flow];
    uint32_t at = stage->tail++, offset = index * t->size;
    uint32_t bytes = t->length - offset < t->size ? t->length - offset : t->size;
    const struct ins_wire wire = {
        .type = INS_WIRE_TYPE_FRAGMENT,
        .flags = flags,
        .tag = flow->tag,
        .channel = flow->channel,
        .source = flow->source,
        .flow = flow->id,
        .sequence = t->sequence,
        .emit_time = t->emit_time,
        .length = t->length,
        .size = t->size,
        .index = index,
    };
    ins_wire_write(stage->header[at], &wire);
    stage->tx[at] = (struct ins_tx){
        .header = stage->header[at],
        .payload = t->payload + offset,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = e->peers[t->peer].endpoints[t->port].at,
        .priority = t->link->out.traffic_class,
    };
    stage->of[at] = (struct ins_staged){
        .link = t->link, .flow = t->flow, .flow_id = t->flow_id,
        .last = INS_STAGED_FRAGMENT + (uint32_t)(t - e->fragments->transmissions)};
    t->staged++;
}

/* 0: it is the first message of its flow that is under way; 1: another one is before it; 2: that has fragments that were
   never sent. Those go first, one message after the other. */
enum { FIRST, AFTER, BEHIND };
static int turn_of(const struct ins_engine *e, const struct ins_transmission *t) {
    int turn = FIRST;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS && t->link->out.sending > 1; i++) {
        const struct ins_transmission *o = &e->fragments->transmissions[i];
        if (!o->used || o->done || o->flow_id != t->flow_id || o->sequence >= t->sequence)
            continue;
        if (o->next < o->count || o->room_ms)
            return BEHIND;
        turn = AFTER;
    }
    return turn;
}

static uint32_t send_some(struct ins_engine *e, struct ins_transmission *t) {
    struct ins_port *port = &e->ports[t->port];
    const struct ins_peer *peer = &e->peers[t->peer];
    if (!port->datapath || port->down || !flow_of(e, t) || !peer->used || peer->uid != t->peer_uid ||
        !peer->endpoints[t->port].used) {
        finish(e, t, INS_STATUS_NO_PEER);
        return 1;
    }
    if (t->paused_ms)
        return 0;
    if (e->schedules)
        ins_schedule_select(e, t->link);
    /* What is small always finds half of the stage. */
    const uint32_t place = port->stage->tail < INS_STAGE / 2 ? INS_STAGE / 2 - port->stage->tail : 0;
    uint32_t most = place < TURN ? place : TURN, count = 0;
    uint64_t allowed = room(e, t) / t->size;
    const int turn = turn_of(e, t);
    const uint32_t flags = turn == FIRST ? INS_WIRE_FLAG_FIRST : 0;
    if (turn == BEHIND && t->next == 0)
        return 0;
    if (t->probe && most) {
        stage_fragment(e, port, t, t->next ? t->next - 1 : 0, flags);
        if (t->next == 0)
            t->next = 1;
        t->probe = 0;
        count++;
    }
    for (; t->resend_at < t->resend_end && count < most && allowed; t->resend_at++) {
        if (ins_bit(t->have, t->resend_at))
            continue;
        stage_fragment(e, port, t, t->resend_at, flags);
        ins_count(e, INS_COUNT_tx_fragments_again, 1);
        t->again++;
        t->resends++;
        allowed--;
        count++;
    }
    for (; turn != BEHIND && t->next < t->count && count < most && allowed; allowed--, count++)
        stage_fragment(e, port, t, t->next++, flags);
    return count;
}

uint32_t ins_fragments_send(struct ins_engine *e) {
    struct ins_fragments *f = e->fragments;
    uint32_t moved = 0;
    if (f->sending == 0)
        return 0;
    f->cursor++;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        struct ins_transmission *t = &f->transmissions[(f->cursor + i) % INS_TRANSMISSIONS];
        if (t->used && !t->done)
            moved += send_some(e, t);
    }
    return moved;
}

/* ---- what comes back ---- */

static struct ins_transmission *find(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire) {
    for (uint32_t i = 0; i < INS_TRANSMISSIONS && e->fragments->sending; i++) {
        struct ins_transmission *t = &e->fragments->transmissions[i];
        if (t->used && !t->done && t->flow_id == wire->flow && t->sequence == wire->sequence && t->peer == peer &&
            t->port == port && t->peer_uid == e->peers[peer].uid)
            return t;
    }
    return NULL;
}

static void confirm(struct ins_transmission *t, uint32_t index) {
    if (index < t->next && !ins_bit(t->have, index)) {
        ins_bit_set(t->have, index);
        t->confirmed++;
    }
}

/* The receiver has no memory for it: from the beginning, a little later. */
static void put_off(struct ins_engine *e, struct ins_transmission *t) {
    if (t->confirmed)
        return;
    t->next = t->horizon = t->again = t->resend_at = t->resend_end = t->probe = 0;
    t->paused_ms = e->now_ms + INS_PAUSE_MS;
    if (t->room_ms == 0)
        t->room_ms = e->now_ms;
    if (e->now_ms - t->room_ms < INS_ROOM_MS)
        t->progress_ms = e->now_ms;
    ins_due(e, t->paused_ms);
}

void ins_fragments_status(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                          const uint8_t *body) {
    struct ins_receipt receipt;
    ins_count(e, INS_COUNT_status_in, 1);
    struct ins_transmission *t = find(e, port, peer, wire);
    if (!t || !ins_receipt_read(body, wire->length, &receipt))
        return;
    if (receipt.window == 0 && receipt.first < t->count) {
        put_off(e, t);
        return;
    }
    const uint64_t window = receipt.window < INS_WINDOW_MOST ? receipt.window : INS_WINDOW_MOST;
    e->peers[peer].endpoints[port].window = (uint32_t)window;
    if (receipt.first >= t->count) {
        finish(e, t, INS_STATUS_DONE);
        return;
    }
    uint32_t before = t->confirmed, said = receipt.first + 8 * receipt.bytes;
    /* All before `first` are there. */
    for (; t->base < receipt.first && t->base < t->next; t->base++)
        confirm(t, t->base);
    for (uint32_t i = receipt.first; i < said && i < t->next; i++)
        if (!(body[INS_RECEIPT_BITMAP + (i - receipt.first) / 8] & 0x80u >> (i % 8)))
            confirm(t, i);
    t->link->out.waits = 0;
    if (said > t->next)
        said = t->next;
    if (t->confirmed > before) {
        const uint32_t news = t->confirmed - before;
        t->again -= news < t->again ? news : t->again;
        t->progress_ms = e->now_ms;
        t->probe_wait = INS_PROBE_MS;
        if (t->room_ms) {
            t->room_ms = 0;
            t->until_ms = life(e, t);
        }
    }
    t->probe_ms = e->now_ms + t->probe_wait;
    if (said > t->horizon)
        t->horizon = said;
    /* What it misses goes again, but not what is on its way since the last time. */
    const uint64_t now = ins_fragments_ns();
    if (t->resend_at >= t->resend_end && now - t->repaired_ns >= INS_STATUS_NS && receipt.first < t->horizon) {
        t->repaired_ns = now;
        t->again = 0;
        t->resend_at = receipt.first;
        t->resend_end = t->horizon;
    }
}

void ins_transmissions_beat(struct ins_engine *e) {
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        struct ins_transmission *t = &e->fragments->transmissions[i];
        if (!t->used || t->done)
            continue;
        t->link->out.waits = 0; /* looked at again */
        if (t->next == 0 && turn_of(e, t) == BEHIND) {
            /* Its time begins with its turn. */
            t->progress_ms = e->now_ms;
            t->until_ms = life(e, t);
            t->probe_ms = e->now_ms + t->probe_wait;
            ins_due(e, t->probe_ms);
            continue;
        }
        if (t->paused_ms && e->now_ms >= t->paused_ms) {
            t->paused_ms = 0;
            t->probe_ms = e->now_ms + t->probe_wait;
            ins_due(e, e->now_ms);
        } else if (t->paused_ms)
            ins_due(e, t->paused_ms);
        if (e->now_ms - t->progress_ms >= INS_PROGRESS_MS || (e->now_ms >= t->until_ms && !t->room_ms) ||
            t->resends > 8ull * t->count + 1024) {
            ins_count(e, INS_COUNT_tx_unconfirmed, 1);
            finish(e, t, INS_STATUS_NETWORK);
            continue;
        }
        if (!t->paused_ms && e->now_ms >= t->probe_ms && t->staged == 0) {
            t->probe = 1;
            ins_due(e, e->now_ms);
            t->probe_wait = t->probe_wait * 2 < INS_PROBE_MOST_MS ? t->probe_wait * 2 : INS_PROBE_MOST_MS;
            t->probe_ms = e->now_ms + t->probe_wait;
        }
        ins_due(e, t->probe_ms > e->now_ms ? t->probe_ms : e->now_ms + 1);
    }
}
