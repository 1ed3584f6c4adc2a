/* What a receiver counts in its own window: rate, goodput, and loss by sequence number. The window begins with what comes
   after the warm-up that begins with the first message; as in raw_udp_rate.c and bench/peers/stopwatch.ts. */
#ifndef BENCH_WINDOW_H
#define BENCH_WINDOW_H

#include "measure.h"

#include <stdbool.h>

/* Messages between two looks at the clock. */
#define LOOK_EVERY 32u

struct window {
    uint64_t start, end, now, messages, first, last;
    uint32_t since_look;
    bool measuring;
    double warmup, seconds;
};

/* False when the measured time is over. */
static inline bool window_take(struct window *w, uint64_t sequence) {
    if (w->measuring) {
        w->messages++;
        w->last = sequence;
    }
    if (++w->since_look < LOOK_EVERY && w->start) return true;
    w->since_look = 0;
    w->now = now_ns();
    if (!w->start) {
        w->start = w->now + (uint64_t)(w->warmup * 1e9);
        w->end = w->start + (uint64_t)(w->seconds * 1e9);
    }
    if (!w->measuring && w->now >= w->start) {
        w->measuring = true;
        w->start = w->now;
        w->first = sequence + 1;
    }
    return w->now < w->end || !w->messages;
}

static inline int window_print(const struct window *w, size_t payload) {
    double elapsed = (double)(w->now - w->start) / 1e9;
    if (!w->messages || elapsed <= 0) {
        fprintf(stderr, "nothing arrived in the measured time\n");
        return 1;
    }
    double rate = (double)w->messages / elapsed;
    double loss = 100.0 * (1.0 - (double)w->messages / (double)(w->last - w->first + 1));
    printf("{\"rate\":%.3f,\"goodput\":%.4f,\"loss\":%.4f,\"count\":%llu}\n", rate / 1e3,
           rate * (double)payload * 8 / 1e9, loss, (unsigned long long)w->messages);
    return 0;
}

#endif
