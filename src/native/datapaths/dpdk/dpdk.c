/* Life of a dpdk datapath. open (control thread) starts DPDK's environment if need be, marks the endpoint as ours and makes
   the device; bind (engine's thread) puts its buffers into the pool's slots and starts it. */
#include "dpdk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/plugin.h"
#include "dpdk_state.h"

static const char *const names[DPDK_ARP] = {
    [DPDK_RX_DATAGRAMS] = "rx_datagrams",   [DPDK_RX_NO_SLOT] = "rx_no_slot",
    [DPDK_RX_CUT] = "rx_cut",               [DPDK_RX_SEGMENTED] = "rx_segmented",
    [DPDK_TX_DATAGRAMS] = "tx_frames",      [DPDK_TX_COPIED] = "tx_copied_bytes",
    [DPDK_TX_AGAIN] = "tx_again",           [DPDK_TX_REFUSED] = "tx_refused",
    [DPDK_TX_UNRESOLVED] = "tx_unresolved", [DPDK_DEVICE_DROPPED] = "device_dropped",
    [DPDK_LINK_UP] = "link_up",             [DPDK_HUGE_PAGES] = "huge_pages",
};

static void dpdk_unbind(struct ins_datapath *dp) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    if (!dpdk->slots.pool)
        return;
    ins_dpdk_drop_pending(dpdk);
    for (uint32_t i = 0; i < dpdk->early_count; i++)
        ins_pool_unref(dpdk->slots.pool, dpdk->early[i].slot);
    dpdk->early_count = 0;
    ins_dpdk_port_remove(dpdk);
    ins_dpdk_pools_close(dpdk);
    memset(dpdk->routes, 0, DPDK_ROUTES * sizeof *dpdk->routes);
    dpdk->route_count = dpdk->resolving = 0;
    dpdk->last_route = NULL;
}

static int dpdk_bind(struct ins_datapath *dp, struct ins_pool *pool) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    uint8_t frame[INS_ARP_FRAME];
    int error = dpdk->attached ? 0 : ins_dpdk_port_attach(dpdk); /* an unbind took it away */
    dpdk->slots.pool = pool;
    if (!error)
        error = ins_dpdk_pools_open(dpdk, pool);
    if (!error)
        error = ins_dpdk_port_start(dpdk);
    if (error) {
        dpdk_unbind(dp);
        return error;
    }
    ins_arp_init(&dpdk->arp, &dpdk->local);
    ins_dpdk_send_frame(dpdk, frame, ins_arp_announce(&dpdk->arp, frame));
    return 0;
}

static void dpdk_close(struct ins_datapath *dp) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    dpdk_unbind(dp); /* nothing, when the engine has done it */
    ins_dpdk_port_remove(dpdk);
    ins_dpdk_let_go(dpdk);
    if (dpdk->questions >= 0)
        close(dpdk->questions);
    free(dpdk->routes);
    free(dpdk);
}

static int a_host(uint32_t address) {
    uint32_t first = ntohl(address) >> 24;
    return first != 0 && first != 127 && first < 224;
}

static int dpdk_open(const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    struct dpdk *dpdk = aligned_alloc(64, (sizeof *dpdk + 63) & ~(size_t)63);
    if (!dpdk)
        return -ENOMEM;
    memset(dpdk, 0, sizeof *dpdk);
    dpdk->base.ops = &ins_dpdk_ops;
    dpdk->holder = dpdk->holder_name = dpdk->holder_interface = dpdk->questions = -1;
    dpdk->routes = calloc(DPDK_ROUTES, sizeof *dpdk->routes);
    int huge, error = dpdk->routes ? ins_dpdk_options(options ? options : "", 0, &dpdk->settings) : -ENOMEM;
    if (!error && !a_host(at->address))
        error = -EINVAL;
    dpdk->local = (struct ins_packet_local){.address = at->address, .port = at->port, .vlan = INS_NO_VLAN};
    dpdk->mask = htonl(UINT32_MAX << (32 - dpdk->settings.prefix));
    if (!error)
        error = ins_dpdk_hold(dpdk);
    if (!error)
        error = ins_dpdk_eal_start(&dpdk->settings);
    if (!error)
        error = ins_dpdk_port_attach(dpdk);
    if (error) {
        dpdk_close(&dpdk->base);
        return error;
    }
    ins_dpdk_eal_runs(&huge);
    dpdk->counters[DPDK_HUGE_PAGES] = (uint64_t)huge;
    at->port = dpdk->local.port;
    at->mtu = (uint16_t)dpdk->mtu;
    at->flags = dpdk->singly ? INS_ENDPOINT_SINGLY : 0;
    dpdk->base.mtu = dpdk->mtu;
    *out = &dpdk->base;
    return 0;
}

/* There are none: a DPDK device is looked at, it cannot wake anybody. */
static int dpdk_fds(struct ins_datapath *dp, int *out, uint32_t max) {
    (void)dp;
    (void)out;
    (void)max;
    return 0;
}

static int dpdk_stats(struct ins_datapath *dp, const char **out_names, uint64_t *values, uint32_t max) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    uint32_t i = 0;
    for (; i < DPDK_COUNTERS && i < max; i++) {
        out_names[i] = i < DPDK_ARP        ? names[i]
                       : i < DPDK_RX_KINDS ? ins_arp_counter_name((enum ins_arp_counter)(i - DPDK_ARP))
                                           : ins_packet_kind_name((enum ins_packet_kind)(i - DPDK_RX_KINDS + INS_PACKET_SHORT));
        values[i] = i >= DPDK_ARP && i < DPDK_RX_KINDS
                        ? __atomic_load_n(&dpdk->arp.counters[i - DPDK_ARP], __ATOMIC_RELAXED)
                        : __atomic_load_n(&dpdk->counters[i], __ATOMIC_RELAXED);
    }
    return (int)i;
}

const struct ins_datapath_ops ins_dpdk_ops = {
    .name = "dpdk",
    .flags = INS_DATAPATH_CHEAP_RX,
    .probe = ins_dpdk_probe,
    .open = dpdk_open,
    .bind = dpdk_bind,
    .tx_burst = ins_dpdk_tx_burst,
    .tx_done = NULL,
    .rx_burst = ins_dpdk_rx_burst,
    .fds = dpdk_fds,
    .stats = dpdk_stats,
    .unbind = dpdk_unbind,
    .close = dpdk_close,
};

INS_PLUGIN(ins_dpdk_ops)
