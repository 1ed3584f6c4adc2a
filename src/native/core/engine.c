/* An engine's life: creation, the inline lease, the end. Its thread is engine_thread.c. */
#include "engine.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "domain.h"
#include "engine_idle.h"
#include "engine_thread.h"
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
    if (!ins_engine_try_enter(e))
        return -EBUSY;
    if (__atomic_load_n(&e->stopped, __ATOMIC_RELAXED)) {
        ins_engine_leave(e);
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
    ins_engine_leave(e);
    return moved > INT32_MAX ? INT32_MAX : (int)moved;
}

int ins_engine_release(struct ins_engine *e) {
    if (e->config.lease != INS_LEASE_INLINE)
        return -EPERM;
    if (__atomic_exchange_n(&e->owner, 0, __ATOMIC_SEQ_CST))
        ins_idle_kick(e);
    return 0;
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
    ins_domains_free(e->domains);
    ins_fragments_free(e);
    ins_pool_free(&e->pool);
    ins_idle_free(e);
    ins_event_ring_free(&e->events);
    pthread_cond_destroy(&e->home);
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
        int error = pthread_create(&e->thread, &attributes, ins_engine_run, e);
        pthread_attr_destroy(&attributes);
        if (error == 0) {
            ins_gauge(e, INS_COUNT_realtime, 1);
            return 0;
        }
    }
    return pthread_create(&e->thread, NULL, ins_engine_run, e);
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
    e->server = e->holder = e->asked = e;
    pthread_cond_init(&e->home, NULL);
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
    ins_engine_come_home(e);
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
