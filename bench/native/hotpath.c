/* The hot path one step at a time, for callgrind to count: hotpath STEP BURST ROUNDS. Everything between two calls of
   `measured` is preparation and not counted (--toggle-collect=measured). Steps: get, emit, consume, release and reclaim of
   an application, send and receive of an engine, send-shared where messages share datagrams, receive-N with N sinks
   instead of one. With `time` it says how many nanoseconds the step took, a message. */
#include "engine_program.h"

#include "core/datapath.h"
#include "core/link.h"
#include "core/pool.h"
#include "core/wire.h"

enum { TAG = 1, CHANNEL = 2, PEER = 3, DATAPATH = 4, OUT = 5, IN = 100, SOURCE = 7, FLOW = 9, ENTRIES = 1024, SLOTS = 512,
       PAYLOAD = 64, BURST_MOST = 64, SINKS_MOST = 16, WARM_ROUNDS = 16, PORT = 7000, MTU = 1500 };

static uint32_t burst, sinks = 1;
static struct ins_producer out;
static struct ins_consumer sunk, in[SINKS_MOST];
static struct ins_pool pool;
static uint32_t slots[BURST_MOST];
static struct ins_descriptor taken[BURST_MOST];

/* ---- a datapath that takes everything and has a burst whenever it is told to ---- */

static struct {
    struct ins_datapath base;
    struct ins_pool *pool;
    uint32_t ready;
    uint64_t sequence;
} null;

static int null_bind(struct ins_datapath *dp, struct ins_pool *receive) {
    (void)dp;
    null.pool = receive;
    return 0;
}
static int null_tx(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    (void)dp;
    for (uint32_t i = 0; i < count; i++) tx[i].error = 0;
    return (int)count;
}
static int null_rx(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max) {
    (void)dp;
    uint32_t count = 0;
    for (; null.ready && count < max; null.ready--, count++) {
        uint32_t slot = (uint32_t)ins_pool_take(null.pool), at = ins_pool_payload(null.pool, slot) - INS_WIRE_HEADER;
        struct ins_wire wire = {.type = INS_WIRE_TYPE_DATA, .tag = TAG, .channel = CHANNEL, .source = SOURCE,
                                .flow = FLOW, .sequence = null.sequence++, .length = PAYLOAD, .emit_time = 1};
        ins_wire_write(null.pool->base + at, &wire);
        rx[count] = (struct ins_rx){.slot = slot, .offset = at, .length = INS_WIRE_HEADER + PAYLOAD,
                                    .from = {.address = htonl(0x0a000001), .port = PORT}};
    }
    return (int)count;
}
static int null_fds(struct ins_datapath *dp, int *fds, uint32_t max) { (void)dp; (void)fds; (void)max; return 0; }
static void null_end(struct ins_datapath *dp) { (void)dp; }
static const struct ins_datapath_ops null_ops = {.name = "null", .flags = INS_DATAPATH_CHEAP_RX, .bind = null_bind,
    .tx_burst = null_tx, .rx_burst = null_rx, .fds = null_fds, .unbind = null_end, .close = null_end};

/* ---- set-up ---- */

static void open_engine(void) {
    /* The stand-by thread must not step in while valgrind is slow; no heartbeats between two counts. */
    struct ins_engine_config config = {.idle = INS_IDLE_PARK, .lease = INS_LEASE_INLINE, .takeover_us = 1000000,
        .receive_slots = SLOTS, .receive_bytes = 2048, .link_burst = BURST_MOST, .receive_burst = BURST_MOST};
    uint64_t bytes = (uint64_t)SLOTS * (INS_POOL_HEADER_ROOM + config.receive_bytes);
    fine(ins_engine_create(&config, shared(bytes), bytes, shared(INS_PARKED_PAGE_BYTES), shared(INS_COUNTERS_BYTES), 0,
                           &engine), "engine");
    null.base.ops = &null_ops;
    done(ins_engine_add_datapath(engine, DATAPATH, &null.base), "datapath");
    done(ins_engine_set_peer(engine, PEER, DATAPATH, htonl(0x0a000001), PORT, MTU), "peer");
    done(ins_engine_add_route(engine, TAG, CHANNEL, PEER), "route");
    for (uint32_t i = 0; i < sinks; i++) {
        void *link = shared(ins_link_bytes(ENTRIES));
        fine(ins_consumer_init(&in[i], link, ins_link_bytes(ENTRIES), ENTRIES), "link");
        done(ins_engine_add_ingress(engine, IN + i, link, ins_link_bytes(ENTRIES), ENTRIES, NULL, -1), "ingress");
        done(ins_engine_subscribe(engine, IN + i, TAG, CHANNEL, 0), "subscription");
    }
}

static void open_link(int to_engine) {
    uint64_t bytes = ins_link_bytes(ENTRIES), slot = INS_POOL_HEADER_ROOM + 2048;
    void *link = shared(bytes), *memory = shared(SLOTS * slot);
    fine(ins_producer_init(&out, link, bytes, ENTRIES), "link");
    fine(ins_pool_init(&pool, memory, SLOTS * slot, SLOTS, (uint32_t)slot), "pool");
    if (!to_engine) {
        fine(ins_consumer_init(&sunk, link, bytes, ENTRIES), "link");
        return;
    }
    done(ins_engine_add_egress(engine, OUT, DATAPATH, TAG, link, bytes, ENTRIES, NULL, -1), "egress");
    done(ins_engine_add_pool(engine, OUT, 0, memory, SLOTS * slot, 2048), "pool");
    done(ins_engine_add_source(engine, OUT, 0, SOURCE, 0, CHANNEL), "source");
}

/* ---- the steps ---- */

static void get(void) {
    for (uint32_t i = 0; i < burst; i++) slots[i] = (uint32_t)ins_pool_take(&pool);
}
static void emit(void) {
    for (uint32_t i = 0; i < burst; i++)
        ins_producer_push(&out, 0, slots[i], 0, ins_pool_payload(&pool, slots[i]), PAYLOAD, 0, 0, 0);
    ins_producer_publish(&out);
}
static void consume(void) {
    if (ins_consumer_take(&sunk, taken, burst) != (int)burst) die("consume");
}
static void release(void) {
    for (uint32_t i = 0; i < burst; i++) ins_consumer_return(&sunk, taken[i].entry, INS_STATUS_DONE);
    ins_consumer_publish(&sunk);
}
static void reclaim(void) {
    struct ins_returned returned[BURST_MOST];
    uint32_t count;
    fine(ins_producer_reclaim(&out, returned, burst, &count), "reclaim");
    if (count != burst) die("reclaim");
    for (uint32_t i = 0; i < count; i++) ins_pool_unref(&pool, returned[i].slot);
}
static void engine_send(void) { ins_engine_poll(engine, 0); }
static void engine_receive(void) {
    null.ready = burst;
    ins_engine_poll(engine, burst);
}
static void release_received(void) {
    for (uint32_t i = 0; i < sinks; i++) {
        int count = ins_consumer_take(&in[i], taken, BURST_MOST);
        if (count != (int)burst) die("receive");
        for (int k = 0; k < count; k++) ins_consumer_return(&in[i], taken[k].entry, INS_STATUS_DONE);
        ins_consumer_publish(&in[i]);
    }
}

/* Found by its name in the command line of callgrind, so neither inlined nor cloned. */
__attribute__((noinline, noclone)) void measured(void (*step)(void));
void measured(void (*step)(void)) { step(); }

static void (*counted)(void);
static int timed;
static uint64_t spent;
static void run(void (*step)(void), int warm) {
    if (step != counted || warm) {
        step();
        return;
    }
    uint64_t began = timed ? now_ns() : 0;
    measured(step);
    if (timed) spent += now_ns() - began;
}

int main(int argc, char **argv) {
    timed = argc == 5 && !strcmp(argv[4], "time");
    if (argc != 4 && !timed) {
        fprintf(stderr, "usage: hotpath get|emit|consume|release|reclaim|send|send-shared|receive|receive-N BURST ROUNDS [time]\n");
        return 2;
    }
    burst = (uint32_t)number_argument(argv[2], 1, BURST_MOST, "BURST");
    int rounds = (int)number_argument(argv[3], 1, 1e6, "ROUNDS"), network = 1;
    if (!strncmp(argv[1], "send", 4)) {
        counted = engine_send;
        null.base.mtu = strcmp(argv[1], "send-shared") ? 0 : MTU;
    }
    else if (!strncmp(argv[1], "receive", 7)) {
        counted = engine_receive;
        if (argv[1][7]) sinks = (uint32_t)number_argument(argv[1] + 8, 1, SINKS_MOST, "N");
    } else {
        static const struct { const char *name; void (*step)(void); } steps[] = {
            {"get", get}, {"emit", emit}, {"consume", consume}, {"release", release}, {"reclaim", reclaim}};
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
            if (!strcmp(argv[1], steps[i].name)) counted = steps[i].step;
        network = 0;
    }
    if (!counted) die("no such step");
    if (network) open_engine();
    if (counted != engine_receive) open_link(network);
    for (int round = -WARM_ROUNDS; round < rounds; round++) {
        int warm = round < 0;
        if (counted == engine_receive) {
            run(engine_receive, warm);
            release_received();
            continue;
        }
        run(get, warm);
        run(emit, warm);
        if (network) run(engine_send, warm);
        else {
            run(consume, warm);
            run(release, warm);
        }
        run(reclaim, warm);
    }
    if (timed) printf("%.2f\n", (double)spent / rounds / burst);
    return 0;
}
