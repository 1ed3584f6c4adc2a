/* The rings that we share with the kernel: each has one producer and one consumer. Acquire and release here pair with
   the kernel's smp_store_release and smp_load_acquire on the same word. */
#ifndef INSANE_XDP_RING_H
#define INSANE_XDP_RING_H

#include "xdp_state.h"

/* As consumer: entries that are there. */
static inline uint32_t xdp_ring_ready(struct xdp_ring *ring) {
    if (ring->limit == ring->index)
        ring->limit = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
    return ring->limit - ring->index;
}
/* As consumer: gives the places up to `index` back. */
static inline void xdp_ring_release(struct xdp_ring *ring) {
    __atomic_store_n(ring->consumer, ring->index, __ATOMIC_RELEASE);
}
/* As producer: makes the entries up to `index` visible. Room is never asked for: our rings are as large as what can be
   put into them. */
static inline void xdp_ring_submit(struct xdp_ring *ring) {
    __atomic_store_n(ring->producer, ring->index, __ATOMIC_RELEASE);
}
static inline int xdp_ring_wants_wakeup(const struct xdp_ring *ring) {
    return (__atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
}
static inline uint64_t *xdp_ring_address(struct xdp_ring *ring, uint32_t index) {
    return (uint64_t *)ring->entries + (index & ring->mask);
}
static inline struct xdp_desc *xdp_ring_descriptor(struct xdp_ring *ring, uint32_t index) {
    return (struct xdp_desc *)ring->entries + (index & ring->mask);
}

#endif
