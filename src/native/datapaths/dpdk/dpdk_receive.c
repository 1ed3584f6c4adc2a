/* Receiving on the dpdk datapath: the device put frames into slots of the engine's pool; they are parsed there and handed on
   in place. What is no datagram for us ends here: ARP is answered, the rest counted. */
#include <errno.h>
#include <rte_ethdev.h>
#include <string.h>

#include "dpdk_state.h"

enum { LOOKS = 64 }; /* empty looks between two looks at the clock */

static void take_arp(struct dpdk *dpdk, const uint8_t *frame, uint32_t length) {
    uint8_t answer[INS_ARP_FRAME];
    uint64_t now_ms = ins_dpdk_now_ms();
    uint32_t bytes = ins_arp_input(&dpdk->arp, frame, length, now_ms, answer);
    if (bytes)
        ins_dpdk_send_frame(dpdk, answer, bytes);
    dpdk->news++;
    if (dpdk->resolving)
        ins_dpdk_routes_look(dpdk, now_ms);
}

/* The IP header says how long it was; the device has what its buffers hold. */
static int is_cut(const uint8_t *frame, uint32_t length) {
    return length >= INS_PACKET_HEADERS && frame[12] == 8 && frame[13] == 0 &&
           INS_ETHERNET_HEADER + (uint32_t)(frame[16] << 8 | frame[17]) > length;
}

/* Returns 1 when it is a datagram for us; else the mbuf is free again. */
static int accept_frame(struct dpdk *dpdk, struct rte_mbuf *mbuf, struct ins_rx *rx) {
    const uint8_t *frame = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    struct ins_packet packet;
    enum ins_packet_kind kind = ins_packet_parse(&dpdk->local, frame, mbuf->data_len, &packet);
    if (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED && (mbuf->vlan_tci & 0xfff) != 0)
        kind = INS_PACKET_BAD_VLAN;
    if (mbuf->nb_segs == 1 && kind == INS_PACKET_DATAGRAM) {
        uint32_t slot = ins_dpdk_slot_taken(dpdk, mbuf);
        rx->slot = slot;
        rx->offset = (uint32_t)(frame - dpdk->slots.pool->base) + packet.payload_offset;
        rx->length = packet.payload_length;
        rx->from.address = packet.from_address;
        rx->from.port = packet.from_port;
        rx->from.mtu = 0;
        return 1;
    }
    if (mbuf->nb_segs != 1)
        dpdk_count(dpdk, DPDK_RX_SEGMENTED, 1);
    else if (kind == INS_PACKET_ARP)
        take_arp(dpdk, frame, mbuf->data_len);
    else if (kind == INS_PACKET_BAD_IP && is_cut(frame, mbuf->data_len))
        dpdk_count(dpdk, DPDK_RX_CUT, 1);
    else if (kind >= INS_PACKET_SHORT)
        dpdk_count(dpdk, DPDK_RX_KINDS + (uint32_t)kind - INS_PACKET_SHORT, 1);
    rte_pktmbuf_free(mbuf);
    return 0;
}

/* What is not done for every message: requests that are due, what is pending, the link. */
static void look_around(struct dpdk *dpdk) {
    if (dpdk->pending_count)
        ins_dpdk_flush(dpdk);
    if (!dpdk->resolving && ++dpdk->idle_looks % LOOKS)
        return;
    uint64_t now_ms = ins_dpdk_now_ms();
    ins_dpdk_ask(dpdk, now_ms);
    if (dpdk->resolving)
        ins_dpdk_routes_look(dpdk, now_ms); /* some may have waited long enough */
    ins_dpdk_port_look(dpdk, now_ms);
}

static uint32_t receive(struct dpdk *dpdk, struct ins_rx *rx, uint32_t max) {
    struct rte_mbuf *mbufs[DPDK_BURST];
    uint32_t got = 0;
    uint16_t count = rte_eth_rx_burst(dpdk->device, 0, mbufs, (uint16_t)(max < DPDK_BURST ? max : DPDK_BURST));
    for (uint16_t i = 0; i < count; i++)
        got += (uint32_t)accept_frame(dpdk, mbufs[i], &rx[got]);
    return got;
}

void ins_dpdk_look_ahead(struct dpdk *dpdk) {
    if (dpdk->early_count < DPDK_BURST)
        dpdk->early_count += receive(dpdk, dpdk->early + dpdk->early_count, DPDK_BURST - dpdk->early_count);
}

static int take_early(struct dpdk *dpdk, struct ins_rx *rx, uint32_t max) {
    uint32_t count = dpdk->early_count < max ? dpdk->early_count : max;
    memcpy(rx, dpdk->early, count * sizeof *rx);
    dpdk->early_count -= count;
    memmove(dpdk->early, dpdk->early + count, dpdk->early_count * sizeof *rx);
    dpdk_count(dpdk, DPDK_RX_DATAGRAMS, count);
    return (int)count;
}

int ins_dpdk_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    uint32_t refused = dpdk->slots.refused;
    if (dpdk->early_count)
        return take_early(dpdk, rx, max);
    uint32_t got = receive(dpdk, rx, max);
    if (got) {
        dpdk_count(dpdk, DPDK_RX_DATAGRAMS, got);
        return (int)got;
    }
    look_around(dpdk);
    if (dpdk->broken)
        return dpdk->broken;
    if (dpdk->slots.refused != refused)
        dpdk_count(dpdk, DPDK_RX_NO_SLOT, 1);
    else if (dpdk->slots.held || dpdk->slots.pool->free_count)
        return 0;
    return -ENOBUFS;
}
