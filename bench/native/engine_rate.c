/* One way as fast as a C application over the engine goes, which it polls inline: the library without JavaScript, and
   bursts as large as bench/insane/rate.ts makes them. Arguments as engine_rtt; the receiver measures as raw_udp_rate, the
   sender says what a message cost it. */
#include "engine_application.h"
#include "window.h"

enum { BURST = 704, RECEIVE_BUDGET = 64 };

static void transmit(size_t payload, struct cost cost) {
    for (uint64_t sequence = 0;;) {
        for (uint32_t i = 0; i < BURST && pool.free_count; i++) push(sequence++, payload);
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
    const struct arguments all = set_up_by(argc, argv, "send|receive");
    say_ready();
    if (!strcmp(all.role, "receive")) return receive(all.payload, all.warmup, all.seconds);
    transmit(all.payload, cost_window(all.warmup, all.seconds));
    return 0;
}
