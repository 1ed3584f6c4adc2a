/* See clock.h. */
#include "clock.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
/* Not ordered after what comes before it: a few nanoseconds early are no matter. */
static uint64_t ticks(void) { return __rdtsc(); }
static int runs_evenly(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
}
#else
static uint64_t ticks(void) { return 0; }
static int runs_evenly(void) { return 0; }
#endif

/* Ticks for which an anchor is good, some 0.1 to 0.2 s, and after which the rate is known well enough, 10 to 20 ms. Longer
   than 2^32 ticks must not pass in one multiplication. */
enum { ANCHOR_TICKS = 1 << 28, RATE_TICKS = 1 << 25 };

static uint64_t read_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void ins_clock_init(struct ins_clock *clock) {
    *clock = (struct ins_clock){.even = runs_evenly()};
    clock->first_ticks = ticks();
    clock->first_ns = read_ns(CLOCK_MONOTONIC);
}

static uint64_t anchor(struct ins_clock *clock) {
    uint64_t at = ticks(), now = read_ns(CLOCK_REALTIME);
    if (!clock->even)
        return now;
    clock->anchor_ticks = at;
    clock->anchor_ns = now;
    uint64_t passed = at - clock->first_ticks;
    if (passed < RATE_TICKS)
        return now;
    clock->rate = (uint64_t)((double)(read_ns(CLOCK_MONOTONIC) - clock->first_ns) / (double)passed * 4294967296.0);
    return now;
}

uint64_t ins_clock_now(struct ins_clock *clock) {
    uint64_t since = ticks() - clock->anchor_ticks;
    if (clock->rate == 0 || since > ANCHOR_TICKS)
        return anchor(clock);
    return clock->anchor_ns + (since * clock->rate >> 32);
}
