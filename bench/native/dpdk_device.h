/* A DPDK port as the raw peers need it: an af_packet device on a kernel interface, one queue each way, DPDK's usual pools
   with the caches of its own thread, headers towards one peer whose address is given. Set-up only; the loops are the
   programs' own. Addresses are none of the kernel's: it must not answer. */
#ifndef BENCH_DPDK_DEVICE_H
#define BENCH_DPDK_DEVICE_H

#include "measure.h"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <stdbool.h>

#define HEADERS 42u
#define MAX_DPDK_PAYLOAD 1458u
/* The same rings as the library's own device, and by far the fastest of those tried: a round trip of 2.6 us, where those
   that af_packet has by itself (512 frames of 2 KiB) need 3.4. Frames must fit an mbuf, and fill their blocks. */
#define LARGE_RINGS ",blocksz=2093056,framesz=65408,framecnt=256"
#define LARGE_MBUF_ROOM 65535
#define MBUFS 2047
#define BATCH 64u

struct dpdk {
    uint16_t port;
    struct rte_mempool *mbufs;
    uint8_t headers[HEADERS]; /* towards the peer, for payloads of the one length */
};

static inline void refuse(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline uint16_t ip_checksum(const uint8_t *header) {
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2) sum += (uint32_t)header[i] << 8 | header[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~((sum & 0xffff) + (sum >> 16));
}

static inline void put16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void write_headers(struct dpdk *d, const char *local, const char *peer, const char *peer_mac, int udp_port,
                                 size_t payload) {
    struct rte_ether_addr own;
    unsigned mac[6];
    uint8_t *h = d->headers, *ip = h + 14, *udp = h + 34;
    if (sscanf(peer_mac, "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6 ||
        inet_pton(AF_INET, local, ip + 12) != 1 || inet_pton(AF_INET, peer, ip + 16) != 1) {
        fprintf(stderr, "%s, %s or %s is no address\n", local, peer, peer_mac);
        exit(2);
    }
    if (rte_eth_macaddr_get(d->port, &own)) refuse("the port has no address");
    for (int i = 0; i < 6; i++) h[i] = (uint8_t)mac[i];
    memcpy(h + 6, own.addr_bytes, 6);
    put16(h + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(28 + payload));
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = 17;
    put16(ip + 10, ip_checksum(ip));
    put16(udp, (uint32_t)udp_port);
    put16(udp + 2, (uint32_t)udp_port);
    put16(udp + 4, (uint32_t)(8 + payload));
}

/* Ours: to our address and port. The device shows all that the interface carries. */
static inline bool for_us(const struct dpdk *d, const struct rte_mbuf *m, size_t payload) {
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    return m->data_len >= HEADERS + payload && memcmp(frame + 30, d->headers + 26, 4) == 0 &&
           memcmp(frame + 36, d->headers + 36, 2) == 0 && frame[12] == 8 && frame[13] == 0;
}

static inline void fill(const struct dpdk *d, struct rte_mbuf *m, size_t payload, uint64_t sequence) {
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    memcpy(frame, d->headers, HEADERS);
    memcpy(frame + HEADERS, &sequence, sizeof sequence);
    m->data_len = (uint16_t)(HEADERS + payload);
    m->pkt_len = m->data_len;
}

/* Rings: large, as above, or usual, the device's own. */
static inline bool large_rings(const char *rings) {
    if (strcmp(rings, "large-rings") && strcmp(rings, "usual-rings")) {
        fprintf(stderr, "%s is neither large-rings nor usual-rings\n", rings);
        exit(2);
    }
    return rings[0] == 'l';
}

static inline void open_dpdk(struct dpdk *d, const char *interface, bool large) {
    char cores[24], device[128];
    cpu_set_t allowed;
    int core = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        while (core < CPU_SETSIZE - 1 && !CPU_ISSET(core, &allowed)) core++;
    snprintf(cores, sizeof cores, "0@%d", core);
    snprintf(device, sizeof device, "--vdev=net_af_packet0,iface=%s%s", interface, large ? LARGE_RINGS : "");
    char *arguments[] = {"raw_dpdk", "--no-huge",    "--no-shconf", "-m", "256",  "--no-pci",
                         "--lcores", cores,          device,        "--no-telemetry", "--log-level=error"};
    rte_openlog_stream(stderr);
    if (rte_eal_init((int)(sizeof arguments / sizeof *arguments), arguments) < 0) refuse("DPDK does not start");
    struct rte_eth_conf configuration = {0};
    d->port = 0;
    uint16_t room = large ? LARGE_MBUF_ROOM : RTE_MBUF_DEFAULT_BUF_SIZE;
    d->mbufs = rte_pktmbuf_pool_create("mbufs", MBUFS, 256, 0, room, SOCKET_ID_ANY);
    if (!d->mbufs || rte_eth_dev_count_avail() != 1 || rte_eth_dev_configure(d->port, 1, 1, &configuration) ||
        rte_eth_rx_queue_setup(d->port, 0, 1024, SOCKET_ID_ANY, NULL, d->mbufs) ||
        rte_eth_tx_queue_setup(d->port, 0, 1024, SOCKET_ID_ANY, NULL) || rte_eth_dev_start(d->port))
        refuse("the port cannot be opened");
}

#endif
