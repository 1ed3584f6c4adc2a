/* A link: credits and descriptors from one producer to one consumer over one shared segment (layout.h, INS_LINK_*).
   Each side works on private indices and private state; everything read from the segment is copied once, then checked.
   One thread per side. Nothing here allocates, locks or makes a system call except the _init and _free functions. */
#ifndef INSANE_LINK_H
#define INSANE_LINK_H

#include <stdint.h>

#include "layout.h"

/* What the consumer gets out of a descriptor; already checked against nothing but the ring's own shape:
   pool, offset and length must be checked by the caller against the pools it knows. */
struct ins_descriptor {
    uint32_t entry;   /* to be given back with a status */
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
    uint8_t status; /* INS_STATUS_* */
};

struct ins_producer {
    uint8_t *segment;
    uint32_t entries;
    uint32_t tail;      /* pushed */
    uint32_t published; /* visible to the consumer */
    uint32_t return_head;
    uint32_t live;
    uint32_t free_count;
    uint16_t *free_entries;
    struct ins_shadow *shadow;
};

struct ins_consumer {
    uint8_t *segment;
    uint32_t entries;
    uint32_t head;
    uint32_t cached_tail;
    uint32_t return_tail;
    uint32_t published_returns;
};

/* -EINVAL: entries not a power of two within the layout's bounds, or segment too small for them. -ENOMEM. */
int ins_producer_init(struct ins_producer *p, void *segment, uint64_t bytes, uint32_t entries);
void ins_producer_free(struct ins_producer *p);
/* Takes a credit and writes a descriptor, not yet visible. Returns the entry, or -EAGAIN without a credit. */
int ins_producer_push(struct ins_producer *p, uint32_t pool, uint32_t slot, uint32_t context, uint32_t offset,
                      uint32_t length, uint32_t channel, uint32_t source, uint32_t flags);
/* Makes pushed descriptors visible (release store, paired with the consumer's acquire load of the forward tail).
   Returns how many became visible. */
uint32_t ins_producer_publish(struct ins_producer *p);
/* Takes up to `max` returns. Returns their number, or -EPROTO when the consumer broke the contract (index outside its
   window, entry that is not live): the link must then be closed; what was taken before stays valid in *count. */
int ins_producer_reclaim(struct ins_producer *p, struct ins_returned *out, uint32_t max, uint32_t *count);
/* Everything still live comes back as INS_STATUS_ABANDONED; for a consumer that is known to be gone. */
uint32_t ins_producer_abandon(struct ins_producer *p, struct ins_returned *out, uint32_t max);

int ins_consumer_init(struct ins_consumer *c, void *segment, uint64_t bytes, uint32_t entries);
/* Takes up to `max` descriptors. Returns their number, or -EPROTO when the producer's tail is outside its window. */
int ins_consumer_take(struct ins_consumer *c, struct ins_descriptor *out, uint32_t max);
/* 1 when there is something to take (one acquire load when the cached tail is used up). */
int ins_consumer_ready(struct ins_consumer *c);
void ins_consumer_return(struct ins_consumer *c, uint32_t entry, uint32_t status);
/* Makes returns visible (release store, paired with the producer's acquire load of the return tail). */
uint32_t ins_consumer_publish(struct ins_consumer *c);

#endif
