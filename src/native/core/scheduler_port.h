/* A schedule in the engine: one stage per traffic class, and the moments at which what is staged may leave. Its clock is
   injected. Belongs to whoever is inside the engine; made by control. A port without one sends first in, first out. */
#ifndef INSANE_SCHEDULER_PORT_H
#define INSANE_SCHEDULER_PORT_H

#include "engine_state.h"
#include "scheduler.h"

/* CLOCK_MONOTONIC and CLOCK_TAI in ns. The offset between them is sampled at cycle starts: what sets the clock moves
   the cycles, nothing else does. */
struct ins_schedule_clock {
    uint64_t (*monotonic)(void *context);
    uint64_t (*tai)(void *context);
    void *context;
};

struct ins_port_schedule {
    struct ins_scheduler scheduler;
    struct ins_schedule_clock clock;
    uint64_t offset;              /* TAI - monotonic, modulo 2^64 */
    uint64_t sample_at;           /* TAI time of the next sample */
    uint32_t sampled;             /* there is an offset */
    uint64_t cost[INS_CLASSES];   /* ns that a datagram of the class takes to hand over: risen to at once, left slowly */
    uint32_t counted[INS_CLASSES]; /* staged datagrams that are counted as held back already */
    uint32_t selected;            /* the class that the port's `stage` is of */
    uint32_t moved;               /* datagrams since the turn began */
    struct ins_stage *stages[INS_CLASSES]; /* 0: the port's own */
    struct ins_stage more[INS_CLASSES - 1];
};

/* ---- control ---- */
/* -ENOMEM, or what ins_gates_compile says. NULL clock: the real one. */
int ins_port_schedule_new(const struct ins_gate_list *list, const struct ins_schedule_clock *clock,
                          struct ins_port_schedule **out);

/* ins_engine_set_schedule on another clock (NULL: the real one), which outlives the datapath in the engine. */
int64_t ins_engine_set_schedule_on(struct ins_engine *e, uint32_t datapath, const struct ins_gate_list *list,
                                   const struct ins_schedule_clock *clock);

/* ---- inside ---- */
/* The command: the port's first schedule, or one whose list replaces that of the present. Takes it unless it fails. */
int ins_schedule_execute(struct ins_engine *e, const struct ins_command *c, uint64_t *cycles_advanced);
/* What is staged for the link goes along, in order. -EAGAIN: a message of it is half sent, or there is no room for them
   in the stage of that class at the moment. *histogram: of the link's latencies, plus one; 0: none is free, or class 0. */
int ins_schedule_set_class(struct ins_engine *e, struct ins_link *link, uint32_t traffic_class, uint64_t *histogram);
/* The port has its own stage again; the others must be empty. */
void ins_port_schedule_drop(struct ins_engine *e, struct ins_port *port);

/* What is staged for the port is that of the class of `link` from now on. */
void ins_schedule_select(struct ins_engine *e, const struct ins_link *link);
/* A datagram of a link with a histogram was handed over at `now`, CLOCK_REALTIME. */
void ins_schedule_note_latency(struct ins_engine *e, const struct ins_link *link, const struct ins_tx *tx, uint64_t now);
/* As tx_burst, for the stage that is selected: what its gate lets through. */
int ins_schedule_send(struct ins_engine *e, struct ins_port *port);
/* Sends what may go, the highest class first. Returns datagrams. */
uint32_t ins_schedule_turn(struct ins_engine *e, struct ins_port *port);
/* 1: now is a time for heartbeats, which are best effort, on every port. */
int ins_schedules_may_beat(struct ins_engine *e);
/* 1: one may leave now, and the line is taken for it. */
int ins_schedule_beat(struct ins_port *port, uint32_t bytes);
/* Received buffers that are not too many before the next window of a time-sensitive link. */
uint32_t ins_schedules_receive_budget(struct ins_engine *e, uint32_t budget);
/* ns that the engine may sleep although frames are staged, so that it spins when their time comes; 0: not at all;
   UINT64_MAX: nothing is staged. */
uint64_t ins_schedules_sleep(struct ins_engine *e);

#endif
