/* The scheduler on virtual time, for any gate lists, arrivals, changes of the list and moments at which its owner looks:
   no frame outside its window, first in first out in a class, nothing waits that could go. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/scheduler.h"
#include "gates_cases.h"

enum { QUEUE = 512, LISTS = 8 };

struct frame {
    uint64_t arrived;
    uint32_t payload, number;
};
struct queue {
    struct frame frames[QUEUE];
    uint32_t head, tail, next_number, next_out;
};

/* What governs when, as the test understands it: list i from from[i] until from[i + 1]. Before: all gates open. */
struct history {
    struct ins_gate_list lists[LISTS];
    uint64_t from[LISTS];
    uint32_t count;
};

static const struct ins_gate_list *governs(const struct history *h, uint64_t at, uint64_t *until) {
    uint32_t i = 0;
    while (i < h->count && h->from[i] <= at)
        i++;
    *until = i < h->count ? h->from[i] : UINT64_MAX;
    return i ? &h->lists[i - 1] : NULL;
}

/* ns from `at` on in which the class may be on the line without a break, up to a cycle. */
static uint64_t oracle_window(const struct history *h, uint32_t class, uint64_t at) {
    uint64_t until;
    const struct ins_gate_list *list = governs(h, at, &until);
    uint64_t window = list ? cases_window(list, class, at) : INS_GATES_ALWAYS;
    uint64_t left = until == UINT64_MAX ? INS_GATES_ALWAYS : until - at;
    return window < left ? window : left;
}

struct world {
    struct cases cases;
    struct ins_scheduler scheduler;
    struct ins_gates compiled;
    struct history history;
    struct queue queues[INS_CLASSES];
    uint64_t now, line_free, sent, bytes;
};

static void change(struct world *w) {
    struct history *h = &w->history;
    if (h->count == LISTS)
        return;
    struct ins_gate_list list = cases_list(&w->cases);
    /* Past, or to come. */
    list.base_ns = cases_below(&w->cases, 2) ? w->now - cases_below(&w->cases, 1000000000)
                                             : w->now + cases_below(&w->cases, 3000000);
    /* One that is still to come is replaced. */
    if (h->count && h->from[h->count - 1] > w->now)
        h->count--;
    uint64_t from = list.base_ns;
    while (from < w->now)
        from += list.cycle_ns;
    h->lists[h->count] = list;
    h->from[h->count++] = from;
    assert_int_equal(ins_gates_compile(&list, &w->compiled), 0);
    assert_int_equal(ins_scheduler_change(&w->scheduler, &w->compiled, w->now), (from - list.base_ns) / list.cycle_ns);
}

static void arrive(struct world *w, uint32_t class, uint32_t most) {
    struct queue *q = &w->queues[class];
    if (q->tail - q->head == QUEUE)
        return;
    struct frame *frame = &q->frames[q->tail++ % QUEUE];
    *frame = (struct frame){
        .arrived = w->now, .payload = (uint32_t)cases_below(&w->cases, most), .number = q->next_number++};
}

static uint64_t margin_of(const struct world *w) {
    const struct ins_scheduler *s = &w->scheduler;
    return s->running ? s->oper.margin : s->pending ? s->admin.margin : 0;
}

static const struct ins_gates *gates_of(const struct world *w) {
    return w->scheduler.running ? &w->scheduler.oper : &w->compiled;
}

/* Sends what may go, highest class first, and holds each frame against the oracle. */
static void send(struct world *w) {
    ins_scheduler_at(&w->scheduler, w->now);
    for (uint32_t class = INS_CLASSES; class-- > 0;) {
        struct queue *q = &w->queues[class];
        while (q->head != q->tail) {
            const struct frame *frame = &q->frames[q->head % QUEUE];
            uint64_t duration = ins_gates_duration(gates_of(w), frame->payload);
            uint64_t start = w->line_free > w->now ? w->line_free : w->now;
            uint64_t window = oracle_window(&w->history, class, w->now);
            if (!ins_scheduler_fits(&w->scheduler, class, duration)) {
                q->head++; /* it would wait for ever: whoever sent it is told */
                q->next_out++;
                continue;
            }
            /* What may go goes, and only that. */
            int ahead = w->line_free > w->now + INS_SCHEDULER_AHEAD;
            int room = window == INS_GATES_ALWAYS ||
                       (window != 0 && start + duration + margin_of(w) <= w->now + window);
            uint64_t next = ins_scheduler_next(&w->scheduler, class, duration);
            int admitted = ins_scheduler_admit(&w->scheduler, class, duration);
            assert_int_equal(admitted, room && !ahead);
            /* When to look again: now, if it went; else later, and not later than the first moment that it could go. */
            if (admitted)
                assert_int_equal(next, w->now);
            else {
                assert_true(next > w->now);
                if (room)
                    assert_true(next <= w->line_free - INS_SCHEDULER_AHEAD);
                break;
            }
            w->line_free = start + duration;
            assert_int_equal(w->scheduler.line_free, w->line_free);
            assert_int_equal(frame->number, q->next_out++);
            q->head++;
            w->sent++;
        }
    }
}

static void no_frame_outside_its_window(void **state) {
    (void)state;
    uint64_t sent = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world *w = calloc(1, sizeof *w);
        w->cases = cases_seeded(seed);
        w->now = w->line_free = 2000000000000;
        ins_scheduler_init(&w->scheduler, w->now);
        change(w);
        w->line_free = w->scheduler.line_free;
        uint32_t busy = 1 + (uint32_t)cases_below(&w->cases, 30);
        for (uint32_t step = 0; step < 3000; step++) {
            /* Mostly it spins, now and then it was away. */
            w->now += cases_below(&w->cases, 100) ? cases_below(&w->cases, 5000) : cases_below(&w->cases, 4000000);
            ins_scheduler_at(&w->scheduler, w->now);
            for (uint32_t i = 0; i < busy; i++)
                if (cases_below(&w->cases, 8) == 0)
                    arrive(w, (uint32_t)cases_below(&w->cases, INS_CLASSES), cases_below(&w->cases, 4) ? 1400 : 60000);
            if (cases_below(&w->cases, 500) == 0)
                change(w);
            send(w);
        }
        assert_true(w->scheduler.changes > 0);
        sent += w->sent;
        free(w);
    }
    assert_true(sent > 100000);
}

/* One frame a cycle in each class that has a window of its own with room for it: it goes within that cycle. */
static void nothing_waits_longer_than_a_cycle_with_room(void **state) {
    (void)state;
    enum { POLL = 1000, PAYLOAD = 200 };
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct world *w = calloc(1, sizeof *w);
        struct cases cases = cases_seeded(seed);
        w->cases = cases_seeded(seed + 1000);
        struct ins_gate_list list = {.line_mbps = 100, .mtu = 1500, .margin_ns = 2000, .count = INS_CLASSES};
        for (uint32_t i = 0; i < INS_CLASSES; i++) {
            /* 248 bytes and overhead at 100 Mbit/s take 25 us. */
            list.entries[i] = (struct ins_gate_entry){
                .mask = 1u << ((i * 3 + seed) % INS_CLASSES), .interval_ns = 40000 + (uint32_t)cases_below(&cases, 200000)};
            list.cycle_ns += list.entries[i].interval_ns;
        }
        assert_int_equal(ins_gates_compile(&list, &w->compiled), 0);
        ins_scheduler_init(&w->scheduler, 0);
        ins_scheduler_change(&w->scheduler, &w->compiled, 0);
        w->history.lists[0] = list;
        w->history.count = 1;
        uint64_t last_cycle = UINT64_MAX;
        for (w->now = 0; w->now < 20 * list.cycle_ns; w->now += cases_below(&cases, POLL)) {
            if (w->now / list.cycle_ns != last_cycle) {
                last_cycle = w->now / list.cycle_ns;
                for (uint32_t class = 0; class < INS_CLASSES; class ++)
                    arrive(w, class, PAYLOAD);
            }
            send(w);
            for (uint32_t class = 0; class < INS_CLASSES; class ++) {
                struct queue *q = &w->queues[class];
                assert_true(q->head == q->tail ||
                            w->now - q->frames[q->head % QUEUE].arrived <= list.cycle_ns + POLL);
            }
        }
        free(w);
    }
}

static void a_change_leaves_no_gap_and_no_overlap(void **state) {
    (void)state;
    struct ins_gate_list first = {.base_ns = 0, .cycle_ns = 1000, .line_mbps = 100000, .mtu = 1500, .count = 2,
                                  .entries = {{0x80, 500}, {0x01, 500}}};
    struct ins_gate_list second = {.base_ns = 10700, .cycle_ns = 300, .line_mbps = 100000, .mtu = 1500, .count = 1,
                                   .entries = {{0x01, 300}}};
    struct ins_gates gates;
    struct ins_scheduler s;
    ins_scheduler_init(&s, 100);
    assert_int_equal(ins_scheduler_window_end(&s, 3), INS_GATES_ALWAYS);
    assert_int_equal(ins_gates_compile(&first, &gates), 0);
    assert_int_equal(ins_scheduler_change(&s, &gates, 100), 1); /* begins at 1000 */
    assert_int_equal(ins_scheduler_window_end(&s, 3), 1000);
    ins_scheduler_at(&s, 1000);
    assert_int_equal(ins_scheduler_window_end(&s, 7), 1500);
    assert_int_equal(ins_scheduler_window_end(&s, 0), 0);
    ins_scheduler_at(&s, 10200);
    assert_int_equal(ins_gates_compile(&second, &gates), 0);
    assert_int_equal(ins_scheduler_change(&s, &gates, 10200), 0); /* to come at 10,700 */
    assert_int_equal(ins_scheduler_window_end(&s, 7), 10500);
    ins_scheduler_at(&s, 10600);
    assert_int_equal(ins_scheduler_window_end(&s, 0), 10700); /* the old list's window is cut short */
    ins_scheduler_at(&s, 10699);
    assert_int_equal(s.changes, 1);
    ins_scheduler_at(&s, 10700);
    assert_int_equal(s.changes, 2);
    assert_int_equal(ins_scheduler_window_end(&s, 0), INS_GATES_ALWAYS);
    assert_int_equal(ins_scheduler_window_end(&s, 7), 0);
}

static void a_clock_that_is_set_back_keeps_the_windows(void **state) {
    (void)state;
    struct cases cases = cases_seeded(5);
    for (uint32_t round = 0; round < 500; round++) {
        struct ins_gate_list list = cases_list(&cases);
        struct ins_gates gates;
        struct ins_scheduler s;
        assert_int_equal(ins_gates_compile(&list, &gates), 0);
        ins_scheduler_init(&s, list.base_ns);
        ins_scheduler_change(&s, &gates, list.base_ns);
        for (uint32_t i = 0; i < 50; i++) {
            /* Anywhere, before the base time as well. */
            uint64_t now = list.base_ns - 500000000 + cases_below(&cases, 1000000000);
            ins_scheduler_at(&s, now);
            for (uint32_t class = 0; class < INS_CLASSES; class ++) {
                uint64_t window = cases_window(&list, class, now), end = ins_scheduler_window_end(&s, class);
                assert_int_equal(end, window == 0                  ? 0
                                      : window == INS_GATES_ALWAYS ? INS_GATES_ALWAYS
                                                                   : now + window);
            }
        }
    }
}

static void what_was_admitted_and_not_sent_is_given_back(void **state) {
    (void)state;
    struct ins_gate_list list = {.cycle_ns = 100000, .line_mbps = 1000, .mtu = 1500, .count = 2,
                                 .entries = {{0x80, 20000}, {0x01, 80000}}};
    struct ins_gates gates;
    struct ins_scheduler s;
    assert_int_equal(ins_gates_compile(&list, &gates), 0);
    ins_scheduler_init(&s, 0);
    ins_scheduler_change(&s, &gates, 0);
    assert_true(ins_scheduler_admit(&s, 7, 15000));
    assert_false(ins_scheduler_admit(&s, 7, 15000));
    ins_scheduler_refund(&s, 15000);
    assert_true(ins_scheduler_admit(&s, 7, 15000));
    assert_false(ins_scheduler_admit(&s, 0, 100));
    assert_int_equal(ins_scheduler_next(&s, 0, 100), 20000);
    assert_int_equal(ins_scheduler_next(&s, 7, 15000), 100000);
    assert_int_equal(ins_scheduler_next(&s, 7, 21000), INS_GATES_NEVER);
    assert_false(ins_scheduler_fits(&s, 7, 21000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_frame_outside_its_window),
        cmocka_unit_test(nothing_waits_longer_than_a_cycle_with_room),
        cmocka_unit_test(a_change_leaves_no_gap_and_no_overlap),
        cmocka_unit_test(a_clock_that_is_set_back_keeps_the_windows),
        cmocka_unit_test(what_was_admitted_and_not_sent_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
