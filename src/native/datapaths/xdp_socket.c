/* AF_XDP sockets of an xdp datapath: one a queue that receives, and one that sends, all on one umem. The umem is an address range of its own in which the
   pool's pages appear first and the frames for sending follow, so that received frames land in slots and headers that
   we write lie in memory that no application can see. Sending has a socket of its own because in one that does both, the
   kernel's state for sending shares cache lines with what the core of another host's sender writes as it delivers: a
   virtual device's round trip is a quarter longer then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "xdp_ring.h"

/* Linux 6.17 and newer: how many frames one kick may send. */
#define XDP_MAX_TX_SKB_BUDGET_OPTION 9

enum {
    /* A socket that was just closed lets go of its queue only after a grace period, which is longer on a busy host; in all
       less than what an engine may take to acknowledge a command. */
    BUSY_TRIES = 350,
    BUSY_WAIT_NS = 2000000,
    KICK_FRAMES = 64,
    COMPLETION_UNUSED = 64,
};

static uint32_t power_of_two(uint32_t least) {
    uint32_t size = 64;
    while (size < least)
        size *= 2;
    return size;
}

static int ring_map(int fd, struct xdp_ring *ring, const struct xdp_ring_offset *at, uint64_t where, uint32_t size,
                    uint32_t entry_bytes) {
    uint64_t bytes = at->desc + (uint64_t)size * entry_bytes;
    uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)where);
    if (map == MAP_FAILED)
        return -errno;
    *ring = (struct xdp_ring){
        .producer = (uint32_t *)(void *)(map + at->producer),
        .consumer = (uint32_t *)(void *)(map + at->consumer),
        .flags = (uint32_t *)(void *)(map + at->flags),
        .entries = map + at->desc,
        .mask = size - 1,
        .map = map,
        .map_bytes = bytes,
    };
    return 0;
}

static void ring_unmap(struct xdp_ring *ring) {
    if (ring->map)
        munmap(ring->map, ring->map_bytes);
    memset(ring, 0, sizeof *ring);
}

static int rings_open(struct xdp *xdp, struct xdp_queue *queue, int first) {
    uint32_t receive = power_of_two(queue->target);
    uint32_t complete = first ? power_of_two(xdp->settings.tx) : COMPLETION_UNUSED;
    if (setsockopt(queue->fd, SOL_XDP, XDP_UMEM_FILL_RING, &receive, sizeof receive) ||
        setsockopt(queue->fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &complete, sizeof complete) ||
        setsockopt(queue->fd, SOL_XDP, XDP_RX_RING, &receive, sizeof receive))
        return -errno;
    struct xdp_mmap_offsets at;
    socklen_t length = sizeof at;
    if (getsockopt(queue->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length))
        return -errno;
    int error = ring_map(queue->fd, &queue->rx, &at.rx, XDP_PGOFF_RX_RING, receive, sizeof(struct xdp_desc));
    if (!error)
        error = ring_map(queue->fd, &queue->fill, &at.fr, XDP_UMEM_PGOFF_FILL_RING, receive, sizeof(uint64_t));
    if (!error)
        error = ring_map(queue->fd, &queue->completion, &at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, complete,
                         sizeof(uint64_t));
    return error;
}

static int bind_patiently(struct xdp *xdp, int fd, const struct sockaddr_xdp *at) {
    for (uint32_t tries = 0; bind(fd, (const struct sockaddr *)at, sizeof *at); tries++) {
        if (errno != EBUSY || tries == BUSY_TRIES)
            return -errno;
        xdp_count(xdp, XDP_BIND_RETRIES, 1);
        nanosleep(&(struct timespec){.tv_nsec = BUSY_WAIT_NS}, NULL);
    }
    return 0;
}

/* On the first socket's umem, and with its choices. */
static int bind_further(struct xdp *xdp, int fd, uint32_t queue) {
    struct sockaddr_xdp at = {.sxdp_family = AF_XDP,
                              .sxdp_flags = XDP_SHARED_UMEM,
                              .sxdp_ifindex = xdp->interface.index,
                              .sxdp_queue_id = queue,
                              .sxdp_shared_umem_fd = (uint32_t)xdp->queues[0].fd};
    return bind_patiently(xdp, fd, &at);
}

/* Zero-copy is tried first and its refusal remembered. */
static int bind_first(struct xdp *xdp) {
    struct xdp_queue *queue = &xdp->queues[0];
    struct sockaddr_xdp at = {
        .sxdp_family = AF_XDP, .sxdp_ifindex = xdp->interface.index, .sxdp_queue_id = queue->id};
    uint16_t both = (uint16_t)(XDP_USE_NEED_WAKEUP | (xdp->jumbo ? XDP_USE_SG : 0));
    if (!xdp->settings.generic) {
        at.sxdp_flags = (uint16_t)(both | XDP_ZEROCOPY);
        int error = bind_patiently(xdp, queue->fd, &at);
        if (error != -EOPNOTSUPP && error != -EINVAL && error != -ENOTSUP) {
            xdp_gauge(xdp, XDP_ZERO_COPY, error == 0);
            return error;
        }
        xdp_gauge(xdp, XDP_ZERO_COPY_REFUSED, (uint64_t)-error);
    }
    at.sxdp_flags = (uint16_t)(both | XDP_COPY);
    return bind_patiently(xdp, queue->fd, &at);
}

/* The pool's pages once more, with room behind them. */
static int umem_map(struct xdp *xdp) {
    uint64_t pool_bytes = (uint64_t)xdp->pool->slots * xdp->pool->stride;
    uint64_t tx_bytes = (uint64_t)xdp->settings.tx * XDP_CHUNK;
    if (xdp->pool->stride % XDP_CHUNK != 0 || (uintptr_t)xdp->pool->base % XDP_CHUNK != 0)
        return -EINVAL;
    xdp->umem_bytes = pool_bytes + tx_bytes;
    void *range = mmap(NULL, xdp->umem_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED)
        return -errno;
    xdp->umem = range;
    /* A length of 0 makes a second mapping of the same pages; only shared memory has that (-EINVAL otherwise). */
    if (mremap(xdp->pool->base, 0, pool_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, range) == MAP_FAILED)
        return -errno;
    xdp->tx_area = xdp->umem + pool_bytes;
    xdp->tx_address = pool_bytes;
    if (mmap(xdp->tx_area, tx_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        return -errno;
    return 0;
}

/* On the first queue, whose completion ring it uses. */
static int sender_open(struct xdp *xdp) {
    uint32_t send = power_of_two(xdp->settings.tx), frames = KICK_FRAMES;
    struct xdp_mmap_offsets at;
    socklen_t length = sizeof at;
    xdp->sender = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (xdp->sender < 0 || setsockopt(xdp->sender, SOL_XDP, XDP_TX_RING, &send, sizeof send) ||
        getsockopt(xdp->sender, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length))
        return -errno;
    /* An older kernel refuses, and sends 32. */
    setsockopt(xdp->sender, SOL_XDP, XDP_MAX_TX_SKB_BUDGET_OPTION, &frames, sizeof frames);
    int error = ring_map(xdp->sender, &xdp->tx, &at.tx, XDP_PGOFF_TX_RING, send, sizeof(struct xdp_desc));
    return error ? error : bind_further(xdp, xdp->sender, xdp->queues[0].id);
}

static int open_all(struct xdp *xdp) {
    int error = umem_map(xdp);
    for (uint32_t i = 0; i < xdp->queue_count && !error; i++) {
        struct xdp_queue *queue = &xdp->queues[i];
        queue->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
        if (queue->fd < 0)
            return -errno;
        struct xdp_umem_reg memory = {.addr = (uint64_t)(uintptr_t)xdp->umem,
                                      .len = xdp->umem_bytes,
                                      .chunk_size = XDP_CHUNK,
                                      .headroom = XDP_HEADROOM};
        if (i == 0 && setsockopt(queue->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory))
            return -errno;
        error = rings_open(xdp, queue, i == 0);
        if (!error)
            error = i == 0 ? bind_first(xdp) : bind_further(xdp, queue->fd, queue->id);
        if (!error)
            error = ins_xdp_filter_direct(&xdp->filter, queue->id, queue->fd);
    }
    return error ? error : sender_open(xdp);
}

int ins_xdp_sockets_open(struct xdp *xdp) {
    int error = open_all(xdp);
    if (error)
        ins_xdp_sockets_close(xdp);
    xdp_gauge(xdp, XDP_QUEUES_BOUND, error ? 0 : xdp->queue_count);
    return error;
}

void ins_xdp_sockets_close(struct xdp *xdp) {
    ring_unmap(&xdp->tx);
    if (xdp->sender >= 0)
        close(xdp->sender);
    xdp->sender = -1;
    for (uint32_t i = xdp->queue_count; i-- > 0;) {
        struct xdp_queue *queue = &xdp->queues[i];
        ring_unmap(&queue->rx);
        ring_unmap(&queue->fill);
        ring_unmap(&queue->completion);
        if (queue->fd >= 0) {
            ins_xdp_filter_direct(&xdp->filter, queue->id, -1);
            /* Returns when no receive is under way any more: from then on the slots are ours alone. */
            close(queue->fd);
        }
        queue->fd = -1;
    }
    if (xdp->umem)
        munmap(xdp->umem, xdp->umem_bytes);
    xdp->umem = NULL;
    xdp_gauge(xdp, XDP_QUEUES_BOUND, 0);
}

void ins_xdp_kernel_counters(struct xdp *xdp) {
    struct xdp_statistics sum = {0}, one;
    for (uint32_t i = 0; i <= xdp->queue_count; i++) {
        int fd = i < xdp->queue_count ? xdp->queues[i].fd : xdp->sender;
        socklen_t length = sizeof one;
        memset(&one, 0, sizeof one); /* an old kernel fills in less */
        if (fd < 0 || getsockopt(fd, SOL_XDP, XDP_STATISTICS, &one, &length))
            continue;
        sum.rx_dropped += one.rx_dropped;
        sum.rx_ring_full += one.rx_ring_full;
        sum.rx_fill_ring_empty_descs += one.rx_fill_ring_empty_descs;
        sum.tx_invalid_descs += one.tx_invalid_descs;
    }
    xdp_gauge(xdp, XDP_RX_KERNEL_DROPPED, sum.rx_dropped);
    xdp_gauge(xdp, XDP_RX_KERNEL_RING_FULL, sum.rx_ring_full);
    xdp_gauge(xdp, XDP_RX_KERNEL_NO_SLOT, sum.rx_fill_ring_empty_descs);
    xdp_gauge(xdp, XDP_TX_KERNEL_INVALID, sum.tx_invalid_descs);
}
