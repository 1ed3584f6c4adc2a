/* The datagrams that a fault-injecting datapath holds back, in the order they came. One thread. */
#ifndef INSANE_FAULTY_HELD_H
#define INSANE_FAULTY_HELD_H

#include "core/datapath.h"

enum {
    INS_HELD_MOST = 256,    /* datagrams that may wait */
    INS_HELD_BYTES = 65507, /* of each: no datagram of UDP is larger; what is passes, to be refused underneath */
};

struct ins_held {
    uint64_t due_us;
    uint64_t behind; /* goes as well once so many datagrams were seen */
    uint32_t header_length, payload_length;
    struct ins_endpoint to;
    uint8_t *bytes; /* a copy, because the sender may use its slot again */
};

struct ins_held_queue {
    uint8_t *memory;
    struct ins_held at[INS_HELD_MOST]; /* the first `count`; the others own their bytes */
    uint32_t count;
};

/* 0 or -ENOMEM; to be given to ins_held_free, which takes an empty one as well. */
int ins_held_init(struct ins_held_queue *queue);
void ins_held_free(struct ins_held_queue *queue);
/* Whether there is room for `more`. */
static inline int ins_held_room(const struct ins_held_queue *queue, uint32_t more) {
    return queue->count + more <= INS_HELD_MOST;
}
/* There is room for it. */
void ins_held_push(struct ins_held_queue *queue, const struct ins_tx *tx, uint64_t due_us, uint64_t behind);
/* When the first is due, in microseconds; UINT64_MAX: none waits for a time. */
uint64_t ins_held_due(const struct ins_held_queue *queue);
/* Sends on `inner` what is due now or after `seen` datagrams, the oldest first; adds to `refused` those that were. Returns 0
   or the error of `inner`; what it did not take waits on. */
int ins_held_send(struct ins_held_queue *queue, struct ins_datapath *inner, uint64_t now_us, uint64_t seen,
                  uint64_t *refused);

#endif
