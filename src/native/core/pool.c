/* Set-up and tear-down of a pool's private books. The segment belongs to the caller. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

int ins_pool_init(struct ins_pool *pool, void *base, uint64_t bytes, uint32_t slots, uint32_t stride) {
    memset(pool, 0, sizeof *pool);
    if (!base || slots == 0 || slots > INS_POOL_MAX_SLOTS || stride <= INS_POOL_HEADER_ROOM ||
        stride % 64 != 0 || stride - INS_POOL_HEADER_ROOM > INS_POOL_MAX_MESSAGE)
        return -EINVAL;
    uint64_t used = (uint64_t)slots * stride;
    if (used > bytes || used > (uint64_t)UINT32_MAX + 1)
        return -EINVAL;
    pool->free_slots = malloc(slots * sizeof *pool->free_slots);
    pool->refs = calloc(slots, sizeof *pool->refs);
    if (!pool->free_slots || !pool->refs) {
        ins_pool_free(pool);
        return -ENOMEM;
    }
    pool->base = base;
    pool->bytes = bytes;
    pool->slots = slots;
    pool->stride = stride;
    pool->payload = stride - INS_POOL_HEADER_ROOM;
    pool->free_count = slots;
    for (uint32_t i = 0; i < slots; i++)
        pool->free_slots[i] = slots - 1 - i;
    return 0;
}

void ins_pool_free(struct ins_pool *pool) {
    free(pool->free_slots);
    free(pool->refs);
    memset(pool, 0, sizeof *pool);
}
