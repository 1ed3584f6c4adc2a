/* Two engines for tests of large messages, see large_bench.h. */
#include "large_bench.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

void large_pool_open(struct large_pool *pool, struct node *node, uint32_t id, uint32_t slots, uint32_t payload) {
    const uint64_t stride = INS_POOL_HEADER_ROOM + ((uint64_t)payload + 63) / 64 * 64;
    *pool = (struct large_pool){.bytes = slots * stride, .payload = payload};
    pool->memory = mmap(NULL, pool->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(pool->memory != MAP_FAILED);
    node_do(node, ins_engine_add_assembly(node->engine, id, pool->memory, pool->bytes, payload));
}

void large_pool_close(struct large_pool *pool, struct node *node, uint32_t id) {
    node_do(node, ins_engine_remove_assembly(node->engine, id));
    munmap(pool->memory, pool->bytes);
}

void large_bench_open(struct large_bench *b, const char *options, uint32_t mtu, uint32_t slots, uint32_t payload) {
    struct ins_engine_config config = node_config();
    const char *technology = options ? "faulty" : "udp";
    memset(b, 0, sizeof *b);
    node_open_at(&b->a, &config, technology, options ? options : "", htonl(INADDR_LOOPBACK));
    node_open_at(&b->b, &config, technology, options ? options : "", htonl(INADDR_LOOPBACK));
    node_do(&b->a, ins_engine_set_peer(b->a.engine, LARGE_PEER, NODE_DATAPATH, b->b.at.address, b->b.at.port,
                                       (uint16_t)mtu));
    node_do(&b->b, ins_engine_set_peer(b->b.engine, LARGE_PEER, NODE_DATAPATH, b->a.at.address, b->a.at.port,
                                       b->a.at.mtu));
    large_pool_open(&b->pool, &b->b, LARGE_POOL, slots, payload);
    entrance_open(&b->in, &b->b, LARGE_ENTRANCE, 64);
    node_do(&b->b, ins_engine_set_assembly(b->b.engine, LARGE_ENTRANCE, LARGE_POOL));
    node_do(&b->b, ins_engine_subscribe(b->b.engine, LARGE_ENTRANCE, LARGE_TAG, LARGE_CHANNEL, 0));
    exit_open(&b->exit, &b->a, LARGE_EXIT, LARGE_TAG, 64, 8, payload);
    node_do(&b->a, ins_engine_add_source(b->a.engine, LARGE_EXIT, 0, LARGE_SOURCE, 0, LARGE_CHANNEL));
    node_do(&b->a, ins_engine_add_route(b->a.engine, LARGE_TAG, LARGE_CHANNEL, LARGE_PEER));
}

void large_bench_close(struct large_bench *b) {
    exit_close(&b->exit, &b->a);
    entrance_close(&b->in, &b->b);
    large_pool_close(&b->pool, &b->b, LARGE_POOL);
    node_close(&b->a);
    node_close(&b->b); /* checks that no slot is out */
}

int large_take(struct node *node, struct entrance *in, const struct large_pool *pool, struct ins_descriptor *d,
               struct meta *meta) {
    int count = ins_consumer_take(&in->consumer, d, 1);
    MUST(count >= 0);
    if (count == 0)
        return 0;
    MUST(d->pool <= 1);
    const uint8_t *payload = (d->pool ? pool->memory : node->receive) + d->offset;
    *meta = meta_of(d->pool ? pool->memory : node->receive, d);
    MUST(meta->length == d->length);
    uint64_t mark = meta->emit_time - 1000, begin = mark;
    if (d->length >= 8)
        memcpy(&begin, payload, 8);
    MUST(begin == mark);
    for (uint32_t i = d->length >= 8 ? 8 : 0; i < d->length; i++)
        MUST(payload[i] == (uint8_t)(mark * 31 + i * 7 + (i >> 8)));
    return 1;
}
