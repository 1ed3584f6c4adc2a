/* The kernel's UDP sockets as a datapath: always there. One unconnected socket (it has several peers), non-blocking; what
   is received lands in slots, what is sent is gathered from slots. Evidence for the choice is in udp_probe.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/datapath.h"
#include "udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    BURST = 64,
    HELD_MOST = 32,                /* receive slots kept ready */
    BUFFER_DEFAULT = 8 * 1024 * 1024,
    BUFFER_LEAST = 4096,
    BUFFER_MOST = 1024 * 1024 * 1024,
    COALESCED_MOST = 65507, /* bytes of a train that the kernel hands over at once */
};

enum { RX_BUFFER, TX_BUFFER, RX_CALLS, RX_EMPTY, RX_TRUNCATED, TX_CALLS, TX_AGAIN, TX_REFUSED, STATS };
static const char *const stat_names[STATS] = {
    "receive_buffer_bytes", "send_buffer_bytes", "rx_calls",  "rx_empty",
    "rx_truncated",         "tx_calls",          "tx_again", "tx_refused",
};

struct udp {
    struct ins_datapath base;
    int fd;
    struct ins_pool *pool;
    uint32_t room; /* bytes of a slot that a datagram may fill */
    uint32_t held, held_most;
    uint32_t slots[HELD_MOST];
    struct mmsghdr rx[HELD_MOST];
    struct iovec rx_iov[HELD_MOST];
    struct sockaddr_in from[HELD_MOST];
    struct mmsghdr tx[BURST];
    struct iovec tx_iov[BURST][2];
    struct sockaddr_in to[BURST];
    uint64_t stats[STATS]; /* written by the engine's thread, read by control */
};

static void count(struct udp *udp, uint32_t which) {
    __atomic_store_n(&udp->stats[which], udp->stats[which] + 1, __ATOMIC_RELAXED);
}

/* ---- opening ---- */

/* "rcvbuf=BYTES,sndbuf=BYTES", both optional. */
static int parse_options(const char *options, int *receive_buffer, int *send_buffer) {
    *receive_buffer = *send_buffer = BUFFER_DEFAULT;
    for (const char *at = options ? options : ""; *at;) {
        int *value;
        if (strncmp(at, "rcvbuf=", 7) == 0)
            value = receive_buffer;
        else if (strncmp(at, "sndbuf=", 7) == 0)
            value = send_buffer;
        else
            return -EINVAL;
        char *end;
        long bytes = strtol(at + 7, &end, 10);
        if (end == at + 7 || (*end && *end != ',') || bytes < BUFFER_LEAST || bytes > BUFFER_MOST)
            return -EINVAL;
        *value = (int)bytes;
        at = *end ? end + 1 : end;
    }
    return 0;
}

/* The privileged option passes the system's limit; without the privilege we take what the limit allows. Returns what we
   got, in bytes as they were asked for (the kernel reports twice that, its overhead included). */
static uint64_t enlarge(int fd, int forced, int plain, int bytes) {
    if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes))
        setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
    int got = 0;
    socklen_t length = sizeof got;
    return getsockopt(fd, SOL_SOCKET, plain, &got, &length) ? 0 : (uint64_t)got / 2;
}

static int udp_open(const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    int receive_buffer, send_buffer, error = parse_options(options, &receive_buffer, &send_buffer);
    if (error)
        return error;
    struct udp *udp = calloc(1, sizeof *udp);
    if (!udp)
        return -ENOMEM;
    udp->base.ops = &ins_udp_ops;
    udp->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(at->port), .sin_addr.s_addr = at->address};
    socklen_t length = sizeof name;
    if (udp->fd < 0 || bind(udp->fd, (struct sockaddr *)&name, sizeof name) ||
        getsockname(udp->fd, (struct sockaddr *)&name, &length)) {
        error = -errno;
        if (udp->fd >= 0)
            close(udp->fd);
        free(udp);
        return error;
    }
    udp->stats[RX_BUFFER] = enlarge(udp->fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_buffer);
    udp->stats[TX_BUFFER] = enlarge(udp->fd, SO_SNDBUFFORCE, SO_SNDBUF, send_buffer);
    at->address = name.sin_addr.s_addr;
    at->port = ntohs(name.sin_port);
    at->mtu = (uint16_t)ins_udp_mtu(at->address);
    for (uint32_t i = 0; i < BURST; i++)
        udp->tx[i].msg_hdr = (struct msghdr){
            .msg_name = &udp->to[i], .msg_namelen = sizeof udp->to[i], .msg_iov = udp->tx_iov[i], .msg_iovlen = 2};
    *out = &udp->base;
    return 0;
}

static void udp_close(struct ins_datapath *dp) {
    struct udp *udp = (struct udp *)dp;
    close(udp->fd);
    free(udp);
}

/* ---- receiving ---- */

/* Where a datagram begins in a slot: its payload is then where payloads of slots are, aligned. */
static uint32_t slot_begin(const struct udp *udp, uint32_t slot) {
    return ins_pool_payload(udp->pool, slot) - INS_WIRE_HEADER;
}

static void hold(struct udp *udp) {
    while (udp->held < udp->held_most) {
        int64_t slot = ins_pool_take(udp->pool);
        if (slot < 0)
            return;
        uint32_t i = udp->held++;
        udp->slots[i] = (uint32_t)slot;
        udp->rx_iov[i].iov_base = udp->pool->base + slot_begin(udp, (uint32_t)slot);
        udp->rx_iov[i].iov_len = udp->room;
        udp->rx[i].msg_hdr = (struct msghdr){
            .msg_name = &udp->from[i], .msg_namelen = sizeof udp->from[i], .msg_iov = &udp->rx_iov[i], .msg_iovlen = 1};
    }
}

static int udp_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct udp *udp = (struct udp *)dp;
    udp->pool = pool;
    udp->room = pool->stride - INS_POOL_HEADER_ROOM + INS_WIRE_HEADER;
    udp->held_most = pool->slots / 2 < HELD_MOST ? pool->slots / 2 : HELD_MOST;
    if (udp->held_most == 0)
        udp->held_most = 1;
    /* A train that does not fit its slot loses its tail: coalescing only into slots that hold the longest. */
    int coalesce = udp->room >= COALESCED_MOST;
    if (setsockopt(udp->fd, SOL_UDP, UDP_GRO, &coalesce, sizeof coalesce) && errno != ENOPROTOOPT)
        return -errno;
    hold(udp);
    return 0;
}

static void udp_unbind(struct ins_datapath *dp) {
    struct udp *udp = (struct udp *)dp;
    while (udp->held)
        ins_pool_unref(udp->pool, udp->slots[--udp->held]);
    udp->pool = NULL;
}

static void fill(const struct udp *udp, struct ins_rx *rx, uint32_t i, uint32_t length) {
    *rx = (struct ins_rx){
        .slot = udp->slots[i],
        .offset = slot_begin(udp, udp->slots[i]),
        .length = length,
        .from = {.address = udp->from[i].sin_addr.s_addr, .port = ntohs(udp->from[i].sin_port)},
    };
}

/* What is wrong with the socket itself, as opposed to nothing there or an echo of something we sent. */
static int broken(int error) {
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENOMEM:
        return 0;
    default:
        return -error;
    }
}

static int receive_one(struct udp *udp, struct ins_rx *rx) {
    uint32_t last = udp->held - 1;
    socklen_t length = sizeof udp->from[last];
    ssize_t got = recvfrom(udp->fd, udp->rx_iov[last].iov_base, udp->room, 0,
                           (struct sockaddr *)&udp->from[last], &length);
    if (got < 0)
        return broken(errno);
    fill(udp, rx, last, (uint32_t)got);
    udp->held = last;
    return 1;
}

static int udp_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct udp *udp = (struct udp *)dp;
    if (udp->held < udp->held_most)
        hold(udp);
    if (udp->held == 0)
        return -ENOBUFS;
    if (max == 1)
        return receive_one(udp, rx);
    if (max > udp->held)
        max = udp->held;
    /* The last ones of those held, so that what remains is a beginning. */
    uint32_t first = udp->held - max;
    int got = recvmmsg(udp->fd, &udp->rx[first], max, 0, NULL);
    if (got <= 0) {
        count(udp, RX_EMPTY);
        return got < 0 ? broken(errno) : 0;
    }
    count(udp, RX_CALLS);
    for (int i = 0; i < got; i++) {
        fill(udp, &rx[i], first + (uint32_t)i, udp->rx[first + (uint32_t)i].msg_len);
        if (udp->rx[first + (uint32_t)i].msg_hdr.msg_flags & MSG_TRUNC)
            count(udp, RX_TRUNCATED);
    }
    /* Those not used move down into the places of those that were. */
    uint32_t unused = max - (uint32_t)got;
    for (uint32_t i = 0; i < unused; i++) {
        udp->slots[first + i] = udp->slots[first + (uint32_t)got + i];
        udp->rx_iov[first + i] = udp->rx_iov[first + (uint32_t)got + i];
    }
    udp->held = first + unused;
    return got;
}

/* ---- sending ---- */

/* 0: try again later; else the error that this datagram shall carry. */
static int refused(struct udp *udp, int error) {
    if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
        count(udp, TX_AGAIN);
        return 0;
    }
    count(udp, TX_REFUSED);
    return -error;
}

static void gather(struct udp *udp, uint32_t i, const struct ins_tx *tx) {
    udp->to[i] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(tx->to.port), .sin_addr.s_addr = tx->to.address};
    /* The kernel only reads; iovec knows no const. */
    udp->tx_iov[i][0] = (struct iovec){(void *)(uintptr_t)tx->header, tx->header_length};
    udp->tx_iov[i][1] = (struct iovec){(void *)(uintptr_t)tx->payload, tx->payload_length};
}

static int udp_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t total) {
    struct udp *udp = (struct udp *)dp;
    uint32_t done = 0;
    while (done < total) {
        uint32_t burst = total - done < BURST ? total - done : BURST;
        for (uint32_t i = 0; i < burst; i++)
            gather(udp, i, &tx[done + i]);
        int sent;
        do
            sent = burst == 1 ? (sendmsg(udp->fd, &udp->tx[0].msg_hdr, 0) < 0 ? -1 : 1)
                              : sendmmsg(udp->fd, udp->tx, burst, 0);
        while (sent < 0 && errno == EINTR);
        count(udp, TX_CALLS);
        for (int i = 0; i < sent; i++)
            tx[done++].error = 0;
        if (sent < 0) {
            int error = refused(udp, errno);
            if (!error)
                break;
            tx[done++].error = error;
        }
    }
    return (int)done;
}

static int udp_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    if (max < 1)
        return -ENOSPC;
    out[0] = ((struct udp *)dp)->fd;
    return 1;
}

static int udp_stats(struct ins_datapath *dp, const char **names, uint64_t *values, uint32_t max) {
    struct udp *udp = (struct udp *)dp;
    uint32_t i = 0;
    for (; i < STATS && i < max; i++) {
        names[i] = stat_names[i];
        values[i] = __atomic_load_n(&udp->stats[i], __ATOMIC_RELAXED);
    }
    return (int)i;
}

const struct ins_datapath_ops ins_udp_ops = {
    .name = "udp",
    .flags = INS_DATAPATH_CAN_PARK,
    .probe = ins_udp_probe,
    .open = udp_open,
    .bind = udp_bind,
    .tx_burst = udp_tx_burst,
    .tx_done = NULL,
    .rx_burst = udp_rx_burst,
    .fds = udp_fds,
    .stats = udp_stats,
    .unbind = udp_unbind,
    .close = udp_close,
};
