/* A C application over an engine that it polls inline, with one source and one sink: what engine_rtt and engine_rate set
   up alike. TECHNOLOGY is a datapath's name, with options behind a colon ("xdp:mode=skb"). */
#ifndef BENCH_ENGINE_APPLICATION_H
#define BENCH_ENGINE_APPLICATION_H

#include "engine_program.h"

#include "core/link.h"
#include "core/platform.h"
#include "core/pool.h"

enum { TAG = 1, CHANNEL = 2, PEER = 3, DATAPATH = 4, OUT = 5, IN = 6, SOURCE = 7, ENTRIES = 1024, SLOTS = 1024, XDP_SLOT = 4032 };

static struct ins_producer out;
static struct ins_consumer in;
static struct ins_pool pool;
static uint8_t *received;

/* Arguments: ROLE TECHNOLOGY[:OPTIONS] LOCAL PEER PORT PAYLOAD WARMUP SECONDS. */
struct arguments {
    const char *role;
    size_t payload;
    double warmup, seconds;
};

static void set_up(char *technology, const char *local, const char *peer, int port, size_t payload) {
    char *options = strchr(technology, ':');
    if (options) *options++ = '\0';
    int xdp = !strcmp(technology, "xdp");
    struct ins_engine_config config = {.idle = INS_IDLE_PARK, .spin_us = 20, .lease = INS_LEASE_INLINE,
        .takeover_us = 100000, .heartbeat_ms = 10, .receive_slots = SLOTS,
        .receive_bytes = xdp ? XDP_SLOT : 65536, .link_burst = 64, .receive_burst = 32};
    uint64_t bytes = (uint64_t)SLOTS * (INS_POOL_HEADER_ROOM + config.receive_bytes);
    received = shared(bytes);
    fine(ins_engine_create(&config, received, bytes, shared(INS_PARKED_PAGE_BYTES), shared(INS_COUNTERS_BYTES), 0,
                           &engine), "engine");
    struct ins_datapath *datapath;
    struct ins_endpoint at = {.address = inet_addr(local), .port = (uint16_t)port};
    fine(ins_datapath_open(technology, options, &at, &datapath), "open the datapath");
    done(ins_engine_add_datapath(engine, DATAPATH, datapath), "add the datapath");
    done(ins_engine_set_peer(engine, PEER, DATAPATH, inet_addr(peer), (uint32_t)port, ins_endpoint_limits(&at)), "peer");

    uint64_t link = ins_link_bytes(ENTRIES), slot = INS_POOL_HEADER_ROOM + (payload + 63) / 64 * 64;
    void *forward = shared(link), *backward = shared(link);
    uint8_t *memory = shared(SLOTS * slot);
    fine(ins_producer_init(&out, forward, link, ENTRIES), "link");
    fine(ins_consumer_init(&in, backward, link, ENTRIES), "link");
    fine(ins_pool_init(&pool, memory, SLOTS * slot, SLOTS, (uint32_t)slot), "pool");
    done(ins_engine_add_egress(engine, OUT, DATAPATH, TAG, forward, link, ENTRIES, NULL, -1), "egress");
    done(ins_engine_add_pool(engine, OUT, 0, memory, SLOTS * slot, (uint32_t)(slot - INS_POOL_HEADER_ROOM)), "pool");
    done(ins_engine_add_source(engine, OUT, 0, SOURCE, 0, CHANNEL), "source");
    done(ins_engine_add_route(engine, TAG, CHANNEL, PEER), "route");
    done(ins_engine_add_ingress(engine, IN, backward, link, ENTRIES, NULL, -1), "ingress");
    done(ins_engine_subscribe(engine, IN, TAG, CHANNEL, 0), "subscription");
    ins_engine_poll(engine, 1);
}

/* Exits with 2 where they are wrong. */
static struct arguments set_up_by(int argc, char **argv, const char *roles) {
    if (argc != 9) {
        fprintf(stderr, "usage: %s %s TECHNOLOGY[:OPTIONS] LOCAL PEER PORT PAYLOAD WARMUP SECONDS\n", argv[0], roles);
        exit(2);
    }
    int port = (int)number_argument(argv[5], 1, 65535, "PORT");
    struct arguments all = {.role = argv[1],
                            .payload = (size_t)number_argument(argv[6], 8, 65000, "PAYLOAD"),
                            .warmup = number_argument(argv[7], 0, 3600, "WARMUP"),
                            .seconds = number_argument(argv[8], 0, 3600, "SECONDS")};
    set_up(argv[2], argv[3], argv[4], port, all.payload);
    return all;
}

/* The next message, whose first eight bytes are its number; there is a slot for it. */
static void push(uint64_t number, size_t payload) {
    int64_t slot = ins_pool_take(&pool);
    fine(slot, "slot");
    uint32_t offset = ins_pool_payload(&pool, (uint32_t)slot);
    memcpy(pool.base + offset, &number, sizeof number);
    fine(ins_producer_push(&out, 0, (uint32_t)slot, 0, offset, (uint32_t)payload, 0, 0, 0), "push");
}

/* Takes home what has come back. */
static void reclaim(void) {
    static struct ins_returned returned[SLOTS];
    uint32_t count;
    fine(ins_producer_reclaim(&out, returned, SLOTS, &count), "reclaim");
    for (uint32_t i = 0; i < count; i++) ins_pool_unref(&pool, returned[i].slot);
}

#endif
