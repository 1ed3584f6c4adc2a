/* The command queue: plain values from the control thread to the one thread that is inside the engine. */
#ifndef INSANE_COMMAND_H
#define INSANE_COMMAND_H

#include <stdint.h>

#include "datapath.h"

enum ins_command_kind {
    INS_COMMAND_PING,
    INS_COMMAND_ADD_DATAPATH,
    INS_COMMAND_REMOVE_DATAPATH,
    INS_COMMAND_SET_PEER,
    INS_COMMAND_REMOVE_PEER,
    INS_COMMAND_ADD_ROUTES,
    INS_COMMAND_REMOVE_ROUTES,
    INS_COMMAND_ADD_LINK,
    INS_COMMAND_REMOVE_LINK,
    INS_COMMAND_ADD_POOL,
    INS_COMMAND_REMOVE_POOL,
    INS_COMMAND_ADD_SOURCE,
    INS_COMMAND_REMOVE_SOURCE,
    INS_COMMAND_SUBSCRIBE,
    INS_COMMAND_UNSUBSCRIBE,
    INS_COMMAND_ADD_BELL,
    INS_COMMAND_REMOVE_BELL,
    INS_COMMAND_HOLD_LINK,
    INS_COMMAND_RETIRE_LINK,
    INS_COMMAND_MOVE_ROUTE,
    INS_COMMAND_ACCOUNT_FLOW,
    INS_COMMAND_TELL_FLOW,
    INS_COMMAND_MUTE_PEER,
    INS_COMMAND_SET_SCHEDULE,
    INS_COMMAND_SET_CLASS,
    INS_COMMAND_ADD_DOMAIN,
    INS_COMMAND_REMOVE_DOMAIN,
    INS_COMMAND_SET_DOMAIN,
    INS_COMMAND_ADD_ASSEMBLY,
    INS_COMMAND_REMOVE_ASSEMBLY,
    INS_COMMAND_SET_ASSEMBLY,
    INS_COMMAND_SET_BATCHING,
};

struct ins_link;
struct ins_stage;
struct ins_domain;
struct ins_port_schedule;

/* Routes of one command: pairs of tag and channel. */
struct ins_route_list {
    uint32_t count;
    uint32_t pairs[];
};

/* Fields beyond `id` are used as the kind says; see engine_commands.c, which fills them in. */
struct ins_command {
    uint32_t kind;
    uint32_t sequence;
    uint32_t id; /* link, peer or datapath */
    int32_t bell;
    uint32_t tag;
    uint32_t channel;
    uint32_t channel_index;
    uint32_t index;
    uint32_t peer;
    uint32_t source;
    uint32_t payload;
    uint32_t patience_ms;
    struct ins_endpoint endpoint;
    const void *base;
    uint64_t bytes;
    struct ins_datapath *datapath;
    /* These are made by the control thread and owned by the engine from then on. */
    struct ins_stage *stage;
    struct ins_port_schedule *schedule;
    struct ins_link *link;
    struct ins_route_list *routes;
    struct ins_domain *domain;
};

enum { INS_COMMANDS = 256 };

struct ins_command_queue {
    uint32_t tail __attribute__((aligned(64))); /* written by control */
    uint32_t sequence;
    uint32_t head __attribute__((aligned(64))); /* written by the engine */
    struct ins_command ring[INS_COMMANDS];
};

/* Control: returns the command's sequence, or -EAGAIN when the queue is full. */
int64_t ins_command_push(struct ins_command_queue *queue, const struct ins_command *command);

/* Engine: 1 when a command waits. */
static inline int ins_command_waits(const struct ins_command_queue *queue) {
    /* Pairs with the release store of the tail in ins_command_push. */
    return __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE) != __atomic_load_n(&queue->head, __ATOMIC_RELAXED);
}

/* Engine: 1 and *out, or 0. */
int ins_command_pop(struct ins_command_queue *queue, struct ins_command *out);

#endif
