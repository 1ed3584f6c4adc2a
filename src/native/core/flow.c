/* Flows and heartbeats, see flow.h. */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "egress.h"
#include "wire.h"

int ins_flows_init(struct ins_engine *e) {
    e->flows = calloc(e->flow_limit, sizeof *e->flows);
    e->active_flows = malloc(e->flow_limit * sizeof *e->active_flows);
    if (!e->flows || !e->active_flows || ins_map_init(&e->flow_keys, e->flow_limit))
        return -ENOMEM;
    for (uint32_t i = 0; i < e->flow_limit; i++)
        e->flows[i].next_free = i + 1 < e->flow_limit ? i + 1 : INS_NONE;
    /* Begins anywhere: flows of a runtime that was restarted must not look like those of its former life. */
    if (getrandom(&e->flow_id, sizeof e->flow_id, 0) != (ssize_t)sizeof e->flow_id)
        e->flow_id = (uint32_t)(uintptr_t)e;
    return 0;
}

void ins_flows_free(struct ins_engine *e) {
    free(e->flows);
    free(e->active_flows);
    ins_map_free(&e->flow_keys);
}

static void deactivate(struct ins_engine *e, struct ins_flow *flow) {
    uint32_t at = flow->active - 1, last = e->active_flows[--e->active_count];
    e->active_flows[at] = last;
    e->flows[last].active = at + 1;
    flow->active = 0;
}

static void end(struct ins_engine *e, struct ins_flow *flow) {
    if (flow->active)
        deactivate(e, flow);
    ins_map_remove(&e->flow_keys, flow->key);
    flow->used = 0;
    flow->next_free = e->free_flow;
    e->free_flow = (uint32_t)(flow - e->flows);
    ins_gauge(e, INS_COUNT_flows, e->flow_keys.count);
}

/* Every heartbeat is sent: who sends on it again begins a new flow, and its receiver has heard how this one ended. */
static int replaceable(const struct ins_flow *flow) { return flow->used && !flow->active; }

static int make_room(struct ins_engine *e) {
    enum { SAMPLE = 64 };
    if (e->free_flow != INS_NONE)
        return 1;
    for (uint32_t i = 0; i < SAMPLE; i++) {
        struct ins_flow *flow = &e->flows[(e->evict_cursor + i) % e->flow_limit];
        if (replaceable(flow)) {
            e->evict_cursor += i + 1;
            end(e, flow);
            return 1;
        }
    }
    e->evict_cursor += SAMPLE;
    return 0;
}

struct ins_flow *ins_flow_need(struct ins_engine *e, const struct ins_egress_source *source,
                               const struct ins_route *route, uint32_t port) {
    uint64_t key = ins_map_key(source->uid, route->uid);
    uint32_t index;
    if (ins_map_get(&e->flow_keys, key, &index))
        return &e->flows[index];
    if (!make_room(e))
        return NULL;
    index = e->free_flow;
    struct ins_flow *flow = &e->flows[index];
    if (ins_map_put(&e->flow_keys, key, index))
        return NULL;
    e->free_flow = flow->next_free;
    if (index >= e->flow_high)
        e->flow_high = index + 1;
    *flow = (struct ins_flow){
        .key = key,
        .used = 1,
        .id = e->flow_id++,
        .peer = route->peer,
        .port = port,
        .route = route->uid,
        .tag = source->topic->tag,
        .channel = source->topic->channel,
        .source = source->source,
    };
    ins_gauge(e, INS_COUNT_flows, e->flow_keys.count);
    return flow;
}

void ins_flow_activate(struct ins_engine *e, struct ins_flow *flow) {
    if (e->config.heartbeat_ms == 0)
        return;
    e->active_flows[e->active_count++] = (uint32_t)(flow - e->flows);
    flow->active = e->active_count;
    ins_due(e, e->now_ms + e->config.heartbeat_ms);
}

void ins_flows_drop_route(struct ins_engine *e, uint32_t route) {
    for (uint32_t i = 0; i < e->flow_high; i++)
        if (e->flows[i].used && e->flows[i].route == route)
            end(e, &e->flows[i]);
}

void ins_flows_drop_peer(struct ins_engine *e, uint32_t peer) {
    for (uint32_t i = 0; i < e->flow_high; i++)
        if (e->flows[i].used && e->flows[i].peer == peer)
            end(e, &e->flows[i]);
}

/* The n-th heartbeat (from 0) comes heartbeat_ms * (1 + 2 + ... + 2^n) after the last message. */
static uint64_t beat_at(const struct ins_engine *e, const struct ins_flow *flow) {
    return flow->last_ms + (uint64_t)e->config.heartbeat_ms * ((2u << flow->beats) - 1);
}

/* A heartbeat datagram being filled for one peer over one datapath. */
struct beat {
    uint32_t peer, port, records;
    uint8_t header[INS_WIRE_HEADER];
    uint8_t body[INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES];
};

static void send_beat(struct ins_engine *e, struct beat *beat) {
    struct ins_port *port = &e->ports[beat->port];
    const struct ins_peer *peer = &e->peers[beat->peer];
    uint32_t bytes = beat->records * INS_HEARTBEAT_RECORD_BYTES;
    beat->records = 0;
    if (!port->datapath || port->down || !peer->used || !peer->endpoints[beat->port].used)
        return;
    struct ins_wire wire = {.type = INS_WIRE_TYPE_HEARTBEAT, .length = bytes};
    ins_wire_write(beat->header, &wire);
    struct ins_tx tx = {
        .header = beat->header,
        .payload = beat->body,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = peer->endpoints[beat->port].at,
    };
    /* Not taken is as good as lost on the way: the next one is due soon. */
    if (port->datapath->ops->tx_burst(port->datapath, &tx, 1) == 1 && tx.error == 0)
        ins_count(e, INS_COUNT_heartbeats, 1);
}

void ins_flows_beat(struct ins_engine *e) {
    enum { OPEN = 4 };
    struct beat open[OPEN];
    uint32_t used = 0, oldest = 0;
    if (e->active_count == 0)
        return;
    for (uint32_t i = e->active_count; i-- > 0;) {
        struct ins_flow *flow = &e->flows[e->active_flows[i]];
        uint64_t at = beat_at(e, flow);
        if (at > e->now_ms) {
            ins_due(e, at);
            continue;
        }
        /* What is staged was given its sequence but is not sent: a heartbeat must not overtake it. */
        if (e->ports[flow->port].datapath && e->ports[flow->port].stage->tail) {
            ins_due(e, e->now_ms + 1);
            continue;
        }
        uint32_t b = 0;
        while (b < used && (open[b].peer != flow->peer || open[b].port != flow->port))
            b++;
        if (b == used && used < OPEN)
            open[used++].records = 0;
        else if (b == used) {
            b = oldest++ % OPEN;
            send_beat(e, &open[b]);
        }
        open[b].peer = flow->peer;
        open[b].port = flow->port;
        struct ins_heartbeat record = {
            .flow = flow->id, .tag = flow->tag, .channel = flow->channel, .source = flow->source, .next = flow->next};
        ins_heartbeat_write(&open[b].body[open[b].records++ * INS_HEARTBEAT_RECORD_BYTES], &record);
        if (open[b].records == INS_HEARTBEAT_MAX_RECORDS)
            send_beat(e, &open[b]);
        if (++flow->beats == INS_BEATS)
            deactivate(e, flow);
        else
            ins_due(e, beat_at(e, flow));
    }
    for (uint32_t b = 0; b < used; b++)
        if (open[b].records)
            send_beat(e, &open[b]);
}
