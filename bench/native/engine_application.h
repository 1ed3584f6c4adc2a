/* A C application over an engine that it polls inline, with one source and one sink: what engine_rtt and engine_rate set
   up alike. TECHNOLOGY is a datapath's name, with options behind a colon ("xdp:mode=skb"). */
#ifndef BENCH_ENGINE_APPLICATION_H
#define BENCH_ENGINE_APPLICATION_H

#include "engine_program.h"

#include "core/link.h"
#include "core/platform.h"
#include "core/pool.h"

enum { TAG = 1, CHANNEL = 2, PEER = 3, DATAPATH = 4, OUT = 5, IN = 6, SOURCE = 7, ENTRIES = 1024, SLOTS = 512, XDP_SLOT = 4032 };

static struct ins_producer out;
static struct ins_consumer in;
static struct ins_pool pool;
static uint8_t *received;

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
    done(ins_engine_set_peer(engine, PEER, DATAPATH, inet_addr(peer), (uint32_t)port, at.mtu), "peer");

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

#endif
