/* Two engines for tests of large messages: A sends to B, which puts them together in a pool of its own. The MTU that A is
   told decides how many fragments there are. */
#ifndef INSANE_LARGE_BENCH_H
#define INSANE_LARGE_BENCH_H

#include "engine_harness.h"

enum {
    LARGE_TAG = 7,
    LARGE_CHANNEL = 8,
    LARGE_SOURCE = 90,
    LARGE_PEER = 1,
    LARGE_EXIT = 1,
    LARGE_ENTRANCE = 2,
    LARGE_POOL = 5,
};

/* Slots in which large messages are put together. */
struct large_pool {
    uint8_t *memory;
    uint64_t bytes;
    uint32_t payload;
};

struct large_bench {
    struct node a, b;
    struct exit_link exit;
    struct entrance in;
    struct large_pool pool;
};

void large_pool_open(struct large_pool *pool, struct node *node, uint32_t id, uint32_t slots, uint32_t payload);
void large_pool_close(struct large_pool *pool, struct node *node, uint32_t id);

/* `options`: of the faulty datapath, both ways; NULL: udp as it is. */
void large_bench_open(struct large_bench *b, const char *options, uint32_t mtu, uint32_t slots, uint32_t payload);
/* Everything must have come home. */
void large_bench_close(struct large_bench *b);

/* The next message on an entrance, checked to the last byte; large ones are read from `pool`. 0: none yet. */
int large_take(struct node *node, struct entrance *in, const struct large_pool *pool, struct ins_descriptor *d,
               struct meta *meta);

#endif
