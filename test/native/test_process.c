/* Processes of our own: what they are started with, how they end, and that nothing is left of them. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/platform.h"

enum { PATIENCE_MS = 30000 };

static int open_descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* All that it writes, until its end of the pipe is closed. */
static void read_all(int fd, char *out, size_t bytes) {
    size_t used = 0;
    int epoll = ins_epoll_create();
    uint32_t tag;
    ins_epoll_add(epoll, fd, 1);
    for (;;) {
        ssize_t got = read(fd, out + used, bytes - 1 - used);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0)
            break;
        else if (ins_epoll_wait(epoll, &tag, 1, PATIENCE_MS) <= 0)
            fail_msg("nothing came");
    }
    out[used] = 0;
    close(epoll);
}

static void it_gets_what_is_passed_and_nothing_else(void **state) {
    (void)state;
    int before = open_descriptors(), words[2], sockets[2], process[2];
    /* One that the embedding program left open to all, known by its name. */
    char stray_path[] = "/tmp/insane-stray-XXXXXX";
    int stray = mkstemp(stray_path);
    assert_true(stray >= 0);
    assert_int_equal(ins_pipe(words), 0);
    assert_int_equal(ins_socket_pair(sockets), 0);
    /* Its one argument is a script that lists the shell's descriptors. */
    char path[] = "/tmp/insane-test-XXXXXX";
    FILE *script = fdopen(mkstemp(path), "w");
    assert_non_null(script);
    fputs("for fd in /proc/$$/fd/*; do echo ${fd##*/}; readlink $fd; done\ncat /proc/$$/stat\n", script);
    fclose(script);
    assert_int_equal(ins_process_start("/bin/sh", path, &sockets[1], 1, words[1], process), 0);
    close(words[1]);
    close(sockets[1]);
    char said[4096];
    read_all(words[0], said, sizeof said);
    unlink(path);
    unlink(stray_path);
    /* Its input, its output, its errors and what was passed. The shell has its script open as well. */
    for (int fd = 0; fd <= 3; fd++) {
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%s%d\n", fd ? "\n" : "", fd);
        assert_non_null(strstr(said, wanted));
    }
    assert_null(strstr(said, stray_path));
    /* A session of its own: its number is the process's. */
    int pid = 0, session = 0;
    const char *stat = strrchr(said, ')');
    assert_non_null(stat);
    assert_int_equal(sscanf(stat, ") %*c %d %*d %d", &pid, &session), 2);
    assert_int_equal(pid, getpid());
    assert_int_equal(session, process[0]);
    int32_t how[2];
    assert_int_equal(ins_process_wait(process[1], PATIENCE_MS, how), 1);
    assert_int_equal(how[0], 0);
    close(process[1]);
    close(words[0]);
    close(sockets[0]);
    close(stray);
    assert_int_equal(open_descriptors(), before);
}

static void one_that_is_killed_says_by_what_and_is_told_once(void **state) {
    (void)state;
    int process[2];
    int32_t how[2] = {-1, -1};
    assert_int_equal(ins_process_start("/bin/sleep", "1000", NULL, 0, -1, process), 0);
    assert_int_equal(ins_process_wait(process[1], 0, how), 0);
    /* Also one that is stopped. */
    assert_int_equal(kill(process[0], SIGSTOP), 0);
    assert_int_equal(ins_process_kill(process[1]), 0);
    assert_int_equal(ins_process_wait(process[1], PATIENCE_MS, how), 1);
    assert_int_equal(how[0], 1);
    assert_int_equal(how[1], SIGKILL);
    assert_int_equal(ins_process_wait(process[1], 0, how), -ECHILD);
    assert_int_equal(ins_process_kill(process[1]), -ESRCH);
    assert_int_equal(waitpid(process[0], NULL, WNOHANG), -1);
    close(process[1]);
}

static void one_that_ends_says_its_status(void **state) {
    (void)state;
    int process[2];
    int32_t how[2];
    assert_int_equal(ins_process_start("/bin/false", "x", NULL, 0, -1, process), 0);
    assert_int_equal(ins_process_wait(process[1], PATIENCE_MS, how), 1);
    assert_int_equal(how[0], 0);
    assert_int_equal(how[1], 1);
    close(process[1]);
}

static void a_program_that_is_not_there_leaves_nothing(void **state) {
    (void)state;
    int before = open_descriptors(), process[2], sockets[2];
    assert_int_equal(ins_socket_pair(sockets), 0);
    assert_int_equal(ins_process_start("/nowhere/program", "x", sockets, 2, -1, process), -ENOENT);
    assert_int_equal(ins_process_start("/bin/true", "x", sockets, 9, -1, process), -EINVAL);
    close(sockets[0]);
    close(sockets[1]);
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gets_what_is_passed_and_nothing_else),
        cmocka_unit_test(one_that_is_killed_says_by_what_and_is_told_once),
        cmocka_unit_test(one_that_ends_says_its_status),
        cmocka_unit_test(a_program_that_is_not_there_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
