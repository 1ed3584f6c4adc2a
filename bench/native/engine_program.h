/* What the programs over an engine that they poll inline share: its memory, and commands that are waited for. One engine a
   program; nothing here is called per message. */
#ifndef BENCH_ENGINE_PROGRAM_H
#define BENCH_ENGINE_PROGRAM_H

#include "measure.h"

#include <sys/mman.h>

#include "core/engine.h"

static struct ins_engine *engine;

static void *shared(uint64_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

static void fine(int64_t result, const char *what) {
    if (result >= 0) return;
    fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
    exit(1);
}

/* Waits for a command's acknowledgement, running the engine meanwhile. */
static void done(int64_t sequence, const char *what) {
    struct ins_event event;
    fine(sequence, what);
    for (;;) {
        ins_engine_poll(engine, 1);
        while (ins_engine_next_event(engine, &event))
            if (event.type == INS_EVENT_ACK) {
                fine(event.status, what);
                return;
            }
    }
}

#endif
