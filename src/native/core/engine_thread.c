/* See engine_thread.h. A guest is handed over by whoever serves it, between two of its turns: so a thread never meets another
   one's preparations for sleep. One lock for all crews, never taken on the path of a message. */
#include "engine_thread.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <time.h>

#include "engine_duty.h"
#include "engine_idle.h"
#include "engine_turn.h"
#include "platform.h"

/* Of `server`, `holder` and `arrivals` of all engines. */
static pthread_mutex_t crews = PTHREAD_MUTEX_INITIALIZER;

/* While an inline owner polls: looks now and then whether it still does. An owner that polls without a pause is looked at
   less often (each look costs it its core for a moment), but takes the interval up to STAND_BY_LONGEST times to miss. */
enum { STAND_BY_LONGEST = 8, POLLS_WITHOUT_PAUSE = 500 };

static void stand_by(struct ins_engine *e, uint32_t *times) {
    uint32_t seen = __atomic_load_n(&e->polls, __ATOMIC_RELAXED);
    int over = ins_idle_stand_by(e, e->config.takeover_us * *times);
    uint32_t polled = __atomic_load_n(&e->polls, __ATOMIC_RELAXED) - seen;
    if (!over || polled < POLLS_WITHOUT_PAUSE * *times)
        *times = 1;
    else if (*times < STAND_BY_LONGEST)
        *times *= 2;
    if (__atomic_load_n(&e->stop, __ATOMIC_RELAXED) || !__atomic_load_n(&e->owner, __ATOMIC_RELAXED) || polled ||
        !over || !ins_engine_try_enter(e))
        return;
    __atomic_store_n(&e->owner, 0, __ATOMIC_SEQ_CST);
    ins_engine_clock(e);
    ins_count(e, INS_COUNT_takeovers, 1);
    e->stalls++;
    e->untold = 1;
    ins_due(e, e->now_ms);
    ins_engine_leave(e);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Inside on entry, outside on return. */
static void park(struct ins_engine *e) {
    struct ins_ready ready;
    int timeout = ins_idle_prepare(e);
    ins_engine_leave(e);
    if (timeout == -2)
        return;
    ins_idle_sleep(e, timeout, &ready);
    /* When an owner has come back it is inside or about to be, and clears up by itself. */
    if (!ins_engine_try_enter(e))
        return;
    if (e->parked)
        ins_idle_awake(e);
    ins_idle_drain(e, &ready);
    ins_engine_leave(e);
}

/* ---- guests ---- */

static void order(struct ins_engine *e) {
    __atomic_store_n(&e->orders, 1, __ATOMIC_SEQ_CST);
    ins_idle_kick(e);
}

/* The thread that serves `e`, outside and awake: gives it to whom control wants. 0: that one has no room at this moment. */
static int hand_over(struct ins_engine *e) {
    int done = 1;
    pthread_mutex_lock(&crews);
    struct ins_engine *to = e->server;
    if (to != e->holder && to == e) {
        e->holder = e;
        pthread_cond_signal(&e->home);
    } else if (to != e->holder && to->arrival_count < INS_GUESTS) {
        to->arrivals[to->arrival_count++] = e;
        e->holder = to;
        order(to);
    } else
        done = to == e->holder;
    pthread_mutex_unlock(&crews);
    return done;
}

static void welcome(struct ins_engine *e) {
    pthread_mutex_lock(&crews);
    while (e->arrival_count && e->guest_count < INS_GUESTS) {
        e->arrival_count--;
        e->guests[e->guest_count++] = e->arrivals[e->arrival_count];
    }
    if (e->arrival_count)
        __atomic_store_n(&e->orders, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&crews);
}

/* Guests that control wants elsewhere go. */
static void dismiss(struct ins_engine *e) {
    for (uint32_t i = 0; i < e->guest_count;) {
        struct ins_engine *guest = e->guests[i];
        if (!__atomic_exchange_n(&guest->orders, 0, __ATOMIC_SEQ_CST)) {
            i++;
            continue;
        }
        pthread_mutex_lock(&crews);
        int stays = guest->server == e;
        pthread_mutex_unlock(&crews);
        /* It may be somebody else's, and gone, as soon as it is handed over: off the list first. */
        if (!stays)
            e->guests[i] = e->guests[--e->guest_count];
        if (stays || hand_over(guest))
            continue;
        e->guests[e->guest_count++] = guest;
        __atomic_store_n(&guest->orders, 1, __ATOMIC_RELAXED);
        i++;
    }
}

/* The thread, outside, its engine awake. It does not go while it has guests: they are asked to leave before it is. */
static void obey(struct ins_engine *e) {
    __atomic_store_n(&e->orders, 0, __ATOMIC_SEQ_CST);
    welcome(e);
    pthread_mutex_lock(&crews);
    int goes = e->server != e, busy = e->guest_count || e->arrival_count;
    pthread_mutex_unlock(&crews);
    if (goes && (busy || !hand_over(e))) {
        __atomic_store_n(&e->orders, 1, __ATOMIC_RELAXED);
        return;
    }
    pthread_mutex_lock(&crews);
    while (e->holder != e)
        pthread_cond_wait(&e->home, &crews);
    pthread_mutex_unlock(&crews);
    /* Orders to this thread that came while another one had the engine were taken for orders to that one. */
    welcome(e);
}

/* One turn of each, then each gets ready to sleep, and the thread sleeps until one of them is woken. */
static uint32_t crew_turn(struct ins_engine *of, uint64_t *since) {
    if (!ins_engine_try_enter(of))
        return 1;
    if (of->parked)
        ins_idle_awake(of);
    uint32_t moved = ins_engine_turn(of, of->config.receive_burst);
    if (moved)
        of->nap_ms = 0;
    *since = ins_duty_turn(of, *since, moved);
    ins_engine_leave(of);
    return moved;
}

static void crew_park(struct ins_engine *e) {
    struct ins_engine *crew[1 + INS_GUESTS] = {e};
    struct pollfd fds[1 + INS_GUESTS];
    uint32_t count = 1, ready = 0;
    for (uint32_t i = 0; i < e->guest_count; i++)
        crew[count++] = e->guests[i];
    uint64_t ns = UINT64_MAX;
    for (; ready < count; ready++) {
        struct ins_engine *of = crew[ready];
        if (!ins_engine_try_enter(of))
            break;
        int timeout = ins_idle_prepare(of);
        if (timeout != -2)
            ins_duty_tell(of, ins_duty_ticks());
        ins_engine_leave(of);
        if (timeout == -2)
            break;
        if (timeout >= 0 && (uint64_t)timeout * 1000000 < ns)
            ns = (uint64_t)timeout * 1000000;
        if (of->alarm_ns < ns)
            ns = of->alarm_ns;
        fds[ready] = (struct pollfd){.fd = of->epoll, .events = POLLIN};
    }
    if (ready == count) {
        struct timespec timeout = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
        ppoll(fds, count, ns == UINT64_MAX ? NULL : &timeout, NULL);
    }
    /* Those that were not made ready have not gone to sleep. */
    for (uint32_t i = 0; i < ready; i++) {
        struct ins_ready woken;
        ins_idle_sleep(crew[i], 0, &woken);
        if (!ins_engine_try_enter(crew[i]))
            continue;
        if (crew[i]->parked)
            ins_idle_awake(crew[i]);
        ins_idle_drain(crew[i], &woken);
        ins_engine_leave(crew[i]);
    }
}

/* ---- serving ---- */

/* Whether it has looked for as long as it may before it sleeps. */
static int tired(struct ins_engine *e, uint64_t *idle_since) {
    if (e->config.idle != INS_IDLE_PARK)
        return 0;
    uint64_t now = e->config.spin_us ? now_us() : 0;
    if (!*idle_since)
        *idle_since = now;
    return now - *idle_since >= e->config.spin_us;
}

static void idle(struct ins_engine *e) {
    if (e->config.idle == INS_IDLE_SPIN)
        pause_briefly();
    else
        sched_yield();
}

static void serve_crew(struct ins_engine *e, uint64_t *idle_since, uint64_t *since) {
    uint32_t moved = crew_turn(e, since);
    for (uint32_t i = 0; i < e->guest_count; i++) {
        moved += crew_turn(e->guests[i], since);
        if (__atomic_load_n(&e->guests[i]->orders, __ATOMIC_RELAXED))
            __atomic_store_n(&e->orders, 1, __ATOMIC_RELAXED);
    }
    if (moved)
        *idle_since = 0;
    else if (!tired(e, idle_since))
        idle(e);
    else {
        crew_park(e);
        *idle_since = 0;
        *since = ins_duty_ticks();
    }
}

static void serve(struct ins_engine *e) {
    uint64_t idle_since = 0, since = ins_duty_ticks();
    uint32_t times = 1;
    ins_duty_tell(e, since);
    while (!__atomic_load_n(&e->stop, __ATOMIC_RELAXED)) {
        if (__atomic_load_n(&e->orders, __ATOMIC_RELAXED)) {
            dismiss(e);
            obey(e);
            since = ins_duty_ticks();
            continue;
        }
        if (__atomic_load_n(&e->owner, __ATOMIC_RELAXED)) {
            stand_by(e, &times);
            idle_since = 0;
            since = ins_duty_ticks();
            continue;
        }
        times = 1;
        if (e->guest_count) {
            serve_crew(e, &idle_since, &since);
            continue;
        }
        if (!ins_engine_try_enter(e)) {
            sched_yield();
            continue;
        }
        if (e->parked)
            ins_idle_awake(e);
        uint32_t moved = ins_engine_turn(e, e->config.receive_burst);
        since = ins_duty_turn(e, since, moved);
        if (moved) {
            e->nap_ms = 0;
            idle_since = 0;
            ins_engine_leave(e);
            continue;
        }
        if (tired(e, &idle_since)) {
            ins_duty_tell(e, since);
            park(e);
            idle_since = 0;
            since = ins_duty_ticks();
            continue;
        }
        ins_engine_leave(e);
        idle(e);
    }
}

void *ins_engine_run(void *argument) {
    struct ins_engine *e = argument;
    if (e->config.cpu_plus_one) {
        int error = ins_pin_thread((int)e->config.cpu_plus_one - 1);
        __atomic_store_n(&e->pin_state, error ? error : 1, __ATOMIC_RELEASE);
    }
    serve(e);
    /* Control has called all guests home before; those that came since are sent on. */
    for (welcome(e); e->guest_count; welcome(e)) {
        for (uint32_t i = 0; i < e->guest_count; i++)
            __atomic_store_n(&e->guests[i]->orders, 1, __ATOMIC_RELAXED);
        dismiss(e);
    }
    while (__atomic_load_n(&e->orders, __ATOMIC_RELAXED)) obey(e);
    /* The owner may be in the middle of a turn. If it never comes out, control's join times out. */
    while (!ins_engine_try_enter(e)) {
        struct timespec little = {.tv_nsec = 50000};
        nanosleep(&little, NULL);
    }
    ins_engine_tear_down(e);
    __atomic_store_n(&e->stopped, 1, __ATOMIC_RELAXED);
    ins_engine_leave(e);
    return NULL;
}

/* ---- control ---- */

static void give(struct ins_engine *e, struct ins_engine *to) {
    struct ins_engine *from = e->asked;
    if (from != e)
        for (struct ins_engine **at = &from->first_asked; *at; at = &(*at)->next_asked)
            if (*at == e) {
                *at = e->next_asked;
                break;
            }
    e->next_asked = NULL;
    if (to != e) {
        e->next_asked = to->first_asked;
        to->first_asked = e;
    }
    e->asked = to;
    pthread_mutex_lock(&crews);
    e->server = to;
    pthread_mutex_unlock(&crews);
    order(e);
    /* Whoever serves it now looks at its own orders only between turns. */
    if (from != e)
        order(from);
}

int ins_engine_serve_by(struct ins_engine *e, struct ins_engine *host) {
    if (!host)
        host = e;
    if (e->asked == host)
        return 0;
    if (e->config.lease == INS_LEASE_INLINE || host->config.lease == INS_LEASE_INLINE)
        return -EPERM;
    if (__atomic_load_n(&e->stop, __ATOMIC_RELAXED) || __atomic_load_n(&host->stop, __ATOMIC_RELAXED))
        return -ESHUTDOWN;
    if (host != e) {
        uint32_t count = 0;
        for (const struct ins_engine *at = host->first_asked; at; at = at->next_asked) count++;
        if (host->asked != host || e->first_asked || count >= INS_GUESTS)
            return -EBUSY;
    }
    give(e, host);
    return 0;
}

void ins_engine_come_home(struct ins_engine *e) {
    while (e->first_asked) give(e->first_asked, e->first_asked);
    if (e->asked != e)
        give(e, e);
}

int ins_engine_pinned(const struct ins_engine *e) {
    if (!e->config.cpu_plus_one)
        return 0;
    int32_t state = __atomic_load_n(&e->pin_state, __ATOMIC_ACQUIRE);
    return state == 0 ? -EAGAIN : state < 0 ? state : 0;
}
