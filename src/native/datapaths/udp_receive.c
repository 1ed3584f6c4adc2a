/* Receiving on the udp datapath. Coalescing (UDP_GRO) lets the kernel hand over a whole train in one call, but costs a
   single datagram some 180 ns: it is on while bursts come in and off while messages come one by one. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "udp_state.h"

enum {
    COALESCED_MOST = 65507, /* bytes of a train that the kernel hands over at once */
    STREAK_SEVERAL = 4,     /* buffers in a row from which on we ask for several at once */
    STREAK_BURST = 16,      /* buffers in a row that make a burst */
    CALM_ENOUGH = 1024,     /* short streaks in a row after which there are no bursts any more */
};

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

static void coalesce(struct udp *udp, int on) {
    if (udp->can_coalesce && setsockopt(udp->fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0)
        udp->coalesces = (uint32_t)on;
    udp->calm = 0;
}

int ins_udp_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct udp *udp = (struct udp *)dp;
    udp->pool = pool;
    udp->room = pool->stride - INS_POOL_HEADER_ROOM + INS_WIRE_HEADER;
    udp->held_most = pool->slots / 2 < UDP_HELD ? pool->slots / 2 : UDP_HELD;
    if (udp->held_most == 0)
        udp->held_most = 1;
    /* A train that does not fit its slot loses its tail: coalescing only into slots that hold the longest. */
    udp->can_coalesce = udp->room >= COALESCED_MOST;
    udp->streak = 0;
    coalesce(udp, 0);
    hold(udp);
    return 0;
}

void ins_udp_unbind(struct ins_datapath *dp) {
    struct udp *udp = (struct udp *)dp;
    while (udp->held)
        ins_pool_unref(udp->pool, udp->slots[--udp->held]);
    udp->pool = NULL;
}

/* More than one message in it: longer than the first one says it is. */
static int is_train(const uint8_t *data, uint32_t length) {
    uint32_t body;
    if (length <= INS_WIRE_HEADER)
        return 0;
    if (data[INS_WIRE_TYPE] == INS_WIRE_TYPE_FRAGMENT)
        return length - INS_WIRE_HEADER > ((uint32_t)data[INS_WIRE_FRAGMENT_SIZE] << 8 | data[INS_WIRE_FRAGMENT_SIZE + 1]);
    memcpy(&body, data + INS_WIRE_LENGTH, sizeof body);
    return length - INS_WIRE_HEADER > be32toh(body);
}

static struct ins_endpoint sender(const struct sockaddr_in *from) {
    return (struct ins_endpoint){.address = from->sin_addr.s_addr, .port = ntohs(from->sin_port)};
}

static void fill(struct udp *udp, struct ins_rx *rx, uint32_t i, uint32_t length, struct ins_endpoint from) {
    *rx = (struct ins_rx){
        .slot = udp->slots[i], .offset = slot_begin(udp, udp->slots[i]), .length = length, .from = from};
    if (udp->coalesces && is_train(udp->pool->base + rx->offset, length)) {
        ins_udp_count(udp, UDP_RX_TRAINS, 1);
        udp->calm = 0;
    }
}

static void received(struct udp *udp, uint32_t count) {
    ins_udp_count(udp, UDP_RX_CALLS, 1);
    udp->streak += count;
    if (udp->streak < STREAK_BURST)
        return;
    udp->calm = 0;
    if (!udp->coalesces && udp->can_coalesce)
        coalesce(udp, 1);
}

/* Nothing more for now. */
static void ebbed(struct udp *udp) {
    if (udp->streak == 0)
        return;
    if (udp->coalesces && udp->streak < STREAK_BURST && ++udp->calm >= CALM_ENOUGH)
        coalesce(udp, 0);
    if (udp->streak > 1 && !udp->connected)
        udp->lone = 0;
    else if (++udp->lone == UDP_LONE && udp->sole.address && !udp->connected)
        ins_udp_connect(udp);
    udp->streak = 0;
}

/* What is wrong with the socket itself, as opposed to nothing there or an echo of something we sent. */
static int broken(struct udp *udp, int error) {
    switch (error) {
    case EAGAIN:
        ebbed(udp);
        return 0;
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

/* A call for one message costs some 150 ns less than one for several, be there one or none. */
static int receive_one(struct udp *udp, struct ins_rx *rx) {
    uint32_t last = udp->held - 1;
    void *room = udp->rx_iov[last].iov_base;
    /* What came before it was connected may be from anybody: of that nothing is left after so many empty looks. */
    int nameless = udp->connected && udp->lone >= UDP_LONE;
    long got = nameless ? udp_recv(udp->fd, room, udp->room) : udp_recvfrom(udp->fd, room, udp->room, &udp->from[last]);
    if (got < 0)
        return broken(udp, errno);
    struct ins_endpoint from = nameless ? udp->sole : sender(&udp->from[last]);
    if (!udp_is_sole(udp, &from))
        udp->lone = 0; /* strangers are to be seen and counted while there are any */
    fill(udp, rx, last, (uint32_t)got, from);
    udp->held = last;
    received(udp, 1);
    return 1;
}

int ins_udp_rx_place(struct ins_datapath *dp, struct iovec *places, uint32_t count, struct ins_rx *rx) {
    struct udp *udp = (struct udp *)dp;
    if (udp->held < udp->held_most)
        hold(udp);
    if (udp->held == 0)
        return -ENOBUFS;
    /* What comes in many parts comes in trains. */
    if (!udp->coalesces && udp->can_coalesce)
        coalesce(udp, 1);
    const uint32_t last = udp->held - 1;
    places[count] = udp->rx_iov[last];
    struct msghdr message = {.msg_name = &udp->from[last],
                             .msg_namelen = sizeof udp->from[last],
                             .msg_iov = places,
                             .msg_iovlen = count + 1};
    long got = udp_recvmsg(udp->fd, &message);
    if (got < 0)
        return broken(udp, errno);
    *rx = (struct ins_rx){.slot = udp->slots[last],
                          .offset = slot_begin(udp, udp->slots[last]),
                          .length = (uint32_t)got,
                          .from = sender(&udp->from[last])};
    if (!udp_is_sole(udp, &rx->from))
        udp->lone = 0;
    if (count > 2 && (uint32_t)got > places[0].iov_len + places[1].iov_len)
        ins_udp_count(udp, UDP_RX_TRAINS, 1);
    udp->calm = 0;
    udp->held = last;
    received(udp, 1);
    return 1;
}

int ins_udp_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct udp *udp = (struct udp *)dp;
    if (udp->held < udp->held_most)
        hold(udp);
    if (udp->held == 0)
        return -ENOBUFS;
    if (max == 1 || udp->held == 1 || udp->streak < STREAK_SEVERAL)
        return receive_one(udp, rx);
    if (max > udp->held)
        max = udp->held;
    /* The last ones of those held, so that what remains is a beginning. */
    uint32_t first = udp->held - max;
    int got = (int)udp_recvmmsg(udp->fd, &udp->rx[first], max);
    if (got <= 0)
        return got < 0 ? broken(udp, errno) : 0;
    for (uint32_t i = 0; i < (uint32_t)got; i++) {
        fill(udp, &rx[i], first + i, udp->rx[first + i].msg_len, sender(&udp->from[first + i]));
        if (udp->rx[first + i].msg_hdr.msg_flags & MSG_TRUNC)
            ins_udp_count(udp, UDP_RX_TRUNCATED, 1);
    }
    /* Those not used move down into the places of those that were. */
    uint32_t unused = max - (uint32_t)got;
    for (uint32_t i = 0; i < unused; i++) {
        udp->slots[first + i] = udp->slots[first + (uint32_t)got + i];
        udp->rx_iov[first + i] = udp->rx_iov[first + (uint32_t)got + i];
    }
    udp->held = first + unused;
    received(udp, (uint32_t)got);
    if (unused)
        ebbed(udp);
    return got;
}
