/* The raw peer of gates: what a plain socket and a loop that looks at the clock give on this machine at this moment.
   raw_gates_spin send LOCAL PEER PORT PAYLOAD SECONDS TAG CHANNEL CYCLE_NS: a datagram as every cycle begins (whole multiples of
   CYCLE_NS of CLOCK_TAI), with as much of the wire header as raw_gates_capture looks at. raw_gates_spin receive LOCAL PEER
   PORT: takes them, blocking. */
#include "measure.h"

enum { WIRE_MAGIC = 0x494e, WIRE_TAG = 8, WIRE_CHANNEL = 12, WIRE_LENGTH = 40, WIRE_BYTES = 48, DATA = 1, MOST = 1400 };

static uint64_t tai_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_TAI, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static int transmit(int fd, size_t payload, double seconds, uint32_t tag, uint32_t channel, uint64_t cycle) {
    static uint8_t datagram[WIRE_BYTES + MOST];
    datagram[0] = WIRE_MAGIC >> 8;
    datagram[1] = WIRE_MAGIC & 255;
    datagram[3] = DATA;
    put32(datagram + WIRE_TAG, tag);
    put32(datagram + WIRE_CHANNEL, channel);
    put32(datagram + WIRE_LENGTH, (uint32_t)payload);
    uint64_t now = tai_ns(), until = now + (uint64_t)(seconds * 1e9), next = now - now % cycle + cycle, sent = 0;
    while (now < until) {
        while ((now = tai_ns()) < next) cpu_relax();
        if (send(fd, datagram, WIRE_BYTES + payload, 0) < 0)
            die("send");
        sent++;
        /* Cycles that passed meanwhile are let go, as by who emits for the engine. */
        now = tai_ns();
        next = now - now % cycle + cycle;
    }
    printf("{\"sent\":%llu}\n", (unsigned long long)sent);
    return 0;
}

int main(int argc, char **argv) {
    int sends = argc == 10 && !strcmp(argv[1], "send");
    if (!sends && (argc != 5 || strcmp(argv[1], "receive"))) {
        fprintf(stderr, "usage: raw_gates_spin send LOCAL PEER PORT PAYLOAD SECONDS TAG CHANNEL CYCLE_NS | receive LOCAL PEER PORT\n");
        return 2;
    }
    int fd = connected_udp_socket(argv[2], argv[3], (int)number_argument(argv[4], 1, 65535, "PORT"));
    if (sends)
        return transmit(fd, (size_t)number_argument(argv[5], 1, MOST, "PAYLOAD"), number_argument(argv[6], 0.1, 600, "SECONDS"),
                        (uint32_t)number_argument(argv[7], 0, UINT32_MAX, "TAG"),
                        (uint32_t)number_argument(argv[8], 0, UINT32_MAX, "CHANNEL"),
                        (uint64_t)number_argument(argv[9], 1, 4e9, "CYCLE_NS"));
    say_ready();
    for (uint8_t bytes[WIRE_BYTES + MOST];;)
        if (recv(fd, bytes, sizeof bytes, 0) < 0)
            die("recv");
}
