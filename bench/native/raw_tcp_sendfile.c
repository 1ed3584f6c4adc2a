/* Large messages by TCP, as fast as sendfile sends them: the payload lies in a file in memory, of which nothing is copied at
   the sender; the receiver reads each message into a buffer of its own, as a message is to be had in one piece. The receiver
   measures: goodput in its own window. The sender sends until it is killed. */
#define _GNU_SOURCE
#include "measure.h"

#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

/* Buffers that the receiver uses in turn, as an application that holds one while the next comes. */
#define SLOTS 4

static int stream_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, bytes = SOCKET_BUFFER_BYTES;
    if (fd < 0) die("socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return fd;
}

static void send_all(const char *local, const char *peer, int port, size_t payload) {
    struct sockaddr_in here = ipv4_address(local, 0), there = ipv4_address(peer, port);
    int fd = stream_socket();
    if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0) die("connect");
    int file = memfd_create("payload", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)payload) < 0) die("memfd");
    uint8_t *bytes = mmap(NULL, payload, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    if (bytes == MAP_FAILED) die("mmap");
    for (size_t i = 0; i < payload; i++) bytes[i] = (uint8_t)(i * 7);
    for (;;) {
        off_t at = 0;
        while ((size_t)at < payload)
            if (sendfile(fd, file, &at, payload - (size_t)at) < 0 && errno != EINTR) exit(errno == EPIPE || errno == ECONNRESET ? 0 : 1);
    }
}

static int receive_all(const char *local, int port, size_t payload, double warmup, double seconds) {
    struct sockaddr_in here = ipv4_address(local, port);
    int listener = stream_socket();
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    if (listen(listener, 1) < 0) die("listen");
    uint8_t *memory = mmap(NULL, SLOTS * payload, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) die("mmap");
    say_ready();
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9), messages = 0, now = 0;
    int measuring = 0;
    for (uint32_t slot = 0;; slot = (slot + 1) % SLOTS) {
        for (size_t at = 0; at < payload;) {
            /* Looking instead of sleeping, as the others do. */
            ssize_t got = recv(fd, memory + slot * payload + at, payload - at, MSG_DONTWAIT);
            if (got > 0) at += (size_t)got;
            else if (got == 0) return 1;
            else if (errno != EAGAIN && errno != EINTR) die("recv");
            else cpu_relax();
        }
        now = now_ns();
        if (!measuring) {
            measuring = now >= start;
            if (measuring) start = now;
            continue;
        }
        messages++;
        if (now >= end) break;
    }
    double rate = (double)messages / ((double)(now - start) / 1e9);
    printf("{\"rate\":%.3f,\"goodput\":%.4f,\"loss\":0,\"count\":%llu}\n", rate / 1e3, rate * (double)payload * 8 / 1e9,
           (unsigned long long)messages);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: raw_tcp_sendfile send|receive LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    int port = (int)number_argument(argv[4], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[5], 1, 1 << 30, "PAYLOAD");
    double warmup = number_argument(argv[6], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[7], 0, 3600, "SECONDS");
    if (!strcmp(argv[1], "receive")) return receive_all(argv[2], port, payload, warmup, seconds);
    say_ready();
    send_all(argv[2], argv[3], port, payload);
    return 0;
}
