/* The event ring: from whoever is inside the engine to the control thread, with one eventfd that is readable while
   events wait. Full is an answer (0), so that the engine keeps what it could not tell. */
#ifndef INSANE_EVENT_H
#define INSANE_EVENT_H

#include <stdint.h>

#include "engine.h"

enum {
    INS_EVENTS = 1024,
    /* Places that only acknowledgements may use: news about drops must not keep commands from being answered. */
    INS_EVENTS_RESERVED = 256,
};

struct ins_event_ring {
    uint32_t tail __attribute__((aligned(64))); /* written by the engine */
    uint32_t head __attribute__((aligned(64))); /* written by control */
    uint32_t signalled __attribute__((aligned(64)));
    int fd;
    struct ins_event ring[INS_EVENTS];
};

int ins_event_ring_init(struct ins_event_ring *ring);
void ins_event_ring_free(struct ins_event_ring *ring);

/* Engine: places free beyond `reserved`. */
uint32_t ins_event_room(const struct ins_event_ring *ring, uint32_t reserved);
/* Engine: 1, or 0 when there is no room beyond `reserved`. */
int ins_event_push(struct ins_event_ring *ring, const struct ins_event *event, uint32_t reserved);
/* Control: 1 and *out, or 0. */
int ins_event_pop(struct ins_event_ring *ring, struct ins_event *out);

#endif
