/* The state of an engine process: its engine, what that was given, and what is under way between it and the runtime.
   Belongs to the main thread. */
#ifndef INSANE_PROCESS_SERVED_H
#define INSANE_PROCESS_SERVED_H

#include <stdint.h>

#include "core/command.h"
#include "core/engine.h"
#include "frame.h"
#include "memory.h"
#include "worker.h"

enum { INS_PROCESS_DATAPATHS = 64 };

/* A command that the engine has not acknowledged: its number there, and what it was here. */
struct ins_ordered {
    uint32_t local;
    uint32_t sequence;
    uint32_t kind;
    uint32_t link;
    uint32_t pool;
};

struct ins_served {
    int socket;
    struct ins_engine *engine; /* NULL until it has begun */
    void *pool, *parked, *counters;
    uint64_t pool_bytes;
    struct ins_memory memory;
    struct ins_worker worker;
    struct {
        struct ins_datapath *datapath; /* NULL: free */
        uint32_t handle;
    } datapaths[INS_PROCESS_DATAPATHS];
    /* First in, first out: an engine acknowledges in order. It takes no more than its queue holds. */
    struct ins_ordered ordered[2 * INS_COMMANDS];
    uint32_t ordered_head, ordered_tail;
    int stop; /* the runtime wants it to end */
};

/* One frame. Takes the descriptors. -EAGAIN: nothing happened, the frame must be given again after an acknowledgement;
   another -errno: refused, to be acknowledged as such by the caller. */
int ins_serve_frame(struct ins_served *s, const struct ins_frame *frame, int *fds, uint32_t fd_count);
/* An event of the engine, before it goes to the runtime: an acknowledgement gets the runtime's number, and what it lets
   go of is given back. */
void ins_serve_event(struct ins_served *s, struct ins_event *event);
/* What the worker has done. */
void ins_serve_job(struct ins_served *s, const struct ins_job *job, struct ins_event *answer);
/* Says the counters of all open datapaths, as far as the socket has room. */
void ins_serve_stats(struct ins_served *s);

#endif
