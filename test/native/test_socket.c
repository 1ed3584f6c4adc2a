/* Control sockets: frames keep their borders and their descriptors, nothing leaks when a frame is dropped, and an end is
   an end. Sockets live in a directory of their own, which is removed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/platform.h"

struct fixture {
    char directory[64];
    char path[96];
    int listener, client, server;
};

static int open_fds(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->directory, "/tmp/insane-socket-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof f->path, "%s/s", f->directory);
    f->listener = ins_socket_listen(f->path, 0620);
    assert_true(f->listener >= 0);
    assert_int_equal(ins_socket_accept(f->listener), -EAGAIN);
    f->client = ins_socket_connect(f->path);
    assert_true(f->client >= 0);
    f->server = ins_socket_accept(f->listener);
    assert_true(f->server >= 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    close(f->listener);
    if (f->client >= 0)
        close(f->client);
    if (f->server >= 0)
        close(f->server);
    unlink(f->path);
    rmdir(f->directory);
    free(f);
    return 0;
}

static int receive(int fd, char *data, uint32_t max) {
    uint32_t none = 0;
    return ins_socket_receive(fd, data, max, NULL, &none);
}

static void frames_keep_their_borders_in_both_directions(void **state) {
    struct fixture *f = *state;
    char data[64];
    assert_int_equal(receive(f->server, data, sizeof data), -EAGAIN);
    assert_int_equal(ins_socket_send(f->client, "one", 3, NULL, 0), 3);
    assert_int_equal(ins_socket_send(f->client, "three", 5, NULL, 0), 5);
    assert_int_equal(receive(f->server, data, sizeof data), 3);
    assert_memory_equal(data, "one", 3);
    assert_int_equal(receive(f->server, data, sizeof data), 5);
    assert_memory_equal(data, "three", 5);
    assert_int_equal(ins_socket_send(f->server, "back", 4, NULL, 0), 4);
    assert_int_equal(receive(f->client, data, sizeof data), 4);
}

static void sockets_do_not_block_and_do_not_cross_exec(void **state) {
    struct fixture *f = *state;
    int all[] = {f->listener, f->client, f->server};
    for (int i = 0; i < 3; i++) {
        assert_true(fcntl(all[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(all[i], F_GETFL) & O_NONBLOCK);
    }
    struct stat stat_of;
    assert_int_equal(stat(f->path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0620);
}

static void descriptors_arrive_with_their_frame(void **state) {
    struct fixture *f = *state;
    int sent[32], got[32];
    char data[8];
    for (int i = 0; i < 32; i++)
        sent[i] = ins_segment_create("passed", 4096u * (uint32_t)(i + 1));
    assert_int_equal(ins_socket_send(f->client, "fds", 3, sent, 32), 3);
    assert_int_equal(ins_socket_send(f->client, "plain", 5, NULL, 0), 5);
    uint32_t count = 32;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 3);
    assert_int_equal(count, 32);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(ins_segment_check(got[i], 4096u * (uint32_t)(i + 1)), 0);
        assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        close(got[i]);
        close(sent[i]);
    }
    count = 32;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 5);
    assert_int_equal(count, 0);
}

static void descriptors_beyond_capacity_are_closed(void **state) {
    struct fixture *f = *state;
    int sent[8], got[8];
    char data[8];
    for (int i = 0; i < 8; i++)
        sent[i] = ins_segment_create("passed", 4096);
    int before = open_fds();
    assert_int_equal(ins_socket_send(f->client, "x", 1, sent, 8), 1);
    uint32_t count = 3;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 1);
    assert_int_equal(count, 3);
    assert_int_equal(open_fds(), before + 3);
    for (int i = 0; i < 3; i++)
        close(got[i]);
    for (int i = 0; i < 8; i++)
        close(sent[i]);
}

/* A stranger is not bound to our limit of 32. */
static void a_frame_with_far_too_many_descriptors_leaks_none(void **state) {
    struct fixture *f = *state;
    enum { MANY = 200 };
    int sent[MANY], got[32];
    char data[8], control[CMSG_SPACE(MANY * sizeof(int))];
    for (int i = 0; i < MANY; i++)
        sent[i] = f->listener;
    struct iovec iov = {.iov_base = "m", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof sent);
    memcpy(CMSG_DATA(header), sent, sizeof sent);
    int before = open_fds();
    assert_int_equal(sendmsg(f->client, &message, 0), 1);
    uint32_t count = 32;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 1);
    assert_int_equal(count, 32);
    assert_int_equal(open_fds(), before + 32);
    for (int i = 0; i < 32; i++)
        close(got[i]);
}

static void a_frame_longer_than_the_buffer_is_dropped_whole(void **state) {
    struct fixture *f = *state;
    int sent[4] = {f->listener, f->listener, f->listener, f->listener}, got[4];
    char data[8];
    int before = open_fds();
    assert_int_equal(ins_socket_send(f->client, "ninebytes", 9, sent, 4), 9);
    assert_int_equal(ins_socket_send(f->client, "next", 4, NULL, 0), 4);
    uint32_t count = 4;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), -EMSGSIZE);
    assert_int_equal(count, 0);
    assert_int_equal(open_fds(), before);
    count = 4;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 4);
    assert_memory_equal(data, "next", 4);
}

static void sending_says_what_is_wrong(void **state) {
    struct fixture *f = *state;
    int many[33];
    for (int i = 0; i < 33; i++)
        many[i] = f->listener;
    assert_int_equal(ins_socket_send(f->client, "", 0, NULL, 0), -EINVAL);
    assert_int_equal(ins_socket_send(f->client, "x", 1, many, 33), -EINVAL);
    many[0] = 12345;
    assert_int_equal(ins_socket_send(f->client, "x", 1, many, 1), -EBADF);
    enum { HUGE_FRAME = 64 << 20 };
    char *huge = calloc(1, HUGE_FRAME);
    assert_int_equal(ins_socket_send(f->client, huge, HUGE_FRAME, NULL, 0), -EMSGSIZE);
    /* A peer that does not read costs us EAGAIN, never time. */
    int sent = 0;
    while (sent >= 0)
        sent = ins_socket_send(f->client, huge, 4096, NULL, 0);
    assert_int_equal(sent, -EAGAIN);
    free(huge);
}

static void closing_is_an_end_of_file_also_with_frames_of_ours_unread(void **state) {
    struct fixture *f = *state;
    char data[8];
    assert_int_equal(ins_socket_send(f->server, "unread", 6, NULL, 0), 6);
    assert_int_equal(ins_socket_send(f->client, "last", 4, NULL, 0), 4);
    close(f->client);
    f->client = -1;
    assert_int_equal(receive(f->server, data, sizeof data), 4);
    assert_int_equal(receive(f->server, data, sizeof data), 0);
    assert_int_equal(receive(f->server, data, sizeof data), 0);
    /* No SIGPIPE either. */
    assert_int_equal(ins_socket_send(f->server, "x", 1, NULL, 0), -EPIPE);
}

static void an_empty_frame_counts_as_the_end_and_leaks_nothing(void **state) {
    struct fixture *f = *state;
    char data[8], control[CMSG_SPACE(sizeof(int))];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &f->listener, sizeof(int));
    int before = open_fds(), got[4];
    assert_int_equal(sendmsg(f->client, &message, 0), 0);
    uint32_t count = 4;
    assert_int_equal(ins_socket_receive(f->server, data, sizeof data, got, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(open_fds(), before);
}

static void paths_that_cannot_be_are_named(void **state) {
    struct fixture *f = *state;
    char path[256];
    memset(path, 'p', sizeof path);
    path[108] = 0;
    assert_int_equal(ins_socket_listen(path, 0600), -ENAMETOOLONG);
    assert_int_equal(ins_socket_connect(path), -ENAMETOOLONG);
    assert_int_equal(ins_socket_listen("", 0600), -EINVAL);
    assert_int_equal(ins_socket_connect(NULL), -EINVAL);
    assert_int_equal(ins_socket_connect("/nowhere/at/all"), -ENOENT);
    assert_int_equal(ins_socket_listen("/nowhere/at/all", 0600), -ENOENT);
    assert_int_equal(ins_socket_listen(f->path, 0600), -EADDRINUSE);
    /* The longest path that fits. */
    size_t length = strlen(f->directory);
    memcpy(path, f->directory, length);
    path[length] = '/';
    path[107] = 0;
    int listener = ins_socket_listen(path, 0600);
    assert_true(listener >= 0);
    close(listener);
    /* What is left of a runtime that died. */
    assert_int_equal(ins_socket_connect(path), -ECONNREFUSED);
    unlink(path);
    close(f->listener);
    f->listener = dup(0);
}

static void credentials_are_those_of_the_peer(void **state) {
    struct fixture *f = *state;
    int32_t who[3];
    assert_int_equal(ins_socket_credentials(f->server, who), 0);
    assert_int_equal(who[0], getpid());
    assert_int_equal(who[1], (int32_t)getuid());
    assert_int_equal(who[2], (int32_t)getgid());
    assert_int_equal(ins_socket_credentials(-1, who), -EBADF);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ins_socket_credentials(pipes[0], who), -ENOTSOCK);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_process_descriptor_is_readable_once_the_process_died(void **state) {
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) < 0);
    }
    int fd = ins_process_fd(child);
    assert_true(fd >= 0);
    struct pollfd poll_of = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_of, 1, 0), 0);
    kill(child, SIGKILL);
    assert_int_equal(poll(&poll_of, 1, 10000), 1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(ins_process_fd(child), -ESRCH);
    assert_int_equal(ins_process_fd(-1), -EINVAL);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

#define socket_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        socket_test(frames_keep_their_borders_in_both_directions),
        socket_test(sockets_do_not_block_and_do_not_cross_exec),
        socket_test(descriptors_arrive_with_their_frame),
        socket_test(descriptors_beyond_capacity_are_closed),
        socket_test(a_frame_with_far_too_many_descriptors_leaks_none),
        socket_test(a_frame_longer_than_the_buffer_is_dropped_whole),
        socket_test(sending_says_what_is_wrong),
        socket_test(closing_is_an_end_of_file_also_with_frames_of_ours_unread),
        socket_test(an_empty_frame_counts_as_the_end_and_leaks_nothing),
        socket_test(paths_that_cannot_be_are_named),
        socket_test(credentials_are_those_of_the_peer),
        cmocka_unit_test(a_process_descriptor_is_readable_once_the_process_died),
    };
    return cmocka_run_group_tests_name("socket", tests, NULL, NULL);
}
