/* One port's schedule, see scheduler.h. */
#include "scheduler.h"

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* `at` and a number of ns since, either of which may be "never". */
static uint64_t after(uint64_t at, uint64_t ns) { return ns == INS_GATES_NEVER ? INS_GATES_NEVER : at + ns; }

void ins_scheduler_init(struct ins_scheduler *s, uint64_t now) {
    *s = (struct ins_scheduler){.now = now, .line_free = now};
}

/* Finds the cycle and the entry that `now` lies in, from scratch. */
static void locate(struct ins_scheduler *s) {
    const struct ins_gates *g = &s->oper;
    uint64_t since;
    if (s->now >= g->base)
        since = (s->now - g->base) % g->cycle;
    else /* the clock was set back beyond the base time: the cycles go on in that direction too */
        since = (g->cycle - (g->base - s->now) % g->cycle) % g->cycle;
    s->cycle_start = s->now - since;
    s->entry = 0;
    while (since >= g->start[s->entry + 1])
        s->entry++;
}

uint64_t ins_scheduler_change(struct ins_scheduler *s, const struct ins_gates *gates, uint64_t now) {
    uint64_t cycles = 0;
    ins_scheduler_at(s, now);
    s->admin = *gates;
    if (gates->base < now)
        cycles = (now - gates->base + gates->cycle - 1) / gates->cycle;
    s->change_at = gates->base + cycles * gates->cycle;
    s->pending = 1;
    ins_scheduler_at(s, now);
    return cycles;
}

void ins_scheduler_at(struct ins_scheduler *s, uint64_t now) {
    int back = now < s->now;
    s->now = now;
    if (back)
        s->line_free = earlier(s->line_free, now + INS_SCHEDULER_AHEAD);
    if (s->pending && now >= s->change_at) {
        s->oper = s->admin;
        s->running = 1;
        s->pending = 0;
        s->changes++;
        locate(s);
        return;
    }
    if (!s->running)
        return;
    if (back || now - s->cycle_start >= 2 * s->oper.cycle) {
        locate(s);
        return;
    }
    if (now - s->cycle_start >= s->oper.cycle) {
        s->cycle_start += s->oper.cycle;
        s->entry = 0;
    }
    while (now - s->cycle_start >= s->oper.start[s->entry + 1])
        s->entry++;
}

uint64_t ins_scheduler_window_end(const struct ins_scheduler *s, uint32_t class) {
    uint64_t end = INS_GATES_ALWAYS;
    if (s->running) {
        uint64_t open = s->oper.open[s->entry][class];
        if (open == 0)
            return 0;
        end = after(s->cycle_start + s->oper.start[s->entry], open);
    }
    return s->pending ? earlier(end, s->change_at) : end;
}

static int fits_now(const struct ins_scheduler *s, uint32_t class, uint64_t duration) {
    uint64_t end = ins_scheduler_window_end(s, class);
    if (end == INS_GATES_ALWAYS)
        return 1;
    /* Before the first list there is no margin to keep but that of the list to come. */
    uint64_t margin = s->running ? s->oper.margin : s->admin.margin;
    return later(s->now, s->line_free) + duration + margin <= end;
}

int ins_scheduler_admit(struct ins_scheduler *s, uint32_t class, uint64_t duration) {
    return s->line_free <= s->now + INS_SCHEDULER_AHEAD && ins_scheduler_reserve(s, class, duration);
}

int ins_scheduler_reserve(struct ins_scheduler *s, uint32_t class, uint64_t duration) {
    if (!fits_now(s, class, duration))
        return 0;
    s->line_free = later(s->now, s->line_free) + duration;
    return 1;
}

void ins_scheduler_refund(struct ins_scheduler *s, uint64_t duration) {
    s->line_free = s->line_free > duration ? s->line_free - duration : 0;
}

uint64_t ins_scheduler_next_opening(const struct ins_scheduler *s, uint32_t class) {
    if (!s->running)
        return INS_GATES_NEVER;
    return after(s->cycle_start + s->oper.start[s->entry], s->oper.opens[s->entry][class]);
}

uint64_t ins_scheduler_next(const struct ins_scheduler *s, uint32_t class, uint64_t duration) {
    if (fits_now(s, class, duration))
        return s->line_free > s->now + INS_SCHEDULER_AHEAD ? s->line_free - INS_SCHEDULER_AHEAD : s->now;
    uint64_t next = s->running && ins_gates_fit(&s->oper, class, duration) ? ins_scheduler_next_opening(s, class)
                                                                           : INS_GATES_NEVER;
    return s->pending ? earlier(next, s->change_at) : next;
}

int ins_scheduler_fits(const struct ins_scheduler *s, uint32_t class, uint64_t duration) {
    if (s->pending && ins_gates_fit(&s->admin, class, duration))
        return 1;
    return s->running ? ins_gates_fit(&s->oper, class, duration) : !s->pending;
}

uint64_t ins_scheduler_next_cycle(const struct ins_scheduler *s) {
    uint64_t next = s->running ? s->cycle_start + s->oper.cycle : INS_GATES_NEVER;
    return s->pending ? earlier(next, s->change_at) : next;
}
