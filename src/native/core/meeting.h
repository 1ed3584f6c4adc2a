/* A new peer is greeted with a heartbeat, and control is told that it is set when that has left: while the kernel resolves
   its address it keeps what is sent there, and what is sent when it knows may overtake that. Routes are opened after the
   acknowledgement, so nothing but the greeting ever waits. */
#ifndef INSANE_MEETING_H
#define INSANE_MEETING_H

#include "engine_state.h"

/* A peer was set by this command. 1: it is acknowledged later; 0: there is nothing to wait for. */
int ins_meeting_begin(struct ins_engine *e, const struct ins_command *c);
/* Acknowledges those that are over. */
void ins_meetings_beat(struct ins_engine *e);
/* All others are acknowledged, too: the engine ends. */
void ins_meetings_end(struct ins_engine *e);

#endif
