/* What the raw peers share: the clock, the latency histogram, the connected UDP socket, argument parsing.
   It may not hide work from the measured loops: nothing here is called per message but now_ns and histogram_add. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Socket buffers of every system of a comparison, bytes. */
#define SOCKET_BUFFER_BYTES (4 << 20)

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Exact to 1 ns below LINEAR, then 2048 buckets an octave; the same buckets as bench/runner/histogram.ts. */
#define HISTOGRAM_LINEAR 65536u
#define HISTOGRAM_OCTAVE 2048u
#define HISTOGRAM_BUCKETS (HISTOGRAM_LINEAR + 16u * HISTOGRAM_OCTAVE)

struct histogram {
    uint64_t count;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t ns) {
    uint32_t v = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
    uint32_t index = v;
    if (v >= HISTOGRAM_LINEAR) {
        uint32_t octave = 31u - (uint32_t)__builtin_clz(v);
        index = HISTOGRAM_LINEAR + (octave - 16u) * HISTOGRAM_OCTAVE + ((v >> (octave - 11u)) & 2047u);
    }
    h->buckets[index]++;
    h->count++;
}

/* Nanoseconds at the lower edge of the bucket that holds the quantile. */
static inline double histogram_quantile(const struct histogram *h, double quantile) {
    uint64_t rank = (uint64_t)((double)h->count * quantile);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank) {
            if (i < HISTOGRAM_LINEAR) return i;
            uint32_t over = i - HISTOGRAM_LINEAR;
            uint32_t octave = over / HISTOGRAM_OCTAVE + 16u;
            return (double)((UINT64_C(1) << octave) + ((uint64_t)(over % HISTOGRAM_OCTAVE) << (octave - 11u)));
        }
    }
    return 0;
}

/* The result line of every program that measures round trips; `lost` were asked and not answered. */
static inline void print_round_trips(const struct histogram *times, uint64_t lost) {
    printf("{\"p50\":%.3f,\"p99\":%.3f,\"count\":%llu,\"lost\":%llu}\n", histogram_quantile(times, 0.5) / 1e3,
           histogram_quantile(times, 0.99) / 1e3, (unsigned long long)times->count, (unsigned long long)lost);
}

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline double number_argument(const char *text, double lowest, double highest, const char *name) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= lowest && value <= highest)) {
        fprintf(stderr, "%s is %s, must be between %g and %g\n", name, text, lowest, highest);
        exit(2);
    }
    return value;
}

/* `text` is a dotted IPv4 address. */
static inline struct sockaddr_in ipv4_address(const char *text, int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, text, &at.sin_addr) != 1) {
        fprintf(stderr, "%s is not an IPv4 address\n", text);
        exit(2);
    }
    return at;
}

/* Both sides use the same port on their own address; `local` and `peer` are dotted IPv4 addresses. */
static inline int connected_udp_socket(const char *local, const char *peer, int port) {
    struct sockaddr_in here = ipv4_address(local, port), there = ipv4_address(peer, port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int bytes = SOCKET_BUFFER_BYTES;
    /* FORCE needs CAP_NET_ADMIN; without it the limit of the host holds, for every system alike. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0) die("connect");
    return fd;
}

/* What a sender's process spends on a message: its CPU time, with what the kernel does for it and, without RPS, for the
   receiver. The window is as long as the receiver's; the result is printed when it is over. */
struct cost {
    uint64_t from, until, cpu, sent;
};

static inline uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct cost cost_window(double warmup, double seconds) {
    uint64_t from = now_ns() + (uint64_t)(warmup * 1e9);
    return (struct cost){.from = from, .until = from + (uint64_t)(seconds * 1e9)};
}

/* So many were sent by now. Reads the clock: to be called once a batch. */
static inline void cost_sent(struct cost *c, uint64_t sent) {
    uint64_t now = now_ns();
    if (now < c->from || !c->until) return;
    if (!c->cpu) {
        c->cpu = cpu_ns();
        c->sent = sent;
    } else if (now >= c->until && sent > c->sent) {
        printf("{\"cost\":%.3f}\n", (double)(cpu_ns() - c->cpu) / (double)(sent - c->sent));
        fflush(stdout);
        c->until = 0;
    }
}

static inline void say_ready(void) {
    puts("ready");
    fflush(stdout);
}

#endif
