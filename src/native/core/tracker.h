/* Trackers at the receiver: the sequence expected next in each flow of each peer, what is missing, and when that was
   told. Bounded for each peer; the longest silent of a sample makes room. */
#ifndef INSANE_TRACKER_H
#define INSANE_TRACKER_H

#include "engine_state.h"
#include "wire.h"

int ins_trackers_init(struct ins_engine *e);
void ins_trackers_free(struct ins_engine *e);
/* NULL when the flow is not known. */
struct ins_tracker *ins_tracker_find(struct ins_engine *e, uint32_t peer, uint32_t flow);
/* Makes one that expects `expected` (0, but for peers of which flows were forgotten). NULL: no room at all. */
struct ins_tracker *ins_tracker_make(struct ins_engine *e, uint32_t peer, uint32_t flow, uint32_t source,
                                     struct ins_topic *topic, uint64_t expected);
/* `count` messages will not come. */
void ins_tracker_lost(struct ins_engine *e, struct ins_tracker *tracker, uint64_t count);
/* Messages from `sequence` to before `end` came behind what is expected: they are dropped. */
void ins_tracker_late(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence, uint64_t end);
void ins_trackers_drop_peer(struct ins_engine *e, uint32_t peer);
/* A flow's high-water mark: what was not seen below it is lost. */
void ins_tracker_beat(struct ins_engine *e, uint32_t peer, const struct ins_heartbeat *beat);
/* Heartbeat records of a peer. */
void ins_trackers_heartbeat(struct ins_engine *e, uint32_t peer, const uint8_t *records, uint32_t bytes);
/* Tells control what was lost or late, as far as there is room. 1 when all is told. */
int ins_trackers_tell(struct ins_engine *e);

/* A gap larger than this is no loss but nonsense. */
#define INS_TRACKER_LEAP (1ull << 32)

#endif
