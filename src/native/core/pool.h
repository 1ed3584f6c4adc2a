/* Slots of one size in one segment, owned and counted by one thread (a private stack and private counts). */
#ifndef INSANE_POOL_H
#define INSANE_POOL_H

#include <stdint.h>

#include "layout.h"

struct ins_pool {
    uint8_t *base;
    uint64_t bytes;
    uint32_t slots;
    uint32_t stride;
    uint32_t payload; /* largest payload of a slot */
    uint32_t free_count;
    uint32_t *free_slots;
    uint32_t *refs; /* messages in the slot that are still out */
};

/* -EINVAL when slots * stride does not fit bytes or a bound of the layout is passed. -ENOMEM. */
int ins_pool_init(struct ins_pool *pool, void *base, uint64_t bytes, uint32_t slots, uint32_t stride);
void ins_pool_free(struct ins_pool *pool);
/* A free slot with a count of one, or -EAGAIN. */
int64_t ins_pool_take(struct ins_pool *pool);
void ins_pool_ref(struct ins_pool *pool, uint32_t slot, uint32_t more);
/* Gives one count back; the slot is free again at zero. -EINVAL when the slot was free. */
int ins_pool_unref(struct ins_pool *pool, uint32_t slot);
/* Offset of a slot's payload in the segment. */
static inline uint32_t ins_pool_payload(const struct ins_pool *pool, uint32_t slot) {
    return slot * pool->stride + INS_POOL_HEADER_ROOM;
}

#endif
