/* Ways to wait: epoll, eventfds inside a process, yielding, looking at a word. Also clocks and pinning. */
#include "platform.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"

enum { EVENTS_AT_ONCE = 64, CLOCK_TRIES = 3 };

static inline void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

int ins_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int ins_epoll_add(int epoll, int fd, uint32_t tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int ins_epoll_remove(int epoll, int fd) {
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

int ins_epoll_wait(int epoll, uint32_t *tags, uint32_t max, int timeout_ms) {
    struct epoll_event events[EVENTS_AT_ONCE];
    if (max == 0)
        return -EINVAL;
    int count = epoll_wait(epoll, events, max < EVENTS_AT_ONCE ? (int)max : EVENTS_AT_ONCE, timeout_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++)
        tags[i] = events[i].data.u32;
    return count;
}

int ins_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int ins_eventfd_signal(int fd) {
    uint64_t one = 1;
    /* EAGAIN: the count is at its maximum, so it is readable already. */
    return write(fd, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

int ins_eventfd_drain(int fd) {
    uint64_t count;
    return read(fd, &count, sizeof count) < 0 && errno != EAGAIN ? -errno : 0;
}

void ins_yield(void) {
    sched_yield();
}

int ins_wait_word(const uint32_t *word, uint32_t seen, uint32_t looks, uint32_t yields) {
    for (uint32_t round = 0;; round++) {
        for (uint32_t i = 0; i < looks; i++) {
            /* Pairs with the release store of whoever publishes the word (a link's tail, say). */
            if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
                return 1;
            pause_cpu();
        }
        if (round == yields)
            return __atomic_load_n(word, __ATOMIC_ACQUIRE) != seen;
        sched_yield();
    }
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ins_clock(uint64_t *realtime, uint64_t *monotonic) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < CLOCK_TRIES; i++) {
        uint64_t before = nanoseconds(CLOCK_MONOTONIC);
        uint64_t real = nanoseconds(CLOCK_REALTIME);
        uint64_t gap = nanoseconds(CLOCK_MONOTONIC) - before;
        if (gap < best) {
            best = gap;
            *realtime = real;
            *monotonic = before + gap / 2;
        }
    }
}

int ins_pin_thread(int cpu) {
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return -EINVAL;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) < 0 ? -errno : 0;
}

uint32_t ins_layout_hash(void) {
    return INS_LAYOUT_HASH;
}
