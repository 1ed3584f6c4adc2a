/* What control needs to know of flows when the engine itself cannot tell any more, because it hangs or its process is gone:
   how many messages of each flow were sent, and up to which each flow was received. Records lie in the counter segment
   (layout.h, COUNTERS_SENT and COUNTERS_RECEIVED), one for each place in `flows` and `trackers`; only the engine writes. */
#ifndef INSANE_LEDGER_H
#define INSANE_LEDGER_H

#include "engine_state.h"

struct ins_ledger_record {
    uint32_t host; /* what ids of its peers share, plus one; 0: free. Written last when a record begins */
    uint32_t flow, tag, channel, source;
    uint32_t untold; /* received: losses that control was not told of */
    uint64_t next;   /* sent: messages that a datapath took; received: the sequence expected */
};
_Static_assert(sizeof(struct ins_ledger_record) == INS_COUNTERS_RECORD_BYTES, "as in the layout");
_Static_assert(INS_ENGINE_FLOWS == INS_COUNTERS_RECORDS && INS_ENGINE_TRACKERS == INS_COUNTERS_RECORDS, "a record each");

static inline void ins_ledger_begin(struct ins_ledger_record *record, const struct ins_ledger_record *as) {
    uint32_t host = as->host;
    *record = *as;
    record->host = 0;
    /* Who reads it does so when we are still or gone: the order matters to a process that is killed in between. */
    __atomic_store_n(&record->host, host, __ATOMIC_RELEASE);
}
static inline void ins_ledger_end(struct ins_ledger_record *record) {
    __atomic_store_n(&record->host, 0, __ATOMIC_RELEASE);
}
static inline void ins_ledger_next(struct ins_ledger_record *record, uint64_t next) {
    __atomic_store_n(&record->next, next, __ATOMIC_RELAXED);
}
/* Messages of a flow have left, if that flow still has its place. */
static inline void ins_ledger_sent(struct ins_engine *e, uint32_t flow, uint32_t id, uint32_t count) {
    struct ins_ledger_record *record = &e->sent[flow];
    if (record->flow == id)
        ins_ledger_next(record, record->next + count);
}

#endif
