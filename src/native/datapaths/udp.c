/* The kernel's UDP sockets as a datapath: always there. One unconnected socket (it has several peers), non-blocking; what
   is received lands in slots (udp_receive.c), what is sent is gathered from slots (udp_send.c). Evidence for the choice
   is in udp_probe.c. */
#include "udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "udp_state.h"

enum {
    BUFFER_DEFAULT = 8 * 1024 * 1024,
    BUFFER_LEAST = 4096,
    BUFFER_MOST = 1024 * 1024 * 1024,
};

static const char *const stat_names[UDP_STATS] = {
    [UDP_RECEIVE_BUFFER] = "receive_buffer_bytes",
    [UDP_SEND_BUFFER] = "send_buffer_bytes",
    [UDP_RX_CALLS] = "rx_calls",
    [UDP_RX_TRAINS] = "rx_trains",
    [UDP_RX_TRUNCATED] = "rx_truncated",
    [UDP_TX_CALLS] = "tx_calls",
    [UDP_TX_TRAINS] = "tx_trains",
    [UDP_TX_COPIED] = "tx_copied",
    [UDP_TX_AGAIN] = "tx_again",
    [UDP_TX_REFUSED] = "tx_refused",
    [UDP_CONNECTS] = "connects",
};

/* "rcvbuf=BYTES,sndbuf=BYTES,trains=0", all optional; in whatever order. */
static int parse_options(const char *options, int *receive_buffer, int *send_buffer, int *trains) {
    *receive_buffer = *send_buffer = BUFFER_DEFAULT;
    *trains = 1;
    for (const char *at = options ? options : ""; *at;) {
        int *value;
        if (strncmp(at, "trains=", 7) == 0) {
            if ((at[7] != '0' && at[7] != '1') || (at[8] && at[8] != ','))
                return -EINVAL;
            *trains = at[7] == '1';
            at += at[8] ? 9 : 8;
            continue;
        }
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

/* A socket bound to `name`, whose port is filled in, or -errno. A port that the kernel has chosen is bound once more by its
   number: else the kernel would take it back when the socket is connected to nobody any more (udp_sole.c). */
static int bound_socket(struct sockaddr_in *name) {
    enum { TRIES = 16 };
    for (uint32_t i = 0; i < TRIES; i++) {
        struct sockaddr_in at = *name;
        socklen_t length = sizeof at;
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        int error = bind(fd, (struct sockaddr *)&at, sizeof at) ? -errno : 0;
        if (!error && name->sin_port)
            return fd;
        if (!error && getsockname(fd, (struct sockaddr *)&at, &length))
            error = -errno;
        close(fd);
        /* Somebody was quicker: another port. */
        if (error && !(error == -EADDRINUSE && i))
            return error;
        name->sin_port = error ? 0 : at.sin_port;
    }
    return -EADDRINUSE;
}

static int udp_open(const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    int receive_buffer, send_buffer, trains, error = parse_options(options, &receive_buffer, &send_buffer, &trains);
    if (error)
        return error;
    struct udp *udp = calloc(1, sizeof *udp);
    if (!udp)
        return -ENOMEM;
    udp->base.ops = &ins_udp_ops;
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(at->port), .sin_addr.s_addr = at->address};
    udp->fd = bound_socket(&name);
    if (udp->fd < 0) {
        error = udp->fd;
        free(udp);
        return error;
    }
    udp->stats[UDP_RECEIVE_BUFFER] = enlarge(udp->fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_buffer);
    udp->stats[UDP_SEND_BUFFER] = enlarge(udp->fd, SO_SNDBUFFORCE, SO_SNDBUF, send_buffer);
    at->port = ntohs(name.sin_port);
    at->mtu = (uint16_t)ins_udp_mtu(at->address);
    udp->mtu = at->mtu;
    udp->base.mtu = udp->mtu;
    udp->base.waiting = (uint32_t)udp->stats[UDP_RECEIVE_BUFFER];
    ins_udp_prepare_send(udp, trains);
    *out = &udp->base;
    return 0;
}

static void udp_close(struct ins_datapath *dp) {
    struct udp *udp = (struct udp *)dp;
    close(udp->fd);
    free(udp);
}

static int udp_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    if (max < 1)
        return -ENOSPC;
    out[0] = ((struct udp *)dp)->fd;
    return 1;
}

/* A datagram counts for its socket until it has left, also while the kernel keeps it because it resolves an address. */
static int udp_holds(struct ins_datapath *dp) {
    int bytes = 0;
    return ioctl(((struct udp *)dp)->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

static int udp_stats(struct ins_datapath *dp, const char **names, uint64_t *values, uint32_t max) {
    struct udp *udp = (struct udp *)dp;
    uint32_t i = 0;
    for (; i < UDP_STATS && i < max; i++) {
        names[i] = stat_names[i];
        values[i] = __atomic_load_n(&udp->stats[i], __ATOMIC_RELAXED);
    }
    return (int)i;
}

const struct ins_datapath_ops ins_udp_ops = {
    .name = "udp",
    .flags = INS_DATAPATH_CAN_PARK | INS_DATAPATH_SPLITS,
    .probe = ins_udp_probe,
    .open = udp_open,
    .bind = ins_udp_bind,
    .tx_burst = ins_udp_tx_burst,
    .tx_done = NULL,
    .rx_burst = ins_udp_rx_burst,
    .rx_place = ins_udp_rx_place,
    .fds = udp_fds,
    .stats = udp_stats,
    .sole_peer = ins_udp_sole_peer,
    .holds = udp_holds,
    .unbind = ins_udp_unbind,
    .close = udp_close,
};
