/* One way as fast as AF_XDP lets a C program: frames with their headers are prepared once, a batch goes out in as few
   kicks as the kernel allows. The receiver measures: goodput in its own window, loss by the sequence number that begins
   every message. The sender sends until it is killed. */
#define _GNU_SOURCE
#include "xdp_socket.h"

#define BATCH 64u
/* A receiver that hears nothing for this long after the first message gives up. */
#define SILENCE_NS UINT64_C(2000000000)
/* Linux 6.17: how many frames one kick sends; before that it is 32. */
#define MAX_TX_BUDGET_OPTION 9

static void send_frames(struct xdp *x, size_t payload) {
    static uint64_t free_frames[RING];
    uint32_t free_count = 0, budget = BATCH;
    uint64_t sequence = 0;
    (void)setsockopt(x->sender, SOL_XDP, MAX_TX_BUDGET_OPTION, &budget, sizeof budget);
    for (uint32_t i = 0; i < RING; i++) {
        free_frames[free_count++] = (uint64_t)(RING + i) * CHUNK;
        memset(x->umem + (uint64_t)(RING + i) * CHUNK, 1, HEADERS + payload);
        memcpy(x->umem + (uint64_t)(RING + i) * CHUNK, x->headers, HEADERS);
    }
    for (;;) {
        for (uint32_t i = 0; i < BATCH && free_count; i++, sequence++) {
            uint64_t address = free_frames[--free_count];
            memcpy(x->umem + address + HEADERS, &sequence, sizeof sequence);
            *frame_at(&x->tx, x->tx.index++) = (struct xdp_desc){.addr = address, .len = (uint32_t)(HEADERS + payload)};
        }
        release(x->tx.producer, x->tx.index);
        kick(x);
        uint32_t producer = acquire(x->completion.producer);
        while (x->completion.index != producer)
            free_frames[free_count++] = *address_at(&x->completion, x->completion.index++) / CHUNK * CHUNK;
        release(x->completion.consumer, x->completion.index);
    }
}

static int receive_frames(struct xdp *x, size_t payload, double warmup, double seconds) {
    uint64_t start = 0, end = 0, last_heard = 0, now, messages = 0, first = 0, last = 0;
    bool measuring = false;
    for (uint64_t i = 0; i < RING; i++) *address_at(&x->fill, x->fill.index++) = i * CHUNK;
    release(x->fill.producer, x->fill.index);
    say_ready();
    for (;;) {
        uint32_t producer = acquire(x->rx.producer);
        now = now_ns();
        if (producer == x->rx.index) {
            if (start && now - last_heard > SILENCE_NS) break;
            cpu_relax();
            continue;
        }
        last_heard = now;
        if (!start) {
            start = now + (uint64_t)(warmup * 1e9);
            end = start + (uint64_t)(seconds * 1e9);
        }
        if (measuring && now >= end) break;
        for (; x->rx.index != producer; x->rx.index++) {
            uint64_t address = frame_at(&x->rx, x->rx.index)->addr, sequence;
            memcpy(&sequence, x->umem + address + HEADERS, sizeof sequence);
            if (measuring) {
                if (!messages++) first = last = sequence;
                else if (sequence > last) last = sequence;
            }
            *address_at(&x->fill, x->fill.index++) = address / CHUNK * CHUNK;
        }
        release(x->rx.consumer, x->rx.index);
        release(x->fill.producer, x->fill.index);
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
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: raw_xdp_rate send|receive native|skb LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    static struct xdp x;
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, MAX_XDP_PAYLOAD, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    open_xdp(&x, argv[3], argv[4], port, payload, mode_argument(argv[2]));
    if (!strcmp(argv[1], "receive")) return receive_frames(&x, payload, warmup, seconds);
    say_ready();
    send_frames(&x, payload);
    return 0;
}
