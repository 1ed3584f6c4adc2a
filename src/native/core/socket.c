/* The control socket: SOCK_SEQPACKET, one frame a call, with the file descriptors that belong to it. Also
   who the peer is and a descriptor of its life. What a frame means is not decided here. */
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_FDS = 32, BACKLOG = 128, CONNECT_SECONDS = 5 };

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
};

static int address_of(const char *path, struct sockaddr_un *out) {
    size_t length = path ? strlen(path) : 0;
    if (length == 0)
        return -EINVAL;
    if (length >= sizeof out->sun_path)
        return -ENAMETOOLONG;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, length);
    return 0;
}

static int fail(int fd) {
    int error = -errno;
    close(fd);
    return error;
}

int ins_socket_listen(const char *path, uint32_t mode) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error)
        return error;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return fail(fd);
    /* The mode is right before anybody can connect: until listen the kernel refuses. */
    if (chmod(path, mode & 0777) < 0 || listen(fd, BACKLOG) < 0) {
        error = fail(fd);
        unlink(path);
        return error;
    }
    return fd;
}

int ins_socket_accept(int listener) {
    int fd;
    do
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return fd < 0 ? -errno : fd;
}

int ins_socket_connect(const char *path) {
    struct sockaddr_un address;
    int error = address_of(path, &address);
    if (error)
        return error;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Connecting waits while the backlog is full; a runtime that hangs must not hang its applications. */
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return fail(fd);
    int result;
    do
        result = connect(fd, (struct sockaddr *)&address, sizeof address);
    while (result < 0 && errno == EINTR);
    if (result < 0) {
        if (errno == EAGAIN)
            errno = ETIMEDOUT;
        return fail(fd);
    }
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return fail(fd);
    return fd;
}

int ins_socket_send(int fd, const void *data, uint32_t length, const int *fds, uint32_t fd_count) {
    /* The receiver cannot tell an empty frame from the end of the connection. */
    if (length == 0 || fd_count > MAX_FDS)
        return -EINVAL;
    union control control;
    struct iovec iov = {.iov_base = (void *)data, .iov_len = length};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : (int)sent;
}

int ins_socket_receive(int fd, void *data, uint32_t max, int *fds, uint32_t *fd_count) {
    uint32_t capacity = *fd_count, found = 0;
    union control control;
    struct iovec iov = {.iov_base = data, .iov_len = max};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *fd_count = 0;
    ssize_t length;
    /* ECONNRESET comes once, when the peer died with frames of ours unread; what it had sent can still be read,
       and then the end. */
    do
        length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && (errno == EINTR || errno == ECONNRESET));
    if (length < 0)
        return -errno;
    int keep = length > 0 && !(message.msg_flags & MSG_TRUNC);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        uint32_t count = (uint32_t)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (uint32_t i = 0; i < count; i++) {
            int passed;
            memcpy(&passed, CMSG_DATA(h) + i * sizeof(int), sizeof passed);
            if (keep && found < capacity)
                fds[found++] = passed;
            else
                close(passed);
        }
    }
    /* Descriptors that did not fit `control` (MSG_CTRUNC) were never installed by the kernel. */
    *fd_count = found;
    return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : (int)length;
}

int ins_socket_credentials(int fd, int32_t *out) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return -errno;
    out[0] = peer.pid;
    out[1] = (int32_t)peer.uid;
    out[2] = (int32_t)peer.gid;
    return 0;
}

int ins_process_fd(int pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}
