/* Datagrams that wait, see faulty_held.h. */
#include "faulty_held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ins_held_init(struct ins_held_queue *queue) {
    queue->count = 0;
    queue->memory = malloc((size_t)INS_HELD_MOST * INS_HELD_BYTES); /* pages that are never used are never there */
    if (!queue->memory)
        return -ENOMEM;
    for (uint32_t i = 0; i < INS_HELD_MOST; i++)
        queue->at[i].bytes = queue->memory + (size_t)i * INS_HELD_BYTES;
    return 0;
}

void ins_held_free(struct ins_held_queue *queue) {
    free(queue->memory);
    queue->memory = NULL;
    queue->count = 0;
}

void ins_held_push(struct ins_held_queue *queue, const struct ins_tx *tx, uint64_t due_us, uint64_t behind) {
    struct ins_held *held = &queue->at[queue->count++];
    memcpy(held->bytes, tx->header, tx->header_length);
    memcpy(held->bytes + tx->header_length, tx->payload, tx->payload_length);
    held->header_length = tx->header_length;
    held->payload_length = tx->payload_length;
    held->to = tx->to;
    held->due_us = due_us;
    held->behind = behind;
}

uint64_t ins_held_due(const struct ins_held_queue *queue) {
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < queue->count; i++)
        if (queue->at[i].due_us < due)
            due = queue->at[i].due_us;
    return due;
}

int ins_held_send(struct ins_held_queue *queue, struct ins_datapath *inner, uint64_t now_us, uint64_t seen,
                  uint64_t *refused) {
    uint32_t kept = 0;
    int result = 1;
    for (uint32_t i = 0; i < queue->count; i++) {
        struct ins_held held = queue->at[i];
        struct ins_tx tx = {.header = held.bytes, .payload = held.bytes + held.header_length,
                            .header_length = held.header_length, .payload_length = held.payload_length, .to = held.to};
        if (result > 0 && (now_us >= held.due_us || seen >= held.behind)) {
            result = inner->ops->tx_burst(inner, &tx, 1);
            if (result > 0) {
                *refused += tx.error != 0;
                continue;
            }
        }
        /* Changes places with one that is gone, whose bytes it leaves behind. */
        queue->at[i] = queue->at[kept];
        queue->at[kept++] = held;
    }
    queue->count = kept;
    return result < 0 ? result : 0;
}
