/* The parts of a link that are not on a message's path: set-up, tear-down, and reclaiming what a dead
   consumer held. */
#include "link.h"

#include <stdlib.h>
#include <string.h>

static int fits(const void *segment, uint64_t bytes, uint32_t entries) {
    return segment && (uintptr_t)segment % 64 == 0 && entries >= INS_LINK_MIN_ENTRIES &&
           entries <= INS_LINK_MAX_ENTRIES && (entries & (entries - 1)) == 0 &&
           bytes >= ins_link_bytes(entries);
}

int ins_producer_init(struct ins_producer *p, void *segment, uint64_t bytes, uint32_t entries) {
    memset(p, 0, sizeof *p);
    if (!fits(segment, bytes, entries))
        return -EINVAL;
    p->free_entries = malloc(entries * sizeof *p->free_entries);
    p->shadow = calloc(entries, sizeof *p->shadow);
    if (!p->free_entries || !p->shadow) {
        ins_producer_free(p);
        return -ENOMEM;
    }
    p->segment = segment;
    p->entries = entries;
    p->free_count = entries;
    for (uint32_t i = 0; i < entries; i++)
        p->free_entries[i] = (uint16_t)(entries - 1 - i);
    return 0;
}

void ins_producer_free(struct ins_producer *p) {
    free(p->free_entries);
    free(p->shadow);
    memset(p, 0, sizeof *p);
}

uint32_t ins_producer_abandon(struct ins_producer *p, struct ins_returned *out, uint32_t max) {
    uint32_t count = 0;
    for (uint32_t entry = 0; entry < p->entries && count < max && p->live; entry++) {
        struct ins_shadow *shadow = &p->shadow[entry];
        if (!shadow->live)
            continue;
        out[count].slot = shadow->slot;
        out[count].context = shadow->context;
        out[count].pool = shadow->pool;
        out[count].status = INS_STATUS_ABANDONED;
        shadow->live = 0;
        p->free_entries[p->free_count++] = (uint16_t)entry;
        p->live--;
        count++;
    }
    return count;
}

int ins_consumer_init(struct ins_consumer *c, void *segment, uint64_t bytes, uint32_t entries) {
    memset(c, 0, sizeof *c);
    if (!fits(segment, bytes, entries))
        return -EINVAL;
    c->segment = segment;
    c->entries = entries;
    return 0;
}
