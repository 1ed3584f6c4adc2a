/* One way as fast as the kernel's UDP lets a C program: `sendto` and `recv` a message at a time, `mmsg` in batches of
   64, `gso` in trains of equal segments received through GRO. The receiver measures: goodput in its own window, loss
   by the sequence number that begins every message. The sender says what a message cost it in a window as long, and sends
   until it is killed. */
#define _GNU_SOURCE
#include "measure.h"

#include <netinet/udp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH 64
/* Receive buffers of a batch: a GRO train may be this long, and one longer than its buffer would be cut. */
#define TRAIN_BYTES 65536
/* Largest UDP payload over IPv4; a train may not be longer, its segments together. */
#define MAX_DATAGRAM 65507
/* Trains handed to the kernel in one call. */
#define TRAINS 32
/* A receiver that hears nothing for this long after the first message gives up. */
#define SILENCE_NS UINT64_C(2000000000)

static uint8_t *pages(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p == MAP_FAILED) die("mmap");
    return p;
}

static bool transient(void) {
    return errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ECONNREFUSED;
}

static void send_singly(int fd, size_t payload, struct cost cost) {
    uint8_t *message = pages(MAX_DATAGRAM);
    for (uint64_t sequence = 0;; sequence++) {
        memcpy(message, &sequence, sizeof sequence);
        while (send(fd, message, payload, 0) < 0)
            if (!transient()) die("send");
        if (sequence % BATCH == 0) cost_sent(&cost, sequence);
    }
}

/* `n` datagrams of `bytes` that lie one behind another in `memory`, each an iovec of its own. */
static void prepare(struct mmsghdr *headers, struct iovec *vectors, uint8_t *memory, int n, size_t bytes) {
    for (int i = 0; i < n; i++) {
        vectors[i] = (struct iovec){.iov_base = memory + (size_t)i * bytes, .iov_len = bytes};
        headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1}};
    }
}

static void send_batch(int fd, struct mmsghdr *headers, int n) {
    for (int done = 0; done < n;) {
        int sent = sendmmsg(fd, headers + done, (unsigned)(n - done), 0);
        if (sent > 0) done += sent;
        else if (!transient()) die("sendmmsg");
    }
}

static void send_batches(int fd, size_t payload, int n, struct cost cost) {
    static struct mmsghdr headers[BATCH];
    static struct iovec vectors[BATCH];
    uint8_t *memory = pages((size_t)n * payload);
    prepare(headers, vectors, memory, n, payload);
    for (uint64_t sequence = 0;;) {
        for (int i = 0; i < n; i++, sequence++) memcpy(memory + (size_t)i * payload, &sequence, sizeof sequence);
        send_batch(fd, headers, n);
        cost_sent(&cost, sequence);
    }
}

/* The longest train the kernel takes: 128 segments since 6.9, 64 before. */
static size_t longest_train(int fd, size_t payload, uint8_t *memory) {
    for (size_t segments = 128; segments >= 1; segments /= 2) {
        size_t fitting = MAX_DATAGRAM / payload < segments ? MAX_DATAGRAM / payload : segments;
        if (send(fd, memory, fitting * payload, 0) >= 0 || transient()) return fitting;
        if (errno != EINVAL && errno != EMSGSIZE) die("send with UDP_SEGMENT");
    }
    die("UDP_SEGMENT: not even one segment fits the MTU");
    return 0;
}

static void send_trains(int fd, size_t payload, struct cost cost) {
    static struct mmsghdr headers[TRAINS];
    static struct iovec vectors[TRAINS];
    int segment = (int)payload;
    if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) die("UDP_SEGMENT");
    uint8_t *memory = pages((size_t)TRAINS * TRAIN_BYTES);
    /* The probe train carries sequence 0 throughout; it falls into the warm-up. */
    size_t segments = longest_train(fd, payload, memory);
    prepare(headers, vectors, memory, TRAINS, segments * payload);
    for (uint64_t sequence = 1;;) {
        for (size_t i = 0; i < TRAINS * segments; i++, sequence++)
            memcpy(memory + i * payload, &sequence, sizeof sequence);
        send_batch(fd, headers, TRAINS);
        cost_sent(&cost, sequence);
    }
}

/* What arrived between two looks at the clock; `first` and `last` are sequence numbers. */
struct window {
    uint64_t messages, first, last;
};

static void take(struct window *w, const uint8_t *at, size_t bytes, size_t payload) {
    for (size_t offset = 0; offset + payload <= bytes; offset += payload) {
        uint64_t sequence;
        memcpy(&sequence, at + offset, sizeof sequence);
        if (!w->messages++) w->first = w->last = sequence;
        else if (sequence > w->last) w->last = sequence;
    }
}

static int receive(int fd, bool singly, bool trains, size_t payload, double warmup, double seconds) {
    static struct mmsghdr headers[BATCH];
    static struct iovec vectors[BATCH];
    struct window window = {0};
    uint64_t start = 0, end = 0, last_heard = 0, now = 0;
    bool measuring = false;
    int one = 1;
    if (trains && setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) < 0) die("UDP_GRO");
    uint8_t *memory = pages((size_t)BATCH * TRAIN_BYTES);
    prepare(headers, vectors, memory, BATCH, TRAIN_BYTES);
    say_ready();
    for (uint32_t turn = 0;; turn++) {
        int got = singly ? 0 : recvmmsg(fd, headers, BATCH, MSG_DONTWAIT, NULL);
        if (singly) {
            ssize_t n = recv(fd, memory, TRAIN_BYTES, MSG_DONTWAIT);
            got = n < 0 ? -1 : 1;
            headers[0].msg_len = n < 0 ? 0 : (unsigned)n;
        }
        if (got < 0 && !transient()) die("receive");
        /* The clock is read every few turns of single receives: 20 ns each would count. */
        if (got > 0 && (!singly || turn % 16 == 0)) now = now_ns();
        if (got > 0 && !start) {
            now = now_ns();
            start = now + (uint64_t)(warmup * 1e9);
            end = start + (uint64_t)(seconds * 1e9);
        }
        if (got <= 0) {
            cpu_relax();
            now = now_ns();
            if (start && now - last_heard > SILENCE_NS) break;
            continue;
        }
        last_heard = now;
        if (now < start) continue;
        if (!measuring) { /* the window begins with what comes after this batch */
            measuring = true;
            start = now;
            continue;
        }
        if (now >= end) break;
        for (int i = 0; i < got; i++) take(&window, vectors[i].iov_base, headers[i].msg_len, payload);
    }
    double elapsed = (double)(last_heard - start) / 1e9;
    if (!window.messages || elapsed <= 0) {
        fprintf(stderr, "nothing arrived in the measured time\n");
        return 1;
    }
    double rate = (double)window.messages / elapsed;
    double loss = 100.0 * (1.0 - (double)window.messages / (double)(window.last - window.first + 1));
    printf("{\"rate\":%.3f,\"goodput\":%.4f,\"loss\":%.4f,\"count\":%llu}\n", rate / 1e3,
           rate * (double)payload * 8 / 1e9, loss, (unsigned long long)window.messages);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: raw_udp_rate send|receive sendto|mmsg|gso LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    bool singly = !strcmp(argv[2], "sendto"), trains = !strcmp(argv[2], "gso");
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, MAX_DATAGRAM, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    int fd = connected_udp_socket(argv[3], argv[4], port);
    if (!strcmp(argv[1], "receive")) return receive(fd, singly, trains, payload, warmup, seconds);
    say_ready();
    struct cost cost = cost_window(warmup, seconds);
    if (singly) send_singly(fd, payload, cost);
    else if (trains) send_trains(fd, payload, cost);
    else send_batches(fd, payload, BATCH, cost);
    return 0;
}
