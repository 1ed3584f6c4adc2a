/* How an engine's thread sleeps and what wakes it: an epoll set of bells, datapath descriptors and its own eventfd. */
#ifndef INSANE_ENGINE_IDLE_H
#define INSANE_ENGINE_IDLE_H

#include "engine_state.h"

int ins_idle_init(struct ins_engine *e);
void ins_idle_free(struct ins_engine *e);

/* Inside: bells are counted by descriptor. */
int ins_bell_watch(struct ins_engine *e, int fd);
int ins_bell_unwatch(struct ins_engine *e, int fd);
/* Inside: no datapath descriptor is in the epoll set any more, until the thread gets ready to sleep again. A socket that
   is in a set costs its sender and receiver more with every datagram. */
void ins_ports_unwatch(struct ins_engine *e);

/* Any thread: gets the thread out of its sleep, whatever it sleeps on. */
void ins_idle_kick(struct ins_engine *e);
/* Any thread, after it has published something that the thread looks at before it sleeps. */
void ins_idle_kick_if_asleep(struct ins_engine *e);

/* Inside: 1 when every datapath can wake us. */
int ins_idle_can_park(const struct ins_engine *e);
/* The thread, inside: gets ready to sleep. Returns the timeout in ms (-1: none), or -2 when there is work. After it the
   thread leaves the engine and calls ins_idle_sleep; whoever comes in next calls ins_idle_awake. */
int ins_idle_prepare(struct ins_engine *e);
/* The thread, outside. Returns how many descriptors are ready; they are kept for ins_idle_drain. */
struct ins_ready {
    uint64_t tags[16];
    int count;
};
void ins_idle_sleep(struct ins_engine *e, int timeout_ms, struct ins_ready *ready);
/* Inside, first thing when `parked` is set. */
void ins_idle_awake(struct ins_engine *e);
/* The thread, inside: empties the bells that rang (those still ours). */
void ins_idle_drain(struct ins_engine *e, const struct ins_ready *ready);
/* The thread, outside, standing by: sleeps `us` or until kicked. 1 when the time is over. */
int ins_idle_stand_by(struct ins_engine *e, uint32_t us);

#endif
