/* Doorbells: a ring wakes, costs nobody time, and what the holder of one end does reaches no other pair. And the
   parked word: rung once per sleep, no wake-up lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/parked.h"
#include "core/platform.h"

enum { SLEEPER = 0, RINGER = 1 };

struct fixture {
    int hostile[2], honest[2], epoll;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(ins_bell_pair(f->hostile), 0);
    assert_int_equal(ins_bell_pair(f->honest), 0);
    f->epoll = ins_epoll_create();
    assert_int_equal(ins_epoll_add(f->epoll, f->hostile[SLEEPER], 1), 0);
    assert_int_equal(ins_epoll_add(f->epoll, f->honest[SLEEPER], 2), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    close(f->epoll);
    for (int i = 0; i < 2; i++) {
        close(f->hostile[i]);
        close(f->honest[i]);
    }
    free(f);
    return 0;
}

/* Which bells are rung, as a mask of tags, after draining them. */
static int heard(struct fixture *f) {
    uint32_t tags[4];
    int count = ins_epoll_wait(f->epoll, tags, 4, 0), mask = 0;
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        mask |= (int)tags[i];
        assert_true(ins_bell_drain(tags[i] == 1 ? f->hostile[SLEEPER] : f->honest[SLEEPER]) >= 0);
    }
    return mask;
}

static void honest_pair_still_works(struct fixture *f) {
    heard(f);
    assert_int_equal(heard(f) & 2, 0);
    assert_int_equal(ins_bell_ring(f->honest[RINGER]), 0);
    assert_int_equal(heard(f) & 2, 2);
    assert_int_equal(heard(f) & 2, 0);
}

static void a_ring_is_heard_until_it_is_drained(void **state) {
    struct fixture *f = *state;
    assert_int_equal(heard(f), 0);
    assert_int_equal(ins_bell_ring(f->honest[RINGER]), 0);
    assert_int_equal(ins_bell_ring(f->honest[RINGER]), 0);
    assert_int_equal(ins_bell_drain(f->honest[SLEEPER]), 2);
    assert_int_equal(ins_bell_drain(f->honest[SLEEPER]), 0);
    assert_int_equal(heard(f), 0);
    /* The same pair the other way round. */
    assert_int_equal(ins_bell_ring(f->honest[SLEEPER]), 0);
    assert_int_equal(ins_bell_drain(f->honest[RINGER]), 1);
}

static void bells_do_not_cross_exec_and_bad_ones_are_named(void **state) {
    struct fixture *f = *state;
    assert_true(fcntl(f->honest[0], F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(f->honest[1], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(ins_bell_ring(-1), -EBADF);
    assert_int_equal(ins_bell_drain(-1), -EBADF);
    int event = ins_eventfd();
    assert_int_equal(ins_bell_ring(event), -ENOTSOCK);
    assert_int_equal(ins_bell_drain(event), -ENOTSOCK);
    close(event);
}

/* The sleeper is hostile: it does not drain, and takes O_NONBLOCK away from its end and, through a descriptor of the
   same description that it was given, from ours. */
static void a_full_bell_neither_blocks_nor_fails_the_ringer(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fcntl(f->hostile[SLEEPER], F_SETFL, 0), 0);
    assert_int_equal(fcntl(f->hostile[RINGER], F_SETFL, 0), 0);
    alarm(20); /* a ring that blocks is a failure, not a hang */
    for (int i = 0; i < 100000; i++)
        assert_int_equal(ins_bell_ring(f->hostile[RINGER]), 0);
    alarm(0);
    honest_pair_still_works(f);
}

static void a_flood_is_drained_in_bounded_time_and_without_blocking(void **state) {
    struct fixture *f = *state;
    assert_int_equal(fcntl(f->hostile[SLEEPER], F_SETFL, 0), 0);
    char big[2000] = {0};
    int sent = 0;
    while (send(f->hostile[RINGER], big, sizeof big, MSG_DONTWAIT) > 0)
        sent++;
    assert_true(sent > 0);
    alarm(20);
    int drained = 0, once;
    while ((once = ins_bell_drain(f->hostile[SLEEPER])) > 0) {
        assert_true(once <= 1024);
        drained += once;
    }
    alarm(0);
    assert_int_equal(drained, sent);
    honest_pair_still_works(f);
}

static void a_closed_other_end_is_as_good_as_a_rung_one(void **state) {
    struct fixture *f = *state;
    close(f->hostile[RINGER]);
    assert_int_equal(ins_bell_ring(f->hostile[SLEEPER]), 0);
    assert_int_equal(ins_bell_drain(f->hostile[SLEEPER]), 0);
    /* And does not keep the sleeper awake. */
    assert_int_equal(heard(f), 0);
    honest_pair_still_works(f);
    f->hostile[RINGER] = dup(0);
}

static void shutting_down_and_reading_away_hurt_only_the_own_pair(void **state) {
    struct fixture *f = *state;
    char byte;
    assert_int_equal(shutdown(f->hostile[RINGER], SHUT_RDWR), 0);
    assert_int_equal(ins_bell_ring(f->hostile[SLEEPER]), 0);
    assert_int_equal(heard(f) & 1, 0);
    /* Its reads find nothing of what others rang. */
    assert_int_equal(ins_bell_ring(f->honest[RINGER]), 0);
    assert_true(recv(f->hostile[RINGER], &byte, 1, MSG_DONTWAIT) <= 0);
    assert_int_equal(heard(f) & 2, 2);
    honest_pair_still_works(f);
}

static void disconnecting_leaves_no_error_that_keeps_the_sleeper_awake(void **state) {
    struct fixture *f = *state;
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    /* With something of ours unread at the other end, the kernel reports its going as an error at ours. */
    assert_int_equal(ins_bell_ring(f->hostile[SLEEPER]), 0);
    assert_int_equal(connect(f->hostile[RINGER], &nobody, sizeof nobody), 0);
    assert_int_equal(heard(f), 1);
    assert_int_equal(heard(f), 0);
    assert_int_equal(ins_bell_ring(f->hostile[SLEEPER]), 0);
    honest_pair_still_works(f);
}

static void descriptors_sent_with_a_ring_are_not_kept(void **state) {
    struct fixture *f = *state;
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {.iov_base = "x", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &f->epoll, sizeof(int));
    assert_int_equal(sendmsg(f->hostile[RINGER], &message, 0), 1);
    int lowest = dup(0);
    close(lowest);
    assert_int_equal(ins_bell_drain(f->hostile[SLEEPER]), 1);
    int still_lowest = dup(0);
    assert_int_equal(still_lowest, lowest);
    close(still_lowest);
}

static void a_parked_word_is_rung_once_per_sleep_and_wish(void **state) {
    (void)state;
    uint32_t word = 0, rung = 0, other = 0;
    const uint32_t messages = INS_PARKED_PAGE_WISH_MESSAGES, credits = INS_PARKED_PAGE_WISH_CREDITS;
    assert_int_equal(ins_parked_due(&word, messages, &rung), 0);
    ins_parked_set(&word, messages);
    assert_int_equal(ins_parked_due(&word, credits, &rung), 0);
    assert_int_equal(ins_parked_due(&word, messages, &rung), 1);
    assert_int_equal(ins_parked_due(&word, messages, &rung), 0);
    assert_int_equal(ins_parked_due(&word, messages, &other), 1);
    ins_parked_clear(&word);
    assert_int_equal(ins_parked_due(&word, messages, &rung), 0);
    ins_parked_set(&word, messages | credits);
    assert_int_equal(ins_parked_due(&word, credits, &rung), 1);
    /* The generation wraps without touching the wishes. */
    word = UINT32_MAX & ~3u;
    ins_parked_set(&word, credits);
    assert_int_equal(word, credits);
    assert_int_equal(ins_parked_due(&word, credits, &other), 1);
}

/* The whole protocol between two threads: a lost wake-up is a hang, which alarm turns into a failure. */
enum { ROUNDS = 20000 };
struct meeting {
    uint32_t word, tail;
    int pair[2];
};

static void *ring_rounds(void *argument) {
    struct meeting *m = argument;
    uint32_t rung = 0;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(&m->tail, i, __ATOMIC_RELEASE);
        ins_full_fence();
        if (ins_parked_due(&m->word, INS_PARKED_PAGE_WISH_MESSAGES, &rung))
            ins_bell_ring(m->pair[RINGER]);
        if (i % 7 == 0)
            sched_yield();
    }
    return NULL;
}

static void no_wake_up_is_lost(void **state) {
    (void)state;
    struct meeting m = {0};
    assert_int_equal(ins_bell_pair(m.pair), 0);
    int epoll = ins_epoll_create();
    assert_int_equal(ins_epoll_add(epoll, m.pair[SLEEPER], 0), 0);
    pthread_t ringer;
    assert_int_equal(pthread_create(&ringer, NULL, ring_rounds, &m), 0);
    alarm(60);
    uint32_t seen = 0, tag;
    while (seen < ROUNDS) {
        uint32_t tail = __atomic_load_n(&m.tail, __ATOMIC_ACQUIRE);
        if (tail != seen) {
            seen = tail;
            continue;
        }
        ins_parked_set(&m.word, INS_PARKED_PAGE_WISH_MESSAGES);
        if (__atomic_load_n(&m.tail, __ATOMIC_ACQUIRE) == seen) {
            while (ins_epoll_wait(epoll, &tag, 1, -1) == 0)
                ;
            ins_bell_drain(m.pair[SLEEPER]);
        }
        ins_parked_clear(&m.word);
    }
    alarm(0);
    pthread_join(ringer, NULL);
    close(epoll);
    close(m.pair[0]);
    close(m.pair[1]);
}

/* The fences alone, so often that the processor would reorder if it might: of publishing and parking at the same
   moment, at least one side sees the other. */
enum { MOMENTS = 100000 };
struct moment {
    _Alignas(64) uint32_t word;
    _Alignas(64) uint32_t tail;
    _Alignas(64) uint32_t due;
    _Alignas(64) uint32_t arrived; /* counts both threads at both gates of each moment */
};

static void gate(struct moment *m, uint32_t number) {
    __atomic_fetch_add(&m->arrived, 1, __ATOMIC_ACQ_REL);
    for (uint32_t looks = 1; __atomic_load_n(&m->arrived, __ATOMIC_ACQUIRE) < 2 * number; looks++)
        if (looks % 1024 == 0)
            sched_yield();
}

/* Meets the other thread again and again at another distance: leaving the gate alone is a cache miss apart. */
static void stagger(uint32_t amount) {
    for (volatile uint32_t i = 0; i < amount; i = i + 1)
        ;
}

static void *publish_moments(void *argument) {
    struct moment *m = argument;
    for (uint32_t i = 0; i < MOMENTS; i++) {
        uint32_t rung = 0;
        gate(m, 2 * i + 1);
        stagger(i * 7 % 61);
        __atomic_store_n(&m->tail, i + 1, __ATOMIC_RELEASE);
        ins_full_fence();
        m->due = (uint32_t)ins_parked_due(&m->word, INS_PARKED_PAGE_WISH_MESSAGES, &rung);
        gate(m, 2 * i + 2);
    }
    return NULL;
}

static void parking_and_publishing_at_once_one_sees_the_other(void **state) {
    (void)state;
    struct moment *m = aligned_alloc(64, sizeof *m);
    memset(m, 0, sizeof *m);
    pthread_t ringer;
    assert_int_equal(pthread_create(&ringer, NULL, publish_moments, m), 0);
    uint32_t missed = 0;
    for (uint32_t i = 0; i < MOMENTS; i++) {
        gate(m, 2 * i + 1);
        stagger(i * 11 % 67);
        ins_parked_set(&m->word, INS_PARKED_PAGE_WISH_MESSAGES);
        uint32_t seen = __atomic_load_n(&m->tail, __ATOMIC_ACQUIRE) == i + 1;
        gate(m, 2 * i + 2);
        missed += !seen && !m->due;
        ins_parked_clear(&m->word);
    }
    pthread_join(ringer, NULL);
    free(m);
    assert_int_equal(missed, 0);
}

#define bell_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        bell_test(a_ring_is_heard_until_it_is_drained),
        bell_test(bells_do_not_cross_exec_and_bad_ones_are_named),
        bell_test(a_full_bell_neither_blocks_nor_fails_the_ringer),
        bell_test(a_flood_is_drained_in_bounded_time_and_without_blocking),
        bell_test(a_closed_other_end_is_as_good_as_a_rung_one),
        bell_test(shutting_down_and_reading_away_hurt_only_the_own_pair),
        bell_test(disconnecting_leaves_no_error_that_keeps_the_sleeper_awake),
        bell_test(descriptors_sent_with_a_ring_are_not_kept),
        cmocka_unit_test(a_parked_word_is_rung_once_per_sleep_and_wish),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(parking_and_publishing_at_once_one_sees_the_other),
    };
    return cmocka_run_group_tests_name("doorbell", tests, NULL, NULL);
}
