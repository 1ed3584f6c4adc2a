/* See engine_duty.h. */
#include "engine_duty.h"

#include <time.h>

void ins_duty_tell(struct ins_engine *e, uint64_t ticks) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    uint64_t passed = ticks - e->duty_told_ticks;
    /* How long a tick is follows from the time that has passed since: no calibration, whatever the clock runs at. */
    if (passed && e->duty_told_ns && ns > e->duty_told_ns) {
        double share = (double)e->duty_busy / (double)passed;
        ins_count(e, INS_COUNT_busy_ns, (uint64_t)((share < 1 ? share : 1) * (double)(ns - e->duty_told_ns)));
    }
    e->duty_busy = 0;
    e->duty_told_ticks = ticks;
    e->duty_told_ns = ns;
}
