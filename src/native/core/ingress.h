/* From the network to applications' links: receives bursts into slots, parses, tracks sequences, pushes one descriptor
   to every link subscribed, and takes slots back. */
#ifndef INSANE_INGRESS_H
#define INSANE_INGRESS_H

#include "engine_state.h"

/* Takes returns of hot links and a slice of the cold ones. Returns how many. */
uint32_t ins_ingress_reclaim(struct ins_engine *e);
/* All links, whatever their heat: before we sleep and before we give up. */
uint32_t ins_ingress_reclaim_all(struct ins_engine *e);
/* Receives up to `budget` buffers of each datapath. Returns messages moved. */
uint32_t ins_ingress_turn(struct ins_engine *e, uint32_t budget);
/* Takes the last returns; what is still out is free again. Returns how many entries those were. */
uint32_t ins_ingress_abandon(struct ins_engine *e, struct ins_link *link);

#endif
