/* One way as fast as a C application over the engine goes, which it polls inline: the library without JavaScript, and
   bursts as large as bench/insane/rate.ts makes them. Arguments as engine_rtt; the receiver measures as raw_udp_rate, the
   sender says what a message cost it. */
#include "engine_application.h"
#include "window.h"

enum { BURST = 512, RECEIVE_BUDGET = 64 };

static void reclaim(void) {
    static struct ins_returned returned[BURST];
    uint32_t count;
    fine(ins_producer_reclaim(&out, returned, BURST, &count), "reclaim");
    for (uint32_t i = 0; i < count; i++) ins_pool_unref(&pool, returned[i].slot);
}

static void transmit(size_t payload, struct cost cost) {
    for (uint64_t sequence = 0;;) {
        for (uint32_t i = 0; i < BURST && pool.free_count; i++, sequence++) {
            int64_t slot = ins_pool_take(&pool);
            uint32_t offset = ins_pool_payload(&pool, (uint32_t)slot);
            memcpy(pool.base + offset, &sequence, sizeof sequence);
            fine(ins_producer_push(&out, 0, (uint32_t)slot, 0, offset, (uint32_t)payload, 0, 0, 0), "push");
        }
        ins_producer_publish(&out);
        ins_engine_poll(engine, 0);
        reclaim();
        cost_sent(&cost, sequence);
        /* Control frames and the like come seldom. */
        if (sequence % (64 * BURST) == 0) ins_engine_poll(engine, 1);
    }
}

static int receive(size_t payload, double warmup, double seconds) {
    static struct ins_descriptor taken[BURST];
    struct window window = {.warmup = warmup, .seconds = seconds};
    for (;;) {
        int count = ins_consumer_take(&in, taken, BURST), going = 1;
        fine(count, "take");
        if (count == 0) {
            ins_engine_poll(engine, RECEIVE_BUDGET);
            continue;
        }
        for (int i = 0; i < count; i++) {
            uint64_t sequence;
            memcpy(&sequence, received + taken[i].offset, sizeof sequence);
            going = going && window_take(&window, sequence);
            ins_consumer_return(&in, taken[i].entry, INS_STATUS_DONE);
        }
        ins_consumer_publish(&in);
        if (!going) return window_print(&window, payload);
    }
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: engine_rate send|receive TECHNOLOGY[:OPTIONS] LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n");
        return 2;
    }
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    size_t payload = (size_t)number_argument(argv[6], 8, 65000, "PAYLOAD");
    double warmup = number_argument(argv[7], 0, 3600, "WARMUP");
    double seconds = number_argument(argv[8], 0, 3600, "SECONDS");
    set_up(argv[2], argv[3], argv[4], port, payload);
    say_ready();
    if (!strcmp(argv[1], "receive")) return receive(payload, warmup, seconds);
    transmit(payload, cost_window(warmup, seconds));
    return 0;
}
