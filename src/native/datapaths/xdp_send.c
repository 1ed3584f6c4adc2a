/* Sending on the xdp datapath: headers and payload are copied into a frame of ours (the one copy, counted), the frame
   goes into the tx ring, the kernel is told once a burst. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "packet/checksum.h"
#include "xdp_ring.h"

enum {
    COLOUR_BYTES = 128,
    RETRY_NS = 1000000,
    WAIT_MS = 50, /* how long senders are held back while an address is resolved and too much waits for it */
};

void ins_xdp_reclaim(struct xdp *xdp) {
    struct xdp_ring *ring = &xdp->queues[0].completion;
    uint32_t ready = xdp_ring_ready(ring);
    for (uint32_t i = 0; i < ready; i++) {
        uint64_t address = *xdp_ring_address(ring, ring->index++) - xdp->tx_address;
        xdp->free_frames[xdp->free_count++] = (uint32_t)(address / XDP_CHUNK);
    }
    if (ready)
        xdp_ring_release(ring);
}

/* The kernel holds a socket's frames until the receiving side took them, and refuses more when those are many. Senders
   may have nothing more to say then, and their engine go to sleep. */
static void retry_later(struct xdp *xdp) {
    struct itimerspec soon = {.it_value.tv_nsec = RETRY_NS};
    if (!xdp->retry_set)
        xdp->retry_set = timerfd_settime(xdp->retry, 0, &soon, NULL) == 0;
}

void ins_xdp_retry_over(struct xdp *xdp) {
    timerfd_settime(xdp->retry, 0, &(struct itimerspec){0}, NULL); /* also forgets that it expired */
    xdp->retry_set = 0;
}

void ins_xdp_kick(struct xdp *xdp) {
    while (xdp->unsent) {
        if (!xdp_ring_wants_wakeup(&xdp->tx)) {
            xdp->unsent = 0; /* the driver looks by itself */
            return;
        }
        long result = syscall(SYS_sendto, xdp->sender, NULL, 0, MSG_DONTWAIT, NULL, 0);
        int error = result < 0 ? errno : 0;
        xdp_count(xdp, XDP_TX_KICKS, 1);
        if (error == ENETDOWN || error == ENXIO)
            xdp->broken = -error;
        if (xdp->counters[XDP_ZERO_COPY]) { /* the driver takes them in its own time */
            xdp->unsent = 0;
            return;
        }
        /* One call sends so many and no more, and says EAGAIN or nothing at all of the rest. */
        uint32_t left = xdp->tx.index - __atomic_load_n(xdp->tx.consumer, __ATOMIC_ACQUIRE);
        int stuck = left >= xdp->unsent;
        xdp->unsent = left;
        if (stuck && left) {
            retry_later(xdp);
            return;
        }
    }
}

/* Where in the tx area a frame begins: in the chunk of its number, at the place of its colour. */
static uint32_t begin_of(const struct xdp *xdp, uint32_t frame) {
    return frame * XDP_CHUNK + (frame & (xdp->colours - 1)) * COLOUR_BYTES;
}

static void submit(struct xdp *xdp, const uint32_t *frames, uint32_t pieces, uint32_t length) {
    struct xdp_ring *ring = &xdp->tx;
    for (uint32_t i = 0; i < pieces; i++) {
        uint32_t bytes = length < XDP_CHUNK ? length : XDP_CHUNK;
        *xdp_ring_descriptor(ring, ring->index++) = (struct xdp_desc){
            .addr = xdp->tx_address + begin_of(xdp, frames[i]),
            .len = bytes,
            .options = i + 1 < pieces ? XDP_PKT_CONTD : 0,
        };
        length -= bytes;
    }
    xdp->unsent += pieces;
    xdp_count(xdp, XDP_TX_DATAGRAMS, 1);
}

/* Copies into a frame of several chunks, from `at` bytes into it. */
static void spread(struct xdp *xdp, const uint32_t *frames, uint32_t at, const uint8_t *data, uint32_t length) {
    while (length) {
        uint32_t room = XDP_CHUNK - at % XDP_CHUNK, bytes = length < room ? length : room;
        memcpy(xdp->tx_area + begin_of(xdp, frames[at / XDP_CHUNK]) + at % XDP_CHUNK, data, bytes);
        at += bytes;
        data += bytes;
        length -= bytes;
    }
}

static uint64_t payload_sum(const struct xdp *xdp, const uint32_t *frames, uint32_t headers, uint32_t length) {
    uint64_t sum = 0;
    /* The headers' length is even, and so is a chunk's: no piece but the last ends on an odd byte. */
    for (uint32_t at = headers; at < length;) {
        uint32_t room = XDP_CHUNK - at % XDP_CHUNK, bytes = length - at < room ? length - at : room;
        sum = ins_sum(xdp->tx_area + begin_of(xdp, frames[at / XDP_CHUNK]) + at % XDP_CHUNK, bytes, sum);
        at += bytes;
    }
    return sum;
}

/* Takes frames and writes the datagram into them. Returns the number of pieces, 0 when there are no frames. */
static uint32_t write_datagram(struct xdp *xdp, const struct xdp_route *route, const struct ins_tx *tx, uint32_t *frames,
                               uint32_t *frame_length) {
    const uint32_t tagged = xdp->settings.tags && tx->priority;
    const struct ins_packet_template *t = tagged ? &route->tagged : &route->t;
    uint32_t payload = tx->header_length + tx->payload_length, length = *frame_length = t->length + payload;
    uint32_t pieces = (length + XDP_CHUNK - 1) / XDP_CHUNK;
    if (xdp->free_count < pieces)
        return 0;
    for (uint32_t i = 0; i < pieces; i++)
        frames[i] = xdp->free_frames[--xdp->free_count];
    uint8_t *first = xdp->tx_area + begin_of(xdp, frames[0]), *at = first + t->length;
    ins_packet_write(t, first, payload);
    if (tagged)
        ins_packet_prioritise(first, tx->priority);
    if (pieces > 1) {
        spread(xdp, frames, t->length, tx->header, tx->header_length);
        spread(xdp, frames, t->length + tx->header_length, tx->payload, tx->payload_length);
    } else {
        if (tx->header_length == INS_WIRE_HEADER)
            memcpy(at, tx->header, INS_WIRE_HEADER);
        else
            memcpy(at, tx->header, tx->header_length);
        if (tx->payload_length)
            memcpy(at + tx->header_length, tx->payload, tx->payload_length);
    }
    if (xdp->full_checksum)
        ins_packet_checksum(t, first, payload_sum(xdp, frames, t->length, length));
    xdp_count(xdp, XDP_TX_COPIED, payload);
    return pieces;
}

static void take_back(struct xdp *xdp, const struct xdp_waiting *waiting) {
    for (uint32_t i = 0; i < waiting->pieces; i++)
        xdp->free_frames[xdp->free_count++] = waiting->frames[i];
}

void ins_xdp_release_waiting(struct xdp *xdp, struct xdp_route *route, int error) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < xdp->waiting_count; i++) {
        struct xdp_waiting *waiting = &xdp->waiting[i];
        if (waiting->route != route) {
            xdp->waiting[kept++] = *waiting;
            continue;
        }
        if (error) {
            xdp_count(xdp, XDP_TX_UNRESOLVED, 1);
            take_back(xdp, waiting);
            continue;
        }
        /* All that was missing is whom the frame is for. */
        memcpy(xdp->tx_area + begin_of(xdp, waiting->frames[0]), route->t.headers, INS_MAC_BYTES);
        submit(xdp, waiting->frames, waiting->pieces, waiting->length);
    }
    xdp->waiting_count = kept;
    route->waiting = 0;
    if (xdp->unsent) {
        xdp_ring_submit(&xdp->tx);
        ins_xdp_kick(xdp);
    }
}

static struct xdp_route *route_to(struct xdp *xdp, const struct ins_endpoint *to) {
    struct xdp_route *route = xdp->last_route;
    if (!route || route->address != to->address || route->port != to->port)
        xdp->last_route = route = ins_xdp_route(xdp, to->address, to->port);
    return route;
}

/* 1: taken; 0: no room now; -errno: refused. */
static int send_one(struct xdp *xdp, const struct ins_tx *tx) {
    uint32_t frames[XDP_PIECES], length;
    uint32_t room = xdp->mtu - INS_IPV4_HEADER - INS_UDP_HEADER;
    if (tx->payload_length > room || tx->header_length > room - tx->payload_length)
        return -EMSGSIZE;
    struct xdp_route *route = route_to(xdp, &tx->to);
    if (!route)
        return 0;
    if (route->state != XDP_ROUTE_READY) {
        int error = ins_xdp_route_retry(xdp, route);
        if (error)
            return error;
    }
    if (route->state == XDP_ROUTE_READY) {
        if (route->stale)
            ins_xdp_route_used(xdp, route);
        uint32_t pieces = write_datagram(xdp, route, tx, frames, &length);
        if (pieces)
            submit(xdp, frames, pieces, length);
        return pieces != 0;
    }
    /* It waits with the others in a copy of its own; when those are many, senders wait for a while. */
    if (xdp->waiting_count == XDP_WAITING || route->waiting >= XDP_WAITING / 2 ||
        xdp->free_count < xdp->settings.tx / 2)
        return ins_xdp_now_ms() - route->ms < WAIT_MS ? 0 : -EHOSTUNREACH;
    struct xdp_waiting *waiting = &xdp->waiting[xdp->waiting_count];
    waiting->pieces = write_datagram(xdp, route, tx, waiting->frames, &waiting->length);
    if (waiting->pieces == 0)
        return 0;
    waiting->route = route;
    route->waiting++;
    xdp->waiting_count++;
    return 1;
}

int ins_xdp_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    struct xdp *xdp = (struct xdp *)dp;
    uint32_t done = 0;
    ins_xdp_reclaim(xdp);
    if (xdp->resolving)
        ins_xdp_news(xdp);
    for (; done < count; done++) {
        int result = send_one(xdp, &tx[done]);
        if (result == 0)
            break;
        tx[done].error = result < 0 ? result : 0;
        if (result < 0)
            xdp_count(xdp, result == -EHOSTUNREACH ? XDP_TX_UNRESOLVED : XDP_TX_REFUSED, 1);
    }
    if (xdp->unsent) {
        xdp_ring_submit(&xdp->tx);
        ins_xdp_kick(xdp);
    }
    if (done < count)
        xdp_count(xdp, XDP_TX_AGAIN, 1);
    return (int)done;
}
