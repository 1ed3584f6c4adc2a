/* How much of its time an engine's thread has worked for an engine, rather than looked in vain or slept: a counter in shared
   memory (busy_ns), for one reading of the processor's own clock a turn, none a message. Turns that an inline owner
   polls are its own time and not counted. */
#ifndef INSANE_ENGINE_DUTY_H
#define INSANE_ENGINE_DUTY_H

#include "engine_state.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <time.h>
#endif

/* Any unit, as long as it runs evenly. */
static inline uint64_t ins_duty_ticks(void) {
#if defined(__x86_64__)
    return __rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

/* The serving thread: what was worked since it was told last goes into the counter. */
void ins_duty_tell(struct ins_engine *e, uint64_t ticks);

/* Ticks between two times that the counter is brought up to date, some milliseconds; more than half a second of a slow one. */
enum { INS_DUTY_TICKS = 1 << 23 };

/* The serving thread, after a turn of `e` that began at `since`. Returns when it ended. */
static inline uint64_t ins_duty_turn(struct ins_engine *e, uint64_t since, uint32_t moved) {
    uint64_t now = ins_duty_ticks();
    if (moved)
        e->duty_busy += now - since;
    if (now - e->duty_told_ticks > INS_DUTY_TICKS)
        ins_duty_tell(e, now);
    return now;
}

#endif
