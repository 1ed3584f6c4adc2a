/* When the frames of one stream arrive, by the kernel's time stamps, against a window of a cycle: raw_gates_capture DEVICE
   TAG CHANNEL CYCLE_NS START_NS END_NS. Cycles begin at whole multiples of CYCLE_NS of CLOCK_TAI. Ends three seconds after the
   last frame and says how late after the window's opening they came, and how many lay outside it. Knows nothing of the
   sender but the wire header. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>

#include "measure.h"

#define QUIET_NS UINT64_C(3000000000) /* longer than a sender is kept from its core by others */

enum { ETHERNET = 14, UDP = 8, WIRE_MAGIC = 0x494e, WIRE_TAG = 8, WIRE_CHANNEL = 12, WIRE_LENGTH = 40, WIRE_BYTES = 48, DATA = 1 };

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t be32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

/* How many data messages of the stream and channel the frame holds: several when the kernel hands over a whole train. */
static uint32_t ours(const uint8_t *frame, size_t length, uint32_t tag, uint32_t channel) {
    if (length < ETHERNET + 20 + UDP + WIRE_BYTES || frame[12] != 8 || frame[13] != 0 || frame[ETHERNET + 9] != 17)
        return 0;
    const uint8_t *wire = frame + ETHERNET + (frame[ETHERNET] & 15) * 4 + UDP;
    if ((wire[0] << 8 | wire[1]) != WIRE_MAGIC || wire[3] != DATA || be32(wire + WIRE_TAG) != tag ||
        be32(wire + WIRE_CHANNEL) != channel)
        return 0;
    uint32_t datagram = (uint32_t)(frame[ETHERNET + 2] << 8 | frame[ETHERNET + 3]) - 20 - UDP;
    return datagram / (WIRE_BYTES + be32(wire + WIRE_LENGTH));
}

static int open_socket(const char *device) {
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_IP)), on = 1, bytes = 64 << 20;
    if (fd < 0)
        die("socket");
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(device)};
    if (at.sll_ifindex == 0)
        die(device);
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) || bind(fd, (struct sockaddr *)&at, sizeof at))
        die("a capture with time stamps");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    struct timeval patience = {.tv_usec = 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: raw_gates_capture DEVICE TAG CHANNEL CYCLE_NS START_NS END_NS\n");
        return 2;
    }
    uint32_t tag = (uint32_t)number_argument(argv[2], 0, UINT32_MAX, "TAG");
    uint32_t channel = (uint32_t)number_argument(argv[3], 0, UINT32_MAX, "CHANNEL");
    uint64_t cycle = (uint64_t)number_argument(argv[4], 1, 4e9, "CYCLE_NS");
    uint64_t start = (uint64_t)number_argument(argv[5], 0, 4e9, "START_NS");
    uint64_t end = (uint64_t)number_argument(argv[6], 0, 4e9, "END_NS");
    int fd = open_socket(argv[1]);
    static struct histogram lateness;
    uint64_t frames = 0, outside = 0, last = 0, lost = 0;
    double worst = 0;
    puts("ready");
    fflush(stdout);
    while (last == 0 || now_ns() - last < QUIET_NS) {
        uint8_t frame[ETHERNET + 60 + UDP + WIRE_BYTES];
        union {
            char bytes[CMSG_SPACE(sizeof(struct timespec))];
            struct cmsghdr aligned;
        } control;
        struct iovec iov = {.iov_base = frame, .iov_len = sizeof frame};
        struct msghdr message = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
        ssize_t length = recvmsg(fd, &message, 0);
        uint32_t messages = length < 0 ? 0 : ours(frame, (size_t)length, tag, channel);
        if (messages == 0)
            continue;
        last = now_ns();
        const struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
        if (!stamp || stamp->cmsg_type != SCM_TIMESTAMPNS) {
            lost++;
            continue;
        }
        struct timespec t;
        memcpy(&t, CMSG_DATA(stamp), sizeof t);
        uint64_t offset = clock_ns(CLOCK_TAI) - clock_ns(CLOCK_REALTIME) + 500000000u;
        offset -= offset % 1000000000u; /* whole seconds: the two were read one after the other */
        uint64_t at = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec + offset;
        uint64_t since = (at % cycle + cycle - start) % cycle;
        frames += messages;
        outside += since >= end - start ? messages : 0;
        worst = (double)since > worst ? (double)since : worst;
        for (uint32_t i = 0; i < messages; i++)
            histogram_add(&lateness, since);
    }
    if (frames == 0 || lost) {
        fprintf(stderr, "%lu frames with a time stamp, %lu without\n", (unsigned long)frames, (unsigned long)lost);
        return 1;
    }
    printf("{\"frames\":%lu,\"outside\":%lu,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"worst\":%.3f}\n",
           (unsigned long)frames, (unsigned long)outside, histogram_quantile(&lateness, 0.5) / 1e3,
           histogram_quantile(&lateness, 0.99) / 1e3, histogram_quantile(&lateness, 0.999) / 1e3, worst / 1e3);
    return 0;
}
