/* How an engine's thread sleeps, see engine_idle.h. */
#include "engine_idle.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "egress.h"
#include "engine_turn.h"
#include "ingress.h"
#include "parked.h"
#include "scheduler_port.h"

/* What an epoll tag names: kind << 32 | descriptor. */
enum { TAG_WAKE = 1, TAG_BELL = 2, TAG_PORT = 3 };

/* While messages are out we look for their return now and then, ever more rarely, rather than ask for a bell with each:
   the receive pool has slots, so nobody waits for them but the gauge. */
enum { NAP_FIRST_MS = 2, NAP_LONGEST_MS = 1000 };

/* A datapath that cannot wake us is looked at so often. */
enum { LOOK_NS = 50000 };

static int watch(struct ins_engine *e, int operation, int fd, uint32_t kind, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)kind << 32 | (uint32_t)fd};
    return epoll_ctl(e->epoll, operation, fd, &event) ? -errno : 0;
}

int ins_idle_init(struct ins_engine *e) {
    e->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (e->wake < 0 || e->epoll < 0)
        return -errno;
    return watch(e, EPOLL_CTL_ADD, e->wake, TAG_WAKE, EPOLLIN);
}

void ins_idle_free(struct ins_engine *e) {
    while (e->bells) {
        struct ins_bell *bell = e->bells;
        e->bells = bell->next;
        free(bell);
    }
    if (e->wake >= 0)
        close(e->wake);
    if (e->epoll >= 0)
        close(e->epoll);
}

int ins_bell_watch(struct ins_engine *e, int fd) {
    for (struct ins_bell *bell = e->bells; bell; bell = bell->next)
        if (bell->fd == fd) {
            bell->references++;
            return 0;
        }
    struct ins_bell *bell = calloc(1, sizeof *bell);
    if (!bell)
        return -ENOMEM;
    int error = watch(e, EPOLL_CTL_ADD, fd, TAG_BELL, EPOLLIN);
    if (error) {
        free(bell);
        return error;
    }
    *bell = (struct ins_bell){.fd = fd, .references = 1, .next = e->bells};
    e->bells = bell;
    return 0;
}

int ins_bell_unwatch(struct ins_engine *e, int fd) {
    for (struct ins_bell **at = &e->bells; *at; at = &(*at)->next) {
        struct ins_bell *bell = *at;
        if (bell->fd != fd)
            continue;
        if (--bell->references == 0) {
            epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
            *at = bell->next;
            free(bell);
        }
        return 0;
    }
    return -ENOENT;
}

static int ports_watch(struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++)
        for (uint32_t k = 0; e->ports[i].datapath && !e->ports[i].down && k < e->ports[i].fd_count; k++) {
            int error = watch(e, EPOLL_CTL_ADD, e->ports[i].fds[k], TAG_PORT, EPOLLIN);
            if (error && error != -EEXIST)
                return error;
        }
    e->watching = 1;
    return 0;
}

void ins_ports_unwatch(struct ins_engine *e) {
    if (!e->watching)
        return;
    e->watching = 0;
    for (uint32_t i = 0; i < e->port_count; i++)
        for (uint32_t k = 0; e->ports[i].datapath && k < e->ports[i].fd_count; k++)
            epoll_ctl(e->epoll, EPOLL_CTL_DEL, e->ports[i].fds[k], NULL);
}

void ins_idle_kick(struct ins_engine *e) {
    uint64_t one = 1;
    if (write(e->wake, &one, sizeof one) < 0)
        return; /* full: it is readable, which is all we want */
}

void ins_idle_kick_if_asleep(struct ins_engine *e) {
    ins_full_fence(); /* orders what the caller published before this load; pairs with ins_idle_prepare */
    if (__atomic_load_n(&e->asleep, __ATOMIC_RELAXED))
        ins_idle_kick(e);
}

int ins_idle_can_park(const struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && !(e->ports[i].datapath->ops->flags & INS_DATAPATH_CAN_PARK))
            return 0;
    return 1;
}

int ins_idle_prepare(struct ins_engine *e) {
    ins_ingress_reclaim_all(e);
    ins_engine_clock(e);
    if (e->now_ms >= e->due_ms)
        return -2;
    uint32_t wishes = INS_PARKED_PAGE_WISH_MESSAGES;
    if (e->starved)
        wishes |= INS_PARKED_PAGE_WISH_CREDITS;
    e->parked = 1;
    __atomic_store_n(&e->asleep, 1, __ATOMIC_RELAXED);
    ins_parked_set(e->word, wishes); /* with a full fence, for `asleep` as well */

    int work = ins_command_waits(&e->commands) || __atomic_load_n(&e->stop, __ATOMIC_RELAXED) ||
               __atomic_load_n(&e->orders, __ATOMIC_RELAXED) ||
               __atomic_load_n(&e->owner, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < e->egress.count && !work; i++) {
        struct ins_link *link = e->egress.links[i];
        if (link->out.held || link->out.blocked || link->out.waits)
            continue; /* an echo, a status or its time-out, ends that */
        work = !link->faulted && (link->out.taken_at != link->out.taken_count ? !ins_egress_waits(e)
                                                                              : ins_consumer_ready(&link->out.consumer));
    }
    if (e->starved && ins_ingress_reclaim_all(e))
        work = 1;
    for (uint32_t i = 0; i < e->port_count && !work && !e->no_slot; i++) {
        struct ins_datapath *datapath = e->ports[i].datapath;
        if (datapath && !e->ports[i].down && datapath->ops->arm)
            work = datapath->ops->arm(datapath);
    }
    if (work) {
        ins_idle_awake(e);
        return -2;
    }

    uint64_t timeout = e->due_ms == UINT64_MAX ? UINT64_MAX : e->due_ms - e->now_ms;
    e->alarm_ns = e->schedules ? ins_schedules_sleep(e) : UINT64_MAX;
    if (!ins_idle_can_park(e) && e->alarm_ns > LOOK_NS)
        e->alarm_ns = LOOK_NS;
    if (e->alarm_ns == 0) {
        ins_idle_awake(e);
        return -2;
    }
    if (!e->schedules && ins_egress_waits(e))
        timeout = 1; /* the kernel gives no sign when ENOBUFS is over */
    if (e->slots_out) {
        e->nap_ms = e->nap_ms == 0                    ? NAP_FIRST_MS
                    : e->nap_ms * 2 < NAP_LONGEST_MS ? e->nap_ms * 2
                                                     : NAP_LONGEST_MS;
        timeout = e->nap_ms < timeout ? e->nap_ms : timeout;
    }
    /* A readable socket must not wake us while there is no slot to receive into. */
    if (e->no_slot)
        ins_ports_unwatch(e);
    else if (!e->watching && ports_watch(e))
        timeout = 1; /* no memory for it: look often instead */
    ins_count(e, INS_COUNT_sleeps, 1);
    return timeout == UINT64_MAX ? -1 : timeout > 60000 ? 60000 : (int)timeout;
}

void ins_idle_awake(struct ins_engine *e) {
    e->parked = 0;
    ins_parked_clear(e->word);
    __atomic_store_n(&e->asleep, 0, __ATOMIC_RELAXED);
    e->no_slot = 0;
    e->starved = 0;
    ins_engine_clock(e);
}

/* A frame's moment is no whole number of milliseconds away. */
static int wait(struct ins_engine *e, struct epoll_event *events, int most, int timeout_ms) {
    uint64_t ns = e->alarm_ns;
    if (ns == UINT64_MAX || (timeout_ms >= 0 && ns >= (uint64_t)timeout_ms * 1000000))
        return epoll_wait(e->epoll, events, most, timeout_ms);
    struct timespec timeout = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    int found = epoll_pwait2(e->epoll, events, most, &timeout, NULL);
    /* Kernels before 5.11: not at all rather than too long. */
    return found < 0 && errno == ENOSYS ? epoll_wait(e->epoll, events, most, (int)(ns / 1000000)) : found;
}

void ins_idle_sleep(struct ins_engine *e, int timeout_ms, struct ins_ready *ready) {
    struct epoll_event events[sizeof ready->tags / sizeof *ready->tags];
    int found = wait(e, events, sizeof events / sizeof *events, timeout_ms);
    __atomic_store_n(&e->asleep, 0, __ATOMIC_RELAXED);
    ready->count = 0;
    for (int i = 0; i < found; i++) {
        uint64_t tag = events[i].data.u64, count;
        if (tag >> 32 == TAG_WAKE) {
            if (read(e->wake, &count, sizeof count) < 0)
                continue;
        } else if (tag >> 32 == TAG_BELL)
            ready->tags[ready->count++] = tag | (events[i].events & (EPOLLHUP | EPOLLERR) ? 1ull << 63 : 0);
    }
}

void ins_idle_drain(struct ins_engine *e, const struct ins_ready *ready) {
    for (int i = 0; i < ready->count; i++) {
        int fd = (int)(uint32_t)ready->tags[i];
        struct ins_bell *bell = e->bells;
        while (bell && bell->fd != fd)
            bell = bell->next;
        if (!bell)
            continue; /* removed meanwhile: the number may be somebody else's by now */
        int gone = ready->tags[i] >> 63 != 0;
        ins_bell_drain(fd);
        /* Its other end is closed: it would wake us for ever. Control learns of the death elsewhere. */
        if (gone)
            epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
    }
}

int ins_idle_stand_by(struct ins_engine *e, uint32_t us) {
    struct pollfd wake = {.fd = e->wake, .events = POLLIN};
    struct timespec timeout = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    uint64_t count;
    int ready = ppoll(&wake, 1, &timeout, NULL);
    if (ready > 0 && read(e->wake, &count, sizeof count) < 0)
        return 0;
    return ready == 0;
}
