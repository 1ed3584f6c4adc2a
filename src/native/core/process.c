/* Processes that the runtime starts and ends by descriptor: nothing of it depends on a process id that may be used
   again, nor on who handles SIGCHLD. See platform.h. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { FIRST_PASSED = 3, MOST_PASSED = 8, ABOVE = 64 };

extern char **environ;

int ins_socket_pair(int *out) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out) < 0 ? -errno : 0;
}

int ins_socket_buffer(int fd, uint32_t bytes) {
    int wish = (int)bytes;
    /* The first needs CAP_NET_ADMIN, the second is cut to net.core.wmem_max without a word. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wish, sizeof wish) == 0)
        return 0;
    return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wish, sizeof wish) < 0 ? -errno : 0;
}

int ins_pipe(int *out) { return pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0; }

/* A file descriptor flag that only the child's copy loses: what is passed is first moved out of the way of its places. */
static int arrange(posix_spawn_file_actions_t *actions, const int *fds, uint32_t count, int error_fd, int *high) {
    int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDWR, 0);
    for (uint32_t i = 0; i <= count; i++)
        high[i] = -1;
    for (uint32_t i = 0; !error && i <= count; i++) {
        int from = i < count ? fds[i] : error_fd;
        if (from < 0) {
            /* No place for what it says: as its input, nowhere. */
            error = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_RDWR, 0);
            if (!error)
                error = posix_spawn_file_actions_adddup2(actions, 1, 2);
            continue;
        }
        high[i] = fcntl(from, F_DUPFD_CLOEXEC, ABOVE);
        if (high[i] < 0)
            return errno;
        error = posix_spawn_file_actions_adddup2(actions, high[i], i < count ? FIRST_PASSED + (int)i : 1);
        if (!error && i == count)
            error = posix_spawn_file_actions_adddup2(actions, high[i], 2);
    }
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    /* Also what the embedding program left inheritable. */
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, FIRST_PASSED + (int)count);
#endif
#endif
    return error;
}

static int attributes(posix_spawnattr_t *attr) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
#ifdef POSIX_SPAWN_SETSID
    /* A Ctrl-C at the runtime's terminal is for the runtime, which ends its processes in order. */
    flags |= POSIX_SPAWN_SETSID;
#endif
    int error = posix_spawnattr_setflags(attr, flags);
    if (!error)
        error = posix_spawnattr_setsigdefault(attr, &all);
    return error ? error : posix_spawnattr_setsigmask(attr, &none);
}

int ins_process_start(const char *path, const char *name, const int *fds, uint32_t fd_count, int error_fd, int *out) {
    if (!path || !name || fd_count > MOST_PASSED)
        return -EINVAL;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int high[MOST_PASSED + 1];
    char *const arguments[] = {(char *)path, (char *)name, NULL};
    pid_t pid = -1;
    if (posix_spawn_file_actions_init(&actions))
        return -ENOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&actions);
        return -ENOMEM;
    }
    int error = attributes(&attr);
    int arranged = !error;
    if (!error)
        error = arrange(&actions, fds, fd_count, error_fd, high);
    if (!error)
        error = posix_spawn(&pid, path, &actions, &attr, arguments, environ);
    for (uint32_t i = 0; arranged && i <= fd_count; i++)
        if (high[i] >= 0)
            close(high[i]);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        return -error;
    /* Until it is waited for its number is nobody else's. */
    long fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        error = -errno;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return error;
    }
    out[0] = pid;
    out[1] = (int)fd;
    return 0;
}

int ins_process_kill(int process) {
    return syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) < 0 ? -errno : 0;
}

int ins_process_wait(int process, uint32_t timeout_ms, int32_t *how) {
    struct pollfd look = {.fd = process, .events = POLLIN};
    int ready = poll(&look, 1, timeout_ms > 60000 ? 60000 : (int)timeout_ms);
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    siginfo_t info = {0};
    if (waitid((idtype_t)P_PIDFD, (id_t)process, &info, WEXITED | WNOHANG) < 0)
        return -errno;
    if (info.si_pid == 0)
        return 0;
    how[0] = info.si_code == CLD_EXITED ? 0 : 1;
    how[1] = info.si_status;
    return 1;
}
