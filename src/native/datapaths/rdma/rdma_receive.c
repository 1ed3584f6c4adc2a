/* Receiving on the rdma datapath: the provider writes into slots of the pool that were posted to it; a message is handed
   on where it lies, and free slots are posted again. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "rdma_state.h"

enum {
    POST_LEAST = 8,         /* slots posted again at once, unless it is quiet */
    COMPLETION_LOOKS = 64,  /* empty looks between two looks at what was sent */
    RETRY_NS = 1000000,
    LOOK_NS = 50000000, /* for what a provider does not wake us for */
};

/* Where a message begins in a slot: its payload is then where payloads of slots are. */
static uint32_t slot_begin(const struct rdma *rdma, uint32_t slot) {
    return ins_pool_payload(rdma->pool, slot) - INS_WIRE_HEADER - RDMA_PREFIX;
}

void ins_rdma_post(struct rdma *rdma) {
    while (rdma->posted_count < rdma->target) {
        int64_t slot = ins_pool_take(rdma->pool);
        if (slot < 0)
            return;
        long result = fi_recv(rdma->ep, rdma->pool->base + slot_begin(rdma, (uint32_t)slot), RDMA_PREFIX + rdma->room,
                              rdma->pool_descriptor, FI_ADDR_UNSPEC, &rdma->slot_contexts[slot]);
        if (result) {
            ins_pool_unref(rdma->pool, (uint32_t)slot);
            if (result != -FI_EAGAIN)
                rdma->broken = ins_rdma_errno(result);
            return;
        }
        rdma->posted[slot] = 1;
        rdma->posted_count++;
    }
}

/* The slot of a completion, which is ours from now on; -1 when it is of none that was posted. */
static int64_t slot_of(struct rdma *rdma, const void *context) {
    const struct fi_context2 *at = context;
    if (at < rdma->slot_contexts || at >= rdma->slot_contexts + rdma->pool->slots)
        return -1;
    int64_t slot = at - rdma->slot_contexts;
    if (!rdma->posted[slot])
        return -1;
    rdma->posted[slot] = 0;
    rdma->posted_count--;
    return slot;
}

/* 1 when it is a message. */
static int accept_message(struct rdma *rdma, const struct fi_cq_msg_entry *entry, struct ins_rx *rx) {
    int64_t slot = slot_of(rdma, entry->op_context);
    if (slot < 0)
        return 0;
    if (entry->len < RDMA_PREFIX || entry->len > RDMA_PREFIX + rdma->room) {
        rdma_count(rdma, RDMA_RX_SHORT, 1);
        ins_pool_unref(rdma->pool, (uint32_t)slot);
        return 0;
    }
    uint32_t begin = slot_begin(rdma, (uint32_t)slot);
    const uint8_t *prefix = rdma->pool->base + begin;
    uint16_t port;
    memcpy(&rx->from.address, prefix, sizeof rx->from.address);
    memcpy(&port, prefix + 4, sizeof port);
    rx->from.port = be16toh(port);
    rx->from.mtu = 0;
    rx->slot = (uint32_t)slot;
    rx->offset = begin + RDMA_PREFIX;
    rx->length = (uint32_t)entry->len - RDMA_PREFIX;
    return 1;
}

/* A receive that failed: of a message too long for its slot, or with its connection. */
static void failure(struct rdma *rdma) {
    struct fi_cq_err_entry failed = {0};
    if (fi_cq_readerr(rdma->rx_cq, &failed, 0) != 1)
        return;
    rdma_count(rdma, failed.err == FI_ETRUNC ? RDMA_RX_TRUNCATED : RDMA_RX_ERRORS, 1);
    int64_t slot = slot_of(rdma, failed.op_context);
    if (slot >= 0)
        ins_pool_unref(rdma->pool, (uint32_t)slot);
}

static void timer_stop(struct rdma *rdma) {
    struct itimerspec never = {0};
    uint64_t times;
    timerfd_settime(rdma->timer, 0, &never, NULL);
    if (read(rdma->timer, &times, sizeof times) < 0)
        times = 0; /* it had not gone off */
    rdma->timer_set = 0;
}

/* What is not done for every message. */
static void look_around(struct rdma *rdma) {
    if (rdma->timer_set)
        timer_stop(rdma);
    if (rdma->waiting_route != RDMA_NONE)
        ins_rdma_retry(rdma);
    else if (rdma->in_flight && ++rdma->idle_looks % COMPLETION_LOOKS == 0)
        ins_rdma_completions(rdma);
}

int ins_rdma_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct rdma *rdma = (struct rdma *)dp;
    struct fi_cq_msg_entry entries[RDMA_BURST];
    long count = rdma->early_set ? 1 : fi_cq_read(rdma->rx_cq, entries, max < RDMA_BURST ? max : RDMA_BURST);
    if (rdma->early_set)
        entries[0] = rdma->early;
    rdma->early_set = 0;
    uint32_t got = 0;
    for (long i = 0; i < count; i++)
        got += (uint32_t)accept_message(rdma, &entries[i], &rx[got]);
    if (count > 0)
        rdma_count(rdma, RDMA_RX_MESSAGES, got);
    else if (count == -FI_EAVAIL)
        failure(rdma);
    else if (count < 0 && count != -FI_EAGAIN && count != -FI_EINTR)
        rdma->broken = ins_rdma_errno(count);
    if (rdma->posted_count < rdma->target && (got == 0 || rdma->target - rdma->posted_count >= POST_LEAST))
        ins_rdma_post(rdma);
    if (got)
        return (int)got;
    look_around(rdma);
    if (rdma->broken)
        return rdma->broken;
    return rdma->posted_count ? 0 : -ENOBUFS;
}

/* The provider net of libfabric 1.17 leaves a queue's descriptor readable for ever after a completion, until somebody has
   slept on the queue: so we do, as briefly as can be. Returns 1 when something was there. */
static int hush(struct rdma *rdma, int fd, struct fid_cq *queue) {
    struct pollfd look = {.fd = fd, .events = POLLIN};
    struct fi_cq_msg_entry entry;
    if (poll(&look, 1, 0) <= 0)
        return 0;
    long count = fi_cq_sread(queue, &entry, 1, NULL, 1);
    if (count == 1 && queue == rdma->tx_cq)
        ins_rdma_completed(rdma, entry.op_context, 1);
    else if (count == 1) {
        rdma->early = entry;
        rdma->early_set = 1;
    }
    return count != -FI_EAGAIN;
}

/* Before an engine sleeps on our descriptors, which speak only if they are asked to and everything was taken. */
int ins_rdma_arm(struct ins_datapath *dp) {
    struct rdma *rdma = (struct rdma *)dp;
    struct fid *queues[2] = {&rdma->tx_cq->fid, &rdma->rx_cq->fid};
    ins_rdma_completions(rdma);
    if (rdma->fds[0] < 0 || rdma->fds[1] < 0 || fi_trywait(rdma->fabric, queues, 2) != FI_SUCCESS)
        return 1;
    if (hush(rdma, rdma->fds[0], rdma->tx_cq) | hush(rdma, rdma->fds[1], rdma->rx_cq))
        return 1;
    /* ofi_rxm does not always wake who sleeps when somebody connects. */
    const long look_ns = rdma->waiting_route != RDMA_NONE                ? RETRY_NS
                         : strstr(rdma->provider->asked, "ofi_rxm") ? LOOK_NS
                                                                    : 0;
    if (look_ns && !rdma->timer_set) {
        struct itimerspec soon = {.it_interval.tv_nsec = look_ns, .it_value.tv_nsec = look_ns};
        rdma->timer_set = timerfd_settime(rdma->timer, 0, &soon, NULL) == 0;
        return !rdma->timer_set;
    }
    return 0;
}
