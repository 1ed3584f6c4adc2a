/* The command queue, see command.h: one writer, one reader at a time (whoever holds the engine). */
#include "command.h"

#include <errno.h>

int64_t ins_command_push(struct ins_command_queue *queue, const struct ins_command *command) {
    uint32_t tail = queue->tail;
    /* Pairs with the release store of the head in ins_command_pop: the place is free again. */
    if (tail - __atomic_load_n(&queue->head, __ATOMIC_ACQUIRE) >= INS_COMMANDS)
        return -EAGAIN;
    if (++queue->sequence == 0)
        queue->sequence = 1;
    struct ins_command *place = &queue->ring[tail % INS_COMMANDS];
    *place = *command;
    place->sequence = queue->sequence;
    /* Pairs with the acquire load in ins_command_waits. */
    __atomic_store_n(&queue->tail, tail + 1, __ATOMIC_RELEASE);
    return place->sequence;
}

int ins_command_pop(struct ins_command_queue *queue, struct ins_command *out) {
    if (!ins_command_waits(queue))
        return 0;
    uint32_t head = __atomic_load_n(&queue->head, __ATOMIC_RELAXED);
    *out = queue->ring[head % INS_COMMANDS];
    /* Pairs with the acquire load of the head in ins_command_push. */
    __atomic_store_n(&queue->head, head + 1, __ATOMIC_RELEASE);
    return 1;
}
