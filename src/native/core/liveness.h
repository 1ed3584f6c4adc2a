/* That this host lives, told to every peer once per alive_ms by whoever is inside the engine, and when each peer was last
   heard of, for control to read at any time: so that nothing but a dead or unreachable engine makes a host look dead. */
#ifndef INSANE_LIVENESS_H
#define INSANE_LIVENESS_H

#include "engine_state.h"

/* A peer has come (by index), or gone. */
void ins_liveness_add(struct ins_engine *e, uint32_t peer);
void ins_liveness_remove(struct ins_engine *e, uint32_t peer);
/* Sends what is due. */
void ins_liveness_beat(struct ins_engine *e);

/* Something that it may have sent came from a peer. */
static inline void ins_heard(struct ins_engine *e, uint32_t peer) {
    /* Pairs with nothing: control wants to know about when, and reads each word whole. */
    __atomic_store_n(&e->heard[2 * peer + 1], e->now_ms, __ATOMIC_RELAXED);
}

#endif
