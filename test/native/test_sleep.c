/* Waiting, clocks, pinning, counters: the rest of platform.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/platform.h"

static void epoll_names_what_is_readable_by_tag(void **state) {
    (void)state;
    uint32_t tags[8];
    int epoll = ins_epoll_create(), one = ins_eventfd(), two = ins_eventfd();
    assert_true(epoll >= 0 && one >= 0 && two >= 0);
    assert_int_equal(ins_epoll_add(epoll, one, 11), 0);
    assert_int_equal(ins_epoll_add(epoll, two, 0xffffffffu), 0);
    assert_int_equal(ins_epoll_add(epoll, two, 3), -EEXIST);
    assert_int_equal(ins_epoll_wait(epoll, tags, 8, 0), 0);
    assert_int_equal(ins_eventfd_signal(two), 0);
    assert_int_equal(ins_epoll_wait(epoll, tags, 8, -1), 1);
    assert_int_equal(tags[0], 0xffffffffu);
    assert_int_equal(ins_eventfd_signal(one), 0);
    assert_int_equal(ins_epoll_wait(epoll, tags, 1, -1), 1);
    assert_int_equal(ins_epoll_wait(epoll, tags, 8, -1), 2);
    assert_int_equal(ins_epoll_remove(epoll, one), 0);
    assert_int_equal(ins_epoll_remove(epoll, one), -ENOENT);
    assert_int_equal(ins_eventfd_drain(two), 0);
    assert_int_equal(ins_epoll_wait(epoll, tags, 8, 0), 0);
    assert_int_equal(ins_epoll_wait(epoll, tags, 0, 0), -EINVAL);
    assert_int_equal(ins_epoll_wait(-1, tags, 8, 0), -EBADF);
    assert_int_equal(ins_epoll_add(epoll, -1, 0), -EBADF);
    /* More than fits one system call of ours. */
    assert_int_equal(ins_epoll_wait(epoll, tags, UINT32_MAX, 0), 0);
    close(epoll);
    close(one);
    close(two);
}

static void an_eventfd_coalesces_and_never_blocks(void **state) {
    (void)state;
    int event = ins_eventfd();
    assert_int_equal(ins_eventfd_drain(event), 0);
    uint64_t full = UINT64_MAX - 1;
    assert_int_equal(write(event, &full, sizeof full), sizeof full);
    assert_int_equal(ins_eventfd_signal(event), 0);
    assert_int_equal(ins_eventfd_drain(event), 0);
    assert_int_equal(ins_eventfd_drain(event), 0);
    close(event);
    assert_int_equal(ins_eventfd_signal(event), -EBADF);
    assert_int_equal(ins_eventfd_drain(event), -EBADF);
}

static void ignore(int signal) {
    (void)signal;
}

static void a_signal_ends_the_wait_so_that_its_handler_gets_its_turn(void **state) {
    (void)state;
    uint32_t tag;
    int epoll = ins_epoll_create();
    struct sigaction action = {.sa_handler = ignore}, before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    struct itimerval soon = {.it_value.tv_usec = 20000, .it_interval.tv_usec = 20000}, never = {0};
    setitimer(ITIMER_REAL, &soon, NULL);
    assert_int_equal(ins_epoll_wait(epoll, &tag, 1, -1), 0);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    close(epoll);
}

static void *write_word(void *word) {
    __atomic_store_n((uint32_t *)word, 5, __ATOMIC_RELEASE);
    return NULL;
}

static void waiting_for_a_word_ends_when_it_differs_or_patience_does(void **state) {
    (void)state;
    uint32_t word = 4;
    assert_int_equal(ins_wait_word(&word, 3, 0, 0), 1);
    assert_int_equal(ins_wait_word(&word, 4, 0, 0), 0);
    assert_int_equal(ins_wait_word(&word, 4, 10, 10), 0);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_word, &word), 0);
    while (!ins_wait_word(&word, 4, 100, 1000))
        ;
    assert_int_equal(__atomic_load_n(&word, __ATOMIC_RELAXED), 5);
    pthread_join(writer, NULL);
    ins_yield();
}

static void clocks_are_those_of_the_system_and_do_not_run_backwards(void **state) {
    (void)state;
    uint64_t real, mono, last = 0;
    struct timespec now;
    for (int i = 0; i < 1000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t before = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
        ins_clock(&real, &mono);
        assert_true(mono >= before && mono >= last);
        last = mono;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t after = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    assert_true(after - real < 10000000000u);
}

static void a_thread_is_pinned_to_cpus_that_exist(void **state) {
    (void)state;
    cpu_set_t before, now;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    assert_int_equal(ins_pin_thread(cpu), 0);
    assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
    assert_int_equal(CPU_COUNT(&now), 1);
    assert_true(CPU_ISSET(cpu, &now));
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(ins_pin_thread(-1), -EINVAL);
    assert_int_equal(ins_pin_thread(CPU_SETSIZE), -EINVAL);
    assert_int_equal(ins_pin_thread(CPU_SETSIZE - 1), -EINVAL);
}

static void the_hash_is_that_of_the_header(void **state) {
    (void)state;
    assert_int_equal(ins_layout_hash(), INS_LAYOUT_HASH);
}

static void counters_have_labels_and_values_of_their_own(void **state) {
    (void)state;
    uint8_t *segment = aligned_alloc(4096, INS_COUNTERS_BYTES + 4096);
    memset(segment, 0, INS_COUNTERS_BYTES + 4096);
    char longer[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    ins_counters_label(segment, 0, longer);
    ins_counters_label(segment, 0, "first");
    ins_counters_label(segment, 1, longer);
    ins_counters_label(segment, INS_COUNTERS_MAX - 1, "last");
    ins_counters_label(segment, INS_COUNTERS_MAX, "beyond");
    ins_counter_add(segment, 0, 5);
    ins_counter_add(segment, 0, (uint64_t)1 << 40);
    ins_counter_add(segment, INS_COUNTERS_MAX - 1, 9);
    char *labels = (char *)segment;
    assert_string_equal(labels, "first");
    for (uint32_t i = 5; i < INS_COUNTERS_LABEL_BYTES; i++)
        assert_int_equal(labels[i], 0);
    assert_int_equal(strlen(labels + INS_COUNTERS_LABEL_BYTES), INS_COUNTERS_LABEL_BYTES - 1);
    assert_string_equal(labels + (INS_COUNTERS_MAX - 1) * INS_COUNTERS_LABEL_BYTES, "last");
    uint64_t *values = (uint64_t *)(void *)(segment + INS_COUNTERS_VALUES);
    assert_true(values[0] == 5 + ((uint64_t)1 << 40));
    assert_int_equal(values[1], 0);
    assert_int_equal(values[INS_COUNTERS_MAX - 1], 9);
    for (uint32_t i = 0; i < 4096; i++)
        assert_int_equal(segment[INS_COUNTERS_BYTES + i], 0);
    free(segment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epoll_names_what_is_readable_by_tag),
        cmocka_unit_test(an_eventfd_coalesces_and_never_blocks),
        cmocka_unit_test(a_signal_ends_the_wait_so_that_its_handler_gets_its_turn),
        cmocka_unit_test(waiting_for_a_word_ends_when_it_differs_or_patience_does),
        cmocka_unit_test(clocks_are_those_of_the_system_and_do_not_run_backwards),
        cmocka_unit_test(a_thread_is_pinned_to_cpus_that_exist),
        cmocka_unit_test(the_hash_is_that_of_the_header),
        cmocka_unit_test(counters_have_labels_and_values_of_their_own),
    };
    return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
