/* Segments: the sealing order, what strangers may not do afterwards, what ins_segment_check refuses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/platform.h"

enum { BYTES = 3 * 4096 };

static int sealed_pool(void **writable) {
    int fd = ins_segment_create("pool", BYTES);
    assert_true(fd >= 0);
    assert_int_equal(ins_segment_map(fd, BYTES, 1, writable), 0);
    assert_int_equal(ins_segment_seal_future_write(fd), 0);
    return fd;
}

static void a_new_segment_is_zeroed_and_can_neither_shrink_nor_grow(void **state) {
    (void)state;
    int fd = ins_segment_create("one", BYTES);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, BYTES - 4096), -1);
    assert_int_equal(ftruncate(fd, BYTES + 4096), -1);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    void *memory;
    assert_int_equal(ins_segment_map(fd, BYTES, 1, &memory), 0);
    for (int i = 0; i < BYTES; i++)
        assert_int_equal(((uint8_t *)memory)[i], 0);
    assert_int_equal(ins_segment_unmap(memory, BYTES), 0);
    assert_int_equal(ins_fd_close(fd), 0);
}

static void creation_refuses_no_name_no_bytes_and_too_many(void **state) {
    (void)state;
    assert_int_equal(ins_segment_create(NULL, BYTES), -EINVAL);
    assert_int_equal(ins_segment_create("zero", 0), -EINVAL);
    assert_int_equal(ins_segment_create("huge", (uint64_t)1 << 63), -EINVAL);
    char name[400];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    assert_int_equal(ins_segment_create(name, BYTES), -EINVAL);
}

static void after_the_seal_the_producer_writes_on_and_nobody_else_can(void **state) {
    (void)state;
    void *producer, *consumer, *none;
    int fd = sealed_pool(&producer);
    assert_int_equal(ins_segment_map(fd, BYTES, 1, &none), -EPERM);
    assert_null(none);
    assert_int_equal(ins_segment_map(fd, BYTES, 0, &consumer), 0);
    ((uint32_t *)producer)[1000] = 42;
    assert_int_equal(((uint32_t *)consumer)[1000], 42);
    assert_int_equal(mprotect(consumer, BYTES, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    /* Not through a fresh open of the same file either. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again >= 0) {
        assert_int_equal(ins_segment_map(again, BYTES, 1, &none), -EPERM);
        close(again);
    }
    /* And no seal can be added that would stop the producer. */
    assert_int_equal(ins_segment_seal_future_write(fd), -EPERM);
    assert_int_equal(ins_segment_unmap(producer, BYTES), 0);
    assert_int_equal(ins_segment_unmap(consumer, BYTES), 0);
    ins_fd_close(fd);
}

static void a_link_stays_writable_for_both_ends_and_takes_no_further_seal(void **state) {
    (void)state;
    void *one, *other;
    int fd = ins_segment_create("link", BYTES);
    assert_int_equal(ins_segment_seal(fd), 0);
    assert_int_equal(ins_segment_map(fd, BYTES, 1, &one), 0);
    assert_int_equal(ins_segment_map(fd, BYTES, 1, &other), 0);
    ((uint8_t *)one)[9] = 7;
    assert_int_equal(((uint8_t *)other)[9], 7);
    assert_int_equal(ins_segment_seal_future_write(fd), -EPERM);
    ins_segment_unmap(one, BYTES);
    ins_segment_unmap(other, BYTES);
    ins_fd_close(fd);
}

static void check_accepts_our_segments_and_names_what_is_wrong_with_others(void **state) {
    (void)state;
    void *memory;
    int pool = sealed_pool(&memory), link = ins_segment_create("link", BYTES);
    assert_int_equal(ins_segment_check(pool, BYTES), 0);
    assert_int_equal(ins_segment_check(link, BYTES), 0);
    assert_int_equal(ins_segment_check(pool, BYTES - 4096), -EMSGSIZE);
    assert_int_equal(ins_segment_check(pool, BYTES + 1), -EMSGSIZE);
    assert_int_equal(ins_segment_check(-1, BYTES), -EBADF);

    int open_ended = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(open_ended, BYTES), 0);
    assert_int_equal(ins_segment_check(open_ended, BYTES), -EPERM);
    assert_int_equal(fcntl(open_ended, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(ins_segment_check(open_ended, BYTES), -EPERM);

    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ins_segment_check(pipes[0], BYTES), -EBADF);
    int device = open("/dev/zero", O_RDWR);
    assert_int_equal(ins_segment_check(device, 0), -EBADF);
    char name[] = "/var/tmp/insane-test-XXXXXX";
    int file = mkstemp(name);
    assert_true(file >= 0);
    unlink(name);
    assert_int_equal(ftruncate(file, BYTES), 0);
    assert_true(ins_segment_check(file, BYTES) < 0);

    ins_segment_unmap(memory, BYTES);
    int all[] = {pool, link, open_ended, pipes[0], pipes[1], device, file};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        close(all[i]);
}

static void mapping_refuses_nothing_and_bad_descriptors(void **state) {
    (void)state;
    void *memory = &memory;
    int fd = ins_segment_create("x", BYTES);
    assert_int_equal(ins_segment_map(fd, 0, 1, &memory), -EINVAL);
    assert_null(memory);
    assert_int_equal(ins_segment_map(-1, BYTES, 1, &memory), -EBADF);
    assert_int_equal(ins_segment_unmap((void *)1, BYTES), -EINVAL);
    ins_fd_close(fd);
    assert_int_equal(ins_fd_close(fd), -EBADF);
    assert_int_equal(ins_fd_dup(fd), -EBADF);
}

static int resident_pages(void *memory) {
    unsigned char pages[BYTES / 4096];
    assert_int_equal(mincore(memory, BYTES, pages), 0);
    int count = 0;
    for (size_t i = 0; i < sizeof pages; i++)
        count += pages[i] & 1;
    return count;
}

static void prefault_brings_every_page_in_and_changes_none(void **state) {
    (void)state;
    void *memory, *readable;
    int fd = ins_segment_create("pages", BYTES);
    assert_int_equal(ins_segment_map(fd, BYTES, 1, &memory), 0);
    assert_int_equal(resident_pages(memory), 0);
    ((uint8_t *)memory)[4096] = 5;
    assert_int_equal(ins_segment_prefault(memory, BYTES, 1), 0);
    assert_int_equal(resident_pages(memory), BYTES / 4096);
    assert_int_equal(((uint8_t *)memory)[4096], 5);
    assert_int_equal(ins_segment_map(fd, BYTES, 0, &readable), 0);
    assert_int_equal(ins_segment_prefault(readable, BYTES, 0), 0);
    assert_int_equal(((uint8_t *)readable)[4096], 5);
    ins_segment_unmap(memory, BYTES);
    ins_segment_unmap(readable, BYTES);
    /* Of memory that is not there: an error, no crash. */
    assert_true(ins_segment_prefault(memory, BYTES, 1) < 0);
    ins_fd_close(fd);
}

static void a_duplicate_lives_on_its_own_and_does_not_cross_exec(void **state) {
    (void)state;
    int fd = ins_segment_create("dup", BYTES), copy = ins_fd_dup(fd);
    assert_true(copy >= 0 && copy != fd);
    assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    ins_fd_close(fd);
    assert_int_equal(ins_segment_check(copy, BYTES), 0);
    ins_fd_close(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_segment_is_zeroed_and_can_neither_shrink_nor_grow),
        cmocka_unit_test(creation_refuses_no_name_no_bytes_and_too_many),
        cmocka_unit_test(after_the_seal_the_producer_writes_on_and_nobody_else_can),
        cmocka_unit_test(a_link_stays_writable_for_both_ends_and_takes_no_further_seal),
        cmocka_unit_test(check_accepts_our_segments_and_names_what_is_wrong_with_others),
        cmocka_unit_test(mapping_refuses_nothing_and_bad_descriptors),
        cmocka_unit_test(prefault_brings_every_page_in_and_changes_none),
        cmocka_unit_test(a_duplicate_lives_on_its_own_and_does_not_cross_exec),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
