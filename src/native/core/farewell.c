/* Farewells at the sender, see farewell.h. */
#include "farewell.h"

#include <errno.h>
#include <stdlib.h>

#include "egress.h"
#include "engine_links.h"
#include "event.h"
#include "farewell_state.h"
#include "flow.h"
#include "scheduler_port.h"

enum {
    FIRST_MS = 5,
    LAST_MS = 100,
    GIVE_UP_MS = 10000,
    TRIES = 8, /* without an echo, half a second: then another engine tells as well */
};

int ins_farewells_init(struct ins_engine *e) {
    e->farewells = calloc(1, sizeof *e->farewells);
    return e->farewells ? 0 : -ENOMEM;
}

void ins_farewells_free(struct ins_engine *e) { free(e->farewells); }

/* ---- handovers: those who wait for echoes ---- */

/* Its number plus one, or 0: no room, nobody waits. */
static uint32_t begin(struct ins_engine *e, uint32_t patience_ms) {
    struct ins_farewells *f = e->farewells;
    for (uint32_t i = 0; i < INS_HANDOVERS; i++)
        if (!f->handovers[i].used) {
            f->handovers[i] = (struct ins_handover){.used = 1, .until_ms = e->now_ms + patience_ms};
            return i + 1;
        }
    return 0;
}

static void unblock(struct ins_engine *e) {
    for (uint32_t i = 0; i < e->egress.count; i++)
        e->egress.links[i]->out.blocked = 0;
}

/* Nothing is waited for any more. What finds no room to be told is tried again by the timers. */
static void finish(struct ins_engine *e, struct ins_handover *h) {
    if (h->draining || h->pending)
        return;
    if (h->topic) {
        h->topic->held--;
        h->topic->holders--;
        ins_topic_drop(&e->topics, h->topic);
        h->topic = NULL;
        unblock(e);
        e->farewells_pending = 1; /* another turn: what waited goes now */
    }
    struct ins_event event = {
        .type = INS_EVENT_MARKED, .a = h->link, .b = h->unechoed, .c = h->tag, .d = h->channel, .value = h->lost};
    if (ins_event_push(&e->events, &event, INS_EVENTS_RESERVED))
        h->used = 0;
    else
        ins_due(e, e->now_ms + FIRST_MS);
}

static void settle(struct ins_engine *e, struct ins_farewell *farewell, int echoed, uint64_t lost) {
    if (!farewell->handover)
        return;
    struct ins_handover *h = &e->farewells->handovers[farewell->handover - 1];
    farewell->handover = 0;
    h->pending--;
    h->unechoed += !echoed;
    h->lost += lost;
    finish(e, h);
}

/* ---- farewells ---- */

static struct ins_farewell *make(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow,
                                 uint32_t handover) {
    struct ins_farewells *f = e->farewells;
    uint32_t i = 0;
    while (i < f->high && f->all[i].used)
        i++;
    if (i == INS_FAREWELLS) {
        ins_count(e, INS_COUNT_markers_unheard, 1);
        return NULL;
    }
    if (i == f->high)
        f->high++;
    f->all[i] = (struct ins_farewell){
        .used = 1,
        .host = host,
        .flow = *flow,
        .handover = handover,
        .due_ms = e->now_ms,
        .until_ms = e->now_ms + GIVE_UP_MS,
    };
    if (handover)
        f->handovers[handover - 1].pending++;
    ins_due(e, e->now_ms);
    return &f->all[i];
}

static void drop(struct ins_engine *e, struct ins_farewell *farewell) {
    struct ins_farewells *f = e->farewells;
    farewell->used = 0;
    while (f->high && !f->all[f->high - 1].used)
        f->high--;
}

static struct ins_heartbeat record_of(const struct ins_flow *flow) {
    return (struct ins_heartbeat){
        .flow = flow->id, .tag = flow->tag, .channel = flow->channel, .source = flow->source, .next = flow->next};
}

/* Where no datapath of this engine gets through it is control's to tell, by another engine. 1: it knows. */
static uint32_t tell_control(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow) {
    struct ins_event event = {
        .type = INS_EVENT_UNTOLD,
        .status = (int32_t)host,
        .a = flow->tag,
        .b = flow->channel,
        .c = flow->source,
        .d = flow->flow,
        .value = flow->next,
    };
    return (uint32_t)ins_event_push(&e->events, &event, INS_EVENTS_RESERVED);
}

static int works(const struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && !e->ports[i].down)
            return 1;
    return 0;
}

void ins_farewell_flow(struct ins_engine *e, const struct ins_flow *flow, uint32_t handover) {
    const struct ins_heartbeat record = record_of(flow);
    uint32_t host = e->peers[flow->peer].id / INS_PEER_ENDPOINTS;
    if (!works(e)) {
        if (!tell_control(e, host, &record))
            ins_count(e, INS_COUNT_markers_unheard, 1);
        if (handover)
            e->farewells->handovers[handover - 1].unechoed++;
        return;
    }
    const struct ins_port *port = &e->ports[flow->port];
    struct ins_farewell *farewell = make(e, host, &record, handover);
    if (!farewell)
        return;
    farewell->by_path = 1;
    farewell->peer = e->peers[flow->peer].id;
    farewell->at = e->peers[flow->peer].endpoints[flow->port].at;
    farewell->port = port->datapath ? port->id : 0;
}

void ins_farewell_unsent(struct ins_engine *e, uint32_t flow, uint32_t count) {
    struct ins_farewells *f = e->farewells;
    for (uint32_t i = 0; i < f->high; i++) {
        struct ins_farewell *farewell = &f->all[i];
        if (farewell->used && farewell->by_path && !farewell->tries && !farewell->told && farewell->flow.flow == flow)
            farewell->flow.next -= count;
    }
}

int ins_farewell_tell(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow) {
    return make(e, host, flow, 0) ? 0 : -ENOSPC;
}

/* ---- links and routes that go ---- */

int ins_link_retire(struct ins_engine *e, struct ins_link *link, uint32_t patience_ms) {
    uint32_t number = begin(e, patience_ms);
    if (!number)
        return -ENOSPC;
    struct ins_handover *h = &e->farewells->handovers[number - 1];
    h->link = link->id;
    h->draining = 1;
    e->farewells->draining++;
    e->farewells_pending = 1;
    ins_links_heat(&e->egress, link); /* looked at each turn from now on */
    ins_due(e, h->until_ms);
    return 0;
}

static void drained(struct ins_engine *e, struct ins_handover *h) {
    uint32_t number = (uint32_t)(h - e->farewells->handovers) + 1;
    h->draining = 0;
    e->farewells->draining--;
    for (uint32_t i = 0; i < e->flow_high; i++) {
        struct ins_flow *flow = &e->flows[i];
        if (!flow->used || flow->link != h->link)
            continue;
        ins_farewell_flow(e, flow, number);
        ins_flow_end(e, flow);
    }
    finish(e, h);
}

void ins_farewells_forget_link(struct ins_engine *e, const struct ins_link *link) {
    struct ins_farewells *f = e->farewells;
    for (uint32_t i = 0; i < INS_HANDOVERS; i++) {
        struct ins_handover *h = &f->handovers[i];
        if (!h->used || h->link != link->id)
            continue;
        f->draining -= h->draining;
        for (uint32_t k = 0; k < f->high; k++)
            if (f->all[k].used && f->all[k].handover == i + 1)
                f->all[k].handover = 0;
        h->used = 0;
    }
}

void ins_farewells_turn(struct ins_engine *e) {
    struct ins_farewells *f = e->farewells;
    e->farewells_pending = f->draining || f->echo_count;
    if (!f->draining)
        return;
    for (uint32_t i = 0; i < INS_HANDOVERS; i++) {
        struct ins_handover *h = &f->handovers[i];
        if (!h->used || !h->draining)
            continue;
        struct ins_link *link = ins_links_find(e, h->link);
        int empty = !link || link->faulted ||
                    (link->out.taken_at == link->out.taken_count && !link->out.sending && !ins_consumer_ready(&link->out.consumer));
        if (empty || e->now_ms >= h->until_ms)
            drained(e, h);
        else
            ins_due(e, h->until_ms);
    }
}

int ins_route_move(struct ins_engine *e, struct ins_topic *topic, uint32_t from, uint32_t to, uint32_t patience_ms,
                   uint64_t *follows) {
    struct ins_route *route = NULL;
    int there = 0;
    for (uint32_t i = 0; i < topic->route_count; i++) {
        if (topic->routes[i].peer == from)
            route = &topic->routes[i];
        there |= topic->routes[i].peer == to;
    }
    if (!route)
        return -ENOENT;
    uint32_t uid = route->uid;
    if (there) {
        /* Both were served: there is no message after which one takes over from the other. */
        ins_topic_remove_route(topic, from, &uid);
        ins_flows_drop_routes(e, &uid, 1, 0);
        return 0;
    }
    route->peer = to;
    route->uid = ++e->route_uid;
    uint32_t number = patience_ms ? begin(e, patience_ms) : 0;
    ins_flows_drop_routes(e, &uid, 1, number);
    if (!number)
        return 0;
    struct ins_handover *h = &e->farewells->handovers[number - 1];
    *follows = 1;
    h->link = INS_NONE;
    h->tag = topic->tag;
    h->channel = topic->channel;
    h->topic = topic;
    topic->held++;
    topic->holders++;
    finish(e, h);
    return 0;
}

/* ---- sending ---- */

static const struct ins_endpoint *endpoint_of(struct ins_engine *e, const struct ins_port *port, uint32_t id) {
    uint32_t index, number = (uint32_t)(port - e->ports);
    if (!port->datapath || port->down || !ins_map_get(&e->peer_ids, id, &index))
        return NULL;
    const struct ins_peer *peer = &e->peers[index];
    return peer->endpoints[number].used ? &peer->endpoints[number].at : NULL;
}

/* The path of its messages, or, where that is gone or has not answered while somebody waited, another one. */
static struct ins_port *path(struct ins_engine *e, const struct ins_farewell *farewell, struct ins_endpoint *to,
                             int *elsewhere) {
    const struct ins_endpoint *at;
    struct ins_port *found = NULL;
    *elsewhere = 0;
    for (uint32_t i = 0; i < e->port_count && farewell->by_path; i++)
        if (e->ports[i].id == farewell->port && (at = endpoint_of(e, &e->ports[i], farewell->peer))) {
            *to = *at;
            found = &e->ports[i];
        }
    if (found && (to->address != farewell->at.address || to->port != farewell->at.port)) {
        *elsewhere = 1;
        return found;
    }
    if (found && (farewell->handover || farewell->tries % 2 == 0))
        return found;
    for (uint32_t i = 0; i < e->port_count; i++)
        for (uint32_t k = 0; k < INS_PEER_ENDPOINTS; k++) {
            uint32_t id = farewell->host * INS_PEER_ENDPOINTS + k;
            if ((farewell->by_path && id == farewell->peer) || !(at = endpoint_of(e, &e->ports[i], id)))
                continue;
            *to = *at;
            *elsewhere = 1;
            return &e->ports[i];
        }
    return found;
}

void ins_farewell_send(struct ins_engine *e, struct ins_port *port, const struct ins_endpoint *to,
                       const struct ins_wire *wire) {
    uint8_t header[INS_WIRE_HEADER];
    if (port->schedule && !ins_schedule_beat(port, INS_WIRE_HEADER))
        return;
    ins_wire_write(header, wire);
    struct ins_tx tx = {
        .header = header, .payload = header, .header_length = INS_WIRE_HEADER, .payload_length = 0, .to = *to};
    /* Not taken is as good as lost on the way: it is sent, or asked for, again. */
    if (port->datapath->ops->tx_burst(port->datapath, &tx, 1) == 1 && tx.error == 0)
        ins_count(e, INS_COUNT_markers_out, 1);
}

/* A receiver whose endpoint here is gone, or that does not answer there, may be reached by another engine: RDMA reaches
   nothing but RDMA. What is under way to one that answers late is not told to be lost while somebody waits for it. */
static void tell_elsewhere(struct ins_engine *e, struct ins_farewell *farewell, int reached) {
    if (!farewell->by_path || (reached && (farewell->handover || farewell->tries < TRIES)))
        return;
    if (!reached)
        settle(e, farewell, 0, 0); /* nothing of it comes any more */
    if (!farewell->told)
        farewell->told = tell_control(e, farewell->host, &farewell->flow);
}

static void say(struct ins_engine *e, struct ins_farewell *farewell) {
    /* It may come back to its source yet. */
    if (farewell->by_path && !farewell->tries && ins_egress_staged(e, farewell->flow.flow)) {
        farewell->due_ms = e->now_ms + 1;
        ins_due(e, farewell->due_ms);
        return;
    }
    struct ins_endpoint to;
    int elsewhere;
    struct ins_port *port = path(e, farewell, &to, &elsewhere);
    tell_elsewhere(e, farewell, port != NULL);
    if (!port)
        farewell->due_ms = e->now_ms + LAST_MS;
    else if (!elsewhere && ins_port_staged(port))
        farewell->due_ms = e->now_ms + 1; /* it must not overtake what is staged */
    else {
        const struct ins_heartbeat *flow = &farewell->flow;
        const struct ins_wire wire = {
            .type = INS_WIRE_TYPE_MARKER,
            .flags = elsewhere ? INS_WIRE_FLAG_ELSEWHERE : 0,
            .tag = flow->tag,
            .channel = flow->channel,
            .source = flow->source,
            .flow = flow->flow,
            .sequence = flow->next,
        };
        ins_farewell_send(e, port, &to, &wire);
        uint32_t wait = FIRST_MS << (farewell->tries < 5 ? farewell->tries : 5);
        farewell->tries++;
        farewell->due_ms = e->now_ms + (wait < LAST_MS ? wait : LAST_MS);
    }
    ins_due(e, farewell->due_ms);
}

void ins_farewells_beat(struct ins_engine *e) {
    struct ins_farewells *f = e->farewells;
    for (uint32_t i = f->high; i-- > 0;) {
        struct ins_farewell *farewell = &f->all[i];
        if (!farewell->used)
            continue;
        if (farewell->handover && e->now_ms >= f->handovers[farewell->handover - 1].until_ms)
            settle(e, farewell, 0, 0);
        if (e->now_ms >= farewell->until_ms) {
            if (!farewell->told)
                ins_count(e, INS_COUNT_markers_unheard, 1);
            drop(e, farewell);
        } else if (e->now_ms >= farewell->due_ms)
            say(e, farewell);
        else
            ins_due(e, farewell->due_ms);
    }
    for (uint32_t i = 0; i < INS_HANDOVERS; i++)
        if (f->handovers[i].used && !f->handovers[i].draining && !f->handovers[i].pending)
            finish(e, &f->handovers[i]);
}

void ins_farewell_echoed(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
    struct ins_farewells *f = e->farewells;
    uint32_t host = e->peers[peer].id / INS_PEER_ENDPOINTS;
    ins_count(e, INS_COUNT_markers_echoed, 1);
    for (uint32_t i = 0; i < f->high; i++) {
        struct ins_farewell *farewell = &f->all[i];
        if (!farewell->used || farewell->flow.flow != wire->flow || farewell->host != host ||
            farewell->flow.next != wire->sequence)
            continue;
        uint64_t sent = farewell->flow.next;
        settle(e, farewell, 1, wire->emit_time < sent ? wire->emit_time : sent);
        drop(e, farewell);
        return;
    }
}
