/* An open udp datapath, for its own files: udp.c (life), udp_receive.c, udp_send.c. */
#ifndef INSANE_UDP_STATE_H
#define INSANE_UDP_STATE_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/datapath.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    UDP_BURST = 64,                /* datagrams in one call; also the segments of a train that every kernel takes */
    UDP_HELD = 32,                 /* receive slots kept ready */
    UDP_TRAIN_BYTES = 64 * 1024 - 512, /* of a train, headers of the network included */
    UDP_LONE = 1024, /* lone messages in a row after which the socket is connected, and again before it is relied on */
};

enum {
    UDP_RECEIVE_BUFFER,
    UDP_SEND_BUFFER,
    UDP_RX_CALLS,
    UDP_RX_TRAINS,
    UDP_RX_TRUNCATED,
    UDP_TX_CALLS,
    UDP_TX_TRAINS,
    UDP_TX_COPIED, /* datagrams whose payload was copied behind the header */
    UDP_TX_AGAIN,
    UDP_TX_REFUSED,
    UDP_CONNECTS, /* times the socket was connected to its only peer */
    UDP_STATS
};

struct udp {
    struct ins_datapath base;
    int fd;
    uint32_t mtu;
    uint64_t stats[UDP_STATS]; /* written by the engine's thread, read by control */

    struct ins_pool *pool;
    uint32_t room; /* bytes of a slot that a datagram may fill */
    uint32_t can_coalesce, coalesces;
    uint32_t streak; /* buffers received without finding nothing in between */
    uint32_t calm;   /* streaks in a row that were short and without a train */
    uint32_t held, held_most;
    uint32_t slots[UDP_HELD];
    struct mmsghdr rx[UDP_HELD];
    struct iovec rx_iov[UDP_HELD];
    struct sockaddr_in from[UDP_HELD];

    struct ins_endpoint sole; /* the only peer; address 0: none, or several */
    uint32_t connected;       /* to it */
    uint32_t lone;            /* streaks of one in a row since the only peer or the connection changed */

    uint32_t can_segment;
    struct mmsghdr tx[UDP_BURST];
    struct iovec tx_iov[UDP_BURST][2];
    struct sockaddr_in to[UDP_BURST];
    uint8_t staged[64 * 1024];
};

/* The C library makes its own wrappers cancellation points, which in a process of several threads costs each call some
   40 ns; nobody cancels the engine's thread. As the wrappers: -1 and errno. */
static inline long udp_recvfrom(int fd, void *data, size_t bytes, struct sockaddr_in *from) {
    uint32_t length = sizeof *from;
    return syscall(SYS_recvfrom, fd, data, bytes, 0, from, &length);
}
static inline long udp_recv(int fd, void *data, size_t bytes) {
    return syscall(SYS_recvfrom, fd, data, bytes, 0, NULL, NULL);
}
static inline long udp_recvmsg(int fd, struct msghdr *message) { return syscall(SYS_recvmsg, fd, message, 0); }
static inline long udp_recvmmsg(int fd, struct mmsghdr *messages, uint32_t count) {
    return syscall(SYS_recvmmsg, fd, messages, count, 0, NULL);
}
/* to NULL: whoever the socket is connected to. */
static inline long udp_sendto(int fd, const void *data, size_t bytes, const struct sockaddr_in *to) {
    return syscall(SYS_sendto, fd, data, bytes, 0, to, to ? sizeof *to : 0);
}
static inline long udp_sendmsg(int fd, const struct msghdr *message) {
    return syscall(SYS_sendmsg, fd, message, 0);
}
static inline long udp_sendmmsg(int fd, struct mmsghdr *messages, uint32_t count) {
    return syscall(SYS_sendmmsg, fd, messages, count, 0);
}

static inline void ins_udp_count(struct udp *udp, uint32_t which, uint32_t more) {
    __atomic_store_n(&udp->stats[which], udp->stats[which] + more, __ATOMIC_RELAXED);
}

int ins_udp_bind(struct ins_datapath *dp, struct ins_pool *pool);
void ins_udp_unbind(struct ins_datapath *dp);
int ins_udp_rx_place(struct ins_datapath *dp, struct iovec *places, uint32_t count, struct ins_rx *rx);
int ins_udp_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max);
/* Messages to and from the only peer come one by one: from now on without addresses (udp_sole.c). */
void ins_udp_connect(struct udp *udp);
void ins_udp_sole_peer(struct ins_datapath *dp, const struct ins_endpoint *peer);
static inline int udp_is_sole(const struct udp *udp, const struct ins_endpoint *at) {
    return at->address == udp->sole.address && at->port == udp->sole.port;
}
void ins_udp_prepare_send(struct udp *udp, int trains);
int ins_udp_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t total);

#endif
