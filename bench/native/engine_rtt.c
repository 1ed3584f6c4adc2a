/* Round trips of a C application over the engine, which it polls inline: what the library costs beside the raw program of
   the same technology, without JavaScript. Arguments and result as raw_udp_rtt; TECHNOLOGY is a datapath's name, with
   options behind a colon ("xdp:mode=skb"). Prints "ready" (echo) or the result (ping). */
#include "engine_application.h"

#define LOST_AFTER_NS UINT64_C(100000000)

static struct ins_descriptor held;

static void transmit(uint64_t number, size_t payload) {
    push(number, payload);
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
    const struct arguments all = set_up_by(argc, argv, "ping|echo");
    if (!strcmp(all.role, "echo")) {
        say_ready();
        for (uint64_t number;;)
            if (receive(&number)) transmit(number, all.payload);
    }
    ping(all.payload, all.warmup, all.seconds);
    return 0;
}
