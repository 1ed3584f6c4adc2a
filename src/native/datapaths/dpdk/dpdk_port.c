/* The device of a dpdk datapath: made (virtual) or taken (PCI) by name, configured with one queue each way, watched, given
   back. A kernel interface underneath is looked at with a socket of its own, because DPDK's answers are coarse. */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_dma_map and its counterpart, unchanged since DPDK 19.05 */
#include <errno.h>
#include <net/if.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapaths/xdp_interface.h"
#include "dpdk_state.h"

enum {
    DESCRIPTORS = 1024,
    LOOK_MS = 100,
    DOWN_MS = 1000,    /* a link may blink */
    CARRIER_NAPS = 75,
    CARRIER_NAP_US = 20000, /* 1.5 s in all: the kernel tells of links once a second */
    RING_HEADER = 66,  /* before a frame in af_packet's receive ring */
    RING_CUT = 32,     /* of a frame in its rings that DPDK does not count as room */
};

static const char *bus_of(const struct dpdk_settings *settings) { return settings->pci ? "pci" : "vdev"; }

/* Its link is up. What was just switched on takes the kernel a moment to say so. */
static int carries(const struct dpdk *dpdk, struct ins_xdp_interface *interface) {
    for (uint32_t naps = 0; !(interface->flags & IFF_RUNNING); naps++) {
        if (naps == CARRIER_NAPS || usleep(CARRIER_NAP_US) || ins_xdp_interface_read(dpdk->settings.interface, interface))
            return 0;
    }
    return 1;
}

/* What the kernel says of the interface underneath. */
static int check_interface(struct dpdk *dpdk, struct ins_xdp_interface *interface) {
    int error = ins_xdp_interface_read(dpdk->settings.interface, interface);
    if (error)
        return error;
    if (!interface->is_ethernet)
        return -EOPNOTSUPP;
    if (!(interface->flags & IFF_UP) || !carries(dpdk, interface))
        return -ENETDOWN; /* else streams would come back to what leads nowhere */
    if (ins_xdp_interface_has(dpdk->settings.interface, dpdk->local.address))
        return -EADDRINUSE; /* the kernel would answer ARP and refuse what we send for */
    if (dpdk->settings.mtu > interface->mtu)
        return -EMSGSIZE;
    /* What DPDK would say in a log only. */
    int probe = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return errno == EACCES ? -EPERM : -errno;
    close(probe);
    if (dpdk->questions < 0)
        dpdk->questions = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return dpdk->questions < 0 ? -errno : 0;
}

static void choose_name(struct dpdk *dpdk) {
    static uint32_t number;
    if (!*dpdk->settings.name)
        snprintf(dpdk->settings.name, sizeof dpdk->settings.name, "net_af_packet_insane%u",
                 __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED));
}

static int learn(struct dpdk *dpdk, uint32_t interface_mtu) {
    struct rte_ether_addr mac;
    struct rte_eth_dev_info info;
    uint16_t mtu = 0;
    if (rte_eth_macaddr_get(dpdk->device, &mac) || rte_eth_dev_info_get(dpdk->device, &info) ||
        rte_eth_dev_get_mtu(dpdk->device, &mtu))
        return -EIO;
    memcpy(dpdk->local.mac, mac.addr_bytes, INS_MAC_BYTES);
    uint32_t most = interface_mtu ? interface_mtu : dpdk->settings.mtu ? info.max_mtu : mtu;
    uint32_t frame = dpdk->settings.frame_bytes;
    uint32_t around = RING_HEADER + INS_ETHERNET_HEADER + (dpdk->settings.tags ? INS_VLAN_TAG : 0);
    dpdk->singly = frame && frame - around < DPDK_TRAIN;
    if (frame && frame - around < most)
        most = frame - around;
    if (most > DPDK_MTU_MOST)
        most = DPDK_MTU_MOST;
    if (dpdk->settings.mtu > most || most < DPDK_MTU_LEAST)
        return -EMSGSIZE;
    dpdk->mtu = dpdk->settings.mtu ? dpdk->settings.mtu : most;
    return 0;
}

int ins_dpdk_port_attach(struct dpdk *dpdk) {
    struct ins_xdp_interface interface = {.mtu = 0};
    int error = *dpdk->settings.interface ? check_interface(dpdk, &interface) : 0;
    if (error)
        return error;
    choose_name(dpdk);
    const char *name = dpdk->settings.name;
    uint16_t device;
    if (rte_eth_dev_get_port_by_name(name, &device) == 0) {
        /* Ours already, or one that DPDK found by itself when it was told to look at this PCI device alone. */
        struct rte_eth_dev_info info;
        if (!dpdk->settings.pci || rte_eth_dev_info_get(device, &info) || info.nb_rx_queues)
            return -EBUSY;
    } else if (rte_eal_hotplug_add(bus_of(&dpdk->settings), name, dpdk->settings.arguments) ||
               rte_eth_dev_get_port_by_name(name, &device)) {
        return *dpdk->settings.interface ? -EIO : -ENODEV;
    }
    dpdk->device = device;
    dpdk->attached = 1;
    dpdk->local.virtual_device = !dpdk->settings.pci && (!*dpdk->settings.interface || *interface.kind);
    dpdk->full_checksum =
        dpdk->settings.checksum >= 0 ? (uint32_t)dpdk->settings.checksum : !dpdk->local.virtual_device;
    return learn(dpdk, interface.mtu);
}

int ins_dpdk_port_start(struct dpdk *dpdk) {
    struct rte_eth_conf configuration = {.rxmode = {.mq_mode = RTE_ETH_MQ_RX_NONE}};
    uint16_t mtu = 0, receive = DESCRIPTORS, send = DESCRIPTORS;
    uint32_t room = ins_dpdk_room(dpdk->slots.pool->stride), frame = dpdk->settings.frame_bytes;
    uint32_t needed = RTE_PKTMBUF_HEADROOM + (frame ? frame - RING_CUT : dpdk->mtu + INS_ETHERNET_HEADER + INS_VLAN_TAG);
    if (room < needed)
        return -EMSGSIZE;
    /* af_packet takes whatever its rings hold, and would change the kernel interface's mtu. */
    if (!frame && rte_eth_dev_get_mtu(dpdk->device, &mtu) == 0 && mtu != dpdk->mtu)
        configuration.rxmode.mtu = dpdk->mtu;
    if (rte_eth_dev_configure(dpdk->device, 1, 1, &configuration) ||
        rte_eth_dev_adjust_nb_rx_tx_desc(dpdk->device, &receive, &send) ||
        rte_eth_rx_queue_setup(dpdk->device, 0, receive, SOCKET_ID_ANY, NULL, dpdk->slots.mempool) ||
        rte_eth_tx_queue_setup(dpdk->device, 0, send, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(dpdk->device))
        return -EIO;
    dpdk->started = 1;
    return 0;
}

void ins_dpdk_port_remove(struct dpdk *dpdk) {
    struct rte_eth_dev_info info;
    if (!dpdk->attached)
        return;
    if (dpdk->started)
        rte_eth_dev_stop(dpdk->device);
    if (dpdk->mapped && rte_eth_dev_info_get(dpdk->device, &info) == 0)
        rte_dev_dma_unmap(info.device, dpdk->registered, (uintptr_t)dpdk->registered, dpdk->registered_bytes);
    rte_eth_dev_close(dpdk->device);
    rte_eal_hotplug_remove(bus_of(&dpdk->settings), dpdk->settings.name);
    dpdk->started = dpdk->attached = 0;
    dpdk->mapped = 0;
}

/* 1: up, 0: down, -errno: gone. */
static int link_of(struct dpdk *dpdk) {
    struct ifreq request = {0};
    struct rte_eth_link link;
    if (dpdk->questions < 0)
        return rte_eth_link_get_nowait(dpdk->device, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
    memcpy(request.ifr_name, dpdk->settings.interface, IF_NAMESIZE);
    if (ioctl(dpdk->questions, SIOCGIFFLAGS, &request))
        return -errno;
    return request.ifr_flags & IFF_UP ? (request.ifr_flags & IFF_RUNNING) != 0 : -ENETDOWN;
}

void ins_dpdk_port_look(struct dpdk *dpdk, uint64_t now_ms) {
    struct rte_eth_stats stats;
    if (now_ms - dpdk->looked_ms < LOOK_MS)
        return;
    dpdk->looked_ms = now_ms;
    int link = link_of(dpdk);
    if (link < 0)
        dpdk->broken = link;
    /* A memif's link is up while its other end is there, which is no fault of ours; before the first time nor is it. */
    int was_up = dpdk->counters[DPDK_LINK_UP] != 0;
    if (link > 0)
        dpdk->down_ms = 0;
    else if (was_up && !dpdk->down_ms)
        dpdk->down_ms = now_ms;
    if (dpdk->down_ms && now_ms - dpdk->down_ms > DOWN_MS && strncmp(dpdk->settings.name, "net_memif", 9) != 0)
        dpdk->broken = -ENETDOWN;
    dpdk_gauge(dpdk, DPDK_LINK_UP, link > 0);
    if (rte_eth_stats_get(dpdk->device, &stats) == 0)
        dpdk_gauge(dpdk, DPDK_DEVICE_DROPPED, stats.imissed + stats.ierrors + stats.oerrors);
}
