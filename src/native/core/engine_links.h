/* The engine's links as a set: who is hot, who was touched this turn, who has to be rung or told. */
#ifndef INSANE_ENGINE_LINKS_H
#define INSANE_ENGINE_LINKS_H

#include "engine_state.h"

int ins_links_add(struct ins_engine *e, struct ins_link *link);
void ins_links_remove(struct ins_engine *e, struct ins_link *link);
struct ins_link *ins_links_find(struct ins_engine *e, uint32_t id);
void ins_link_free(struct ins_link *link);

enum {
    INS_LINKS_ALL_HOT = 16, /* up to here no link is cold */
    INS_LINKS_SLICE = 8,    /* cold ones looked at in a turn */
    INS_LINKS_COOL = 256,   /* looks in vain that make a hot one cold */
};
/* There was something on the link; there was nothing. */
void ins_links_heat(struct ins_link_set *set, struct ins_link *link);
void ins_links_cool(struct ins_link_set *set, struct ins_link *link);

/* To be published at the end of the turn. */
static inline void ins_link_touch(struct ins_engine *e, struct ins_link *link) {
    if (!link->touched) {
        link->touched = 1;
        link->next_touched = e->touched;
        e->touched = link;
    }
}
/* Publishes what was touched, then one full fence, then rings who wishes it. */
void ins_links_publish(struct ins_engine *e);

/* The application broke the contract: nothing of the link is read or written any more; control is told. */
void ins_link_fault(struct ins_engine *e, struct ins_link *link);

struct ins_sleeper *ins_sleeper_need(struct ins_engine *e, const void *parked, int bell);
void ins_sleeper_drop(struct ins_engine *e, struct ins_sleeper *sleeper);

#endif
