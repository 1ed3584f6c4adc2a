/* From the network to applications' links: receives bursts into slots, parses, tracks sequences, pushes one descriptor
   to every link subscribed, and takes slots back. */
#ifndef INSANE_INGRESS_H
#define INSANE_INGRESS_H

#include "engine_state.h"
#include "wire.h"

/* Takes returns of hot links and a slice of the cold ones. Returns how many. */
uint32_t ins_ingress_reclaim(struct ins_engine *e);
/* All links, whatever their heat: before we sleep and before we give up. */
uint32_t ins_ingress_reclaim_all(struct ins_engine *e);
/* Receives up to `budget` buffers of each datapath. Returns messages moved. */
uint32_t ins_ingress_turn(struct ins_engine *e, uint32_t budget);
/* Takes the last returns; what is still out is free again. Returns how many entries those were. */
uint32_t ins_ingress_abandon(struct ins_engine *e, struct ins_link *link);

/* Index of the peer that sends from there, or INS_NONE. */
uint32_t ins_ingress_peer(struct ins_engine *e, uint32_t port, const struct ins_endpoint *from);
/* The tracker of a message's flow, made when there is none; NULL: refused, and counted. */
struct ins_tracker *ins_ingress_admit(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire);
/* The flow has come to this message; those before it that did not come are lost. */
void ins_ingress_settle(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence);
/* Between these the first message of a flow is handed on, whose metadata lie at `meta`. missed: INS_COUNT_rx_no_credit before. */
void ins_first_begin(struct ins_engine *e, uint8_t *meta);
void ins_first_end(struct ins_engine *e, struct ins_tracker *tracker, uint64_t missed);
/* A subscription did not get a message for want of a credit or of memory. */
void ins_ingress_dropped(struct ins_engine *e, struct ins_topic *topic, struct ins_subscription *subscription);
/* Takes what came back on one link. */
uint32_t ins_ingress_reclaim_link(struct ins_engine *e, struct ins_link *link);

#endif
