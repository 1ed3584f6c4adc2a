/* Sending on the udp datapath. Equal-sized datagrams to one endpoint leave as one train (UDP_SEGMENT) where that can take
   trains, the others several at a call. Payloads are gathered from their slots, but for small ones: those are copied behind their header, because
   that costs less than a gather entry (counted as tx_copied). */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "udp_state.h"

enum {
    COPY_MOST = 512,     /* payload bytes up to which a copy is cheaper than a gather entry */
    IP_UDP_HEADERS = 28,
};

void ins_udp_prepare_send(struct udp *udp, int trains) {
    int none = 0;
    udp->can_segment = trains && setsockopt(udp->fd, SOL_UDP, UDP_SEGMENT, &none, sizeof none) == 0;
    for (uint32_t i = 0; i < UDP_BURST; i++)
        udp->tx[i].msg_hdr = (struct msghdr){
            .msg_name = &udp->to[i], .msg_namelen = sizeof udp->to[i], .msg_iov = udp->tx_iov[i], .msg_iovlen = 2};
}

static uint32_t bytes_of(const struct ins_tx *tx) { return tx->header_length + tx->payload_length; }

static int same_end(const struct ins_tx *a, const struct ins_tx *b) {
    return a->to.address == b->to.address && a->to.port == b->to.port;
}

static struct sockaddr_in name_of(const struct ins_tx *tx) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(tx->to.port), .sin_addr.s_addr = tx->to.address};
}

/* How many from the front can leave as one train: all of one size, but the last, which may be shorter. A segment must fit
   the MTU, the kernel does not fragment them. */
static uint32_t train_length(const struct udp *udp, const struct ins_tx *tx, uint32_t total) {
    uint32_t size = bytes_of(tx), mtu = tx->to.mtu && tx->to.mtu < udp->mtu ? tx->to.mtu : udp->mtu;
    if (!udp->can_segment || tx->to.flags & INS_ENDPOINT_SINGLY || size + IP_UDP_HEADERS > mtu)
        return 1;
    uint32_t most = UDP_TRAIN_BYTES / size, count = 1;
    if (most > UDP_BURST)
        most = UDP_BURST;
    while (count < total && count < most && same_end(tx, &tx[count]) && bytes_of(&tx[count]) <= size)
        if (bytes_of(&tx[count++]) < size)
            break;
    return count;
}

static uint32_t copy_out(struct udp *udp, uint32_t at, const struct ins_tx *tx) {
    memcpy(udp->staged + at, tx->header, tx->header_length);
    memcpy(udp->staged + at + tx->header_length, tx->payload, tx->payload_length);
    return at + bytes_of(tx);
}

/* Adds a piece to a gather list of `count`, or to its last entry when it begins where that ends. Returns how many there
   are then. The kernel only reads; iovec knows no const. */
static uint32_t gather_more(struct iovec *iov, uint32_t count, const uint8_t *data, uint32_t length) {
    if (count && (const uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == data)
        iov[count - 1].iov_len += length;
    else
        iov[count++] = (struct iovec){(void *)(uintptr_t)data, length};
    return count;
}

static void gather(struct iovec *iov, const struct ins_tx *tx) {
    iov[0] = (struct iovec){(void *)(uintptr_t)tx->header, tx->header_length};
    iov[1] = (struct iovec){(void *)(uintptr_t)tx->payload, tx->payload_length};
}

static int send_train(struct udp *udp, const struct ins_tx *tx, uint32_t count) {
    struct sockaddr_in name = name_of(tx);
    struct iovec one;
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr aligned;
    } control = {0};
    struct msghdr message = {
        .msg_name = &name,
        .msg_namelen = sizeof name,
        .msg_iov = &one,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    struct cmsghdr *segment = CMSG_FIRSTHDR(&message);
    uint16_t size = (uint16_t)bytes_of(tx);
    segment->cmsg_level = SOL_UDP;
    segment->cmsg_type = UDP_SEGMENT;
    segment->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(segment), &size, sizeof size);
    if (tx->payload_length <= COPY_MOST) {
        uint32_t end = 0;
        for (uint32_t i = 0; i < count; i++)
            end = copy_out(udp, end, &tx[i]);
        one = (struct iovec){udp->staged, end};
        ins_udp_count(udp, UDP_TX_COPIED, count);
    } else {
        uint32_t pieces = 0;
        for (uint32_t i = 0; i < count; i++) {
            pieces = gather_more(udp->tx_iov[0], pieces, tx[i].header, tx[i].header_length);
            pieces = gather_more(udp->tx_iov[0], pieces, tx[i].payload, tx[i].payload_length);
        }
        message.msg_iov = udp->tx_iov[0];
        message.msg_iovlen = pieces;
    }
    if (udp_sendmsg(udp->fd, &message) < 0)
        return -1;
    ins_udp_count(udp, UDP_TX_TRAINS, 1);
    return (int)count;
}

static int send_one(struct udp *udp, const struct ins_tx *tx) {
    int nameless = udp->connected && udp_is_sole(udp, &tx->to);
    struct sockaddr_in name = name_of(tx);
    if (tx->payload_length <= COPY_MOST) {
        uint32_t end = copy_out(udp, 0, tx);
        ins_udp_count(udp, UDP_TX_COPIED, 1);
        return udp_sendto(udp->fd, udp->staged, end, nameless ? NULL : &name) < 0 ? -1 : 1;
    }
    struct iovec iov[2];
    gather(iov, tx);
    struct msghdr message = {.msg_name = nameless ? NULL : &name,
                             .msg_namelen = nameless ? 0 : sizeof name,
                             .msg_iov = iov,
                             .msg_iovlen = 2};
    return udp_sendmsg(udp->fd, &message) < 0 ? -1 : 1;
}

static int send_several(struct udp *udp, const struct ins_tx *tx, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        udp->to[i] = name_of(&tx[i]);
        gather(udp->tx_iov[i], &tx[i]);
    }
    return (int)udp_sendmmsg(udp->fd, udp->tx, count);
}

/* Sends some from the front: a train, or what comes before the next train. Returns how many, or -1 with errno. */
static int send_some(struct udp *udp, const struct ins_tx *tx, uint32_t total) {
    uint32_t count = train_length(udp, tx, total);
    ins_udp_count(udp, UDP_TX_CALLS, 1);
    if (count > 1) {
        int sent = send_train(udp, tx, count);
        if (sent >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == EINTR)
            return sent;
        /* This route cannot take trains (no checksum offload, a smaller MTU on the way): none from now on. If it was
           something else, the single datagram will say so. */
        if (errno == EINVAL || errno == EIO || errno == EMSGSIZE || errno == EOPNOTSUPP)
            udp->can_segment = 0;
        return send_one(udp, tx);
    }
    while (count < total && count < UDP_BURST && train_length(udp, &tx[count], total - count) == 1)
        count++;
    return count == 1 ? send_one(udp, tx) : send_several(udp, tx, count);
}

/* A connected socket tells with the next call what became of an earlier datagram (its port was closed, the route gone):
   this one was not tried. */
static int echo_of_before(int error) {
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH || error == EMSGSIZE;
}

int ins_udp_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t total) {
    struct udp *udp = (struct udp *)dp;
    uint32_t done = 0, again = 0;
    while (done < total) {
        int sent = send_some(udp, &tx[done], total - done);
        for (int i = 0; i < sent; i++)
            tx[done++].error = 0;
        if (sent >= 0 || errno == EINTR || (udp->connected && echo_of_before(errno) && !again++))
            continue;
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) {
            ins_udp_count(udp, UDP_TX_AGAIN, 1);
            break;
        }
        ins_udp_count(udp, UDP_TX_REFUSED, 1);
        tx[done++].error = -errno;
    }
    return (int)done;
}
