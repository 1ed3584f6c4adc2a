/* Flows and heartbeats, see flow.h. */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "egress.h"
#include "farewell.h"
#include "ledger.h"
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

void ins_flow_end(struct ins_engine *e, struct ins_flow *flow) {
    if (flow->active)
        deactivate(e, flow);
    ins_map_remove(&e->flow_keys, flow->key);
    flow->used = 0;
    ins_ledger_end(&e->sent[flow - e->flows]);
    flow->next_free = e->free_flow;
    e->free_flow = (uint32_t)(flow - e->flows);
    ins_gauge(e, INS_COUNT_flows, e->flow_keys.count);
}

/* Every heartbeat is sent: who sends on it again begins a new flow, and its receiver has heard how this one ended. */
static int replaceable(const struct ins_flow *flow) { return flow->used && !flow->active && !flow->sending; }

static int make_room(struct ins_engine *e) {
    enum { SAMPLE = 64 };
    if (e->free_flow != INS_NONE)
        return 1;
    for (uint32_t i = 0; i < SAMPLE; i++) {
        struct ins_flow *flow = &e->flows[(e->evict_cursor + i) % e->flow_limit];
        if (replaceable(flow)) {
            e->evict_cursor += i + 1;
            ins_flow_end(e, flow);
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
        .link = source->link,
        .tag = source->topic->tag,
        .channel = source->topic->channel,
        .source = source->source,
    };
    ins_ledger_begin(&e->sent[index], &(struct ins_ledger_record){.host = e->peers[flow->peer].id / INS_PEER_ENDPOINTS + 1,
                                                                  .flow = flow->id,
                                                                  .tag = flow->tag,
                                                                  .channel = flow->channel,
                                                                  .source = flow->source});
    uint8_t header[INS_WIRE_HEADER];
    ins_wire_write(header, &(struct ins_wire){.type = INS_WIRE_TYPE_DATA,
                                              .tag = flow->tag,
                                              .channel = flow->channel,
                                              .source = flow->source,
                                              .flow = flow->id});
    memcpy(flow->head, header, sizeof flow->head);
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

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void ins_flows_drop_routes(struct ins_engine *e, uint32_t *routes, uint32_t count, uint32_t handover) {
    if (count == 0 || e->flow_keys.count == 0)
        return;
    qsort(routes, count, sizeof *routes, by_number);
    for (uint32_t i = 0; i < e->flow_high; i++)
        if (e->flows[i].used && bsearch(&e->flows[i].route, routes, count, sizeof *routes, by_number)) {
            if (handover != INS_NONE)
                ins_farewell_flow(e, &e->flows[i], handover);
            ins_flow_end(e, &e->flows[i]);
        }
}

void ins_flows_drop_peer(struct ins_engine *e, uint32_t peer) {
    for (uint32_t i = 0; i < e->flow_high; i++)
        if (e->flows[i].used && e->flows[i].peer == peer) {
            ins_farewell_flow(e, &e->flows[i], 0);
            ins_flow_end(e, &e->flows[i]);
        }
}

/* The n-th heartbeat (from 0) comes heartbeat_ms * (1 + 2 + ... + 2^n) after the last message. */
static uint64_t beat_at(const struct ins_engine *e, const struct ins_flow *flow) {
    return flow->last_ms + (uint64_t)e->config.heartbeat_ms * ((2u << flow->beats) - 1);
}

void ins_flows_beat(struct ins_engine *e) {
    struct ins_beats beats;
    if (e->active_count == 0)
        return;
    beats.used = beats.oldest = 0;
    for (uint32_t i = e->active_count; i-- > 0;) {
        struct ins_flow *flow = &e->flows[e->active_flows[i]];
        uint64_t at = beat_at(e, flow);
        if (at > e->now_ms) {
            ins_due(e, at);
            continue;
        }
        /* What is staged was given its sequence but is not sent: a heartbeat must not overtake it. */
        if (flow->sending || (e->ports[flow->port].datapath && ins_port_staged(&e->ports[flow->port]))) {
            ins_due(e, e->now_ms + 1);
            continue;
        }
        ins_beats_add(e, &beats, flow);
        if (++flow->beats == INS_BEATS)
            deactivate(e, flow);
        else
            ins_due(e, beat_at(e, flow));
    }
    ins_beats_send(e, &beats);
}

/* The flow's source is gone, and its receiver has had time to hear how the flow ended. */
static int over(const struct ins_engine *e, const struct ins_flow *flow) {
    enum { KEPT_MS = 60000 };
    uint32_t nothing;
    return !flow->active && e->now_ms - flow->last_ms > KEPT_MS && !e->peers[flow->peer].muted &&
           !ins_map_get(&e->open_sources, flow->key >> 32, &nothing);
}

void ins_flows_mark(struct ins_engine *e, struct ins_beats *beats) {
    enum { WINDOW = 256 };
    for (uint32_t i = 0; i < WINDOW && i < e->flow_high; i++) {
        struct ins_flow *flow = &e->flows[e->mark_cursor++ % e->flow_high];
        if (!flow->used || flow->active || flow->sending)
            continue;
        if (over(e, flow))
            ins_flow_end(e, flow);
        else if (e->ports[flow->port].datapath && !ins_port_staged(&e->ports[flow->port]))
            ins_beats_add(e, beats, flow);
    }
}
