/* A datapath over another one that loses, doubles, delays and reorders what is sent, and that breaks, hangs or crashes
   when it is told to: for tests, and never chosen by anybody. Which datagram is hit follows from the seed and its number
   alone. "of=udp,loss=0.01,duplicate=0.01,reorder=0.01,delay_us=500,seed=7,fail_after=1000,armed=FILE"; what it does not
   know are options of the one underneath. With nothing to do it is that one. */
#include "faulty.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "faulty_held.h"
#include "faulty_options.h"

enum {
    REORDER_SPAN = 3, /* a reordered datagram goes behind so many later ones */
    LOOK_MS = 10,     /* how often it looks for the file that arms it */
};
enum { SEEN, LOST, DUPLICATED, REORDERED, DELAYED, REFUSED, STRUCK, STATS };
static const char *const stat_names[STATS] = {
    [SEEN] = "faults_seen",           [LOST] = "faults_lost",       [DUPLICATED] = "faults_duplicated",
    [REORDERED] = "faults_reordered", [DELAYED] = "faults_delayed", [REFUSED] = "faults_refused",
    [STRUCK] = "faults_struck",
};

struct faulty {
    struct ins_datapath base;
    struct ins_datapath_ops ops; /* ours, with the flags of the one underneath */
    struct ins_datapath *inner;
    struct ins_faulty_options options;
    uint32_t frames;      /* something is done to single datagrams */
    uint32_t strikes;     /* it may break, hang or crash */
    uint64_t passed;      /* datagrams sent and buffers received, for strikes */
    uint64_t looked_ms;
    uint32_t is_armed;
    int timer;            /* readable when something held is due, or it is time to look whether we are armed */
    uint64_t timer_us;    /* when; UINT64_MAX: never */
    uint64_t stats[STATS]; /* written by the engine's thread, read by control */
    struct ins_held_queue held;
};

static void count(struct faulty *f, uint32_t which, uint64_t more) {
    __atomic_store_n(&f->stats[which], f->stats[which] + more, __ATOMIC_RELAXED);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Whether the n-th datagram is hit by a fault of this kind and share (splitmix64 of seed, number and kind). */
static int hit(const struct faulty *f, uint64_t n, uint32_t kind, double share) {
    uint64_t z = f->options.seed * 0x9e3779b97f4a7c15ull + n * 4 + kind + 1;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53 < share;
}

/* ---- strikes ---- */

static int armed(struct faulty *f) {
    if (!f->options.armed[0])
        return 1;
    uint64_t ms = now_us() / 1000;
    if (ms - f->looked_ms >= LOOK_MS) {
        f->looked_ms = ms;
        f->is_armed = access(f->options.armed, F_OK) == 0;
    }
    return (int)f->is_armed;
}

static void hang(struct faulty *f) {
    const struct timespec little = {.tv_nsec = 1000000};
    uint64_t until = f->options.hang_ms ? now_us() + f->options.hang_ms * 1000 : UINT64_MAX;
    count(f, STRUCK, 1);
    while (now_us() < until && armed(f))
        nanosleep(&little, NULL);
    f->options.hang_after = INS_FAULTY_NEVER;
}

static void strike_open(struct faulty *f) {
    const struct timespec little = {.tv_nsec = 1000000};
    if (f->options.open_crash && armed(f))
        abort();
    while (f->options.open_hang && armed(f))
        nanosleep(&little, NULL);
}

/* 0, or what the burst is to return. */
static int strike(struct faulty *f) {
    const struct ins_faulty_options *o = &f->options;
    if (!f->strikes || !armed(f))
        return 0;
    if (f->passed >= o->crash_after)
        abort();
    if (f->passed >= o->hang_after)
        hang(f);
    if (f->passed < o->fail_after)
        return 0;
    count(f, STRUCK, 1);
    return -EIO;
}

/* ---- what waits ---- */

static void set_timer(struct faulty *f, uint64_t us) {
    if (us == f->timer_us)
        return;
    f->timer_us = us;
    struct itimerspec at = {0};
    if (us != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(us / 1000000);
        at.it_value.tv_nsec = (long)(us % 1000000) * 1000 + 1; /* 0 would be never */
    }
    timerfd_settime(f->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void plan_timer(struct faulty *f, uint64_t now) {
    uint64_t look = f->strikes && f->options.armed[0] ? now + LOOK_MS * 1000 : UINT64_MAX, due = ins_held_due(&f->held);
    set_timer(f, due < look ? due : look);
}

/* Sends what is due. 0 or the error of the one underneath. */
static int let_go(struct faulty *f, uint64_t now) {
    uint64_t refused = 0;
    int error = ins_held_send(&f->held, f->inner, now, f->stats[SEEN], &refused);
    count(f, REFUSED, refused);
    return error;
}

/* ---- the operations ---- */

static int faulty_open(const char *text, struct ins_endpoint *at, struct ins_datapath **out) {
    struct faulty *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    int error = ins_faulty_parse(text, &f->options);
    const struct ins_faulty_options *o = &f->options;
    f->timer = -1;
    f->timer_us = UINT64_MAX;
    f->strikes = o->fail_after != INS_FAULTY_NEVER || o->hang_after != INS_FAULTY_NEVER ||
                 o->crash_after != INS_FAULTY_NEVER;
    f->frames = o->loss > 0 || o->duplicate > 0 || o->reorder > 0 || o->delay_us > 0;
    /* What breaks before the first datagram cannot be opened either. */
    if (!error && o->fail_after == 0 && armed(f))
        error = -EIO;
    if (!error)
        strike_open(f);
    if (!error) {
        error = ins_held_init(&f->held);
        f->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (!error)
            error = f->timer < 0 ? -errno : ins_datapath_open(o->of, o->inner, at, &f->inner);
    }
    /* Payloads that are sent later are given back later: not built for single datagrams. */
    if (!error && f->frames && (f->inner->ops->flags & INS_DATAPATH_ASYNC_TX)) {
        ins_datapath_close(f->inner);
        error = -EOPNOTSUPP;
    }
    if (error) {
        if (f->timer >= 0)
            close(f->timer);
        ins_held_free(&f->held);
        free(f);
        return error;
    }
    f->ops = ins_faulty_ops;
    f->ops.flags = f->inner->ops->flags;
    if (!f->inner->ops->tx_done)
        f->ops.tx_done = NULL;
    if (!f->inner->ops->arm)
        f->ops.arm = NULL;
    if (!f->inner->ops->rx_place)
        f->ops.rx_place = NULL;
    f->base.ops = &f->ops;
    f->base.mtu = f->inner->mtu;
    f->base.waiting = f->inner->waiting;
    *out = &f->base;
    return 0;
}

static int faulty_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct faulty *f = (struct faulty *)dp;
    plan_timer(f, now_us());
    return f->inner->ops->bind(f->inner, pool);
}

/* Passes tx[from, to) on as they are. 1: all were taken. 0: *done says how far it came. */
static int pass(struct faulty *f, struct ins_tx *tx, uint32_t to, uint32_t *done, int *error) {
    if (*done == to)
        return 1;
    int taken = f->inner->ops->tx_burst(f->inner, tx + *done, to - *done);
    *error = taken < 0 ? taken : 0;
    if (taken <= 0)
        return 0;
    *done += (uint32_t)taken;
    count(f, SEEN, (uint64_t)taken);
    return *done == to;
}

/* Datagrams are numbered as they are taken, so that one tried again meets the same fate. */
static int send_faultily(struct faulty *f, struct ins_tx *tx, uint32_t total) {
    const struct ins_faulty_options *o = &f->options;
    uint64_t now = now_us();
    uint32_t done = 0, i = 0;
    int error = let_go(f, now);
    for (; i < total && !error; i++) {
        uint64_t n = f->stats[SEEN] + (i - done);
        int whole = tx[i].header_length + tx[i].payload_length <= INS_HELD_BYTES;
        int lost = hit(f, n, 0, o->loss), twice = hit(f, n, 1, o->duplicate), late = hit(f, n, 2, o->reorder);
        if (!whole || (!lost && !twice && !late && !o->delay_us))
            continue;
        if (!pass(f, tx, i, &done, &error))
            break;
        if (!lost) {
            uint64_t due = now + o->delay_us + (late ? o->reorder_us : 0);
            uint64_t behind = o->delay_us ? UINT64_MAX : n + (late ? 1 + REORDER_SPAN : 0);
            if (!ins_held_room(&f->held, 2))
                break;
            ins_held_push(&f->held, &tx[i], due, behind);
            if (twice)
                ins_held_push(&f->held, &tx[i], due, behind);
            count(f, DUPLICATED, (uint64_t)twice);
            count(f, REORDERED, (uint64_t)late);
            count(f, DELAYED, o->delay_us != 0);
        } else
            count(f, LOST, 1);
        tx[i].error = 0;
        count(f, SEEN, 1);
        done++;
        /* At once, unless it is to be late: what follows must not overtake it. */
        error = let_go(f, now);
    }
    if (i == total && !error)
        pass(f, tx, total, &done, &error);
    plan_timer(f, now);
    f->passed += done;
    return done ? (int)done : error;
}

static int faulty_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t total) {
    struct faulty *f = (struct faulty *)dp;
    int error = strike(f);
    if (error)
        return error;
    if (f->frames)
        return send_faultily(f, tx, total);
    int taken = f->inner->ops->tx_burst(f->inner, tx, total);
    if (taken > 0) {
        count(f, SEEN, (uint64_t)taken);
        f->passed += (uint64_t)taken;
    }
    return taken;
}

static int faulty_tx_done(struct ins_datapath *dp, uint64_t *cookies, uint32_t max) {
    struct faulty *f = (struct faulty *)dp;
    return f->inner->ops->tx_done(f->inner, cookies, max);
}

/* What is to be done before anything is received: 0, or what the burst is to return. */
static int before_receive(struct faulty *f) {
    int error = strike(f);
    if (f->timer_us != UINT64_MAX) {
        uint64_t now = now_us(), expirations;
        if (now >= f->timer_us) {
            if (read(f->timer, &expirations, sizeof expirations) < 0)
                f->timer_us = 0; /* it rings in a moment */
            if (!error)
                error = let_go(f, now);
            plan_timer(f, now);
        }
    }
    return error;
}

static int faulty_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct faulty *f = (struct faulty *)dp;
    int error = before_receive(f);
    if (error)
        return error;
    int got = f->inner->ops->rx_burst(f->inner, rx, max);
    if (got > 0)
        f->passed += (uint64_t)got;
    return got;
}

static int faulty_rx_place(struct ins_datapath *dp, struct iovec *places, uint32_t count, struct ins_rx *rx) {
    struct faulty *f = (struct faulty *)dp;
    int error = before_receive(f);
    if (error)
        return error;
    int got = f->inner->ops->rx_place(f->inner, places, count, rx);
    if (got > 0)
        f->passed += (uint64_t)got;
    return got;
}

static int faulty_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    struct faulty *f = (struct faulty *)dp;
    if (max < 2)
        return -ENOSPC;
    int inner = f->inner->ops->fds(f->inner, out, max - 1);
    if (inner < 0)
        return inner;
    out[inner] = f->timer;
    return inner + 1;
}

static int faulty_arm(struct ins_datapath *dp) {
    struct faulty *f = (struct faulty *)dp;
    return f->inner->ops->arm(f->inner);
}

static int faulty_stats(struct ins_datapath *dp, const char **names, uint64_t *values, uint32_t max) {
    struct faulty *f = (struct faulty *)dp;
    uint32_t i = 0;
    for (; i < STATS && i < max; i++) {
        names[i] = stat_names[i];
        values[i] = __atomic_load_n(&f->stats[i], __ATOMIC_RELAXED);
    }
    int inner = f->inner->ops->stats(f->inner, names + i, values + i, max - i);
    return inner < 0 ? inner : (int)i + inner;
}

/* What still waits goes now, as far as it is taken. */
static void faulty_unbind(struct ins_datapath *dp) {
    struct faulty *f = (struct faulty *)dp;
    let_go(f, UINT64_MAX);
    f->held.count = 0;
    set_timer(f, UINT64_MAX);
    f->inner->ops->unbind(f->inner);
}

static void faulty_close(struct ins_datapath *dp) {
    struct faulty *f = (struct faulty *)dp;
    ins_datapath_close(f->inner);
    close(f->timer);
    ins_held_free(&f->held);
    free(f);
}

int ins_faulty_probe(const char *interface, struct ins_probe *out) {
    (void)interface;
    out->available = 1;
    snprintf(out->reason, sizeof out->reason, "for tests: it wraps another datapath");
    return 0;
}

const struct ins_datapath_ops ins_faulty_ops = {
    .name = "faulty",
    .flags = INS_DATAPATH_CAN_PARK,
    .probe = ins_faulty_probe,
    .open = faulty_open,
    .bind = faulty_bind,
    .tx_burst = faulty_tx_burst,
    .tx_done = faulty_tx_done,
    .rx_burst = faulty_rx_burst,
    .rx_place = faulty_rx_place,
    .fds = faulty_fds,
    .arm = faulty_arm,
    .stats = faulty_stats,
    .unbind = faulty_unbind,
    .close = faulty_close,
};
