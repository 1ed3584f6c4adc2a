/* Engines as tests need them, see engine_harness.h. Checks with assert-like failures that name what was waited for, so
   that it also serves programs without cmocka. */
#include "engine_harness.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "core/parked.h"
#include "core/wire.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

uint64_t harness_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Those that are open, for the one report of a wait that was in vain. */
enum { NODES = 8 };
static const struct node *open_nodes[NODES];

static void note_node(const struct node *from, const struct node *to) {
    for (int i = 0; i < NODES; i++)
        if (open_nodes[i] == from) {
            open_nodes[i] = to;
            return;
        }
}

static void print_counters(const struct node *node) {
    for (uint32_t i = 0; i < INS_ENGINE_COUNTER_COUNT; i++) {
        uint64_t value = node_count(node, (enum ins_engine_counter)i);
        if (value)
            fprintf(stderr, " %s=%llu", ins_engine_counter(i), (unsigned long long)value);
    }
    fprintf(stderr, "\n");
}

void harness_deadline(uint64_t until, const char *what, const char *file, int line) {
    if (harness_ms() < until)
        return;
    fprintf(stderr, "%s:%d: waited too long for: %s\n", file, line, what);
    for (int i = 0; i < NODES; i++)
        if (open_nodes[i])
            print_counters(open_nodes[i]);
    abort();
}

static uint8_t *memory(uint64_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(at != MAP_FAILED);
    return at;
}

struct ins_engine_config node_config(void) {
    return (struct ins_engine_config){
        .idle = INS_IDLE_PARK,
        .spin_us = 20,
        .lease = INS_LEASE_NONE,
        .takeover_us = 1000,
        .heartbeat_ms = 10,
        .receive_slots = 256,
        .receive_bytes = 65536,
        .link_burst = 64,
        .receive_burst = 32,
    };
}

void node_open(struct node *node, const struct ins_engine_config *config, const char *technology) {
    node_open_at(node, config, technology, "", htonl(INADDR_LOOPBACK));
}

void node_open_at(struct node *node, const struct ins_engine_config *config, const char *technology,
                  const char *options, uint32_t address) {
    memset(node, 0, sizeof *node);
    node->config = *config;
    uint64_t stride = INS_POOL_HEADER_ROOM + (config->receive_bytes + 63) / 64 * 64;
    node->receive_bytes = (config->receive_slots * stride + 4095) / 4096 * 4096;
    node->receive = memory(node->receive_bytes);
    node->parked = memory(INS_PARKED_PAGE_BYTES);
    node->counters = memory(INS_COUNTERS_BYTES);
    MUST(ins_bell_pair(node->bell) == 0);
    MUST(ins_engine_create(config, node->receive, node->receive_bytes, node->parked, node->counters, 3,
                           &node->engine) == 0);
    note_node(NULL, node);
    if (!technology)
        return;
    node->at.address = address;
    MUST(ins_datapath_open(technology, options, &node->at, &node->datapath) == 0);
    node_do(node, ins_engine_add_datapath(node->engine, NODE_DATAPATH, node->datapath));
}

void node_close(struct node *node) {
    note_node(node, NULL);
    if (node->datapath) {
        node_do(node, ins_engine_remove_datapath(node->engine, NODE_DATAPATH));
        MUST(ins_datapath_close(node->datapath) == 0);
    }
    MUST(node_count(node, INS_COUNT_slots_out) == 0);
    MUST(ins_engine_stop(node->engine, 5000) == 0);
    MUST(ins_engine_destroy(node->engine) == 0);
    close(node->bell[0]);
    close(node->bell[1]);
    munmap(node->receive, node->receive_bytes);
    munmap(node->parked, INS_PARKED_PAGE_BYTES);
    munmap(node->counters, INS_COUNTERS_BYTES);
}

static int take_event(struct node *node, struct ins_event *event) {
    if (!ins_engine_next_event(node->engine, event))
        return 0;
    if (event->type != INS_EVENT_ACK && node->event_count < NODE_EVENTS)
        node->events[node->event_count++] = *event;
    return 1;
}

void node_pump(struct node *node) {
    struct ins_event event;
    if (node->config.lease == INS_LEASE_INLINE)
        ins_engine_poll(node->engine, 32);
    else
        sched_yield();
    while (take_event(node, &event))
        MUST(event.type != INS_EVENT_ACK); /* acknowledgements are waited for where the command is given */
}

int node_ack(struct node *node, int64_t sequence, uint64_t *value) {
    uint64_t until = harness_ms() + 10000;
    struct ins_event event;
    MUST(sequence > 0);
    for (;;) {
        while (take_event(node, &event)) {
            if (event.type != INS_EVENT_ACK)
                continue;
            MUST(event.a == sequence);
            if (value)
                *value = event.value;
            return event.status;
        }
        if (node->config.lease == INS_LEASE_INLINE)
            ins_engine_poll(node->engine, 32);
        else {
            struct pollfd fd = {.fd = ins_engine_event_fd(node->engine), .events = POLLIN};
            poll(&fd, 1, 100);
        }
        harness_deadline(until, "an acknowledgement", __FILE__, __LINE__);
    }
}

void node_do(struct node *node, int64_t sequence) { MUST(node_ack(node, sequence, NULL) == 0); }

uint64_t node_count(const struct node *node, enum ins_engine_counter which) {
    const uint64_t *values = (const uint64_t *)(const void *)(node->counters + INS_COUNTERS_VALUES);
    return __atomic_load_n(&values[3 + which], __ATOMIC_RELAXED);
}

uint32_t node_events(struct node *node, uint32_t type, uint64_t *value) {
    struct ins_event event;
    while (take_event(node, &event))
        MUST(event.type != INS_EVENT_ACK);
    uint32_t count = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < node->event_count; i++)
        if (node->events[i].type == type) {
            count++;
            sum += node->events[i].value;
        }
    if (value)
        *value = sum;
    return count;
}

void node_introduce(struct node *a, struct node *b, uint32_t peer) {
    node_do(a, ins_engine_set_peer(a->engine, peer, NODE_DATAPATH, b->at.address, b->at.port, ins_endpoint_limits(&b->at)));
    node_do(b, ins_engine_set_peer(b->engine, peer, NODE_DATAPATH, a->at.address, a->at.port, ins_endpoint_limits(&a->at)));
}

/* ---- towards the network ---- */

static uint8_t payload_byte(uint64_t mark, uint32_t i) {
    return (uint8_t)(mark * 31 + i * 7 + (i >> 8));
}

static void ring(struct node *node, uint32_t wish) {
    ins_full_fence();
    if (ins_parked_due((const uint32_t *)(const void *)node->parked, wish, &node->rung))
        ins_bell_ring(node->bell[0]);
}

void exit_open(struct exit_link *exit, struct node *node, uint32_t id, uint32_t tag, uint32_t entries, uint32_t slots,
               uint32_t payload) {
    memset(exit, 0, sizeof *exit);
    exit->id = id;
    exit->bytes = ins_link_bytes(entries);
    exit->segment = memory(exit->bytes);
    exit->parked = memory(INS_PARKED_PAGE_BYTES);
    uint32_t stride = INS_POOL_HEADER_ROOM + (payload + 63) / 64 * 64;
    uint64_t bytes = ((uint64_t)slots * stride + 4095) / 4096 * 4096;
    exit->memory = memory(bytes);
    MUST(ins_producer_init(&exit->producer, exit->segment, exit->bytes, entries) == 0);
    MUST(ins_pool_init(&exit->pool, exit->memory, bytes, slots, stride) == 0);
    node_do(node, ins_engine_add_egress(node->engine, id, NODE_DATAPATH, tag, exit->segment, exit->bytes, entries,
                                        exit->parked, node->bell[1]));
    node_do(node, ins_engine_add_pool(node->engine, id, 0, exit->memory, bytes, payload));
}

int exit_send(struct exit_link *exit, struct node *node, uint32_t source_index, uint32_t channel_index,
              uint32_t length, uint64_t mark) {
    if (exit->producer.free_count == 0)
        exit_reclaim(exit);
    int64_t slot = ins_pool_take(&exit->pool);
    if (slot < 0) {
        exit_reclaim(exit);
        slot = ins_pool_take(&exit->pool);
    }
    if (slot < 0)
        return 0;
    uint32_t offset = ins_pool_payload(&exit->pool, (uint32_t)slot);
    uint8_t *payload = exit->memory + offset;
    uint64_t emit_time = mark + 1000;
    memcpy(payload - INS_META_BYTES + INS_META_EMIT_TIME, &emit_time, sizeof emit_time);
    for (uint32_t i = 0; i < length; i++)
        payload[i] = payload_byte(mark, i);
    if (length >= sizeof mark)
        memcpy(payload, &mark, sizeof mark);
    if (ins_producer_push(&exit->producer, 0, (uint32_t)slot, source_index, offset, length, channel_index,
                          source_index, 0) < 0) {
        ins_pool_unref(&exit->pool, (uint32_t)slot);
        return 0;
    }
    ins_producer_publish(&exit->producer);
    ring(node, INS_PARKED_PAGE_WISH_MESSAGES);
    return 1;
}

void exit_reclaim(struct exit_link *exit) {
    struct ins_returned returned[64];
    uint32_t count;
    int result;
    do {
        result = ins_producer_reclaim(&exit->producer, returned, 64, &count);
        MUST(result >= 0);
        for (uint32_t i = 0; i < count; i++) {
            MUST(returned[i].status < 16);
            exit->returned[returned[i].status]++;
            MUST(ins_pool_unref(&exit->pool, returned[i].slot) == 0);
        }
    } while (result == 64);
}

void exit_close(struct exit_link *exit, struct node *node) {
    node_do(node, ins_engine_remove_link(node->engine, exit->id));
    exit_forget(exit);
}

void exit_forget(struct exit_link *exit) {
    exit_reclaim(exit);
    MUST(exit->producer.live == 0);
    MUST(exit->pool.free_count == exit->pool.slots);
    ins_producer_free(&exit->producer);
    munmap(exit->memory, exit->pool.bytes);
    ins_pool_free(&exit->pool);
    munmap(exit->segment, exit->bytes);
    munmap(exit->parked, INS_PARKED_PAGE_BYTES);
}

/* ---- from the network ---- */

void entrance_open(struct entrance *entrance, struct node *node, uint32_t id, uint32_t entries) {
    memset(entrance, 0, sizeof *entrance);
    entrance->id = id;
    entrance->bytes = ins_link_bytes(entries);
    entrance->segment = memory(entrance->bytes);
    entrance->parked = memory(INS_PARKED_PAGE_BYTES);
    MUST(ins_consumer_init(&entrance->consumer, entrance->segment, entrance->bytes, entries) == 0);
    node_do(node, ins_engine_add_ingress(node->engine, id, entrance->segment, entrance->bytes, entries,
                                         entrance->parked, node->bell[1]));
}

int entrance_take(struct entrance *entrance, struct node *node, struct ins_descriptor *out, int max) {
    int count = ins_consumer_take(&entrance->consumer, out, (uint32_t)max);
    MUST(count >= 0);
    for (int i = 0; i < count; i++) {
        struct meta meta = entrance_meta(node, &out[i]);
        uint64_t mark = meta.emit_time - 1000;
        const uint8_t *payload = node->receive + out[i].offset;
        MUST(out[i].pool == 0 && meta.length == out[i].length);
        for (uint32_t k = meta.length >= 8 ? 8 : 0; k < meta.length; k++)
            MUST(payload[k] == payload_byte(mark, k));
    }
    return count;
}

void entrance_give(struct entrance *entrance, struct node *node, const struct ins_descriptor *d) {
    ins_consumer_return(&entrance->consumer, d->entry, INS_STATUS_DONE);
    ins_consumer_publish(&entrance->consumer);
    ring(node, INS_PARKED_PAGE_WISH_CREDITS);
}

void entrance_close(struct entrance *entrance, struct node *node) {
    node_do(node, ins_engine_remove_link(node->engine, entrance->id));
    entrance_forget(entrance);
}

void entrance_forget(struct entrance *entrance) {
    munmap(entrance->segment, entrance->bytes);
    munmap(entrance->parked, INS_PARKED_PAGE_BYTES);
}

struct meta entrance_meta(const struct node *node, const struct ins_descriptor *d) { return meta_of(node->receive, d); }

struct meta meta_of(const uint8_t *pool, const struct ins_descriptor *d) {
    const uint8_t *at = pool + d->offset - INS_META_BYTES;
    uint8_t of_item[INS_META_BYTES];
    struct meta meta;
    if (d->source) {
        uint32_t back;
        memcpy(&back, pool + d->offset - INS_ITEM_META_BACK, sizeof back);
        ins_item_meta(pool + d->offset - INS_ITEM_HEADER - back, back, d->source - 1, d->length, of_item);
        at = of_item;
    }
    memcpy(&meta.source, at + INS_META_SOURCE, 4);
    memcpy(&meta.flow, at + INS_META_FLOW, 4);
    memcpy(&meta.sequence, at + INS_META_SEQUENCE, 8);
    memcpy(&meta.emit_time, at + INS_META_EMIT_TIME, 8);
    memcpy(&meta.length, at + INS_META_LENGTH, 4);
    return meta;
}

uint64_t entrance_mark(const struct node *node, const struct ins_descriptor *d) {
    uint64_t mark;
    memcpy(&mark, node->receive + d->offset, sizeof mark);
    return mark;
}
