/* Heartbeat datagrams: up to INS_HEARTBEAT_MAX_RECORDS high-water marks of flows to one peer over one datapath, or none,
   which only says that we live. They are filled a few at a time, so that a pass over flows in any order sends few. */
#ifndef INSANE_HEARTBEAT_H
#define INSANE_HEARTBEAT_H

#include "engine_state.h"

struct ins_beat {
    uint32_t peer, port, records; /* peer and port by index */
    uint8_t header[INS_WIRE_HEADER];
    uint8_t body[INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES];
};
enum { INS_BEATS_OPEN = 4 };
struct ins_beats {
    uint32_t used, oldest;
    struct ins_beat open[INS_BEATS_OPEN];
};

/* Adds a flow's mark; may send a datagram that is full or makes room. */
void ins_beats_add(struct ins_engine *e, struct ins_beats *beats, const struct ins_flow *flow);
/* Sends what is left. */
void ins_beats_send(struct ins_engine *e, struct ins_beats *beats);
/* Sends one without a mark. 0: that was not possible now. */
int ins_beat_empty(struct ins_engine *e, uint32_t peer, uint32_t port);

#endif
