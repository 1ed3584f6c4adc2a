/* Opportunistic batching at the sender: what is staged in one turn for the same peers by the same source shares a
   datagram up to the MTU (wire.h, coalesced data). Nothing waits for it: a message that comes alone leaves as it would
   without. The second message of a turn turns the first one's datagram into a shared one. */
#ifndef INSANE_COALESCE_H
#define INSANE_COALESCE_H

#include "engine_state.h"

enum {
    INS_COALESCE_MOST = 1024,      /* payload bytes beyond which gathering costs less than copying */
    INS_COALESCE_BODY = 9000 - 76, /* of a datagram: what a jumbo frame holds */
    INS_COALESCE_ITEMS = 2048,     /* messages staged in shared datagrams at a time */
    INS_COALESCE_BYTES = 128 * 1024,
};
#define INS_NOT_OPEN UINT64_MAX

/* One shared body, of as many datagrams as its messages have peers. */
struct ins_batch {
    uint8_t *body;
    uint32_t used, room; /* bytes of it */
    uint32_t count;      /* messages */
    uint32_t payload;    /* bytes of theirs */
    uint32_t first, last; /* items */
    uint64_t emit_time;  /* in the header */
    const struct ins_egress_source *source;
};

/* Of a stage; all of it is free again when nothing is staged. */
struct ins_batches {
    uint32_t batch_count, item_count, bytes;
    struct ins_batch of[INS_STAGE];
    struct {
        uint16_t entry, next;
    } items[INS_COALESCE_ITEMS];
    uint8_t memory[INS_COALESCE_BYTES] __attribute__((aligned(64)));
};

/* A stage with room for shared datagrams, to be given to free(). NULL: no memory. */
struct ins_stage *ins_stage_new(void);

/* The source's last message of this turn is still staged and the link coalesces: `d`, sound and for the same peers, joins
   it. 1: done. 0: it needs datagrams of its own. */
int ins_coalesce_join(struct ins_engine *e, struct ins_stage *stage, struct ins_link *link,
                      struct ins_egress_source *source, const struct ins_descriptor *d, uint64_t emit_time);

/* `d` follows one that has just joined: those of `count` that are like it and fit join the same datagram, up to the first
   that is not or does not, of which nothing is known. Returns how many. */
uint32_t ins_coalesce_run(struct ins_engine *e, struct ins_stage *stage, struct ins_link *link,
                          const struct ins_descriptor *d, uint32_t count);

static inline struct ins_batch *ins_batch_of(const struct ins_stage *stage, const struct ins_staged *of) {
    return &stage->batches->of[of->batch - 1];
}

/* All messages of a shared datagram come back to their application. */
void ins_coalesce_give_back(struct ins_engine *e, const struct ins_stage *stage, const struct ins_staged *of,
                            uint32_t status);
/* Counts a shared datagram that was sent. */
void ins_coalesce_count(struct ins_engine *e, const struct ins_batch *batch);
/* Bucket of the histograms of messages a datagram: 2 and 3, 4 to 7, ... 128 and more. */
static inline uint32_t ins_coalesce_bucket(uint32_t messages) {
    uint32_t bucket = 30 - (uint32_t)__builtin_clz(messages | 2);
    return bucket < 6 ? bucket : 6;
}

/* Nothing staged is added to any more. */
static inline void ins_stage_seal(struct ins_engine *e, struct ins_stage *stage) { stage->epoch = ++e->stage_epoch; }
/* Nothing is staged. */
static inline void ins_stage_empty(struct ins_stage *stage) {
    stage->head = stage->tail = 0;
    if (stage->batches)
        stage->batches->batch_count = stage->batches->item_count = stage->batches->bytes = 0;
}

#endif
