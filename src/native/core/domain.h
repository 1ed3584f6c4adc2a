/* Trust domains: what arrives is read in place by applications of the daemon's own user and group only. Applications of
   other users get a copy in a pool of their domain, so that nobody sees what is meant for others. */
#ifndef INSANE_DOMAIN_H
#define INSANE_DOMAIN_H

#include "engine_state.h"

enum { INS_ENGINE_DOMAINS_MOST = 64 };

struct ins_domain {
    uint32_t id;
    uint32_t links;
    uint32_t foreign; /* of a pool for large messages: others than those who may see the receive pool read it */
    struct ins_pool pool;
    /* The copy of the message that is being delivered; its own count keeps it until all links have theirs. */
    uint32_t copied;
    uint32_t slot;
    struct ins_domain *next_copied;
    struct ins_domain *next;
};

/* Control thread: slots of `stride` in `memory`. -EINVAL, -ENOMEM. */
int ins_domain_new(uint32_t id, void *memory, uint64_t bytes, uint32_t stride, uint32_t slots_most,
                   struct ins_domain **out);
void ins_domain_free(struct ins_domain *domain);

/* The engine owns the domain from then on. -EEXIST, -ENOSPC. */
int ins_domain_add(struct ins_engine *e, struct ins_domain *domain);
/* -ENOENT, -EBUSY. */
int ins_domain_remove(struct ins_engine *e, uint32_t id);
/* Everything that arrives on this link from now on is copied. -ENOENT; -EBUSY: it has delivered or has a domain. */
int ins_domain_set(struct ins_engine *e, struct ins_link *link, uint32_t id);
void ins_domain_leave(struct ins_engine *e, struct ins_link *link);

/* ---- lists of them: the engine's trust domains, and its pools for large messages (fragments_pools.c) ---- */
/* NULL: none has that number. */
struct ins_domain *ins_domains_find(struct ins_domain *first, uint32_t id);
/* Out of the list, and freed. */
void ins_domains_take(struct ins_engine *e, struct ins_domain **list, struct ins_domain *domain);
void ins_domains_free(struct ins_domain *first);
/* How many slots there are in all. */
void ins_domains_gauge(struct ins_engine *e);

/* A message of the receive pool and its metadata, copied once for all links of the domain: 1, or 0 for want of a slot. `first` is the list of domains that were copied to, to be given to ins_domain_copied. */
int ins_domain_copy(struct ins_engine *e, struct ins_domain *domain, const uint8_t *meta, const uint8_t *payload,
                    uint32_t length, struct ins_domain **first);
/* All links have been served. */
void ins_domain_copied(struct ins_engine *e, struct ins_domain *first);

/* The pool that the link delivers from. */
static inline struct ins_pool *ins_domain_pool(struct ins_engine *e, const struct ins_link *link) {
    return link->in.domain ? &link->in.domain->pool : &e->pool;
}

/* Gives back one count of a slot, and keeps the gauge of those out. */
static inline void ins_domain_unref(struct ins_engine *e, struct ins_pool *pool, uint32_t slot) {
    uint32_t free_before = pool->free_count;
    ins_pool_unref(pool, slot);
    e->slots_out -= pool->free_count - free_before;
}

#endif
