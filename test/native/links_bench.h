/* What tests of applications' links at an engine share: one link that sends over a datapath that does what it is told. Only for
   files that include cmocka. */
#ifndef INSANE_TEST_LINKS_BENCH_H
#define INSANE_TEST_LINKS_BENCH_H

#include <string.h>

#include "engine_harness.h"
#include "fake_datapath.h"

enum { TAG = 7, CHANNEL = 8, PEER = 1, SLOTS = 64, PAYLOAD = 128 };

struct bench {
    struct node node;
    struct fake *fake;
    struct exit_link exit;
};

static inline void bench_open(struct bench *b, uint32_t peers) {
    struct ins_engine_config config = node_config();
    config.heartbeat_ms = 0;
    memset(b, 0, sizeof *b);
    node_open(&b->node, &config, NULL);
    b->fake = fake_new();
    node_do(&b->node, ins_engine_add_datapath(b->node.engine, NODE_DATAPATH, &b->fake->base));
    for (uint32_t peer = PEER; peer < PEER + peers; peer++) {
        node_do(&b->node, ins_engine_set_peer(b->node.engine, peer, NODE_DATAPATH, 1, peer, 0));
        node_do(&b->node, ins_engine_add_route(b->node.engine, TAG, CHANNEL, peer));
    }
    exit_open(&b->exit, &b->node, 1, TAG, SLOTS, SLOTS, PAYLOAD);
    node_do(&b->node, ins_engine_add_source(b->node.engine, 1, 2, 500, 3, CHANNEL));
}

static inline void bench_close(struct bench *b) {
    exit_close(&b->exit, &b->node);
    node_do(&b->node, ins_engine_remove_datapath(b->node.engine, NODE_DATAPATH));
    fake_free(b->fake);
    node_close(&b->node);
}

static inline void settle(struct bench *b, uint64_t messages) {
    HARNESS_UNTIL(({
                      uint64_t sum = 0;
                      for (uint32_t i = 0; i < 16; i++)
                          sum += b->exit.returned[i];
                      sum == messages;
                  }),
                  &b->node, &b->node)
    exit_reclaim(&b->exit);
}

#endif
