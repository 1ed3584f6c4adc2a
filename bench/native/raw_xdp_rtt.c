/* Round trips over AF_XDP as fast as a C program gets them: the echo sends the very frame it received, the asking side
   sends one frame again and again. One message in flight, both sides spin. Prints "ready" (echo) or the result (ping). */
#define _GNU_SOURCE
#include "xdp_socket.h"

#define LOST_AFTER_NS UINT64_C(100000000)
#define SPINS_PER_LOOK 65536u
/* Few enough that they stay in the cache: one message is in flight. */
#define POSTED 64u

static void post(struct xdp *x, uint64_t address) {
    *address_at(&x->fill, x->fill.index++) = address;
    release(x->fill.producer, x->fill.index);
}

static void transmit(struct xdp *x, uint64_t address, size_t bytes) {
    *frame_at(&x->tx, x->tx.index++) = (struct xdp_desc){.addr = address, .len = (uint32_t)bytes};
    release(x->tx.producer, x->tx.index);
    kick(x);
}

/* Frames come home after they were sent; on a virtual device when the kick returns, nearly always. */
static void reclaim(struct xdp *x, bool into_fill) {
    uint32_t producer = acquire(x->completion.producer);
    if (x->completion.index == producer) return;
    while (x->completion.index != producer) {
        uint64_t address = *address_at(&x->completion, x->completion.index++);
        if (into_fill) post(x, address / CHUNK * CHUNK);
    }
    release(x->completion.consumer, x->completion.index);
}

/* NULL when nothing came for a while. The place in the ring is given back by `done`. */
static const struct xdp_desc *receive(struct xdp *x) {
    uint64_t deadline = 0;
    for (uint32_t spins = 0; acquire(x->rx.producer) == x->rx.index; spins++)
        if (spins % SPINS_PER_LOOK == SPINS_PER_LOOK - 1) {
            uint64_t now = now_ns();
            if (!deadline) deadline = now + LOST_AFTER_NS;
            if (now > deadline) return NULL;
        }
    return frame_at(&x->rx, x->rx.index++);
}

static void done(struct xdp *x) { release(x->rx.consumer, x->rx.index); }

static void echo(struct xdp *x) {
    say_ready();
    for (;;) {
        const struct xdp_desc *frame = receive(x);
        if (!frame) continue;
        uint64_t address = frame->addr;
        size_t bytes = frame->len;
        done(x);
        memcpy(x->umem + address, x->headers, HEADERS); /* as long as what came: the payload's length is fixed */
        transmit(x, address, bytes);
        reclaim(x, true);
    }
}

static void ping(struct xdp *x, size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t lost = 0, sequence = 0, own = (uint64_t)RING * CHUNK;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    memset(x->umem + own, 1, CHUNK);
    memcpy(x->umem + own, x->headers, HEADERS);
    for (uint64_t sent = now_ns(); sent < end;) {
        sequence++;
        memcpy(x->umem + own + HEADERS, &sequence, sizeof sequence);
        transmit(x, own, HEADERS + payload);
        uint64_t answer = 0, now;
        do {
            const struct xdp_desc *frame = receive(x);
            if (!frame) break;
            uint64_t address = frame->addr;
            memcpy(&answer, x->umem + address + HEADERS, sizeof answer);
            done(x);
            post(x, address / CHUNK * CHUNK);
        } while (answer != sequence); /* late answers to datagrams given up */
        now = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, now - sent);
            else lost++;
        }
        sent = now;
        reclaim(x, false);
    }
    print_round_trips(&times, lost);
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: raw_xdp_rtt ping|echo native|skb[-one] LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    static struct xdp x;
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, MAX_XDP_PAYLOAD, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    open_xdp(&x, argv[3], argv[4], port, payload, mode_argument(argv[2]));
    for (uint64_t i = 0; i < POSTED; i++) post(&x, i * CHUNK);
    if (!strcmp(argv[1], "echo")) echo(&x);
    ping(&x, payload, warmup, seconds);
    return 0;
}
