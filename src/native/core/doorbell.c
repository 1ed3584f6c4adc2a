/* Doorbells: a datagram socket pair for each two that wake each other. A ring is one byte; what it means
   is looked up in shared memory. The other end belongs to a stranger, so nothing here trusts or waits for
   it: no other pair is touched by what it does to its own. */
#include "platform.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

/* A stranger may ring faster than we drain: then the rest waits for the next time. */
enum { DRAIN_AT_MOST = 1024 };

int ins_bell_pair(int *out) {
    return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out) < 0 ? -errno : 0;
}

int ins_bell_ring(int fd) {
    /* The flags are given each time: O_NONBLOCK belongs to the description, which its other holders can
       change. */
    while (send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno == EINTR)
            continue;
        /* Bad use is said; that the other end is full, gone or spoilt is its own affair. */
        return errno == EBADF || errno == ENOTSOCK ? -errno : 0;
    }
    return 0;
}

int ins_bell_drain(int fd) {
    int rung = 0;
    for (int i = 0; i < DRAIN_AT_MOST; i++) {
        char byte;
        /* One byte of the datagram and none of the descriptors it may carry: the kernel drops the rest. */
        if (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
            rung++;
            continue;
        }
        if (errno == EAGAIN)
            break;
        /* ECONNRESET: the other end was disconnected; reading it clears it, else epoll would report it for
           ever. */
        if (errno != EINTR && errno != ECONNRESET)
            return -errno;
    }
    return rung;
}
