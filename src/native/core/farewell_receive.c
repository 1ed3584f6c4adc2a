/* Farewells at the receiver, see farewell.h: what is missing of a flow that ended is counted wherever the flow was known,
   and the sender is told that everything before the marker has been dealt with. */
#include "event.h"
#include "farewell_state.h"
#include "tracker.h"

void ins_farewell_orphan(struct ins_engine *e, const struct ins_tracker *tracker) {
    struct ins_farewells *f = e->farewells;
    uint32_t id = e->peers[tracker->peer].id;
    f->orphans[f->orphan_at++ % INS_ORPHANS] = (struct ins_orphan){
        .flow = {.flow = tracker->flow,
                 .tag = tracker->topic->tag,
                 .channel = tracker->topic->channel,
                 .source = tracker->source,
                 .next = tracker->expected},
        .used = 1,
        .host = id / INS_PEER_ENDPOINTS,
        .peer = id,
    };
}

static int same_flow(const struct ins_heartbeat *a, const struct ins_heartbeat *b) {
    return a->flow == b->flow && a->tag == b->tag && a->channel == b->channel && a->source == b->source;
}

static int account_orphan(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow) {
    for (uint32_t i = 0; i < INS_ORPHANS; i++) {
        struct ins_orphan *orphan = &e->farewells->orphans[i];
        if (!orphan->used || orphan->host != host || !same_flow(&orphan->flow, flow))
            continue;
        if (flow->next <= orphan->flow.next || flow->next - orphan->flow.next > INS_TRACKER_LEAP)
            return 1;
        struct ins_event event = {
            .type = INS_EVENT_LOST,
            .a = flow->tag,
            .b = flow->channel,
            .c = flow->source,
            .d = orphan->peer,
            .value = flow->next - orphan->flow.next,
        };
        if (!ins_event_push(&e->events, &event, INS_EVENTS_RESERVED))
            return 0; /* asked again */
        ins_count(e, INS_COUNT_rx_lost, event.value);
        orphan->flow.next = flow->next;
        return 1;
    }
    return 0;
}

int ins_farewell_account(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow) {
    uint32_t peer;
    for (uint32_t k = 0; k < INS_PEER_ENDPOINTS; k++) {
        if (!ins_map_get(&e->peer_ids, host * INS_PEER_ENDPOINTS + k, &peer) ||
            !ins_tracker_find(e, peer, flow->flow))
            continue;
        ins_tracker_beat(e, peer, flow);
        return 1;
    }
    return account_orphan(e, host, flow);
}

/* Nobody here knows the flow, and it came on another path: control asks the other engines. */
static int tell_control(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow) {
    struct ins_event event = {
        .type = INS_EVENT_ENDED,
        .status = (int32_t)host,
        .a = flow->tag,
        .b = flow->channel,
        .c = flow->source,
        .d = flow->flow,
        .value = flow->next,
    };
    return ins_event_push(&e->events, &event, INS_EVENTS_RESERVED);
}

void ins_farewell_marker(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire) {
    struct ins_farewells *f = e->farewells;
    const struct ins_heartbeat flow = {.flow = wire->flow,
                                       .tag = wire->tag,
                                       .channel = wire->channel,
                                       .source = wire->source,
                                       .next = wire->sequence};
    uint32_t host = e->peers[peer].id / INS_PEER_ENDPOINTS;
    uint64_t lost = e->counters[INS_COUNT_rx_lost];
    ins_count(e, INS_COUNT_markers_in, 1);
    if (f->echo_count == INS_ECHOES)
        return; /* it comes again */
    if (!ins_farewell_account(e, host, &flow)) {
        if (!(wire->flags & INS_WIRE_FLAG_ELSEWHERE))
            ins_tracker_beat(e, peer, &flow);
        else if (!tell_control(e, host, &flow))
            return;
    }
    struct ins_echo *echo = &f->echoes[f->echo_count++];
    *echo = (struct ins_echo){.wire = *wire, .port = port, .peer = peer, .peer_uid = e->peers[peer].uid};
    echo->wire.type = INS_WIRE_TYPE_MARKER_ECHO;
    echo->wire.flags = 0;
    echo->wire.emit_time = e->counters[INS_COUNT_rx_lost] - lost;
    e->farewells_pending = 1;
}

void ins_farewells_echo(struct ins_engine *e) {
    struct ins_farewells *f = e->farewells;
    for (uint32_t i = 0; i < f->echo_count; i++) {
        const struct ins_echo *echo = &f->echoes[i];
        const struct ins_peer *peer = &e->peers[echo->peer];
        struct ins_port *port = &e->ports[echo->port];
        if (peer->used && peer->uid == echo->peer_uid && peer->endpoints[echo->port].used && port->datapath &&
            !port->down)
            ins_farewell_send(e, port, &peer->endpoints[echo->port].at, &echo->wire);
    }
    f->echo_count = 0;
}
