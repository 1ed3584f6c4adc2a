/* The engine's clock against CLOCK_REALTIME: never far from it, whether it is read at once, often, or after a long time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "core/clock.h"

/* Between two readings this thread may lose its core; then it is no measurement. */
enum { APART_NS = 20000, OFF_NS = 20000 };

static uint64_t real_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How far the clock is off, read between two readings of the real one. */
static uint64_t off(struct ins_clock *clock) {
    for (;;) {
        uint64_t before = real_ns(), now = ins_clock_now(clock), after = real_ns();
        if (after - before > APART_NS)
            continue;
        return now < before ? before - now : now > after ? now - after : 0;
    }
}

static void sleep_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void it_is_right_from_the_first_reading_on(void **state) {
    (void)state;
    struct ins_clock clock;
    ins_clock_init(&clock);
    for (int i = 0; i < 1000; i++)
        assert_true(off(&clock) < OFF_NS);
}

static void it_is_right_after_any_pause(void **state) {
    (void)state;
    static const long pauses[] = {1, 5, 20, 50, 90, 200, 1, 500, 100, 100};
    struct ins_clock clock;
    ins_clock_init(&clock);
    for (unsigned i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        sleep_ms(pauses[i]);
        assert_true(off(&clock) < OFF_NS);
        assert_true(off(&clock) < OFF_NS);
    }
}

static void it_goes_on(void **state) {
    (void)state;
    struct ins_clock clock;
    ins_clock_init(&clock);
    sleep_ms(30);
    ins_clock_now(&clock);
    uint64_t last = ins_clock_now(&clock), first = last, steps = 0;
    while (last - first < 50000000) {
        uint64_t now = ins_clock_now(&clock);
        /* It may step back by as much as the real time was corrected, no more. */
        assert_true(now + OFF_NS > last);
        steps += now != last;
        last = now;
    }
    assert_true(steps > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_right_from_the_first_reading_on),
        cmocka_unit_test(it_is_right_after_any_pause),
        cmocka_unit_test(it_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
