/* From applications' links to the network, see egress.h. A payload is never copied here: it is the second half of a
   gather list, straight from the application's slot. The header is built in our own memory, from what was registered,
   not from what the application wrote. */
#include "egress.h"

#include <errno.h>
#include <string.h>

#include "coalesce.h"
#include "engine_links.h"
#include "flow.h"
#include "fragments.h"
#include "scheduler_port.h"
#include "wire.h"

enum { IP_UDP_HEADERS = 28 };

static struct ins_port *port_of(struct ins_engine *e, struct ins_egress *out) {
    struct ins_port *last = &e->ports[out->port];
    if (last->datapath && last->id == out->datapath)
        return last->down ? NULL : last;
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && e->ports[i].id == out->datapath) {
            out->port = i;
            return e->ports[i].down ? NULL : &e->ports[i];
        }
    return NULL;
}

static void stage_one(struct ins_engine *e, struct ins_port *port, struct ins_link *link,
                      const struct ins_descriptor *d, struct ins_flow *flow, const struct ins_endpoint *to) {
    struct ins_stage *stage = port->stage;
    uint32_t at = stage->tail++;
    const uint8_t *payload = link->out.pools[d->pool].base + d->offset;
    ins_wire_write_next(stage->header[at], flow->head, ins_flow_next(e, flow), ins_emit_time(e, payload), d->length);
    struct ins_tx *tx = &stage->tx[at];
    tx->header = stage->header[at];
    tx->payload = payload;
    tx->header_length = INS_WIRE_HEADER;
    tx->payload_length = d->length;
    tx->to = *to;
    tx->priority = link->out.traffic_class;
    tx->error = 0;
    struct ins_staged *of = &stage->of[at];
    of->link = link;
    of->entry = d->entry;
    of->flow = (uint32_t)(flow - e->flows);
    of->flow_id = flow->id;
    of->last = of->batch = 0;
}

/* The flow of a source's only route is nearly always the one it had last. */
static struct ins_flow *flow_of(struct ins_engine *e, struct ins_egress_source *source, const struct ins_route *route,
                                uint32_t port) {
    struct ins_flow *flow = &e->flows[source->flow];
    if (flow->used && flow->key == ins_map_key(source->uid, route->uid))
        return flow;
    flow = ins_flow_need(e, source, route, port);
    if (flow)
        source->flow = (uint32_t)(flow - e->flows);
    return flow;
}

enum { JOINED = 1 };
/* 0: staged, or given back with a reason. JOINED: it shares the datagram of the one before. -EAGAIN: no room, nothing done. -EPROTO: not what was agreed. */
static int stage_message(struct ins_engine *e, struct ins_link *link, const struct ins_descriptor *d) {
    if (!ins_egress_sound(&link->out, d))
        return -EPROTO;
    struct ins_egress_source *source = &link->out.sources[d->source];
    enum ins_engine_counter reason = INS_COUNT_tx_no_peer;
    uint32_t status = INS_STATUS_NO_PEER;
    struct ins_port *port;
    if (source->state == INS_SOURCE_REMOVED) {
        reason = INS_COUNT_tx_closed;
        status = INS_STATUS_CLOSED;
    } else if (d->length > INS_WIRE_MAX_PAYLOAD && !link->out.large) {
        reason = INS_COUNT_tx_too_large;
        status = INS_STATUS_TOO_LARGE;
    } else if (source->topic->route_count == 0) {
        /* nobody there has a sink for it */
    } else if (!(port = port_of(e, &link->out))) {
        reason = INS_COUNT_tx_no_datapath;
        status = INS_STATUS_NETWORK;
    } else {
        const struct ins_topic *topic = source->topic;
        if (topic->held) {
            link->out.blocked = 1;
            return -EAGAIN;
        }
        struct ins_stage *stage = port->stage;
        if (source->open_epoch == stage->epoch &&
            ins_coalesce_join(e, stage, link, source, d, ins_emit_time(e, link->out.pools[d->pool].base + d->offset)))
            return JOINED;
        if (stage->tail + topic->route_count > INS_STAGE && !ins_egress_flush(e, port))
            return -EAGAIN;
        if (port->down)
            return stage_message(e, link, d);
        uint32_t index = (uint32_t)(port - e->ports), before = stage->tail;
        uint64_t alone = link->out.alone;
        if (d->length >= link->out.large_from) {
            int large = ins_fragments_take(e, link, d, source, index);
            if (large) {
                source->open_epoch = INS_NOT_OPEN; /* what comes next is not next to what was staged last */
                return large < 0 ? large : 0;
            }
        }
        for (uint32_t i = 0; i < topic->route_count; i++) {
            const struct ins_route *route = &topic->routes[i];
            const struct ins_peer *peer = &e->peers[route->peer];
            if (!peer->endpoints[index].used || peer->muted)
                continue;
            if (d->length + INS_WIRE_HEADER + IP_UDP_HEADERS > peer->endpoints[index].at.mtu) {
                reason = INS_COUNT_tx_too_large;
                status = INS_STATUS_TOO_LARGE;
                alone = INS_NOT_OPEN;
                continue;
            }
            struct ins_flow *flow = flow_of(e, source, route, index);
            if (flow)
                stage_one(e, port, link, d, flow, &peer->endpoints[index].at);
            else {
                reason = INS_COUNT_tx_no_flow;
                status = INS_STATUS_NETWORK;
                alone = INS_NOT_OPEN;
            }
        }
        if (stage->tail != before) {
            stage->of[stage->tail - 1].last = 1;
            /* If all its peers got it, the next one may be for the same. */
            source->open_epoch = stage->epoch | alone;
            source->open_at = before;
            return 0;
        }
    }
    ins_count(e, reason, 1);
    ins_egress_give_back(e, link, d->entry, status);
    return 0;
}

/* Takes and stages a burst. Returns how many were moved. */
static uint32_t drain(struct ins_engine *e, struct ins_link *link) {
    struct ins_egress *out = &link->out;
    if (out->taken_at == out->taken_count) {
        int taken = ins_consumer_take(&out->consumer, out->taken, e->config.link_burst);
        if (taken <= 0) {
            if (taken < 0)
                ins_link_fault(e, link);
            return 0;
        }
        out->taken_at = 0;
        out->taken_count = (uint32_t)taken;
    }
    uint32_t before = out->taken_at;
    while (out->taken_at < out->taken_count) {
        int result = stage_message(e, link, &out->taken[out->taken_at]);
        if (result == 0) {
            out->taken_at++;
            continue;
        }
        if (result == -EAGAIN)
            break;
        if (result < 0) {
            ins_count(e, INS_COUNT_bad_descriptor, 1);
            ins_link_fault(e, link);
            break;
        }
        out->taken_at++;
        out->taken_at += ins_coalesce_run(e, e->ports[out->port].stage, link, &out->taken[out->taken_at],
                                          out->taken_count - out->taken_at);
    }
    return out->taken_at - before;
}

/* A link that has a full burst and more: as long as that makes shared datagrams fuller and their train longer. */
static uint32_t drain_more(struct ins_engine *e, struct ins_link *link) {
    enum { ROUNDS = 15 };
    struct ins_port *port = port_of(e, &link->out);
    uint32_t moved = 0, burst = e->config.link_burst;
    if (!port || !port->stage->batches || port->schedule)
        return 0;
    const struct ins_stage *stage = port->stage;
    uint64_t epoch = stage->epoch;
    for (uint32_t i = 0; i < ROUNDS && stage->epoch == epoch && stage->tail < INS_BURST && burst == e->config.link_burst &&
                         !link->faulted;
         i++)
        moved += burst = drain(e, link);
    return moved;
}

static uint32_t look(struct ins_engine *e, struct ins_link *link) {
    uint32_t moved = 0;
    if (!link->faulted && !link->out.held) {
        if (e->schedules)
            ins_schedule_select(e, link);
        moved = drain(e, link);
        if (moved >= e->config.link_burst)
            moved += drain_more(e, link);
    }
    if (moved)
        ins_links_heat(&e->egress, link);
    else
        ins_links_cool(&e->egress, link);
    return moved;
}

uint32_t ins_egress_turn(struct ins_engine *e) {
    struct ins_link_set *set = &e->egress;
    uint32_t moved = 0;
    /* From the end, because a link that cools changes places with the last hot one. */
    for (uint32_t i = set->hot; i-- > 0;)
        moved += look(e, set->links[i]);
    for (uint32_t i = 0; i < INS_LINKS_SLICE && set->hot < set->count; i++) {
        if (set->cursor < set->hot || set->cursor >= set->count)
            set->cursor = set->hot;
        moved += look(e, set->links[set->cursor++]);
    }
    moved += ins_fragments_send(e);
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        if (port->schedule)
            moved += ins_schedule_turn(e, port);
        else if (port->datapath && port->stage->tail)
            ins_egress_flush(e, port);
    }
    return moved;
}

uint32_t ins_egress_close(struct ins_engine *e, struct ins_link *link) {
    uint32_t closed = 0;
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath) {
            ins_egress_flush(e, &e->ports[i]);
            ins_egress_purge(e, &e->ports[i], link, INS_STATUS_CLOSED);
        }
    struct ins_egress *out = &link->out;
    while (!link->faulted) {
        for (; out->taken_at < out->taken_count; out->taken_at++, closed++)
            ins_egress_give_back(e, link, out->taken[out->taken_at].entry, INS_STATUS_CLOSED);
        int taken = ins_consumer_take(&out->consumer, out->taken, INS_BURST);
        if (taken <= 0)
            break;
        out->taken_at = 0;
        out->taken_count = (uint32_t)taken;
    }
    ins_count(e, INS_COUNT_tx_closed, closed);
    return closed;
}
