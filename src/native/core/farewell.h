/* Farewells: a flow that ends (its link is retired, its route goes elsewhere) is told to its receiver by a marker, again
   and again until the receiver echoes it, over the path that its messages took and, when that does not answer, over any
   other to the same host. So the receiver knows what it misses, and the sender when all that went before has arrived. */
#ifndef INSANE_FAREWELL_H
#define INSANE_FAREWELL_H

#include "engine_state.h"
#include "wire.h"

enum {
    INS_FAREWELLS = 4096, /* under way at a time; what is beyond is not told, and counted */
    INS_HANDOVERS = 256,  /* retired links and moved routes that wait for echoes */
    INS_ORPHANS = 1024,   /* trackers of peers that were removed, of which the end may still be told */
    INS_ECHOES = 64,      /* to be sent at the end of a turn; what is beyond is asked for again */
};

int ins_farewells_init(struct ins_engine *e);
void ins_farewells_free(struct ins_engine *e);

/* ---- sender ---- */

/* The flow is about to end: its receiver is told. handover: as ins_handover_begin gave it, or 0. */
void ins_farewell_flow(struct ins_engine *e, const struct ins_flow *flow, uint32_t handover);
/* So many messages of a flow that ended come back to their source after all: nothing of its end has been told yet. */
void ins_farewell_unsent(struct ins_engine *e, uint32_t flow, uint32_t count);
/* Commands (engine.h). */
int ins_link_retire(struct ins_engine *e, struct ins_link *link, uint32_t patience_ms);
int ins_route_move(struct ins_engine *e, struct ins_topic *topic, uint32_t from, uint32_t to, uint32_t patience_ms,
                   uint64_t *follows);
int ins_farewell_tell(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow);
/* The link is removed: nobody waits for its echoes. */
void ins_farewells_forget_link(struct ins_engine *e, const struct ins_link *link);
/* Looks whether links that are being retired are empty; after the links were drained. */
void ins_farewells_turn(struct ins_engine *e);
/* Sends what is due. */
void ins_farewells_beat(struct ins_engine *e);
/* An echo has come. */
void ins_farewell_echoed(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire);

/* ---- receiver ---- */

/* A marker of a known peer has come: what is missing of its flow is counted, and it is echoed after what came before it
   is published. */
void ins_farewell_marker(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire);
/* Sends the echoes of this turn; after ins_links_publish. */
void ins_farewells_echo(struct ins_engine *e);
/* Counts what is missing of a flow of `host` that ended. 1: it is (or was) known here. */
int ins_farewell_account(struct ins_engine *e, uint32_t host, const struct ins_heartbeat *flow);
/* A tracker goes with its peer. */
void ins_farewell_orphan(struct ins_engine *e, const struct ins_tracker *tracker);

/* Something waits to be done at the end of the turn. */
static inline int ins_farewells_pending(const struct ins_engine *e) { return e->farewells_pending != 0; }

#endif
