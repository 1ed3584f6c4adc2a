/* One way as fast as DPDK lets a C program, in bursts of 64. The receiver measures: goodput in its own window, loss by the
   sequence number that begins every message. The sender sends until it is killed. */
#define _GNU_SOURCE
#include "dpdk_device.h"

/* A receiver that hears nothing for this long after the first message gives up. */
#define SILENCE_NS UINT64_C(2000000000)

static void send_frames(const struct dpdk *d, size_t payload) {
    struct rte_mbuf *batch[BATCH];
    uint64_t sequence = 0;
    for (;;) {
        if (rte_pktmbuf_alloc_bulk(d->mbufs, batch, BATCH)) refuse("no mbufs are free");
        for (uint32_t i = 0; i < BATCH; i++) fill(d, batch[i], payload, sequence++);
        for (uint16_t sent = 0; sent < BATCH;)
            sent += rte_eth_tx_burst(d->port, 0, batch + sent, (uint16_t)(BATCH - sent));
    }
}

static int receive_frames(const struct dpdk *d, size_t payload, double warmup, double seconds) {
    struct rte_mbuf *batch[BATCH];
    uint64_t start = 0, end = 0, last_heard = 0, now, messages = 0, first = 0, last = 0;
    bool measuring = false;
    say_ready();
    for (;;) {
        uint16_t count = rte_eth_rx_burst(d->port, 0, batch, BATCH);
        now = now_ns();
        if (!count) {
            if (start && now - last_heard > SILENCE_NS) break;
            cpu_relax();
            continue;
        }
        if (measuring && now >= end) break;
        uint32_t ours = 0;
        for (uint16_t i = 0; i < count; i++) {
            uint64_t sequence;
            if (!for_us(d, batch[i], payload)) continue;
            ours++;
            memcpy(&sequence, rte_pktmbuf_mtod(batch[i], uint8_t *) + HEADERS, sizeof sequence);
            if (!measuring) continue;
            if (!messages++) first = last = sequence;
            else if (sequence > last) last = sequence;
        }
        rte_pktmbuf_free_bulk(batch, count);
        if (!ours) continue;
        last_heard = now;
        if (!start) {
            start = now + (uint64_t)(warmup * 1e9);
            end = start + (uint64_t)(seconds * 1e9);
        }
        if (!measuring && now >= start) { /* the window begins with what comes after this batch */
            measuring = true;
            start = now;
        }
    }
    double elapsed = (double)(last_heard - start) / 1e9;
    if (!messages || elapsed <= 0) {
        fprintf(stderr, "nothing arrived in the measured time\n");
        return 1;
    }
    double rate = (double)messages / elapsed, loss = 100.0 * (1.0 - (double)messages / (double)(last - first + 1));
    printf("{\"rate\":%.3f,\"goodput\":%.4f,\"loss\":%.4f,\"count\":%llu}\n", rate / 1e3,
           rate * (double)payload * 8 / 1e9, loss, (unsigned long long)messages);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "usage: raw_dpdk_rate send|receive large-rings|usual-rings INTERFACE LOCAL PEER PEER_MAC PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    struct dpdk d = {0};
    int port = (int)number_argument(argv[7], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[8], 8, MAX_DPDK_PAYLOAD, "PAYLOAD");
    double warmup = number_argument(argv[9], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[10], 0, 3600, "SECONDS");
    open_dpdk(&d, argv[3], large_rings(argv[2]));
    write_headers(&d, argv[4], argv[5], argv[6], port, payload);
    if (!strcmp(argv[1], "receive")) _exit(receive_frames(&d, payload, warmup, seconds));
    say_ready();
    send_frames(&d, payload);
    return 0;
}
