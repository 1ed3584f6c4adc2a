/* A schedule in the engine, see scheduler_port.h. */
#include "scheduler_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "egress.h"
#include "engine_peers.h"

enum {
    BEST_EFFORT = 0,
    SAMPLES = 4,
    SAMPLE_MOST = 1000,   /* ns between the two looks at one clock that a sample of the other lies between */
    CHUNK = 16,           /* datagrams handed over before the clock is read again */
    COST_MOST = 20000,    /* ns: what took longer was an interruption, not the datagram */
    COST_DECAY = 32,      /* bursts in which a cost is forgotten, about */
    SPIN_INSIDE = 10000,  /* ns: a turn does not end so shortly before a time-sensitive frame may go */
    WAKE_EARLY = 80000,   /* ns: sleeping wakes so late at times */
    TRIES = 4,             /* moments that a turn waits for */
    RECEIVE_QUIET = 40000, /* ns before a window of a time-sensitive link in which nothing is received, and the engine says nothing of its own */
    RECEIVE_EACH = 15000, /* ns that a received buffer, which may be a train of 64 KiB, takes at most */
    BEAT_BYTES = INS_WIRE_HEADER + INS_HEARTBEAT_MAX_RECORDS * INS_HEARTBEAT_RECORD_BYTES,
};

/* ---- time ---- */

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
static uint64_t real_monotonic(void *context) {
    (void)context;
    return read_clock(CLOCK_MONOTONIC);
}
static uint64_t real_tai(void *context) {
    (void)context;
    return read_clock(CLOCK_TAI);
}
static const struct ins_schedule_clock real_clock = {.monotonic = real_monotonic, .tai = real_tai};

/* The offset, never too large: what is thought to be open is open. A sample that was interrupted is no good; when there is
   none other, an offset known before is kept. */
static void sample_offset(struct ins_port_schedule *s) {
    const struct ins_schedule_clock *clock = &s->clock;
    for (uint32_t tries = 0; tries < SAMPLES; tries++) {
        uint64_t before = clock->monotonic(clock->context), tai = clock->tai(clock->context);
        uint64_t after = clock->monotonic(clock->context);
        if (after - before > SAMPLE_MOST && (s->sampled || tries < SAMPLES - 1))
            continue;
        s->offset = tai - after;
        s->sampled = 1;
        return;
    }
}

static uint64_t tai_now(struct ins_port_schedule *s) {
    uint64_t now = s->clock.monotonic(s->clock.context) + s->offset;
    if (s->sampled && now < s->sample_at)
        return now;
    sample_offset(s);
    now = s->clock.monotonic(s->clock.context) + s->offset;
    ins_scheduler_at(&s->scheduler, now);
    s->sample_at = ins_scheduler_next_cycle(&s->scheduler);
    return now;
}

static uint64_t look_at_clock(struct ins_port_schedule *s) {
    uint64_t now = tai_now(s);
    ins_scheduler_at(&s->scheduler, now);
    return now;
}

/* ---- life ---- */

int ins_port_schedule_new(const struct ins_gate_list *list, const struct ins_schedule_clock *clock,
                          struct ins_port_schedule **out) {
    struct ins_port_schedule *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    int error = ins_gates_compile(list, &s->scheduler.admin);
    if (error) {
        free(s);
        return error;
    }
    s->clock = clock ? *clock : real_clock;
    *out = s;
    return 0;
}

int ins_schedule_execute(struct ins_engine *e, const struct ins_command *c, uint64_t *cycles_advanced) {
    struct ins_port *port = ins_port_find(e, c->id);
    if (!port)
        return -ENODEV;
    struct ins_port_schedule *s = port->schedule;
    if (s) {
        *cycles_advanced = ins_scheduler_change(&s->scheduler, &c->schedule->scheduler.admin, tai_now(s));
        s->sample_at = ins_scheduler_next_cycle(&s->scheduler);
        free(c->schedule);
        return 0;
    }
    s = port->schedule = c->schedule;
    s->stages[0] = port->stage;
    for (uint32_t class = 1; class < INS_CLASSES; class ++)
        s->stages[class] = &s->more[class - 1];
    struct ins_gates gates = s->scheduler.admin;
    uint64_t now = tai_now(s);
    ins_scheduler_init(&s->scheduler, now);
    *cycles_advanced = ins_scheduler_change(&s->scheduler, &gates, now);
    s->sample_at = ins_scheduler_next_cycle(&s->scheduler);
    e->schedules++;
    return 0;
}

void ins_port_schedule_drop(struct ins_engine *e, struct ins_port *port) {
    struct ins_port_schedule *s = port->schedule;
    if (!s)
        return;
    port->stage = s->stages[0];
    port->schedule = NULL;
    e->schedules--;
    free(s);
}

/* ---- sending ---- */

static void select_class(struct ins_port *port, uint32_t class) {
    port->schedule->selected = class;
    port->stage = port->schedule->stages[class];
}

void ins_schedule_select(struct ins_engine *e, const struct ins_link *link) {
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && e->ports[i].id == link->out.datapath && e->ports[i].schedule)
            select_class(&e->ports[i], link->out.traffic_class);
}

static const struct ins_gates *gates_of(const struct ins_scheduler *s) { return s->running ? &s->oper : &s->admin; }

/* On the line, or in our hands if that takes longer; but not so long that no window would do. */
static uint64_t duration_of(const struct ins_port_schedule *s, uint32_t class, const struct ins_tx *tx) {
    const struct ins_gates *gates = gates_of(&s->scheduler);
    uint64_t line = ins_gates_duration(gates, tx->header_length + tx->payload_length), cost = s->cost[class];
    uint64_t most = gates->longest[class] > gates->margin ? gates->longest[class] - gates->margin : 0;
    cost = cost < most ? cost : most;
    return line > cost ? line : cost;
}

/* Frames that find their gate closed or their window too short are counted once. */
static void count_held(struct ins_engine *e, struct ins_port_schedule *s, uint32_t class, uint32_t left) {
    if (left > s->counted[class]) {
        ins_count(e, INS_COUNT_tx_held, left - s->counted[class]);
        s->counted[class] = left;
    }
}

static void learn_cost(struct ins_port_schedule *s, uint32_t class, uint64_t each) {
    uint64_t kept = s->cost[class] - s->cost[class] / COST_DECAY;
    if (each > COST_MOST)
        each = kept;
    s->cost[class] = each > kept ? each : kept;
}

int ins_schedule_send(struct ins_engine *e, struct ins_port *port) {
    struct ins_port_schedule *s = port->schedule;
    struct ins_stage *stage = port->stage;
    uint32_t class = s->selected, staged = stage->tail - stage->head, count = 0;
    struct ins_tx *tx = &stage->tx[stage->head];
    uint64_t before = look_at_clock(s), durations[CHUNK];
    uint64_t line = ins_gates_duration(gates_of(&s->scheduler), tx->header_length + tx->payload_length);
    if (!ins_scheduler_fits(&s->scheduler, class, line)) {
        tx->error = -EMSGSIZE; /* no window will ever hold it */
        ins_count(e, INS_COUNT_tx_unfit, 1);
        s->moved++;
        return 1;
    }
    for (; count < staged && count < CHUNK; count++) {
        durations[count] = duration_of(s, class, &tx[count]);
        if (!ins_scheduler_admit(&s->scheduler, class, durations[count]))
            break;
    }
    if (count == 0) {
        count_held(e, s, class, staged);
        return 0;
    }
    uint64_t end = ins_scheduler_window_end(&s->scheduler, class);
    int taken = port->datapath->ops->tx_burst(port->datapath, tx, count);
    if (taken < 0)
        return taken;
    uint64_t after = tai_now(s);
    for (uint32_t i = count; i > (uint32_t)taken; i--)
        ins_scheduler_refund(&s->scheduler, durations[i - 1]);
    if (taken == 0)
        return 0;
    learn_cost(s, class, (after - before) / (uint32_t)taken);
    /* When it was interrupted nobody knows, so all of them may have left late. */
    if (after > end)
        ins_count(e, class == BEST_EFFORT ? INS_COUNT_tx_late_best_effort : INS_COUNT_tx_late, (uint32_t)taken);
    if (class != BEST_EFFORT) {
        uint64_t now = read_clock(CLOCK_REALTIME);
        for (uint32_t i = 0; i < (uint32_t)taken; i++)
            if (stage->of[stage->head + i].link->out.histogram)
                ins_schedule_note_latency(e, stage->of[stage->head + i].link, &tx[i], now);
    }
    s->counted[class] -= s->counted[class] < (uint32_t)taken ? s->counted[class] : (uint32_t)taken;
    s->moved += (uint32_t)taken;
    return taken;
}

static struct ins_tx *head_of(const struct ins_port_schedule *s, uint32_t class) {
    struct ins_stage *stage = s->stages[class];
    return stage->tail == stage->head ? NULL : &stage->tx[stage->head];
}

/* When the head of a class may go at the earliest. */
static uint64_t next_of(const struct ins_port_schedule *s, uint32_t class, const struct ins_tx *tx) {
    uint64_t line = ins_gates_duration(gates_of(&s->scheduler), tx->header_length + tx->payload_length);
    if (!ins_scheduler_fits(&s->scheduler, class, line))
        return s->scheduler.now;
    return ins_scheduler_next(&s->scheduler, class, duration_of(s, class, tx));
}

/* Sends a chunk of the first class that may; 1 when one did. */
static int send_some(struct ins_engine *e, struct ins_port *port) {
    struct ins_port_schedule *s = port->schedule;
    for (uint32_t class = INS_CLASSES; class-- > 0;) {
        uint32_t before = s->moved;
        if (!head_of(s, class))
            continue;
        select_class(port, class);
        ins_egress_flush(e, port);
        if (s->moved != before)
            return 1;
    }
    return 0;
}

uint32_t ins_schedule_turn(struct ins_engine *e, struct ins_port *port) {
    struct ins_port_schedule *s = port->schedule;
    s->moved = 0;
    for (uint32_t tries = 0; tries < TRIES && !port->down && !send_some(e, port); tries++) {
        uint64_t next = UINT64_MAX, now = look_at_clock(s);
        for (uint32_t class = BEST_EFFORT + 1; class < INS_CLASSES; class ++) {
            const struct ins_tx *tx = head_of(s, class);
            uint64_t at = tx ? next_of(s, class, tx) : UINT64_MAX;
            /* What may go now and did not waits for the datapath: no reason to stay. */
            if (at > now && at < next)
                next = at;
        }
        if (next == UINT64_MAX || next - now > SPIN_INSIDE)
            break;
        while (now < next && next - now <= SPIN_INSIDE)
            now = tai_now(s);
    }
    return s->moved;
}

/* How long until the next window of a class that some link has; INS_GATES_NEVER: there is none. */
static uint64_t until_window(const struct ins_engine *e, const struct ins_port_schedule *s) {
    uint64_t left = INS_GATES_NEVER;
    for (uint32_t class = BEST_EFFORT + 1; class < INS_CLASSES; class ++) {
        uint64_t next = e->class_links[class] ? ins_scheduler_next_opening(&s->scheduler, class) : INS_GATES_NEVER;
        if (next != INS_GATES_NEVER && next - s->scheduler.now < left)
            left = next - s->scheduler.now;
    }
    return left;
}

int ins_schedules_may_beat(struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port_schedule *s = e->ports[i].schedule;
        if (!s)
            continue;
        uint64_t end = (look_at_clock(s), ins_scheduler_window_end(&s->scheduler, BEST_EFFORT));
        const struct ins_gates *gates = gates_of(&s->scheduler);
        uint64_t least = ins_gates_duration(gates, BEAT_BYTES) + gates->margin;
        uint64_t line = s->scheduler.line_free > s->scheduler.now ? s->scheduler.line_free : s->scheduler.now;
        /* Sending wakes the receiver, who may sleep: that takes longer than the line does. Windows too short for a pause are
           used to their end. */
        if (gates->longest[BEST_EFFORT] > 2 * RECEIVE_QUIET && until_window(e, s) < RECEIVE_QUIET)
            return 0;
        /* Where even the longest window is too short for a full one, smaller ones may do. */
        if (end == 0 || (line + least > end && ins_gates_fit(gates, BEST_EFFORT, least - gates->margin)))
            return 0;
    }
    return 1;
}

int ins_schedule_beat(struct ins_port *port, uint32_t bytes) {
    struct ins_port_schedule *s = port->schedule;
    look_at_clock(s);
    return ins_scheduler_reserve(&s->scheduler, BEST_EFFORT, ins_gates_duration(gates_of(&s->scheduler), bytes));
}

/* ---- the rest of a turn, and sleep ---- */

uint32_t ins_schedules_receive_budget(struct ins_engine *e, uint32_t budget) {
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port_schedule *s = e->ports[i].schedule;
        if (!s)
            continue;
        look_at_clock(s);
        uint64_t left = until_window(e, s);
        for (uint32_t class = BEST_EFFORT + 1; class < INS_CLASSES; class ++)
            if (e->class_links[class] && ins_scheduler_window_end(&s->scheduler, class) && budget > 1)
                budget = 1; /* its frames may come at any moment */
        if (left < RECEIVE_QUIET)
            return 0;
        if (left / RECEIVE_EACH < budget)
            budget = (uint32_t)(left / RECEIVE_EACH);
    }
    return budget;
}

uint64_t ins_schedules_sleep(struct ins_engine *e) {
    uint64_t sleep = UINT64_MAX;
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        struct ins_port_schedule *s = port->schedule;
        if (!port->datapath || port->down)
            continue;
        if (!s) {
            if (port->stage->tail && sleep > 1000000)
                sleep = 1000000; /* the kernel gives no sign when ENOBUFS is over */
            continue;
        }
        uint64_t now = look_at_clock(s);
        for (uint32_t class = 0; class < INS_CLASSES; class ++) {
            const struct ins_tx *tx = head_of(s, class);
            uint64_t next = tx ? next_of(s, class, tx) : UINT64_MAX;
            uint64_t left = next == UINT64_MAX ? UINT64_MAX : next <= now + WAKE_EARLY ? 0 : next - now - WAKE_EARLY;
            if (left < sleep)
                sleep = left;
        }
    }
    return sleep;
}
