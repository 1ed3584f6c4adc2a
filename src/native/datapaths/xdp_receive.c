/* Receiving on the xdp datapath: frames are parsed where the kernel put them and handed on in place; slots that are
   free again go back into the fill ring. No system call but when the kernel asks for one. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "xdp_ring.h"

enum {
    FILL_LEAST = 16,    /* slots put back at once, unless it is quiet */
    NEWS_LOOKS = 1024,  /* empty looks between two looks for news */
    COUNTER_LOOKS = 64, /* looks for news between two looks at the kernel's counters */
};

void ins_xdp_fill(struct xdp *xdp, struct xdp_queue *queue) {
    struct xdp_ring *fill = &queue->fill;
    struct ins_pool *pool = xdp->pool;
    uint32_t first = fill->index;
    while (queue->posted < queue->target) {
        int64_t slot = ins_pool_take(pool);
        if (slot < 0)
            break;
        xdp->held[slot] = 1;
        *xdp_ring_address(fill, fill->index++) = (uint64_t)slot * pool->stride;
        queue->posted++;
    }
    if (fill->index == first)
        return;
    xdp_ring_submit(fill);
    if (xdp_ring_wants_wakeup(fill))
        syscall(SYS_recvfrom, queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void give_back(struct xdp *xdp, uint32_t slot) {
    ins_pool_unref(xdp->pool, slot);
}

/* A frame at `offset` of the pool. Returns 1 when it is a datagram for us. */
static int accept_frame(struct xdp *xdp, uint32_t slot, uint32_t offset, uint32_t length, struct ins_rx *rx) {
    struct ins_packet packet;
    enum ins_packet_kind kind = ins_packet_parse(&xdp->local, xdp->pool->base + offset, length, &packet);
    if (kind != INS_PACKET_DATAGRAM) {
        /* ARP cannot come through the filter; were it to, it would be one of the others. */
        if (kind >= INS_PACKET_SHORT)
            xdp_count(xdp, XDP_RX_KINDS + (uint32_t)kind - INS_PACKET_SHORT, 1);
        give_back(xdp, slot);
        return 0;
    }
    rx->slot = slot;
    rx->offset = offset + packet.payload_offset;
    rx->length = packet.payload_length;
    rx->from.address = packet.from_address;
    rx->from.port = packet.from_port;
    rx->from.mtu = 0;
    return 1;
}

/* One chunk of a frame that has several. The first fills its chunk to the end, so that the others can be copied behind
   it into the rest of its slot. Returns 1 when that completes a datagram for us. */
static int join(struct xdp *xdp, struct xdp_queue *queue, uint32_t slot, uint32_t offset, uint32_t length, int more,
                struct ins_rx *rx) {
    if (!queue->joining) {
        queue->joining = 1;
        queue->joined_slot = slot;
        queue->joined_offset = offset;
        queue->joined_length = length;
        queue->joined_too_long = 0;
    } else {
        uint32_t at = queue->joined_offset + queue->joined_length;
        if ((uint64_t)at + length > (queue->joined_slot + 1ull) * xdp->pool->stride)
            queue->joined_too_long = 1;
        else {
            memcpy(xdp->pool->base + at, xdp->pool->base + offset, length);
            queue->joined_length += length;
            xdp_count(xdp, XDP_RX_JUMBO_COPIED, length);
        }
        give_back(xdp, slot);
    }
    if (more)
        return 0;
    queue->joining = 0;
    if (queue->joined_too_long) {
        xdp_count(xdp, XDP_RX_TOO_LONG, 1);
        give_back(xdp, queue->joined_slot);
        return 0;
    }
    return accept_frame(xdp, queue->joined_slot, queue->joined_offset, queue->joined_length, rx);
}

/* Another core wrote the frame, and where it lies is in a line that the other core wrote as well: one miss after another.
   The kernel fills chunks in the order of the fill ring, so that the place of the next one is nearly always known
   before. A wrong guess costs nothing. */
static void expect(const struct xdp *xdp, struct xdp_queue *queue) {
    uint32_t next = queue->rx.index;
    const uint8_t *frame = xdp->pool->base + *xdp_ring_address(&queue->fill, next) + XDP_KERNEL_ROOM + XDP_HEADROOM;
    /* Loads, because prefetches are given up where the page's address is not at hand. */
    (void)*(const volatile uint8_t *)frame;
    (void)*(const volatile uint8_t *)(frame + 64);
    (void)*(const volatile uint8_t *)(frame + 128);
}

static uint32_t receive(struct xdp *xdp, struct xdp_queue *queue, struct ins_rx *rx, uint32_t max) {
    struct xdp_ring *ring = &queue->rx;
    uint32_t ready = xdp_ring_ready(ring), got = 0, taken = 0;
    if (ready)
        expect(xdp, queue);
    for (; taken < ready && got < max; taken++) {
        const struct xdp_desc *descriptor = xdp_ring_descriptor(ring, ring->index++);
        uint32_t offset = (uint32_t)descriptor->addr, slot = offset / XDP_CHUNK;
        if (xdp->pool_chunks != 1) /* a division costs as much as the rest of this loop */
            slot /= xdp->pool_chunks;
        int more = (descriptor->options & XDP_PKT_CONTD) != 0;
        /* Another core wrote it: the lines behind the headers are needed soon, whoever looks at the message. */
        __builtin_prefetch(xdp->pool->base + offset);
        __builtin_prefetch(xdp->pool->base + offset + 64);
        __builtin_prefetch(xdp->pool->base + offset + 128);
        xdp->held[slot] = 0;
        if (more | queue->joining)
            got += (uint32_t)join(xdp, queue, slot, offset, descriptor->len, more, &rx[got]);
        else
            got += (uint32_t)accept_frame(xdp, slot, offset, descriptor->len, &rx[got]);
    }
    if (taken) {
        queue->posted -= taken;
        xdp_ring_release(ring);
        xdp_count(xdp, XDP_RX_DATAGRAMS, got);
    }
    if (queue->posted < queue->target && (taken == 0 || queue->target - queue->posted >= FILL_LEAST))
        ins_xdp_fill(xdp, queue);
    else if (taken == 0 && xdp_ring_wants_wakeup(&queue->fill))
        syscall(SYS_recvfrom, queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
    return got;
}

/* What is not done for every message: frames the kernel did not take at once, news, its counters. */
static void look_around(struct xdp *xdp) {
    if (xdp->retry_set) {
        ins_xdp_retry_over(xdp);
        ins_xdp_kick(xdp);
    }
    if (xdp->resolving) {
        ins_xdp_news(xdp);
        return;
    }
    if (++xdp->idle_looks % NEWS_LOOKS)
        return;
    ins_xdp_news(xdp);
    if (xdp->idle_looks / NEWS_LOOKS % COUNTER_LOOKS == 0)
        ins_xdp_kernel_counters(xdp);
}

int ins_xdp_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct xdp *xdp = (struct xdp *)dp;
    uint32_t got = 0, posted = 0, at = xdp->next_queue;
    for (uint32_t i = 0; i < xdp->queue_count && got < max; i++) {
        got += receive(xdp, &xdp->queues[at], rx + got, max - got);
        posted += xdp->queues[at].posted;
        at = at + 1 == xdp->queue_count ? 0 : at + 1;
    }
    if (got) {
        xdp->next_queue = at; /* where this call ended, so that a busy queue cannot starve the rest */
        return (int)got;
    }
    look_around(xdp);
    if (xdp->broken)
        return xdp->broken;
    return posted ? 0 : -ENOBUFS;
}
