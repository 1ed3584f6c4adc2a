/* The engine's links as a set, see engine_links.h. */
#include "engine_links.h"

#include <errno.h>
#include <stdlib.h>

#include "egress.h"
#include "ingress.h"
#include "parked.h"
#include "platform.h"

static struct ins_link_set *set_of(struct ins_engine *e, const struct ins_link *link) {
    return link->egress ? &e->egress : &e->ingress;
}

/* Half of an even share. */
static void set_quota(struct ins_engine *e) {
    uint32_t count = e->ingress.count ? e->ingress.count : 1;
    e->quota = (e->config.receive_slots + 2 * count - 1) / (2 * count);
}

int ins_links_add(struct ins_engine *e, struct ins_link *link) {
    if (e->link_count >= INS_ENGINE_LINKS)
        return -ENOSPC;
    int error = ins_map_put(&e->link_ids, link->id, e->link_count);
    if (error)
        return error;
    link->number = e->link_count;
    e->links[e->link_count++] = link;
    struct ins_link_set *set = set_of(e, link);
    link->position = set->count;
    set->links[set->count++] = link;
    ins_links_heat(set, link);
    set_quota(e);
    ins_gauge(e, INS_COUNT_links, e->link_count);
    return 0;
}

static void swap(struct ins_link_set *set, uint32_t a, uint32_t b) {
    struct ins_link *link = set->links[a];
    set->links[a] = set->links[b];
    set->links[b] = link;
    set->links[a]->position = a;
    set->links[b]->position = b;
}

void ins_links_heat(struct ins_link_set *set, struct ins_link *link) {
    link->idle = 0;
    if (link->position >= set->hot)
        swap(set, link->position, set->hot++);
}

void ins_links_cool(struct ins_link_set *set, struct ins_link *link) {
    if (++link->idle < INS_LINKS_COOL || set->count <= INS_LINKS_ALL_HOT || link->position >= set->hot)
        return;
    swap(set, link->position, --set->hot);
}

void ins_links_remove(struct ins_engine *e, struct ins_link *link) {
    struct ins_link_set *set = set_of(e, link);
    if (link->position < set->hot)
        swap(set, link->position, --set->hot);
    swap(set, link->position, --set->count);
    set_quota(e);

    ins_map_remove(&e->link_ids, link->id);
    struct ins_link *last = e->links[--e->link_count];
    if (last != link) {
        ins_map_remove(&e->link_ids, last->id);
        ins_map_put(&e->link_ids, last->id, link->number);
        last->number = link->number;
        e->links[last->number] = last;
    }
    for (struct ins_link **at = &e->touched; *at; at = &(*at)->next_touched)
        if (*at == link) {
            *at = link->next_touched;
            break;
        }
    ins_gauge(e, INS_COUNT_links, e->link_count);
}

struct ins_link *ins_links_find(struct ins_engine *e, uint32_t id) {
    uint32_t number;
    return ins_map_get(&e->link_ids, id, &number) ? e->links[number] : NULL;
}

void ins_link_free(struct ins_link *link) {
    if (link->egress)
        free(link->out.sources);
    else {
        ins_producer_free(&link->in.producer);
        free(link->in.holds);
    }
    free(link);
}

void ins_links_publish(struct ins_engine *e) {
    struct ins_link *first = e->touched;
    if (!first)
        return;
    e->touched = NULL;
    int sleepers = 0;
    for (struct ins_link *link = first; link; link = link->next_touched) {
        link->touched = 0;
        if (link->faulted)
            continue;
        if (link->egress)
            ins_consumer_publish(&link->out.consumer);
        else
            ins_producer_publish(&link->in.producer);
        sleepers |= link->sleeper != NULL;
    }
    if (!sleepers)
        return;
    /* Orders the tails above before the parked words below (parked.h). */
    ins_full_fence();
    for (struct ins_link *link = first; link; link = link->next_touched) {
        struct ins_sleeper *sleeper = link->sleeper;
        if (!sleeper || link->faulted)
            continue;
        uint32_t wish = link->egress ? INS_PARKED_PAGE_WISH_CREDITS : INS_PARKED_PAGE_WISH_MESSAGES;
        if (ins_parked_due(sleeper->word, wish, &sleeper->rung)) {
            ins_bell_ring(sleeper->bell);
            ins_count(e, INS_COUNT_bells_rung, 1);
        }
    }
}

void ins_link_fault(struct ins_engine *e, struct ins_link *link) {
    if (link->faulted)
        return;
    link->faulted = 1; /* first: nothing below may look at its rings again */
    if (link->egress) {
        for (uint32_t i = 0; i < e->port_count; i++)
            if (e->ports[i].datapath)
                ins_egress_purge(e, &e->ports[i], link, INS_STATUS_CLOSED);
    } else
        ins_ingress_abandon(e, link);
    link->untold = 1;
    e->untold = 1;
    ins_due(e, e->now_ms);
    ins_count(e, INS_COUNT_link_faults, 1);
}

struct ins_sleeper *ins_sleeper_need(struct ins_engine *e, const void *parked, int bell) {
    const uint32_t *word = (const uint32_t *)((const uint8_t *)parked + INS_PARKED_PAGE_WORD);
    for (struct ins_sleeper *s = e->sleepers; s; s = s->next)
        if (s->word == word && s->bell == bell) {
            s->references++;
            return s;
        }
    struct ins_sleeper *sleeper = calloc(1, sizeof *sleeper);
    if (!sleeper)
        return NULL;
    sleeper->word = word;
    sleeper->bell = bell;
    sleeper->references = 1;
    sleeper->next = e->sleepers;
    e->sleepers = sleeper;
    return sleeper;
}

void ins_sleeper_drop(struct ins_engine *e, struct ins_sleeper *sleeper) {
    if (!sleeper || --sleeper->references)
        return;
    struct ins_sleeper **at = &e->sleepers;
    while (*at != sleeper)
        at = &(*at)->next;
    *at = sleeper->next;
    free(sleeper);
}
