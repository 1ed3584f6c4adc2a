/* A clock that every look moves on a little, and a datapath on it that notes when it was given what. */
#ifndef INSANE_GATES_LINE_H
#define INSANE_GATES_LINE_H

#include <stdint.h>

#include "core/scheduler_port.h"

enum { LINE_SENT = 65536 };

struct line {
    struct ins_datapath base;
    uint64_t now;      /* CLOCK_MONOTONIC; TAI is so much more: */
    uint64_t offset;
    uint64_t stops;    /* looks do not move it beyond this; 0: they always do */
    uint64_t each;     /* ns that a datagram takes to hand over */
    uint32_t takes;
    uint32_t count;
    struct {
        uint64_t at;
        uint64_t sequence;
        uint32_t tag, type, length;
    } sent[LINE_SENT];
};

struct line *line_new(void); /* to be freed */
struct ins_schedule_clock line_clock(struct line *line);

#endif
