/* Mbufs over the engine's receive slots. DPDK takes its buffers from a mempool, whose way of keeping them is a table of
   functions: ours keeps none, it takes slots from the engine's pool and gives them back. Mbuf i always is slot i, so that a
   frame is received where applications read it, and nothing is counted twice. Only the engine's thread comes here. */
#define ALLOW_EXPERIMENTAL_API /* rte_dev_dma_map and its counterpart, unchanged since DPDK 19.05 */
#include <errno.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpdk_state.h"

#define SLOTS_OPS "insane_slots"
#define STACK_OPS "insane_stack"

enum { PAGE = 4096 };

/* In the private part of each mbuf of the slots; of a size that keeps what follows aligned. */
struct slot_of {
    uint64_t slot;
};

/* ---- receive slots ---- */

static int slots_alloc(struct rte_mempool *mempool) {
    mempool->pool_data = mempool->pool_config;
    return 0;
}

static void slots_free(struct rte_mempool *mempool) { mempool->pool_data = NULL; }

static int slots_give(struct rte_mempool *mempool, void *const *objects, unsigned count) {
    struct dpdk_slots *slots = mempool->pool_data;
    if (slots->made < slots->pool->slots) { /* the mempool is being filled */
        slots->made += count;
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct slot_of *of = rte_mbuf_to_priv(objects[i]);
        slots->out[of->slot] = 0;
        slots->held--;
        ins_pool_unref(slots->pool, (uint32_t)of->slot);
    }
    return 0;
}

static int slots_take(struct rte_mempool *mempool, void **objects, unsigned count) {
    struct dpdk_slots *slots = mempool->pool_data;
    if (slots->closing) { /* the mempool is being emptied, object by object */
        for (unsigned i = 0; i < count && slots->made; i++)
            objects[i] = slots->mbufs[--slots->made];
        return 0;
    }
    if (slots->pool->free_count < count) {
        slots->refused++;
        return -ENOBUFS;
    }
    for (unsigned i = 0; i < count; i++) {
        uint32_t slot = (uint32_t)ins_pool_take(slots->pool);
        slots->out[slot] = 1;
        objects[i] = slots->mbufs[slot];
    }
    slots->held += count;
    return 0;
}

static unsigned slots_count(const struct rte_mempool *mempool) {
    const struct dpdk_slots *slots = mempool->pool_data;
    return slots->made < slots->pool->slots ? slots->made : slots->pool->free_count;
}

uint32_t ins_dpdk_slot_taken(struct dpdk *dpdk, struct rte_mbuf *mbuf) {
    const struct slot_of *of = rte_mbuf_to_priv(mbuf);
    dpdk->slots.out[of->slot] = 0;
    dpdk->slots.held--;
    return (uint32_t)of->slot;
}

/* ---- frames for sending: a stack, so that the one used last, which the caches know, is used next ---- */

struct stack {
    uint32_t count;
    void *objects[];
};

static int stack_alloc(struct rte_mempool *mempool) {
    struct stack *stack = malloc(sizeof *stack + mempool->size * sizeof *stack->objects);
    if (!stack)
        return -ENOMEM;
    stack->count = 0;
    mempool->pool_data = stack;
    return 0;
}

static void stack_free(struct rte_mempool *mempool) { free(mempool->pool_data); }

static int stack_give(struct rte_mempool *mempool, void *const *objects, unsigned count) {
    struct stack *stack = mempool->pool_data;
    memcpy(stack->objects + stack->count, objects, count * sizeof *objects);
    stack->count += count;
    return 0;
}

static int stack_take(struct rte_mempool *mempool, void **objects, unsigned count) {
    struct stack *stack = mempool->pool_data;
    if (stack->count < count)
        return -ENOBUFS;
    for (unsigned i = 0; i < count; i++)
        objects[i] = stack->objects[--stack->count];
    return 0;
}

static unsigned stack_count(const struct rte_mempool *mempool) {
    const struct stack *stack = mempool->pool_data;
    return stack->count;
}

int ins_dpdk_pools_register(void) {
    static const struct rte_mempool_ops slots = {.name = SLOTS_OPS, .alloc = slots_alloc, .free = slots_free,
        .enqueue = slots_give, .dequeue = slots_take, .get_count = slots_count};
    static const struct rte_mempool_ops stack = {.name = STACK_OPS, .alloc = stack_alloc, .free = stack_free,
        .enqueue = stack_give, .dequeue = stack_take, .get_count = stack_count};
    return rte_mempool_register_ops(&slots) < 0 || rte_mempool_register_ops(&stack) < 0 ? -EIO : 0;
}

/* ---- making them ---- */

uint32_t ins_dpdk_room(uint32_t stride) {
    uint32_t room = stride > DPDK_BUFFER_AT ? stride - DPDK_BUFFER_AT : 0;
    return room < DPDK_ROOM_MOST ? room : DPDK_ROOM_MOST;
}

static const char *unique(char *out, size_t bytes, const char *what) {
    static uint32_t number; /* names are never used twice in a process */
    snprintf(out, bytes, "insane_%s_%u", what, __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED));
    return out;
}

/* Object i gets slot i as its buffer, pinned: freeing the mbuf does not part them. */
static void pin(struct rte_mempool *mempool, void *argument, void *object, unsigned index) {
    struct dpdk_slots *slots = argument;
    struct rte_mbuf *mbuf = object;
    struct slot_of *of = rte_mbuf_to_priv(mbuf);
    struct rte_mbuf_ext_shared_info *shared = (void *)(of + 1);
    memset(mbuf, 0, sizeof *mbuf);
    mbuf->priv_size = sizeof *of;
    mbuf->buf_addr = slots->pool->base + (size_t)index * slots->pool->stride + DPDK_BUFFER_AT;
    mbuf->buf_iova = (rte_iova_t)(uintptr_t)mbuf->buf_addr; /* virtual addresses, see open */
    mbuf->buf_len = rte_pktmbuf_data_room_size(mempool);
    mbuf->data_off = RTE_PKTMBUF_HEADROOM;
    mbuf->pool = mempool;
    mbuf->nb_segs = 1;
    mbuf->port = RTE_MBUF_PORT_INVALID;
    mbuf->ol_flags = RTE_MBUF_F_EXTERNAL;
    rte_mbuf_refcnt_set(mbuf, 1);
    mbuf->shinfo = shared;
    shared->free_cb = NULL;
    shared->fcb_opaque = NULL;
    rte_mbuf_ext_refcnt_set(shared, 1);
    of->slot = index;
    slots->mbufs[index] = mbuf;
}

static int open_slots(struct dpdk *dpdk, struct ins_pool *pool) {
    struct dpdk_slots *slots = &dpdk->slots;
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = (uint16_t)ins_dpdk_room(pool->stride),
                                               .mbuf_priv_size = sizeof(struct slot_of),
                                               .flags = RTE_PKTMBUF_POOL_F_PINNED_EXT_BUF};
    uint32_t object = sizeof(struct rte_mbuf) + sizeof(struct slot_of) + sizeof(struct rte_mbuf_ext_shared_info);
    char name[RTE_MEMPOOL_NAMESIZE];
    *slots = (struct dpdk_slots){.pool = pool};
    slots->mbufs = calloc(pool->slots, sizeof *slots->mbufs);
    slots->out = calloc(pool->slots, 1);
    slots->mempool = rte_mempool_create_empty(unique(name, sizeof name, "slots"), pool->slots, object, 0,
                                              sizeof private, SOCKET_ID_ANY, 0);
    if (!slots->mbufs || !slots->out || !slots->mempool ||
        rte_mempool_set_ops_byname(slots->mempool, SLOTS_OPS, slots) != 0)
        return -ENOMEM;
    rte_pktmbuf_pool_init(slots->mempool, &private);
    if (rte_mempool_populate_default(slots->mempool) != (int)pool->slots)
        return -ENOMEM;
    rte_mempool_obj_iter(slots->mempool, pin, slots);
    return 0;
}

static int open_frames(struct dpdk *dpdk) {
    char name[RTE_MEMPOOL_NAMESIZE];
    uint32_t room = RTE_PKTMBUF_HEADROOM + dpdk->mtu + INS_PACKET_MAX_HEADERS;
    dpdk->frames = rte_pktmbuf_pool_create_by_ops(unique(name, sizeof name, "frames"), dpdk->settings.tx, 0, 0,
                                                  (uint16_t)(room < DPDK_ROOM_MOST ? room : DPDK_ROOM_MOST),
                                                  SOCKET_ID_ANY, STACK_OPS);
    return dpdk->frames ? 0 : -ENOMEM;
}

/* DPDK, and the device's own view of memory where it has one, must know the pool. */
static int announce(struct dpdk *dpdk, struct ins_pool *pool) {
    uint64_t bytes = (pool->bytes + PAGE - 1) / PAGE * PAGE;
    struct rte_eth_dev_info info;
    if ((uintptr_t)pool->base % PAGE)
        return -EINVAL;
    if (rte_extmem_register(pool->base, bytes, NULL, (unsigned)(bytes / PAGE), PAGE))
        return rte_errno == ENOMEM ? -ENOMEM : -EIO;
    dpdk->registered = pool->base;
    dpdk->registered_bytes = bytes;
    if (!dpdk->settings.pci)
        return 0;
    if (rte_eth_dev_info_get(dpdk->device, &info) ||
        rte_dev_dma_map(info.device, pool->base, (uintptr_t)pool->base, bytes))
        return -EOPNOTSUPP;
    dpdk->mapped = 1;
    return 0;
}

int ins_dpdk_pools_open(struct dpdk *dpdk, struct ins_pool *pool) {
    int error = announce(dpdk, pool);
    if (!error)
        error = open_slots(dpdk, pool);
    if (!error)
        error = open_frames(dpdk);
    return error;
}

void ins_dpdk_pools_close(struct dpdk *dpdk) {
    struct dpdk_slots *slots = &dpdk->slots;
    /* A device that was closed may still have buffers on its books. */
    for (uint32_t slot = 0; slots->out && slot < slots->pool->slots; slot++)
        if (slots->out[slot])
            ins_pool_unref(slots->pool, slot);
    slots->closing = 1;
    rte_mempool_free(slots->mempool);
    rte_mempool_free(dpdk->frames);
    free(slots->mbufs);
    free(slots->out);
    *slots = (struct dpdk_slots){0};
    dpdk->frames = NULL;
    if (dpdk->registered)
        rte_extmem_unregister(dpdk->registered, dpdk->registered_bytes);
    dpdk->registered = NULL;
}
