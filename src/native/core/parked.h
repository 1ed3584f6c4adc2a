/* Who rings whom: the word in a sleeper's parked page (layout.h, INS_PARKED_PAGE_*). Only the sleeper
   writes it; a ringer rings its bell once per value of the word that wishes for what it has done. No
   wake-up is lost: sleeper: write word, full fence, look again at every tail, sleep; ringer: publish the
   tail, full fence, read word, ring. One of the two sees what the other wrote. */
#ifndef INSANE_PARKED_H
#define INSANE_PARKED_H

#include <stdint.h>

#include "layout.h"

/* Orders this thread's stores before its later loads. ThreadSanitizer knows no fences, but
   read-modify-writes. */
static inline void ins_full_fence(void) {
#if defined(__SANITIZE_THREAD__)
    static uint32_t anything;
    __atomic_fetch_add(&anything, 0, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Sleeper: says that it is about to sleep and what shall wake it (INS_PARKED_PAGE_WISH_*, never 0), in a new
   generation. The caller looks at its tails once more before it sleeps. */
static inline void ins_parked_set(uint32_t *word, uint32_t wishes) {
    uint32_t generation = (*word >> INS_PARKED_PAGE_GENERATION_SHIFT) + 1;
    /* Pairs with the ringer's load in ins_parked_due. */
    __atomic_store_n(word, generation << INS_PARKED_PAGE_GENERATION_SHIFT | wishes, __ATOMIC_RELAXED);
    ins_full_fence();
}

/* Sleeper: awake again; nobody needs to ring. */
static inline void ins_parked_clear(uint32_t *word) {
    uint32_t mask = (1u << INS_PARKED_PAGE_GENERATION_SHIFT) - 1;
    /* Pairs with the ringer's load in ins_parked_due; a ring that comes too late is only drained. */
    __atomic_store_n(word, *word & ~mask, __ATOMIC_RELAXED);
}

/* Ringer, after publishing and ins_full_fence (one fence serves all sleepers of a burst): 1 when the
   sleeper must be rung now. *rung is the ringer's own memory of the last value it rang for, 0 at first. */
static inline int ins_parked_due(const uint32_t *word, uint32_t wish, uint32_t *rung) {
    /* Pairs with the sleeper's stores in ins_parked_set and ins_parked_clear. */
    uint32_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (!(value & wish) || value == *rung)
        return 0;
    *rung = value;
    return 1;
}

#endif
