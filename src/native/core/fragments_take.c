/* Large messages at the sender, from the link to the link: an entry becomes a transmission for each route, and comes back
   when all of them are over. See fragments.h. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "engine_links.h"
#include "flow.h"
#include "fragments_state.h"
#include "ledger.h"

enum { HEADERS = INS_WIRE_HEADER + 28 };

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
    struct ins_flow *flow = ins_transmission_flow(e, t);
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
    ins_fragments_bound(e, t->link);
    t->link->out.waits = 0;
    for (uint32_t i = 0; f->crowded && i < e->egress.count; i++)
        e->egress.links[i]->out.waits = 0;
    f->crowded = 0;
    if (!t->link->out.sending)
        e->farewells_pending = 1; /* a link that retires may have waited for it */
    unship(e, &f->shipments[t->shipment]);
}

void ins_transmission_finish(struct ins_engine *e, struct ins_transmission *t, uint32_t status) {
    if (t->done)
        return;
    t->done = 1;
    e->fragments->shipments[t->shipment].status = status;
    if (t->sent) {
        e->fragments->shipments[t->shipment].sent = 1;
        ins_ledger_sent(e, t->flow, t->flow_id, 1);
    } else {
        /* As for small ones (egress.c): what never left must not be missed by the receiver. */
        struct ins_flow *flow = ins_transmission_flow(e, t);
        if (flow && flow->next == t->sequence + 1)
            flow->next--;
    }
    if (t->staged == 0)
        end(e, t);
}

void ins_fragment_left(struct ins_engine *e, uint32_t what, int sent, int32_t error) {
    struct ins_transmission *t = &e->fragments->transmissions[what % INS_TRANSMISSIONS];
    t->staged--;
    if (sent && !error) {
        t->sent = 1;
        ins_count(e, what < INS_TRANSMISSIONS ? INS_COUNT_tx_fragments : INS_COUNT_tx_fragment_asks, 1);
    }
    if (t->done) {
        if (t->staged == 0)
            end(e, t);
    } else if (sent && error && (error == -EMSGSIZE || !t->sent)) /* else as good as lost on the way: it goes again */
        ins_transmission_finish(e, t, error == -EMSGSIZE ? INS_STATUS_TOO_LARGE : INS_STATUS_NETWORK);
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
        ins_transmission_finish(e, last, status);
    }
}

/* Largest IP datagram to that peer that nobody on the way has to cut up, as far as is known. */
static uint32_t piece(const struct ins_engine *e, uint32_t port, const struct ins_peer *peer) {
    const uint32_t theirs = peer->endpoints[port].at.mtu, own = e->ports[port].datapath->mtu;
    return own && own < theirs ? own : theirs;
}

uint64_t ins_transmission_life(const struct ins_engine *e, const struct ins_transmission *t) {
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
    /* The last one is shorter: it ends a train, here and where network cards make them, so that a train is of one message. */
    if (t->length % t->size == 0)
        t->size = t->size > INS_FRAGMENT_LEAST ? t->size - 8 : t->size + 8;
    t->count = (t->length + t->size - 1) / t->size;
    t->progress_ms = e->now_ms;
    t->until_ms = ins_transmission_life(e, t);
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
    ins_fragments_bound(e, link);
    ins_due(e, t->probe_ms);
    return t;
}

void ins_fragments_bound(const struct ins_engine *e, struct ins_link *link) {
    /* While some are under way, what is small would overtake. */
    link->out.large_from = !link->out.large ? UINT32_MAX : link->out.sending ? 0 : e->whole + 1;
}

/* Payload bytes that the peer gets in one datagram. */
static uint32_t whole_of(const struct ins_engine *e, uint32_t port, const struct ins_peer *peer) {
    const uint32_t splits = e->ports[port].datapath->ops->flags & INS_DATAPATH_SPLITS;
    const uint32_t most = splits ? peer->endpoints[port].at.mtu : piece(e, port, peer);
    return most <= HEADERS ? 0 : most - HEADERS < INS_WIRE_MAX_PAYLOAD ? most - HEADERS : INS_WIRE_MAX_PAYLOAD;
}

static uint32_t whole_of_all(const struct ins_engine *e) {
    uint32_t least = INS_WIRE_MAX_PAYLOAD;
    for (uint32_t port = 0; port < e->port_count; port++)
        for (uint32_t i = 0; e->ports[port].datapath && i < INS_ENGINE_PEERS; i++) {
            const struct ins_peer *peer = &e->peers[i];
            const uint32_t whole = peer->used && peer->endpoints[port].used ? whole_of(e, port, peer) : least;
            least = whole < least ? whole : least;
        }
    return least;
}

void ins_fragments_met(struct ins_engine *e, uint32_t port, const struct ins_peer *peer) {
    const uint32_t before = e->whole, its = whole_of(e, port, peer);
    /* Of many that come one after the other each is looked at once. */
    if (e->whole_unsure)
        e->whole = whole_of_all(e);
    else if (its < before)
        e->whole = its;
    e->whole_unsure = 0;
    for (uint32_t i = 0; i < e->egress.count && e->whole != before; i++)
        ins_fragments_bound(e, e->egress.links[i]);
}

void ins_fragments_parted(struct ins_engine *e, uint32_t port, const struct ins_peer *peer) {
    e->whole_unsure |= whole_of(e, port, peer) <= e->whole;
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
