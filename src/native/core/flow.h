/* Flows at the sender: sequence numbers of one (source, peer), and the heartbeats that follow the last message so that
   the receiver knows of a lost tail; later its mark goes with the heartbeats that each peer gets, in turn, so that a tail
   that was lost with its heartbeats is found out as well. Bounded: a flow that owes no heartbeat may be replaced, it
   begins again under another id. */
#ifndef INSANE_FLOW_H
#define INSANE_FLOW_H

#include "engine_state.h"
#include "heartbeat.h"

int ins_flows_init(struct ins_engine *e);
void ins_flows_free(struct ins_engine *e);
/* The flow of a source on a route; made at first use. NULL when there is no room. */
struct ins_flow *ins_flow_need(struct ins_engine *e, const struct ins_egress_source *source,
                               const struct ins_route *route, uint32_t port);
/* Flows of routes (by uid; sorted here) or of a peer end at once; those of a source live on until their heartbeats are
   sent. handover: who waits for the echoes of their farewells (farewell.h); 0: nobody; INS_NONE: none is said. */
void ins_flows_drop_routes(struct ins_engine *e, uint32_t *routes, uint32_t count, uint32_t handover);
void ins_flows_drop_peer(struct ins_engine *e, uint32_t peer);
void ins_flow_end(struct ins_engine *e, struct ins_flow *flow);
/* Sends the heartbeats that are due. */
void ins_flows_beat(struct ins_engine *e);
/* Adds the marks of some quiet flows, others each time. */
void ins_flows_mark(struct ins_engine *e, struct ins_beats *beats);

enum { INS_BEATS = 6 };

/* It owes heartbeats from now on. */
void ins_flow_activate(struct ins_engine *e, struct ins_flow *flow);

/* A message goes out on the flow: its sequence. */
static inline uint64_t ins_flow_next(struct ins_engine *e, struct ins_flow *flow) {
    flow->last_ms = e->now_ms;
    flow->beats = 0;
    if (!flow->active)
        ins_flow_activate(e, flow);
    return flow->next++;
}

#endif
