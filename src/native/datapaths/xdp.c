/* Life of an xdp datapath. open (control thread) takes the port, loads and attaches the filter, which then still passes
   everything to the kernel; bind (engine's thread) makes the pool's memory the umem and directs our port to it. */
#include "xdp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "xdp_state.h"

enum {
    MTU_ONE_PAGE = 3400, /* beyond it some drivers want a program that knows frames of several buffers */
    FDS_LISTED = 4,      /* descriptors that an engine takes; for more an epoll descriptor stands in */
};

static const char *const names[XDP_RX_KINDS] = {
    [XDP_RX_DATAGRAMS] = "rx_datagrams",
    [XDP_RX_JUMBO_COPIED] = "rx_jumbo_copied_bytes",
    [XDP_RX_TOO_LONG] = "rx_too_long",
    [XDP_RX_KERNEL_DROPPED] = "rx_kernel_dropped",
    [XDP_RX_KERNEL_RING_FULL] = "rx_kernel_ring_full",
    [XDP_RX_KERNEL_NO_SLOT] = "rx_kernel_no_slot",
    [XDP_TX_DATAGRAMS] = "tx_datagrams",
    [XDP_TX_COPIED] = "tx_copied_bytes",
    [XDP_TX_KICKS] = "tx_kicks",
    [XDP_TX_AGAIN] = "tx_again",
    [XDP_TX_REFUSED] = "tx_refused",
    [XDP_TX_UNRESOLVED] = "tx_unresolved",
    [XDP_TX_KERNEL_INVALID] = "tx_kernel_invalid",
    [XDP_RESOLUTIONS] = "resolutions",
    [XDP_ZERO_COPY] = "zero_copy",
    [XDP_ZERO_COPY_REFUSED] = "zero_copy_refused_errno",
    [XDP_NATIVE] = "native_mode",
    [XDP_QUEUES_BOUND] = "queues_bound",
    [XDP_BIND_RETRIES] = "bind_retries",
};

/* Holds the port for us among kernel sockets. Nothing is to be read from it (what passes the filter, such as fragments,
   ends here): a socket filter drops it all. */
static int hold_port(struct xdp *xdp) {
    struct sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog deaf = {.len = 1, .filter = nothing};
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(xdp->local.port), .sin_addr.s_addr = xdp->local.address};
    socklen_t length = sizeof at;
    xdp->port_holder = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (xdp->port_holder < 0 ||
        setsockopt(xdp->port_holder, SOL_SOCKET, SO_ATTACH_FILTER, &deaf, sizeof deaf) ||
        bind(xdp->port_holder, (struct sockaddr *)&at, sizeof at) ||
        getsockname(xdp->port_holder, (struct sockaddr *)&at, &length))
        return -errno;
    xdp->local.port = ntohs(at.sin_port);
    return 0;
}

static int choose_interface(struct xdp *xdp, const struct ins_endpoint *at) {
    char *name = xdp->settings.interface;
    int error = *name ? 0 : ins_xdp_interface_find(at->address, name);
    if (error)
        return at->address && error == -ENODEV ? -EADDRNOTAVAIL : error;
    error = ins_xdp_interface_read(name, &xdp->interface);
    if (error)
        return error;
    if (!(xdp->interface.flags & IFF_UP))
        return -ENETDOWN;
    if (!xdp->interface.is_ethernet)
        return -EOPNOTSUPP;
    if (at->address ? !ins_xdp_interface_has(name, at->address) : !xdp->interface.address)
        return -EADDRNOTAVAIL;
    xdp->local.address = at->address ? at->address : xdp->interface.address;
    xdp->local.port = at->port;
    xdp->local.vlan = INS_NO_VLAN;
    memcpy(xdp->local.mac, xdp->interface.mac, sizeof xdp->local.mac);
    xdp->local.virtual_device = xdp->interface.kind[0] != '\0';
    xdp->full_checksum = xdp->settings.checksum >= 0 ? (uint32_t)xdp->settings.checksum : !xdp->local.virtual_device;
    return 0;
}

static int choose_queues(struct xdp *xdp) {
    uint32_t there = xdp->interface.queues;
    if (xdp->settings.queue >= (int)there)
        return -ECHRNG;
    /* All or a chosen one: datagrams that arrive on a queue without a socket are lost. */
    if (xdp->settings.queue < 0 && there > XDP_QUEUES)
        return -E2BIG;
    xdp->queue_count = xdp->settings.queue >= 0 ? 1 : there;
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        xdp->queues[i] =
            (struct xdp_queue){.fd = -1, .id = xdp->settings.queue >= 0 ? (uint32_t)xdp->settings.queue : i};
    return 0;
}

static int choose_mtu(struct xdp *xdp) {
    uint32_t most = xdp->interface.mtu, wanted = xdp->settings.mtu;
    if (wanted > most)
        return -EMSGSIZE;
    if (!wanted)
        wanted = most < XDP_MTU_ONE_CHUNK ? most : XDP_MTU_ONE_CHUNK;
    xdp->mtu = wanted;
    xdp->jumbo = wanted > XDP_MTU_ONE_CHUNK;
    uint32_t frame = wanted + INS_PACKET_MAX_HEADERS;
    xdp->colours = 16;
    while (xdp->colours > 1 && frame + (xdp->colours - 1) * 128 > XDP_CHUNK)
        xdp->colours /= 2;
    return 0;
}

static int attach(struct xdp *xdp) {
    /* By the interface's mtu, not ours: what passes to the kernel may be as long. */
    int fragments = xdp->jumbo || xdp->interface.mtu > MTU_ONE_PAGE;
    uint32_t queues = xdp->queues[xdp->queue_count - 1].id + 1;
    int error =
        ins_xdp_filter_load(&xdp->filter, queues, xdp->local.address, xdp->local.port, fragments);
    if (!error)
        error = ins_xdp_filter_attach(&xdp->filter, xdp->interface.index, xdp->settings.generic);
    xdp_gauge(xdp, XDP_NATIVE, !error && !xdp->settings.generic);
    return error;
}

static void xdp_unbind(struct ins_datapath *dp) {
    struct xdp *xdp = (struct xdp *)dp;
    if (!xdp->pool)
        return;
    ins_xdp_kernel_counters(xdp);
    for (uint32_t i = 0; i < XDP_ROUTES; i++)
        if (xdp->routes[i].waiting)
            ins_xdp_release_waiting(xdp, &xdp->routes[i], -ESHUTDOWN);
    xdp->unsent = 0;
    if (xdp->retry_set)
        ins_xdp_retry_over(xdp);
    ins_xdp_sockets_close(xdp);
    for (uint32_t slot = 0; slot < xdp->pool->slots; slot++)
        if (xdp->held[slot])
            ins_pool_unref(xdp->pool, slot);
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        if (xdp->queues[i].joining)
            ins_pool_unref(xdp->pool, xdp->queues[i].joined_slot);
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        xdp->queues[i] = (struct xdp_queue){.fd = -1, .id = xdp->queues[i].id};
    free(xdp->held);
    free(xdp->free_frames);
    xdp->held = NULL;
    xdp->free_frames = NULL;
    xdp->pool = NULL;
}

static int xdp_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct xdp *xdp = (struct xdp *)dp;
    if (pool->stride % XDP_CHUNK)
        return -EINVAL;
    if (xdp->jumbo && pool->stride < xdp->mtu + INS_PACKET_MAX_HEADERS + XDP_KERNEL_ROOM + XDP_HEADROOM)
        return -EMSGSIZE;
    xdp->pool = pool;
    xdp->pool_chunks = pool->stride / XDP_CHUNK;
    xdp->held = calloc(pool->slots, 1);
    xdp->free_frames = calloc(xdp->settings.tx, sizeof *xdp->free_frames);
    uint32_t target = (pool->slots - pool->slots / 8) / xdp->queue_count;
    target = target > xdp->settings.fill ? xdp->settings.fill : target ? target : 1;
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        xdp->queues[i].target = target;
    int error = xdp->held && xdp->free_frames ? ins_xdp_sockets_open(xdp) : -ENOMEM;
    if (error) {
        xdp_unbind(dp);
        return error;
    }
    xdp->free_count = xdp->settings.tx;
    for (uint32_t i = 0; i < xdp->free_count; i++)
        xdp->free_frames[i] = xdp->free_count - 1 - i;
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        ins_xdp_fill(xdp, &xdp->queues[i]);
    return 0;
}

static void xdp_close(struct ins_datapath *dp) {
    struct xdp *xdp = (struct xdp *)dp;
    xdp_unbind(dp); /* nothing, when the engine has done it */
    ins_xdp_filter_close(&xdp->filter);
    ins_xdp_routes_close(xdp);
    if (xdp->port_holder >= 0)
        close(xdp->port_holder);
    if (xdp->poll >= 0)
        close(xdp->poll);
    if (xdp->retry >= 0)
        close(xdp->retry);
    free(xdp);
}

static int xdp_open(const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    struct xdp *xdp = aligned_alloc(64, (sizeof *xdp + 63) & ~(size_t)63);
    if (!xdp)
        return -ENOMEM;
    memset(xdp, 0, sizeof *xdp);
    xdp->base.ops = &ins_xdp_ops;
    xdp->port_holder = xdp->sender = xdp->asking = xdp->news = xdp->poll = xdp->retry = -1;
    xdp->filter = (struct ins_xdp_filter){-1, -1, -1};
    int error = ins_xdp_options(options ? options : "", &xdp->settings);
    if (!error)
        error = choose_interface(xdp, at);
    if (!error)
        error = choose_queues(xdp);
    if (!error)
        error = choose_mtu(xdp);
    if (!error)
        error = hold_port(xdp);
    if (!error)
        error = ins_xdp_routes_open(xdp);
    xdp->retry = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!error && xdp->retry < 0)
        error = -errno;
    if (!error)
        error = attach(xdp);
    if (error) {
        xdp_close(&xdp->base);
        return error;
    }
    at->address = xdp->local.address;
    at->port = xdp->local.port;
    at->mtu = (uint16_t)xdp->mtu;
    /* A native program has the kernel take trains apart before they reach us; a generic one sees them as they come. */
    at->flags = xdp->settings.generic ? INS_ENDPOINT_SINGLY : 0;
    xdp->base.mtu = xdp->mtu;
    *out = &xdp->base;
    return 0;
}

/* All of them in one epoll descriptor, which is readable when one of them is. */
static int fds_epoll(struct xdp *xdp) {
    if (xdp->poll >= 0)
        close(xdp->poll); /* of an earlier bind */
    xdp->poll = epoll_create1(EPOLL_CLOEXEC);
    if (xdp->poll < 0)
        return -errno;
    struct epoll_event readable = {.events = EPOLLIN};
    for (uint32_t i = 0; i < xdp->queue_count; i++)
        if (epoll_ctl(xdp->poll, EPOLL_CTL_ADD, xdp->queues[i].fd, &readable))
            return -errno;
    if (epoll_ctl(xdp->poll, EPOLL_CTL_ADD, xdp->news, &readable) ||
        epoll_ctl(xdp->poll, EPOLL_CTL_ADD, xdp->retry, &readable))
        return -errno;
    return 0;
}

static int xdp_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    struct xdp *xdp = (struct xdp *)dp;
    uint32_t count = xdp->queue_count;
    if (count + 2 > max || count + 2 > FDS_LISTED) {
        int error = max ? fds_epoll(xdp) : -ENOSPC;
        if (error)
            return error;
        out[0] = xdp->poll;
        return 1;
    }
    for (uint32_t i = 0; i < count; i++)
        out[i] = xdp->queues[i].fd;
    out[count] = xdp->news;
    out[count + 1] = xdp->retry;
    return (int)count + 2;
}

/* Datagrams whose destination is being resolved: those behind them wait as well, and once they are many are refused. */
static int xdp_holds(struct ins_datapath *dp) {
    struct xdp *xdp = (struct xdp *)dp;
    if (xdp->resolving)
        ins_xdp_news(xdp);
    return xdp->waiting_count > 0;
}

static int xdp_stats(struct ins_datapath *dp, const char **out_names, uint64_t *values, uint32_t max) {
    struct xdp *xdp = (struct xdp *)dp;
    uint32_t i = 0;
    for (; i < XDP_COUNTERS && i < max; i++) {
        out_names[i] = i < XDP_RX_KINDS
                           ? names[i]
                           : ins_packet_kind_name((enum ins_packet_kind)(i - XDP_RX_KINDS + INS_PACKET_SHORT));
        values[i] = __atomic_load_n(&xdp->counters[i], __ATOMIC_RELAXED);
    }
    return (int)i;
}

const struct ins_datapath_ops ins_xdp_ops = {
    .name = "xdp",
    .flags = INS_DATAPATH_CAN_PARK | INS_DATAPATH_CHEAP_RX,
    .probe = ins_xdp_probe,
    .open = xdp_open,
    .bind = xdp_bind,
    .tx_burst = ins_xdp_tx_burst,
    .tx_done = NULL,
    .rx_burst = ins_xdp_rx_burst,
    .fds = xdp_fds,
    .stats = xdp_stats,
    .holds = xdp_holds,
    .unbind = xdp_unbind,
    .close = xdp_close,
};
