/* The thread of an engine process that opens and closes datapaths: a driver may take its time, pin its thread, or hang,
   while the process goes on answering. One after the other, in the order asked. */
#ifndef INSANE_PROCESS_WORKER_H
#define INSANE_PROCESS_WORKER_H

#include <stdint.h>

#include "core/datapath.h"
#include "frame.h"

enum { INS_JOB_OPEN, INS_JOB_CLOSE };

/* Made by the asker, given back by ins_worker_done, then freed by it. */
struct ins_job {
    uint32_t what;
    uint32_t handle;
    struct ins_endpoint at;
    struct ins_datapath *datapath; /* opened, or to be closed */
    int error;
    char name[32];
    char options[1024];
};

struct ins_worker {
    int to, from; /* the main thread's ends of two pipes that carry pointers */
    int its_to, its_from;
};

int ins_worker_start(struct ins_worker *worker);
/* -EAGAIN: thousands wait. */
int ins_worker_ask(struct ins_worker *worker, struct ins_job *job);
/* A job that is done, or NULL; `worker->from` is readable while there is one. */
struct ins_job *ins_worker_done(struct ins_worker *worker);

#endif
