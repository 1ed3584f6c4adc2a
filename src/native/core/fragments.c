/* Large messages in the life of an engine: their state and their timers. See fragments.h. */
#include <errno.h>
#include <stdlib.h>

#include "fragments_state.h"

int ins_fragments_init(struct ins_engine *e) {
    e->fragments = calloc(1, sizeof *e->fragments);
    if (!e->fragments)
        return -ENOMEM;
    e->whole_unsure = 1;
    e->fragments->cached = e->fragments->following.slot = INS_NONE;
    return 0;
}

void ins_fragments_free(struct ins_engine *e) {
    ins_domains_free(e->assemblies);
    free(e->fragments);
}

void ins_fragments_beat(struct ins_engine *e) {
    if (e->fragments->sending)
        ins_transmissions_beat(e);
    if (e->assembling)
        ins_assemblies_beat(e);
    ins_place_beat(e);
}
