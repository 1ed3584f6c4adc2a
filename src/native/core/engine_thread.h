/* An engine's thread: serves its engine, stands by for an inline owner, serves other engines as guests. Any thread may run a
   turn that has entered; the lock is only ever tried: an owner gives up with -EBUSY, a thread looks again. */
#ifndef INSANE_ENGINE_THREAD_H
#define INSANE_ENGINE_THREAD_H

#include "engine_state.h"

static inline int ins_engine_try_enter(struct ins_engine *e) {
    /* Pairs with the release store in leave: whoever comes in sees all that was done inside. */
    return __atomic_exchange_n(&e->inside, 1, __ATOMIC_ACQUIRE) == 0;
}
static inline void ins_engine_leave(struct ins_engine *e) {
    __atomic_store_n(&e->inside, 0, __ATOMIC_RELEASE);
}

void *ins_engine_run(void *engine);
/* Control: it and its guests are to be served by their own threads again; the lists of `asked` are empty afterwards. */
void ins_engine_come_home(struct ins_engine *e);

#endif
