/* Slots of one size in one segment, owned and counted by one thread (a private stack and private counts).
   Nothing of a pool's bookkeeping lies in the segment: whoever can write that can spoil payloads, not
   slots. */
#ifndef INSANE_POOL_H
#define INSANE_POOL_H

#include <errno.h>
#include <stdint.h>

#include "layout.h"

struct ins_pool {
    uint8_t *base;
    uint64_t bytes;
    uint32_t slots;
    uint32_t stride;
    uint32_t payload; /* largest payload of a slot */
    uint32_t free_count;
    uint32_t *free_slots; /* a stack: the warmest slot is used first, 0 first of all */
    uint32_t *refs;       /* messages in the slot that are still out; 0: free */
};

/* -EINVAL when slots * stride does not fit bytes, a bound of the layout is passed, stride is no multiple
   of the cache line or an offset would not fit a descriptor's 32 bits. -ENOMEM. */
int ins_pool_init(struct ins_pool *pool, void *base, uint64_t bytes, uint32_t slots, uint32_t stride);
void ins_pool_free(struct ins_pool *pool);

/* A free slot with a count of one, or -EAGAIN. */
static inline int64_t ins_pool_take(struct ins_pool *pool) {
    if (pool->free_count == 0)
        return -EAGAIN;
    uint32_t slot = pool->free_slots[--pool->free_count];
    pool->refs[slot] = 1;
    return slot;
}

/* Adds `more` to the count of a slot that is out. */
static inline void ins_pool_ref(struct ins_pool *pool, uint32_t slot, uint32_t more) {
    pool->refs[slot] += more;
}

/* Gives one count back; the slot is free again at zero. -EINVAL when the slot was free or is none of the
   pool's. */
static inline int ins_pool_unref(struct ins_pool *pool, uint32_t slot) {
    if (slot >= pool->slots || pool->refs[slot] == 0)
        return -EINVAL;
    if (--pool->refs[slot] == 0)
        pool->free_slots[pool->free_count++] = slot;
    return 0;
}

/* Offset of a slot's payload in the segment. */
static inline uint32_t ins_pool_payload(const struct ins_pool *pool, uint32_t slot) {
    return slot * pool->stride + INS_POOL_HEADER_ROOM;
}

#endif
