/* From applications' links to the network: takes descriptors, checks every field, builds headers, stages datagrams for
   the link's datapath, gives entries back when their datagrams were taken. */
#ifndef INSANE_EGRESS_H
#define INSANE_EGRESS_H

#include <string.h>

#include "engine_links.h"
#include "engine_state.h"

/* Drains hot links and a slice of the cold ones, then sends. Returns messages moved. */
uint32_t ins_egress_turn(struct ins_engine *e);
/* Sends what is staged. 1 when nothing remains staged. */
int ins_egress_flush(struct ins_engine *e, struct ins_port *port);
/* Forgets what is staged for `link` (NULL: everything of the port); entries come back with `status`. */
void ins_egress_purge(struct ins_engine *e, struct ins_port *port, struct ins_link *link, uint32_t status);
/* Everything published and not sent comes back as closed. Returns how many. */
uint32_t ins_egress_close(struct ins_engine *e, struct ins_link *link);
/* 1 when datagrams are staged for the port, in whatever class. */
int ins_port_staged(const struct ins_port *port);
/* 1 when something of a flow is staged, of which nobody knows yet whether it is sent. */
int ins_egress_staged(const struct ins_engine *e, uint32_t flow_id);
/* 1 when some datapath has datagrams staged that it did not take. */
int ins_egress_waits(const struct ins_engine *e);
/* The datapath broke: it is used no more, what was staged comes back, control is told. */
void ins_port_down(struct ins_engine *e, struct ins_port *port, int error);

/* 1 when everything in the descriptor is what was agreed. */
static inline int ins_egress_sound(const struct ins_egress *out, const struct ins_descriptor *d) {
    if (d->flags != 0 || d->pool >= INS_POOL_MAX_POOLS || d->source >= out->source_capacity)
        return 0;
    const struct ins_egress_pool *pool = &out->pools[d->pool];
    const struct ins_egress_source *source = &out->sources[d->source];
    return pool->base && d->offset >= INS_POOL_HEADER_ROOM && d->length <= pool->payload &&
           (uint64_t)d->offset + d->length <= pool->bytes && source->state != INS_SOURCE_NEVER &&
           source->channel_index == d->channel;
}

/* The entry comes back to its producer. */
static inline void ins_egress_give_back(struct ins_engine *e, struct ins_link *link, uint32_t entry, uint32_t status) {
    ins_consumer_return(&link->out.consumer, entry, status);
    ins_link_touch(e, link);
}

/* Its source may run our turns by itself and leave the clock to us. */
static inline uint64_t ins_emit_time(struct ins_engine *e, const uint8_t *payload) {
    uint64_t time;
    memcpy(&time, payload - INS_META_BYTES + INS_META_EMIT_TIME, sizeof time);
    if (time)
        return time;
    if (e->stamp_turn != e->turn)
        e->stamp = ins_clock_now(&e->clock);
    e->stamp_turn = e->turn;
    return e->stamp;
}

#endif
