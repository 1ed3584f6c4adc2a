/* A link: credits and descriptors from one producer to one consumer over one shared segment (layout.h,
   INS_LINK_*). Each side works on private indices and private state; everything read from the segment is
   copied once, then checked. One thread per side. Nothing here allocates, locks or makes a system call
   except the _init and _free functions. The functions on a message's path are inline: an engine and a test
   see the same code. */
#ifndef INSANE_LINK_H
#define INSANE_LINK_H

#include <errno.h>
#include <stdint.h>

#include "layout.h"

/* What the consumer gets out of a descriptor; already checked against nothing but the ring's own shape:
   pool, offset and length must be checked by the caller against the pools it knows. */
struct ins_descriptor {
    uint32_t entry;   /* to be given back with a status; below the link's entries */
    uint32_t pool;    /* producer's pool index on this link */
    uint32_t flags;   /* INS_DESCRIPTOR_FLAG_* */
    uint32_t offset;  /* of the payload in the pool's segment */
    uint32_t length;  /* payload bytes */
    uint32_t channel; /* channel index of this link */
    uint32_t source;  /* source index of this link */
};

struct ins_shadow {
    uint32_t slot;
    uint32_t context; /* the producer's own (the source index, say) */
    uint8_t pool;
    uint8_t live;
};

struct ins_returned {
    uint32_t slot;
    uint32_t context;
    uint8_t pool;
    uint8_t status; /* INS_STATUS_*, but as the consumer wrote it: any byte is possible */
};

struct ins_producer {
    uint8_t *segment;
    uint32_t entries;
    uint32_t tail;      /* pushed */
    uint32_t published; /* visible to the consumer */
    uint32_t return_head;
    uint32_t live;
    uint32_t free_count;
    uint16_t *free_entries; /* a stack: the entry that came back last is used first, 0 first of all */
    struct ins_shadow *shadow;
};

struct ins_consumer {
    uint8_t *segment;
    uint32_t entries;
    uint32_t head;
    uint32_t cached_tail;
    uint32_t return_tail; /* returned; head - return_tail descriptors are held */
    uint32_t published_returns;
};

/* Bytes of a link's segment; entries must be within the layout's bounds. */
static inline uint64_t ins_link_bytes(uint32_t entries) {
    uint64_t bytes = INS_LINK_RING + (uint64_t)entries * (INS_LINK_DESCRIPTOR_BYTES + INS_LINK_RETURN_BYTES);
    return (bytes + 4095u) & ~(uint64_t)4095u;
}

static inline uint32_t *ins_link_forward_tail(uint8_t *segment) {
    return (uint32_t *)(void *)(segment + INS_LINK_FORWARD_TAIL);
}
static inline uint32_t *ins_link_return_tail(uint8_t *segment) {
    return (uint32_t *)(void *)(segment + INS_LINK_RETURN_TAIL);
}
/* The four words of the descriptor, the word of the return, at a free-running index. */
static inline uint32_t *ins_link_descriptor(uint8_t *segment, uint32_t entries, uint32_t index) {
    segment += INS_LINK_RING + (index & (entries - 1)) * INS_LINK_DESCRIPTOR_BYTES;
    return (uint32_t *)(void *)segment;
}
static inline uint32_t *ins_link_return(uint8_t *segment, uint32_t entries, uint32_t index) {
    return (uint32_t *)(void *)(segment + INS_LINK_RING + entries * INS_LINK_DESCRIPTOR_BYTES +
                                (index & (entries - 1)) * INS_LINK_RETURN_BYTES);
}

/* ---- producer ---- */

/* -EINVAL: entries not a power of two within the layout's bounds, or segment too small for them or not
   aligned to a cache line. -ENOMEM. */
int ins_producer_init(struct ins_producer *p, void *segment, uint64_t bytes, uint32_t entries);
void ins_producer_free(struct ins_producer *p);

/* Takes a credit and writes a descriptor, not yet visible. Returns the entry, or -EAGAIN without a credit.
   Values wider than their field are the caller's mistake and lose their upper bits. */
static inline int ins_producer_push(struct ins_producer *p, uint32_t pool, uint32_t slot, uint32_t context,
                                    uint32_t offset, uint32_t length, uint32_t channel, uint32_t source,
                                    uint32_t flags) {
    if (p->free_count == 0)
        return -EAGAIN;
    uint32_t entry = p->free_entries[--p->free_count];
    struct ins_shadow *shadow = &p->shadow[entry];
    shadow->slot = slot;
    shadow->context = context;
    shadow->pool = (uint8_t)pool;
    shadow->live = 1;
    p->live++;
    /* The place is free: what was read from it last was taken before the credit used now came back. */
    uint32_t *words = ins_link_descriptor(p->segment, p->entries, p->tail++);
    words[0] = entry | (pool & INS_DESCRIPTOR_POOL_MASK) << INS_DESCRIPTOR_POOL_SHIFT |
               flags << INS_DESCRIPTOR_FLAGS_SHIFT;
    words[1] = offset;
    words[2] = length;
    words[3] = (channel & INS_DESCRIPTOR_CHANNEL_MASK) | source << INS_DESCRIPTOR_SOURCE_SHIFT;
    return (int)entry;
}

/* Makes pushed descriptors visible. Returns how many became visible. Before the consumer's parked word is
   read, a full fence must follow (parked.h). */
static inline uint32_t ins_producer_publish(struct ins_producer *p) {
    uint32_t count = p->tail - p->published;
    if (count) {
        /* Pairs with the consumer's acquire load of the forward tail in ins_consumer_load_tail. */
        __atomic_store_n(ins_link_forward_tail(p->segment), p->tail, __ATOMIC_RELEASE);
        p->published = p->tail;
    }
    return count;
}

/* Takes up to `max` returns. Returns their number, or -EPROTO when the consumer broke the contract (more
   returns than live entries, or an entry that is not live): the link must then be closed; what was taken
   before stays valid in *count, and every later call says -EPROTO again as long as the segment stays as it
   is. */
static inline int ins_producer_reclaim(struct ins_producer *p, struct ins_returned *out, uint32_t max,
                                       uint32_t *count) {
    *count = 0;
    /* Pairs with the consumer's release store of the return tail in ins_consumer_publish. */
    uint32_t tail = __atomic_load_n(ins_link_return_tail(p->segment), __ATOMIC_ACQUIRE);
    uint32_t waiting = tail - p->return_head;
    if (waiting > p->live)
        return -EPROTO;
    if (waiting > max)
        waiting = max;
    /* Locals: what is written through pointers here could be the books themselves, for all the compiler knows. */
    uint8_t *const segment = p->segment;
    struct ins_shadow *const shadows = p->shadow;
    uint16_t *const free_entries = p->free_entries + p->free_count;
    const uint32_t entries = p->entries, head = p->return_head;
    uint32_t taken = 0;
    for (; taken < waiting; taken++, out++) {
        /* Volatile: copied once, so that what is checked is what is used. */
        uint32_t word = *(volatile uint32_t *)ins_link_return(segment, entries, head + taken);
        uint32_t entry = word & INS_RETURN_ENTRY_MASK;
        if (entry >= entries || !shadows[entry].live)
            break;
        struct ins_shadow *shadow = &shadows[entry];
        out->slot = shadow->slot;
        out->context = shadow->context;
        out->pool = shadow->pool;
        out->status = (uint8_t)(word >> INS_RETURN_STATUS_SHIFT & INS_RETURN_STATUS_MASK);
        shadow->live = 0;
        free_entries[taken] = (uint16_t)entry;
    }
    p->free_count += taken;
    p->live -= taken;
    p->return_head = head + taken;
    *count = taken;
    return taken == waiting ? (int)waiting : -EPROTO;
}

/* Everything still live comes back as INS_STATUS_ABANDONED, up to `max` a call, in the order of entries;
   for a consumer that is known to be gone or was evicted, after a last reclaim. The link carries nothing
   afterwards. */
uint32_t ins_producer_abandon(struct ins_producer *p, struct ins_returned *out, uint32_t max);

/* ---- consumer ---- */

/* As ins_producer_init. Begins at the first descriptor: a link has one consumer in its life. */
int ins_consumer_init(struct ins_consumer *c, void *segment, uint64_t bytes, uint32_t entries);

/* Reads the producer's tail when the cached one is used up. 1 when there is something, 0 when not, -EPROTO
   when the tail is outside its window: behind the head, or more credits than the link has. */
static inline int ins_consumer_load_tail(struct ins_consumer *c) {
    if (c->cached_tail != c->head)
        return 1;
    /* Pairs with the producer's release store of the forward tail in ins_producer_publish. */
    uint32_t tail = __atomic_load_n(ins_link_forward_tail(c->segment), __ATOMIC_ACQUIRE);
    if (tail - c->head > c->entries - (c->head - c->return_tail))
        return -EPROTO;
    c->cached_tail = tail;
    return tail != c->head;
}

/* Takes up to `max` descriptors; fewer than there are when the cached tail ends first. Returns their
   number, or -EPROTO when the tail is outside its window or an entry is not of this link: the link must
   then be closed. Good descriptors before a bad one are given first. */
static inline int ins_consumer_take(struct ins_consumer *c, struct ins_descriptor *out, uint32_t max) {
    int found = ins_consumer_load_tail(c);
    if (found <= 0)
        return found;
    uint32_t count = c->cached_tail - c->head;
    if (count > max)
        count = max;
    /* Locals, as in ins_producer_reclaim. */
    uint8_t *const segment = c->segment;
    const uint32_t entries = c->entries, head = c->head;
    uint32_t taken = 0;
    for (; taken < count; taken++, out++) {
        /* Volatile: copied once, so that what is checked is what is used. */
        volatile uint32_t *words = ins_link_descriptor(segment, entries, head + taken);
        uint32_t word0 = words[0], word3 = words[3], entry = word0 & INS_DESCRIPTOR_ENTRY_MASK;
        out->entry = entry;
        out->pool = word0 >> INS_DESCRIPTOR_POOL_SHIFT & INS_DESCRIPTOR_POOL_MASK;
        out->flags = word0 >> INS_DESCRIPTOR_FLAGS_SHIFT;
        out->offset = words[1];
        out->length = words[2];
        out->channel = word3 & INS_DESCRIPTOR_CHANNEL_MASK;
        out->source = word3 >> INS_DESCRIPTOR_SOURCE_SHIFT;
        if (entry >= entries)
            break;
    }
    c->head = head + taken;
    return taken || max == 0 ? (int)taken : -EPROTO;
}

/* 1 when there is something to take or to complain of (one acquire load when the cached tail is used up). */
static inline int ins_consumer_ready(struct ins_consumer *c) { return ins_consumer_load_tail(c) != 0; }

static inline void ins_link_write_return(uint8_t *segment, uint32_t entries, uint32_t index, uint32_t entry, uint32_t status) {
    *ins_link_return(segment, entries, index) =
        (entry & INS_RETURN_ENTRY_MASK) | (status & INS_RETURN_STATUS_MASK) << INS_RETURN_STATUS_SHIFT;
}

/* Gives one taken descriptor back, not yet visible. Order is free; every taken entry exactly once. */
static inline void ins_consumer_return(struct ins_consumer *c, uint32_t entry, uint32_t status) {
    /* The place is free: there are never more returns under way than credits. */
    ins_link_write_return(c->segment, c->entries, c->return_tail++, entry, status);
}

/* Makes returns visible. Returns how many became visible. */
static inline uint32_t ins_consumer_publish(struct ins_consumer *c) {
    uint32_t count = c->return_tail - c->published_returns;
    if (count) {
        /* Pairs with the producer's acquire load of the return tail in ins_producer_reclaim. */
        __atomic_store_n(ins_link_return_tail(c->segment), c->return_tail, __ATOMIC_RELEASE);
        c->published_returns = c->return_tail;
    }
    return count;
}

#endif
