/* Frames over TCP as sendfile sends them: straight from a file's pages, no copy in user space at the sender; the receiver reads
   each into one buffer. Before each frame goes a header of 16 bytes: number, and when it was sent. `fps` 0: as fast as the
   connection takes them, else paced. With `read` the receiver looks at each byte as
   well; with `verify` it compares them with what they have to be, for a run that is not measured. */
#define _GNU_SOURCE
#include "measure.h"

#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

struct header {
    uint64_t number, sent_ns;
};

/* No byte of a frame has this value: who looks for it looks at all of them. */
enum { ABSENT = 1 };

/* What every frame consists of, so that a receiver can tell. */
static void draw(uint8_t *frame, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        uint8_t value = (uint8_t)(i * 31 + (i >> 12));
        frame[i] = value == ABSENT ? ABSENT + 1 : value;
    }
}

static int tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0) die("SO_REUSEADDR");
    return fd;
}

static void send_frame(int fd, int file, size_t bytes, uint64_t number) {
    struct header header = {.number = number, .sent_ns = now_ns()};
    if (send(fd, &header, sizeof header, MSG_MORE | MSG_NOSIGNAL) != sizeof header) exit(0); /* the receiver has enough */
    for (off_t at = 0; (size_t)at < bytes;) {
        ssize_t n = sendfile(fd, file, &at, bytes - (size_t)at);
        if (n > 0 || (n < 0 && errno == EINTR)) continue;
        exit(0);
    }
}

/* Sends until it is killed or the receiver goes. */
static void send_frames(const char *peer, int port, size_t bytes, double fps) {
    int file = memfd_create("frame", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)bytes) < 0) die("memfd");
    uint8_t *frame = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (frame == MAP_FAILED) die("mmap");
    draw(frame, bytes);
    int fd = tcp_socket();
    struct sockaddr_in there = ipv4_address(peer, port);
    if (connect(fd, (struct sockaddr *)&there, sizeof there) < 0) die("connect");
    int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0) die("TCP_NODELAY");
    uint64_t period = fps > 0 ? (uint64_t)(1e9 / fps) : 0;
    uint64_t due = now_ns();
    for (uint64_t number = 0;; number++) {
        send_frame(fd, file, bytes, number);
        if (period == 0) continue;
        due += period;
        struct timespec until = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

static void read_all(int fd, void *into, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        ssize_t n = recv(fd, (uint8_t *)into + at, bytes - at, MSG_WAITALL);
        if (n > 0) at += (size_t)n;
        else if (n == 0 || errno != EINTR) die("receive");
    }
}

static int receive_frames(const char *local, int port, size_t bytes, double warmup, double seconds, const char *how) {
    static struct histogram latencies;
    bool verify = !strcmp(how, "verify"), look = !strcmp(how, "read");
    int listener = tcp_socket();
    struct sockaddr_in here = ipv4_address(local, port);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0) die("bind");
    if (listen(listener, 1) < 0) die("listen");
    uint8_t *frame = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint8_t *right = malloc(bytes);
    if (frame == MAP_FAILED || right == NULL) die("memory");
    draw(right, bytes);
    say_ready();
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) die("accept");
    struct header header;
    uint64_t begin = 0, end = 0, last = 0, frames = 0, wrong = 0;
    for (;;) {
        read_all(fd, &header, sizeof header);
        read_all(fd, frame, bytes);
        uint64_t now = now_ns();
        if (look && memchr(frame, ABSENT, bytes) != NULL) wrong++;
        if (verify && memcmp(frame, right, bytes) != 0) wrong++;
        if (begin == 0) {
            begin = now + (uint64_t)(warmup * 1e9);
            end = begin + (uint64_t)(seconds * 1e9);
        }
        if (now < begin) continue;
        if (last == 0) begin = now; /* the window begins with this one */
        else {
            frames++;
            histogram_add(&latencies, now - header.sent_ns);
        }
        last = now;
        if (now >= end && frames > 0) break;
    }
    printf("{\"fps\":%.4f,\"p50\":%.4f,\"p99\":%.4f,\"frames\":%llu,\"wrong\":%llu}\n",
           (double)frames / ((double)(last - begin) / 1e9), histogram_quantile(&latencies, 0.5) / 1e6,
           histogram_quantile(&latencies, 0.99) / 1e6, (unsigned long long)frames, (unsigned long long)wrong);
    return wrong != 0;
}

int main(int argc, char **argv) {
    bool sends = argc == 6 && !strcmp(argv[1], "send");
    bool receives = argc >= 7 && !strcmp(argv[1], "receive");
    if (!sends && !receives) {
        fprintf(stderr, "usage: %s send PEER PORT BYTES FPS | receive LOCAL PORT BYTES WARMUP SECONDS [read|verify]\n", argv[0]);
        return 2;
    }
    int port = (int)number_argument(argv[3], 1, 65535, "PORT");
    size_t bytes = (size_t)number_argument(argv[4], 1, 1 << 30, "BYTES");
    if (sends) send_frames(argv[2], port, bytes, number_argument(argv[5], 0, 10000, "FPS"));
    return receive_frames(argv[2], port, bytes, number_argument(argv[5], 0, 60, "WARMUP"),
                          number_argument(argv[6], 0.01, 3600, "SECONDS"), argc == 8 ? argv[7] : "");
}
