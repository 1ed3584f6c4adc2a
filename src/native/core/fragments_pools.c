/* Memory for large messages at the receiver: pools, as trust domains have them, and their slots. See fragments.h. */
#include <errno.h>

#include "engine_links.h"
#include "fragments_state.h"
#include "ingress.h"

int ins_assembly_add(struct ins_engine *e, struct ins_domain *pool) {
    if (ins_domains_find(e->assemblies, pool->id))
        return -EEXIST;
    pool->next = e->assemblies;
    e->assemblies = pool;
    ins_domains_gauge(e);
    return 0;
}

void ins_assembly_drop(struct ins_engine *e, struct ins_assembly *a) {
    a->used = 0;
    e->assembling--;
    if (e->fragments->cached == (uint32_t)(a - e->fragments->assemblies))
        e->fragments->cached = INS_NONE;
    ins_domain_unref(e, &a->pool->pool, a->slot);
    ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
}

void ins_assembly_give_up(struct ins_engine *e, struct ins_assembly *a) {
    ins_count(e, INS_COUNT_rx_incomplete, 1);
    ins_assembly_drop(e, a);
}

int ins_assembly_remove(struct ins_engine *e, uint32_t id) {
    struct ins_domain *pool = ins_domains_find(e->assemblies, id);
    if (!pool)
        return -ENOENT;
    if (pool->links)
        return -EBUSY;
    if (e->fragments->following.pool == pool)
        ins_place_forget(e);
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++)
        if (e->fragments->assemblies[i].used && e->fragments->assemblies[i].pool == pool)
            ins_assembly_give_up(e, &e->fragments->assemblies[i]);
    ins_domains_take(e, &e->assemblies, pool);
    return 0;
}

int ins_assembly_set(struct ins_engine *e, struct ins_link *link, uint32_t id) {
    struct ins_domain *pool = ins_domains_find(e->assemblies, id);
    if (!pool)
        return -ENOENT;
    if (link->in.assembly)
        return -EBUSY;
    link->in.assembly = pool;
    pool->foreign |= link->in.domain != NULL;
    pool->links++;
    return 0;
}

void ins_assembly_leave(struct ins_link *link) {
    if (link->in.assembly)
        link->in.assembly->links--;
    link->in.assembly = NULL;
}

int64_t ins_fragments_slot(struct ins_engine *e, struct ins_domain *pool) {
    struct ins_following *next = &e->fragments->following;
    if (next->pool == pool && next->slot != INS_NONE) {
        const uint32_t kept = next->slot;
        next->slot = INS_NONE;
        return kept;
    }
    int64_t slot = ins_pool_take(&pool->pool);
    for (uint32_t i = 0; i < e->ingress.count && slot < 0; i++)
        if (e->ingress.links[i]->in.assembly == pool && ins_ingress_reclaim_link(e, e->ingress.links[i]))
            slot = ins_pool_take(&pool->pool);
    if (slot >= 0)
        e->slots_out++;
    return slot;
}
