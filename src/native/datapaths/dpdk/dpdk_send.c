/* Sending on the dpdk datapath: headers and payload are copied into a frame of ours (the one copy, counted), a burst goes to
   the device at once. What the device does not take stays pending and goes first the next time. */
#include <errno.h>
#include <rte_ethdev.h>
#include <string.h>

#include "dpdk_state.h"
#include "packet/checksum.h"

enum { WAIT_MS = 50 }; /* how long senders are held back while an address is resolved and too much waits for it */

void ins_dpdk_flush(struct dpdk *dpdk) {
    uint32_t left = dpdk->pending_count - dpdk->pending_at;
    if (left) {
        uint16_t sent = rte_eth_tx_burst(dpdk->device, 0, dpdk->pending + dpdk->pending_at, (uint16_t)left);
        dpdk->pending_at += sent;
        dpdk_count(dpdk, DPDK_TX_DATAGRAMS, sent);
    }
    if (dpdk->pending_at == dpdk->pending_count)
        dpdk->pending_at = dpdk->pending_count = 0;
}

/* 1 when there is room for one more; sends what is pending to make some. */
static int room(struct dpdk *dpdk) {
    if (dpdk->pending_count == DPDK_BURST)
        ins_dpdk_flush(dpdk);
    return dpdk->pending_count < DPDK_BURST;
}

void ins_dpdk_send_frame(struct dpdk *dpdk, const uint8_t *frame, uint32_t length) {
    struct rte_mbuf *mbuf = room(dpdk) ? rte_pktmbuf_alloc(dpdk->frames) : NULL;
    if (!mbuf)
        return; /* whoever asked asks again */
    memcpy(rte_pktmbuf_mtod(mbuf, uint8_t *), frame, length);
    mbuf->data_len = (uint16_t)length;
    mbuf->pkt_len = length;
    dpdk->pending[dpdk->pending_count++] = mbuf;
    ins_dpdk_flush(dpdk);
}

void ins_dpdk_ask(struct dpdk *dpdk, uint64_t now_ms) {
    uint8_t frame[INS_ARP_FRAME];
    uint32_t length;
    while (now_ms >= dpdk->arp.next_ms && (length = ins_arp_due(&dpdk->arp, now_ms, frame)))
        ins_dpdk_send_frame(dpdk, frame, length);
}

void ins_dpdk_release_waiting(struct dpdk *dpdk, struct dpdk_route *route, int error) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < dpdk->waiting_count; i++) {
        struct rte_mbuf *mbuf = dpdk->waiting[i].mbuf;
        if (dpdk->waiting[i].route != route) {
            dpdk->waiting[kept++] = dpdk->waiting[i];
        } else if (error || !room(dpdk)) {
            dpdk_count(dpdk, DPDK_TX_UNRESOLVED, 1);
            rte_pktmbuf_free(mbuf);
        } else {
            /* All that was missing is whom the frame is for. */
            memcpy(rte_pktmbuf_mtod(mbuf, uint8_t *), route->t.headers, INS_MAC_BYTES);
            dpdk->pending[dpdk->pending_count++] = mbuf;
        }
    }
    dpdk->waiting_count = kept;
    route->waiting = 0;
    ins_dpdk_flush(dpdk);
}

void ins_dpdk_drop_pending(struct dpdk *dpdk) {
    for (uint32_t i = dpdk->pending_at; i < dpdk->pending_count; i++)
        rte_pktmbuf_free(dpdk->pending[i]);
    for (uint32_t i = 0; i < dpdk->waiting_count; i++)
        rte_pktmbuf_free(dpdk->waiting[i].mbuf);
    dpdk->pending_at = dpdk->pending_count = dpdk->waiting_count = 0;
}

static struct rte_mbuf *write_datagram(struct dpdk *dpdk, const struct dpdk_route *route, const struct ins_tx *tx) {
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(dpdk->frames);
    if (!mbuf)
        return NULL;
    const uint32_t tagged = dpdk->settings.tags && tx->priority;
    const struct ins_packet_template *t = tagged ? &route->tagged : &route->t;
    uint32_t payload = tx->header_length + tx->payload_length;
    uint8_t *frame = rte_pktmbuf_mtod(mbuf, uint8_t *), *at = frame + t->length;
    ins_packet_write(t, frame, payload);
    if (tagged)
        ins_packet_prioritise(frame, tx->priority);
    if (tx->header_length == INS_WIRE_HEADER)
        memcpy(at, tx->header, INS_WIRE_HEADER); /* a constant: a few stores */
    else
        memcpy(at, tx->header, tx->header_length);
    if (tx->payload_length)
        memcpy(at + tx->header_length, tx->payload, tx->payload_length);
    if (dpdk->full_checksum)
        ins_packet_checksum(t, frame, ins_sum(at, payload, 0));
    mbuf->data_len = (uint16_t)(t->length + payload);
    mbuf->pkt_len = mbuf->data_len;
    dpdk_count(dpdk, DPDK_TX_COPIED, payload);
    return mbuf;
}

/* 1: taken; 0: no room now; -errno: refused. */
static int send_one(struct dpdk *dpdk, const struct ins_tx *tx, uint64_t now_ms) {
    uint32_t most = dpdk->mtu - INS_IPV4_HEADER - INS_UDP_HEADER;
    if (tx->payload_length > most || tx->header_length > most - tx->payload_length)
        return -EMSGSIZE;
    struct dpdk_route *route = dpdk->last_route;
    if (!route || route->address != tx->to.address || route->port != tx->to.port)
        dpdk->last_route = route = ins_dpdk_route(dpdk, tx->to.address, tx->to.port, now_ms);
    if (!route)
        return 0;
    int error = ins_dpdk_route_check(dpdk, route, now_ms);
    if (error)
        return error;
    if (route->state == DPDK_ROUTE_READY) {
        if (!room(dpdk))
            return 0;
        struct rte_mbuf *mbuf = write_datagram(dpdk, route, tx);
        if (!mbuf)
            return 0;
        dpdk->pending[dpdk->pending_count++] = mbuf;
        return 1;
    }
    /* It waits with the others in a copy of its own; when those are many, senders wait for a while. */
    if (dpdk->waiting_count == DPDK_WAITING || route->waiting >= DPDK_WAITING / 2)
        return now_ms - route->ms < WAIT_MS ? 0 : -EHOSTUNREACH;
    struct rte_mbuf *mbuf = write_datagram(dpdk, route, tx);
    if (!mbuf)
        return 0;
    dpdk->waiting[dpdk->waiting_count++] = (struct dpdk_waiting){.route = route, .mbuf = mbuf};
    route->waiting++;
    return 1;
}

int ins_dpdk_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    struct dpdk *dpdk = (struct dpdk *)dp;
    uint64_t now_ms = ins_dpdk_now_ms();
    uint32_t done = 0;
    if (dpdk->resolving) {
        ins_dpdk_ask(dpdk, now_ms);
        ins_dpdk_look_ahead(dpdk);
    }
    for (; done < count; done++) {
        int result = send_one(dpdk, &tx[done], now_ms);
        if (result == 0)
            break;
        tx[done].error = result < 0 ? result : 0;
        if (result < 0)
            dpdk_count(dpdk, result == -EHOSTUNREACH ? DPDK_TX_UNRESOLVED : DPDK_TX_REFUSED, 1);
    }
    ins_dpdk_flush(dpdk);
    if (done < count)
        dpdk_count(dpdk, DPDK_TX_AGAIN, 1);
    return (int)done;
}
