/* Trust domains, see domain.h. */
#include "domain.h"

#include <stdlib.h>
#include <string.h>

int ins_domain_new(uint32_t id, void *memory, uint64_t bytes, uint32_t stride, uint32_t slots_most,
                   struct ins_domain **out) {
    uint64_t slots = bytes / stride;
    if (!memory || slots == 0 || slots > slots_most)
        return -EINVAL;
    struct ins_domain *domain = calloc(1, sizeof *domain);
    if (!domain)
        return -ENOMEM;
    domain->id = id;
    int error = ins_pool_init(&domain->pool, memory, bytes, (uint32_t)slots, stride);
    if (error) {
        free(domain);
        return error;
    }
    *out = domain;
    return 0;
}

void ins_domain_free(struct ins_domain *domain) {
    ins_pool_free(&domain->pool);
    free(domain);
}

struct ins_domain *ins_domains_find(struct ins_domain *first, uint32_t id) {
    while (first && first->id != id)
        first = first->next;
    return first;
}

void ins_domains_take(struct ins_engine *e, struct ins_domain **list, struct ins_domain *domain) {
    while (*list != domain)
        list = &(*list)->next;
    *list = domain->next;
    ins_domain_free(domain);
    ins_domains_gauge(e);
}

void ins_domains_gauge(struct ins_engine *e) {
    uint64_t slots = e->config.receive_slots;
    for (const struct ins_domain *domain = e->domains; domain; domain = domain->next)
        slots += domain->pool.slots;
    for (const struct ins_domain *domain = e->assemblies; domain; domain = domain->next)
        slots += domain->pool.slots;
    ins_gauge(e, INS_COUNT_slots_total, slots);
}

int ins_domain_add(struct ins_engine *e, struct ins_domain *domain) {
    uint32_t count = 0;
    for (const struct ins_domain *at = e->domains; at; at = at->next, count++)
        if (at->id == domain->id)
            return -EEXIST;
    if (count >= INS_ENGINE_DOMAINS_MOST)
        return -ENOSPC;
    domain->next = e->domains;
    e->domains = domain;
    ins_domains_gauge(e);
    return 0;
}

int ins_domain_remove(struct ins_engine *e, uint32_t id) {
    struct ins_domain *domain = ins_domains_find(e->domains, id);
    if (!domain)
        return -ENOENT;
    if (domain->links)
        return -EBUSY;
    ins_domains_take(e, &e->domains, domain);
    return 0;
}

int ins_domain_set(struct ins_engine *e, struct ins_link *link, uint32_t id) {
    struct ins_domain *domain = ins_domains_find(e->domains, id);
    if (!domain)
        return -ENOENT;
    if (link->in.domain || link->in.producer.live || link->in.pinned)
        return -EBUSY;
    link->in.domain = domain;
    if (link->in.assembly)
        link->in.assembly->foreign = 1;
    domain->links++;
    return 0;
}

void ins_domain_leave(struct ins_engine *e, struct ins_link *link) {
    (void)e;
    if (link->in.domain)
        link->in.domain->links--;
    link->in.domain = NULL;
}

void ins_domains_free(struct ins_domain *first) {
    while (first) {
        struct ins_domain *domain = first;
        first = domain->next;
        ins_domain_free(domain);
    }
}

int ins_domain_copy(struct ins_engine *e, struct ins_domain *domain, const uint8_t *meta, const uint8_t *payload,
                    uint32_t length, struct ins_domain **first) {
    if (domain->copied)
        return 1;
    int64_t slot = length <= domain->pool.payload ? ins_pool_take(&domain->pool) : -EMSGSIZE;
    if (slot < 0)
        return 0;
    e->slots_out++;
    uint8_t *to = domain->pool.base + ins_pool_payload(&domain->pool, (uint32_t)slot);
    memcpy(to - INS_META_BYTES, meta, INS_META_BYTES);
    memcpy(to, payload, length);
    ins_count(e, INS_COUNT_rx_copied_domain, 1);
    domain->slot = (uint32_t)slot;
    domain->copied = 1;
    domain->next_copied = *first;
    *first = domain;
    return 1;
}

void ins_domain_copied(struct ins_engine *e, struct ins_domain *first) {
    for (; first; first = first->next_copied) {
        first->copied = 0;
        ins_domain_unref(e, &first->pool, first->slot);
    }
}
