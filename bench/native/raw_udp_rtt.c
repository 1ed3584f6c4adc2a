/* Round trips over a plain connected UDP socket: what the kernel alone gives a C program.
   `echo` returns every datagram until it is killed; `ping` has one datagram in flight and prints one JSON line. */
#define _GNU_SOURCE
#include "measure.h"

#include <stdbool.h>

/* A datagram not answered after this long is lost and the next one is sent. */
#define LOST_AFTER_NS UINT64_C(200000000)
/* Empty receives between looks at the clock: about half a millisecond. */
#define SPINS_PER_LOOK 2048

static uint8_t buffer[65536];

/* No pause between looks: the system call is pause enough, and one more costs a twentieth of a microsecond. */
static ssize_t receive_spinning(int fd) {
    uint64_t deadline = 0;
    for (uint32_t spins = 0;; spins++) {
        ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n >= 0) return n;
        if (errno != EAGAIN && errno != ECONNREFUSED) die("recv");
        if (spins % SPINS_PER_LOOK == SPINS_PER_LOOK - 1) {
            uint64_t now = now_ns();
            if (!deadline) deadline = now + LOST_AFTER_NS;
            if (now > deadline) return -1;
        }
    }
}

static ssize_t receive_blocking(int fd) {
    for (;;) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n >= 0) return n;
        if (errno == EAGAIN) return -1;
        if (errno != EINTR && errno != ECONNREFUSED) die("recv");
    }
}

static void transmit(int fd, size_t bytes) {
    while (send(fd, buffer, bytes, 0) < 0)
        if (errno != ECONNREFUSED && errno != EINTR && errno != ENOBUFS) die("send");
}

static void echo(int fd, bool spin) {
    say_ready();
    for (;;) {
        ssize_t n = spin ? receive_spinning(fd) : receive_blocking(fd);
        if (n > 0) transmit(fd, (size_t)n);
    }
}

static void ping(int fd, bool spin, size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t lost = 0, sequence = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    for (uint64_t sent = now_ns(); sent < end;) {
        sequence++;
        memcpy(buffer, &sequence, sizeof sequence);
        transmit(fd, payload);
        uint64_t answer = 0, done;
        do {
            ssize_t n = spin ? receive_spinning(fd) : receive_blocking(fd);
            if (n < 0) break;
            memcpy(&answer, buffer, sizeof answer);
        } while (answer != sequence); /* late answers to datagrams given up */
        done = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, done - sent);
            else lost++;
        }
        sent = done;
    }
    print_round_trips(&times, lost);
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: raw_udp_rtt ping|echo spin|block LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    bool spin = !strcmp(argv[2], "spin");
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, 65507, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    int fd = connected_udp_socket(argv[3], argv[4], port);
    struct timeval timeout = {.tv_usec = LOST_AFTER_NS / 1000};
    if (!spin && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) die("SO_RCVTIMEO");
    memset(buffer, 1, sizeof buffer);
    if (!strcmp(argv[1], "echo")) echo(fd, spin);
    ping(fd, spin, payload, warmup, seconds);
    return 0;
}
