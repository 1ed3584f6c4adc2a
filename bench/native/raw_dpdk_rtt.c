/* Round trips over DPDK as fast as a C program gets them: the echo sends the very mbuf it received, the asking side a new
   one each time. One message in flight, both sides spin. Prints "ready" (echo) or the result (ping). */
#define _GNU_SOURCE
#include "dpdk_device.h"

#define LOST_AFTER_NS UINT64_C(100000000)
#define SPINS_PER_LOOK 16384u

/* NULL when nothing came for a while. */
static struct rte_mbuf *receive(const struct dpdk *d, size_t payload) {
    uint64_t deadline = 0;
    for (uint32_t spins = 0;; spins++) {
        struct rte_mbuf *m;
        if (rte_eth_rx_burst(d->port, 0, &m, 1)) {
            if (for_us(d, m, payload)) return m;
            rte_pktmbuf_free(m);
        }
        if (spins % SPINS_PER_LOOK == SPINS_PER_LOOK - 1) {
            uint64_t now = now_ns();
            if (!deadline) deadline = now + LOST_AFTER_NS;
            if (now > deadline) return NULL;
        }
    }
}

static void transmit(const struct dpdk *d, struct rte_mbuf *m) {
    while (rte_eth_tx_burst(d->port, 0, &m, 1) == 0) cpu_relax();
}

static void echo(const struct dpdk *d, size_t payload) {
    say_ready();
    for (;;) {
        struct rte_mbuf *m = receive(d, payload);
        if (!m) continue;
        memcpy(rte_pktmbuf_mtod(m, uint8_t *), d->headers, HEADERS); /* as long as what came */
        transmit(d, m);
    }
}

static void ping(const struct dpdk *d, size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t lost = 0, sequence = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    for (uint64_t sent = now_ns(); sent < end;) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(d->mbufs);
        if (!m) refuse("no mbuf is free");
        fill(d, m, payload, ++sequence);
        transmit(d, m);
        uint64_t answer = 0, now;
        do {
            m = receive(d, payload);
            if (!m) break;
            memcpy(&answer, rte_pktmbuf_mtod(m, uint8_t *) + HEADERS, sizeof answer);
            rte_pktmbuf_free(m);
        } while (answer != sequence); /* late answers to datagrams given up */
        now = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, now - sent);
            else lost++;
        }
        sent = now;
    }
    print_round_trips(&times, lost);
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: raw_dpdk_rtt ping|echo large-rings|usual-rings INTERFACE LOCAL PEER PEER_MAC PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    struct dpdk d = {0};
    int port = (int)number_argument(argv[7], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[8], 8, MAX_DPDK_PAYLOAD, "PAYLOAD");
    double warmup = number_argument(argv[9], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[10], 0, 3600, "SECONDS");
    open_dpdk(&d, argv[3], large_rings(argv[2]));
    write_headers(&d, argv[4], argv[5], argv[6], port, payload);
    if (!strcmp(argv[1], "echo")) echo(&d, payload);
    ping(&d, payload, warmup, seconds);
    fflush(stdout);
    _exit(0); /* nothing of DPDK's outlives the process */
}
