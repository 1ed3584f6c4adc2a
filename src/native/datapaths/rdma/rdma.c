/* Life of an rdma datapath. open (control thread) makes the endpoint, whose address is known from then on; bind (engine's
   thread) registers the memory and posts receives. unbind closes the endpoint, for only then are its slots ours again;
   another bind opens it anew at the same address. */
#include "rdma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "core/plugin.h"
#include "rdma_state.h"

enum { FAREWELL_MS = 200 }; /* that an endpoint which is closed has to send what it has taken */

static const char *const names[RDMA_COUNTERS] = {
    [RDMA_EMULATED] = "emulated",
    [RDMA_RX_MESSAGES] = "rx_datagrams",
    [RDMA_RX_SHORT] = "rx_short",
    [RDMA_RX_TRUNCATED] = "rx_truncated",
    [RDMA_RX_ERRORS] = "rx_errors",
    [RDMA_TX_MESSAGES] = "tx_datagrams",
    [RDMA_TX_COPIED] = "tx_copied_bytes",
    [RDMA_TX_WAITED] = "tx_waited",
    [RDMA_TX_AGAIN] = "tx_again",
    [RDMA_TX_REFUSED] = "tx_refused",
    [RDMA_TX_UNREACHED] = "tx_unreached",
    [RDMA_TX_ERRORS] = "tx_errors",
    [RDMA_DESTINATIONS] = "destinations",
    [RDMA_EVICTED] = "destinations_evicted",
};

static void rdma_close(struct ins_datapath *dp) {
    struct rdma *rdma = (struct rdma *)dp;
    ins_rdma_endpoint_close(rdma);
    if (rdma->frames)
        munmap(rdma->frames, (size_t)RDMA_FRAMES * RDMA_FRAME_BYTES);
    if (rdma->timer >= 0)
        close(rdma->timer);
    free(rdma);
}

static int prepare(struct rdma *rdma) {
    int error;
    rdma->library = ins_rdma_fabric(&error);
    if (!rdma->library)
        return error;
    rdma->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (rdma->timer < 0)
        return -errno;
    /* Pages come with their first use. */
    void *frames = mmap(NULL, (size_t)RDMA_FRAMES * RDMA_FRAME_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (frames == MAP_FAILED)
        return -errno;
    rdma->frames = frames;
    return ins_rdma_endpoint_open(rdma);
}

static void write_prefix(struct rdma *rdma) {
    uint16_t port = htons(rdma->at.port);
    memset(rdma->prefix, 0, sizeof rdma->prefix);
    memcpy(rdma->prefix, &rdma->at.address, sizeof rdma->at.address);
    memcpy(rdma->prefix + 4, &port, sizeof port);
}

static int rdma_open(const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    struct rdma_settings settings;
    int error = ins_rdma_options(options, &settings);
    if (error)
        return error;
    if (at->address == INADDR_ANY)
        return -EADDRNOTAVAIL; /* it is announced, and is what we are known by */
    struct rdma *rdma = calloc(1, sizeof *rdma);
    if (!rdma)
        return -ENOMEM;
    rdma->base.ops = &ins_rdma_ops;
    rdma->settings = settings;
    rdma->provider = ins_rdma_provider(settings.provider);
    rdma->room = settings.mtu - RDMA_IP_HEADERS;
    rdma->base.mtu = settings.mtu;
    rdma->at = (struct ins_endpoint){.address = at->address, .port = at->port, .mtu = (uint16_t)settings.mtu};
    rdma->fds[0] = rdma->fds[1] = rdma->timer = -1;
    error = prepare(rdma);
    if (error) {
        rdma_close(&rdma->base);
        return error;
    }
    rdma_gauge(rdma, RDMA_EMULATED, !rdma->provider->real);
    write_prefix(rdma);
    *at = rdma->at;
    *out = &rdma->base;
    return 0;
}

/* What was taken is on its way when an endpoint closes, unless its destination does not take it. */
static void take_leave(struct rdma *rdma) {
    uint64_t until = ins_rdma_now_ms() + FAREWELL_MS;
    while ((rdma->in_flight || rdma->waiting_route != RDMA_NONE) && ins_rdma_now_ms() < until)
        ins_rdma_retry(rdma);
}

static void rdma_unbind(struct ins_datapath *dp) {
    struct rdma *rdma = (struct rdma *)dp;
    if (!rdma->pool)
        return;
    if (rdma->ep)
        take_leave(rdma);
    ins_rdma_endpoint_close(rdma);
    for (uint32_t slot = 0; slot < rdma->pool->slots && rdma->posted; slot++)
        if (rdma->posted[slot])
            ins_pool_unref(rdma->pool, slot);
    free(rdma->posted);
    free(rdma->slot_contexts);
    rdma->posted = NULL;
    rdma->slot_contexts = NULL;
    rdma->posted_count = 0;
    rdma->pool = NULL;
}

static int rdma_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct rdma *rdma = (struct rdma *)dp;
    if (pool->stride - INS_POOL_HEADER_ROOM + INS_WIRE_HEADER < rdma->room)
        return -EMSGSIZE;
    int error = rdma->ep ? 0 : ins_rdma_endpoint_open(rdma);
    if (error)
        return error;
    rdma->pool = pool;
    rdma->posted = calloc(pool->slots, sizeof *rdma->posted);
    rdma->slot_contexts = calloc(pool->slots, sizeof *rdma->slot_contexts);
    rdma->target = pool->slots - pool->slots / 8;
    if (rdma->target > rdma->info->rx_attr->size)
        rdma->target = (uint32_t)rdma->info->rx_attr->size;
    if (rdma->target > RDMA_POSTED_MOST)
        rdma->target = RDMA_POSTED_MOST;
    rdma->broken = 0;
    rdma->early_set = 0;
    ins_rdma_prepare_send(rdma);
    error = rdma->posted && rdma->slot_contexts ? ins_rdma_endpoint_register(rdma) : -ENOMEM;
    if (!error) {
        ins_rdma_post(rdma);
        error = rdma->broken;
    }
    if (error)
        rdma_unbind(dp);
    return error;
}

static int rdma_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    struct rdma *rdma = (struct rdma *)dp;
    if (max < 3)
        return -ENOSPC;
    int count = 0;
    out[count++] = rdma->timer;
    for (int i = 0; i < 2; i++)
        if (rdma->fds[i] >= 0)
            out[count++] = rdma->fds[i];
    return count;
}

static int rdma_stats(struct ins_datapath *dp, const char **out, uint64_t *values, uint32_t max) {
    struct rdma *rdma = (struct rdma *)dp;
    uint32_t i = 0;
    for (; i < RDMA_COUNTERS && i < max; i++) {
        out[i] = names[i];
        values[i] = __atomic_load_n(&rdma->counters[i], __ATOMIC_RELAXED);
    }
    return (int)i;
}

const struct ins_datapath_ops ins_rdma_ops = {
    .name = "rdma",
    .flags = INS_DATAPATH_CAN_PARK,
    .probe = ins_rdma_probe,
    .open = rdma_open,
    .bind = rdma_bind,
    .tx_burst = ins_rdma_tx_burst,
    .tx_done = NULL,
    .rx_burst = ins_rdma_rx_burst,
    .fds = rdma_fds,
    .arm = ins_rdma_arm,
    .stats = rdma_stats,
    .unbind = rdma_unbind,
    .close = rdma_close,
};

INS_PLUGIN(ins_rdma_ops)
