/* Round trips of a C application over the engine, which it polls inline: what the library costs beside the raw program of
   the same technology, without JavaScript. Arguments and result as raw_udp_rtt; TECHNOLOGY is a datapath's name, with
   options behind a colon ("xdp:mode=skb"). Prints "ready" (echo) or the result (ping). */
#include "engine_application.h"

#define LOST_AFTER_NS UINT64_C(100000000)

static struct ins_descriptor held;

static void reclaim(void) {
    struct ins_returned returned[8];
    uint32_t count;
    fine(ins_producer_reclaim(&out, returned, 8, &count), "reclaim");
    for (uint32_t i = 0; i < count; i++) ins_pool_unref(&pool, returned[i].slot);
}

/* The first eight bytes are the number. */
static void transmit(uint64_t number, size_t payload) {
    int64_t slot = ins_pool_take(&pool);
    fine(slot, "slot");
    uint32_t offset = ins_pool_payload(&pool, (uint32_t)slot);
    memcpy(pool.base + offset, &number, sizeof number);
    fine(ins_producer_push(&out, 0, (uint32_t)slot, 0, offset, (uint32_t)payload, 0, 0, 0), "push");
    ins_producer_publish(&out);
    ins_engine_poll(engine, 1);
    reclaim();
}

static int receive(uint64_t *number) {
    uint64_t deadline = 0;
    for (uint32_t turns = 1; ins_consumer_take(&in, &held, 1) == 0; turns++) {
        ins_engine_poll(engine, 1);
        if (turns % 16384 == 0) {
            uint64_t now = now_ns();
            if (!deadline) deadline = now + LOST_AFTER_NS;
            if (now > deadline) return 0;
        }
    }
    memcpy(number, received + held.offset, sizeof *number);
    ins_consumer_return(&in, held.entry, INS_STATUS_DONE);
    ins_consumer_publish(&in);
    return 1;
}

static void ping(size_t payload, double warmup, double seconds) {
    static struct histogram times;
    uint64_t lost = 0, sequence = 0;
    uint64_t start = now_ns() + (uint64_t)(warmup * 1e9), end = start + (uint64_t)(seconds * 1e9);
    for (uint64_t sent = now_ns(); sent < end;) {
        transmit(++sequence, payload);
        uint64_t answer = 0, now;
        while (answer != sequence && receive(&answer)) continue;
        now = now_ns();
        if (sent >= start) {
            if (answer == sequence) histogram_add(&times, now - sent);
            else lost++;
        }
        sent = now;
    }
    print_round_trips(&times, lost);
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: engine_rtt ping|echo TECHNOLOGY[:OPTIONS] LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, 65000, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    set_up(argv[2], argv[3], argv[4], port, payload);
    if (!strcmp(argv[1], "echo")) {
        say_ready();
        for (uint64_t number;;)
            if (receive(&number)) transmit(number, payload);
    }
    ping(payload, warmup, seconds);
    return 0;
}
