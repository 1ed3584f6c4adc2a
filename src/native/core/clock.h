/* The time of day in nanoseconds, cheap enough to be read once a burst: from the processor's time stamp counter between
   readings of CLOCK_REALTIME, where the counter runs evenly (invariant TSC); elsewhere CLOCK_REALTIME itself. One thread
   at a time. */
#ifndef INSANE_CLOCK_H
#define INSANE_CLOCK_H

#include <stdint.h>

struct ins_clock {
    uint64_t anchor_ticks, anchor_ns; /* when CLOCK_REALTIME was read last, and what it was */
    uint64_t first_ticks, first_ns;   /* CLOCK_MONOTONIC, to find out the rate */
    uint64_t rate;                    /* ns a tick, times 2^32; 0: not known */
    int even;                         /* the counter may be used */
};

void ins_clock_init(struct ins_clock *clock);
/* Nanoseconds since 1970. Follows corrections of CLOCK_REALTIME within 0.2 s; may step back by as much as that was. */
uint64_t ins_clock_now(struct ins_clock *clock);

#endif
