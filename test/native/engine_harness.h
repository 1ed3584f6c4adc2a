/* Engines as tests need them: a node is an engine with a datapath and its memory; an exit is an application's link towards
   the network with one pool; an entrance is its link from the network. Every wait has a deadline and fails the test. */
#ifndef INSANE_ENGINE_HARNESS_H
#define INSANE_ENGINE_HARNESS_H

#include <stdint.h>

#include "core/engine.h"
#include "core/engine_counters.h"
#include "core/link.h"
#include "core/pool.h"

enum { NODE_EVENTS = 4096, NODE_DATAPATH = 7 };

struct node {
    struct ins_engine *engine;
    struct ins_engine_config config;
    struct ins_datapath *datapath;
    struct ins_endpoint at;
    uint8_t *receive;
    uint64_t receive_bytes;
    uint8_t *parked;
    uint8_t *counters;
    int bell[2]; /* 0: ours, as the application; 1: the engine's */
    uint32_t rung;
    struct ins_event events[NODE_EVENTS]; /* all but acknowledgements */
    uint32_t event_count;
};

struct exit_link {
    struct ins_producer producer;
    uint8_t *segment;
    uint64_t bytes;
    struct ins_pool pool;
    uint8_t *memory;
    uint8_t *parked;
    uint32_t id;
    uint64_t returned[16]; /* by status */
};

struct entrance {
    struct ins_consumer consumer;
    uint8_t *segment;
    uint64_t bytes;
    uint8_t *parked;
    uint32_t id;
};

struct ins_engine_config node_config(void);
/* Opens `technology` on 127.0.0.1 (NULL: no datapath). */
void node_open(struct node *node, const struct ins_engine_config *config, const char *technology);
/* The same with options, at another address (network order). */
void node_open_at(struct node *node, const struct ins_engine_config *config, const char *technology,
                  const char *options, uint32_t address);
void node_close(struct node *node);
/* Runs the engine when we hold the lease, takes events. */
void node_pump(struct node *node);
/* Waits for the acknowledgement of a command; returns its status. */
int node_ack(struct node *node, int64_t sequence, uint64_t *value);
/* The same, and it must be 0. */
void node_do(struct node *node, int64_t sequence);
uint64_t node_count(const struct node *node, enum ins_engine_counter which);
/* Events of a type seen so far (takes what waits first); *value their sum. */
uint32_t node_events(struct node *node, uint32_t type, uint64_t *value);
/* a knows b as `peer` and the other way round. */
void node_introduce(struct node *a, struct node *b, uint32_t peer);

void exit_open(struct exit_link *exit, struct node *node, uint32_t id, uint32_t tag, uint32_t entries, uint32_t slots,
               uint32_t payload);
/* Sends; 1, or 0 for want of a slot or a credit. The payload is `length` bytes that depend on `mark` alone. */
int exit_send(struct exit_link *exit, struct node *node, uint32_t source_index, uint32_t channel_index,
              uint32_t length, uint64_t mark);
/* Takes returns. */
void exit_reclaim(struct exit_link *exit);
/* Removes the link; everything must have come back. */
void exit_close(struct exit_link *exit, struct node *node);
/* The same without its engine, which is torn down. */
void exit_forget(struct exit_link *exit);

void entrance_open(struct entrance *entrance, struct node *node, uint32_t id, uint32_t entries);
/* Takes up to `max` messages and checks each payload; fills descriptors; nothing is given back yet. */
int entrance_take(struct entrance *entrance, struct node *node, struct ins_descriptor *out, int max);
void entrance_give(struct entrance *entrance, struct node *node, const struct ins_descriptor *d);
void entrance_close(struct entrance *entrance, struct node *node);
void entrance_forget(struct entrance *entrance);

/* Metadata of a received message. */
struct meta {
    uint32_t source, flow, length;
    uint64_t sequence, emit_time;
};
struct meta meta_of(const uint8_t *pool, const struct ins_descriptor *d);
struct meta entrance_meta(const struct node *node, const struct ins_descriptor *d);
/* The mark that a payload of 8 bytes and more begins with. */
uint64_t entrance_mark(const struct node *node, const struct ins_descriptor *d);

uint64_t harness_ms(void);
/* HARNESS_UNTIL(condition, &a, &b) { body }: repeats the body, pumping both nodes after it; fails after a minute (under
   ThreadSanitizer on a busy machine a turn may take 20 ms). */
#define HARNESS_UNTIL(condition, a, b)                                                                                 \
    for (uint64_t until_ = harness_ms() + 60000; !(condition);                                                         \
         harness_deadline(until_, #condition, __FILE__, __LINE__), node_pump(a), node_pump(b))
void harness_deadline(uint64_t until, const char *what, const char *file, int line);

#endif
