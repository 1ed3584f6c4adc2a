/* An engine's life: creation, its thread, the inline lease, the end. The lock `inside` is only ever tried: the owner
   gives up with -EBUSY, the thread looks again. */
#include "engine.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "domain.h"
#include "engine_idle.h"
#include "engine_turn.h"
#include "farewell.h"
#include "fragments.h"
#include "flow.h"
#include "tracker.h"

static const char *const counter_names[] = {
#define NAME(name) "engine." #name,
    INS_ENGINE_COUNTERS(NAME)
#undef NAME
};

const char *ins_engine_counter(uint32_t index) {
    return index < INS_ENGINE_COUNTER_COUNT ? counter_names[index] + sizeof "engine." - 1 : NULL;
}

/* ---- the lease ---- */

static int try_enter(struct ins_engine *e) {
    /* Pairs with the release store in leave: whoever comes in sees all that was done inside. */
    return __atomic_exchange_n(&e->inside, 1, __ATOMIC_ACQUIRE) == 0;
}

static void leave(struct ins_engine *e) {
    __atomic_store_n(&e->inside, 0, __ATOMIC_RELEASE);
}

static void come_back(struct ins_engine *e) {
    if (__atomic_load_n(&e->owner, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&e->owner, 1, __ATOMIC_SEQ_CST);
    ins_idle_kick_if_asleep(e);
}

int ins_engine_poll(struct ins_engine *e, uint32_t receive_budget) {
    return ins_engine_poll_looks(e, receive_budget, 1);
}

int ins_engine_poll_looks(struct ins_engine *e, uint32_t receive_budget, uint32_t looks) {
    if (e->config.lease != INS_LEASE_INLINE)
        return -EPERM;
    __atomic_store_n(&e->polls, e->polls + 1, __ATOMIC_RELAXED);
    /* Before we try to come in, so that the thread stands by after its present turn. */
    come_back(e);
    if (!try_enter(e))
        return -EBUSY;
    if (__atomic_load_n(&e->stopped, __ATOMIC_RELAXED)) {
        leave(e);
        return -ESHUTDOWN;
    }
    /* The thread may have taken over after our look and sleep by now. Awake below clears what says so: without a kick
       nobody would wake it any more (models/lease.pml, STALE_OWNER). */
    come_back(e);
    if (e->parked)
        ins_idle_awake(e);
    if (e->watching)
        ins_ports_unwatch(e);
    uint32_t most = e->config.receive_burst;
    uint32_t budget = receive_budget < most ? receive_budget : most, moved = ins_engine_turn(e, budget);
    if (looks > INS_LOOKS_MOST)
        looks = INS_LOOKS_MOST;
    if (moved == 0 && looks > 1)
        moved = ins_engine_glances(e, budget, looks - 1);
    leave(e);
    return moved > INT32_MAX ? INT32_MAX : (int)moved;
}

int ins_engine_release(struct ins_engine *e) {
    if (e->config.lease != INS_LEASE_INLINE)
        return -EPERM;
    if (__atomic_exchange_n(&e->owner, 0, __ATOMIC_SEQ_CST))
        ins_idle_kick(e);
    return 0;
}

/* ---- the thread ---- */

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
        !over || !try_enter(e))
        return;
    __atomic_store_n(&e->owner, 0, __ATOMIC_SEQ_CST);
    ins_engine_clock(e);
    ins_count(e, INS_COUNT_takeovers, 1);
    e->stalls++;
    e->untold = 1;
    ins_due(e, e->now_ms);
    leave(e);
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
    leave(e);
    if (timeout == -2)
        return;
    ins_idle_sleep(e, timeout, &ready);
    /* When an owner has come back it is inside or about to be, and clears up by itself. */
    if (!try_enter(e))
        return;
    if (e->parked)
        ins_idle_awake(e);
    ins_idle_drain(e, &ready);
    leave(e);
}

static void serve(struct ins_engine *e) {
    uint64_t idle_since = 0;
    uint32_t times = 1;
    while (!__atomic_load_n(&e->stop, __ATOMIC_RELAXED)) {
        if (__atomic_load_n(&e->owner, __ATOMIC_RELAXED)) {
            stand_by(e, &times);
            idle_since = 0;
            continue;
        }
        times = 1;
        if (!try_enter(e)) {
            sched_yield();
            continue;
        }
        if (e->parked)
            ins_idle_awake(e);
        uint32_t moved = ins_engine_turn(e, e->config.receive_burst);
        if (moved) {
            e->nap_ms = 0;
            idle_since = 0;
            leave(e);
            continue;
        }
        if (e->config.idle == INS_IDLE_PARK) {
            uint64_t now = e->config.spin_us ? now_us() : 0;
            if (!idle_since)
                idle_since = now;
            if (now - idle_since >= e->config.spin_us) {
                park(e);
                idle_since = 0;
                continue;
            }
        }
        leave(e);
        if (e->config.idle == INS_IDLE_SPIN)
            pause_briefly();
        else
            sched_yield();
    }
}

static void *run(void *argument) {
    struct ins_engine *e = argument;
    if (e->config.cpu_plus_one)
        ins_pin_thread((int)e->config.cpu_plus_one - 1);
    serve(e);
    /* The owner may be in the middle of a turn. If it never comes out, control's join times out. */
    while (!try_enter(e)) {
        struct timespec little = {.tv_nsec = 50000};
        nanosleep(&little, NULL);
    }
    ins_engine_tear_down(e);
    __atomic_store_n(&e->stopped, 1, __ATOMIC_RELAXED);
    leave(e);
    return NULL;
}

/* ---- life ---- */

static void release(struct ins_engine *e) {
    ins_flows_free(e);
    ins_trackers_free(e);
    ins_farewells_free(e);
    ins_topics_free(&e->topics);
    ins_map_free(&e->link_ids);
    ins_map_free(&e->peer_ids);
    ins_map_free(&e->endpoints);
    ins_map_free(&e->open_sources);
    free(e->peers);
    ins_domains_free(e);
    ins_fragments_free(e);
    ins_pool_free(&e->pool);
    ins_idle_free(e);
    ins_event_ring_free(&e->events);
    free(e);
}

static int check(const struct ins_engine_config *c, uint32_t first_counter) {
    if (c->idle > INS_IDLE_SPIN || c->lease > INS_LEASE_INLINE || c->cpu_plus_one > 1024 ||
        (c->lease == INS_LEASE_INLINE && (c->takeover_us == 0 || c->takeover_us > 1000000)) ||
        c->heartbeat_ms > 60000 || c->fifo_priority > 99 || c->alive_ms > 86400000 || c->link_burst == 0 || c->link_burst > INS_BURST || c->receive_burst == 0 ||
        c->receive_burst > INS_BURST || c->receive_bytes < 64 || c->receive_bytes > INS_POOL_MAX_MESSAGE ||
        c->receive_slots == 0 || first_counter > INS_HISTOGRAMS_FIRST - INS_ENGINE_COUNTER_COUNT)
        return -EINVAL;
    return 0;
}

static int build(struct ins_engine *e, void *receive_pool, uint64_t receive_pool_bytes) {
    uint32_t stride = INS_POOL_HEADER_ROOM + (e->config.receive_bytes + 63) / 64 * 64;
    int error = ins_pool_init(&e->pool, receive_pool, receive_pool_bytes, e->config.receive_slots, stride);
    if (!error)
        error = ins_event_ring_init(&e->events);
    if (!error)
        error = ins_idle_init(e);
    if (!error)
        error = ins_topics_init(&e->topics);
    if (!error)
        error = ins_map_init(&e->link_ids, 0);
    if (!error)
        error = ins_map_init(&e->peer_ids, 0);
    if (!error)
        error = ins_map_init(&e->endpoints, 0);
    if (!error)
        error = ins_map_init(&e->open_sources, 0);
    e->peers = calloc(INS_ENGINE_PEERS, sizeof *e->peers);
    if (!error && !e->peers)
        error = -ENOMEM;
    e->flow_limit = INS_ENGINE_FLOWS;
    e->tracker_limit = INS_ENGINE_TRACKERS;
    if (!error)
        error = ins_flows_init(e);
    if (!error)
        error = ins_trackers_init(e);
    if (!error)
        error = ins_farewells_init(e);
    if (!error)
        error = ins_fragments_init(e);
    return error;
}

/* As configured, or as any thread where that is not permitted. */
static int start(struct ins_engine *e) {
    struct sched_param priority = {.sched_priority = (int)e->config.fifo_priority};
    pthread_attr_t attributes;
    if (priority.sched_priority && pthread_attr_init(&attributes) == 0) {
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &priority);
        int error = pthread_create(&e->thread, &attributes, run, e);
        pthread_attr_destroy(&attributes);
        if (error == 0) {
            ins_gauge(e, INS_COUNT_realtime, 1);
            return 0;
        }
    }
    return pthread_create(&e->thread, NULL, run, e);
}

int ins_engine_create(const struct ins_engine_config *config, void *receive_pool, uint64_t receive_pool_bytes,
                      void *parked_page, void *counters, uint32_t first_counter, struct ins_engine **out) {
    int error = check(config, first_counter);
    if (error || !parked_page || !counters)
        return -EINVAL;
    struct ins_engine *e = aligned_alloc(64, (sizeof *e + 63) / 64 * 64);
    if (!e)
        return -ENOMEM;
    memset(e, 0, sizeof *e);
    e->config = *config;
    e->wake = e->epoll = e->events.fd = -1;
    e->word = (uint32_t *)(void *)((uint8_t *)parked_page + INS_PARKED_PAGE_WORD);
    e->counters = (uint64_t *)(void *)((uint8_t *)counters + INS_COUNTERS_VALUES) + first_counter;
    e->histograms = (uint64_t *)(void *)((uint8_t *)counters + INS_COUNTERS_VALUES) + INS_HISTOGRAMS_FIRST;
    e->heard = (uint64_t *)(void *)((uint8_t *)counters + INS_COUNTERS_HEARD);
    e->sent = (struct ins_ledger_record *)(void *)((uint8_t *)counters + INS_COUNTERS_SENT);
    e->received = (struct ins_ledger_record *)(void *)((uint8_t *)counters + INS_COUNTERS_RECEIVED);
    e->due_ms = UINT64_MAX;
    e->cached_endpoint = UINT64_MAX;
    error = build(e, receive_pool, receive_pool_bytes);
    if (error) {
        release(e);
        return error;
    }
    for (uint32_t i = 0; i < INS_ENGINE_COUNTER_COUNT; i++) {
        ins_counters_label(counters, first_counter + i, counter_names[i]);
        ins_gauge(e, i, 0);
    }
    ins_gauge(e, INS_COUNT_slots_total, config->receive_slots);
    ins_engine_clock(e);
    ins_clock_init(&e->clock);
    error = start(e);
    if (error) {
        release(e);
        return -error;
    }
    pthread_setname_np(e->thread, "insane-engine");
    *out = e;
    return 0;
}

int ins_engine_stop(struct ins_engine *e, uint32_t timeout_ms) {
    if (e->joined)
        return 0;
    __atomic_store_n(&e->stop, 1, __ATOMIC_SEQ_CST);
    ins_idle_kick(e);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)timeout_ms % 1000 * 1000000;
    until.tv_sec += (time_t)(timeout_ms / 1000 + ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    int error = pthread_timedjoin_np(e->thread, NULL, &until);
    if (error)
        return -error;
    e->joined = 1;
    return 0;
}

int ins_engine_destroy(struct ins_engine *e) {
    if (!e->joined)
        return -EBUSY;
    release(e);
    return 0;
}

int ins_engine_event_fd(struct ins_engine *e) { return e->events.fd; }

int ins_engine_next_event(struct ins_engine *e, struct ins_event *out) { return ins_event_pop(&e->events, out); }
