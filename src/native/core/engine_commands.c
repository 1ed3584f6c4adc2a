/* The control side of the command queue: one thin function a command. What a command needs is made here, so that its
   execution between two bursts is short and can hardly fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coalesce.h"
#include "domain.h"
#include "engine_idle.h"
#include "engine_links.h"
#include "scheduler_port.h"

static int64_t push(struct ins_engine *e, const struct ins_command *command) {
    if (__atomic_load_n(&e->stop, __ATOMIC_RELAXED))
        return -ESHUTDOWN;
    int64_t sequence = ins_command_push(&e->commands, command);
    if (sequence > 0)
        ins_idle_kick_if_asleep(e);
    return sequence;
}

int64_t ins_engine_ping(struct ins_engine *e) {
    struct ins_command command = {.kind = INS_COMMAND_PING};
    return push(e, &command);
}

int64_t ins_engine_add_datapath(struct ins_engine *e, uint32_t id, struct ins_datapath *datapath) {
    if (!datapath)
        return -EINVAL;
    struct ins_stage *stage = ins_stage_new();
    if (!stage)
        return -ENOMEM;
    struct ins_command command = {.kind = INS_COMMAND_ADD_DATAPATH, .id = id, .datapath = datapath, .stage = stage};
    int64_t result = push(e, &command);
    if (result < 0)
        free(stage);
    return result;
}

int64_t ins_engine_remove_datapath(struct ins_engine *e, uint32_t id) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_DATAPATH, .id = id};
    return push(e, &command);
}

static int64_t push_peer(struct ins_engine *e, uint32_t peer, uint32_t datapath, uint32_t address, uint32_t port,
                         uint32_t limits, uint32_t resumed) {
    const uint32_t flags = limits & INS_ENDPOINT_FLAGS, mtu = limits & ~(uint32_t)INS_ENDPOINT_FLAGS;
    if (address == 0 || port == 0 || port > 65535 || mtu > 65535)
        return -EINVAL;
    struct ins_command command = {
        .kind = INS_COMMAND_SET_PEER,
        .id = datapath,
        .peer = peer,
        .index = resumed,
        .endpoint = {.address = address,
                     .port = (uint16_t)port,
                     .mtu = (uint16_t)(mtu ? mtu : 65535),
                     .flags = flags},
    };
    return push(e, &command);
}

int64_t ins_engine_set_peer(struct ins_engine *e, uint32_t peer, uint32_t datapath, uint32_t address, uint32_t port,
                            uint32_t limits) {
    return push_peer(e, peer, datapath, address, port, limits, 0);
}

int64_t ins_engine_resume_peer(struct ins_engine *e, uint32_t peer, uint32_t datapath, uint32_t address, uint32_t port,
                               uint32_t limits) {
    return push_peer(e, peer, datapath, address, port, limits, 1);
}

int64_t ins_engine_mute_peer(struct ins_engine *e, uint32_t peer, uint32_t muted) {
    struct ins_command command = {.kind = INS_COMMAND_MUTE_PEER, .peer = peer, .index = muted != 0};
    return push(e, &command);
}

int64_t ins_engine_remove_peer(struct ins_engine *e, uint32_t peer) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_PEER, .peer = peer};
    return push(e, &command);
}

static int64_t push_routes(struct ins_engine *e, uint32_t kind, uint32_t peer, const uint32_t *pairs, uint32_t count) {
    if (!pairs || count == 0 || count > INS_ROUTES_AT_ONCE)
        return -EINVAL;
    size_t bytes = (size_t)count * 2 * sizeof *pairs;
    struct ins_route_list *routes = malloc(sizeof *routes + bytes);
    if (!routes)
        return -ENOMEM;
    routes->count = count;
    memcpy(routes->pairs, pairs, bytes);
    struct ins_command command = {.kind = kind, .peer = peer, .routes = routes};
    int64_t result = push(e, &command);
    if (result < 0)
        free(routes);
    return result;
}

int64_t ins_engine_add_routes(struct ins_engine *e, uint32_t peer, const uint32_t *pairs, uint32_t count) {
    return push_routes(e, INS_COMMAND_ADD_ROUTES, peer, pairs, count);
}

int64_t ins_engine_remove_routes(struct ins_engine *e, uint32_t peer, const uint32_t *pairs, uint32_t count) {
    return push_routes(e, INS_COMMAND_REMOVE_ROUTES, peer, pairs, count);
}

int64_t ins_engine_add_route(struct ins_engine *e, uint32_t tag, uint32_t channel, uint32_t peer) {
    return ins_engine_add_routes(e, peer, (const uint32_t[]){tag, channel}, 1);
}

int64_t ins_engine_remove_route(struct ins_engine *e, uint32_t tag, uint32_t channel, uint32_t peer) {
    return ins_engine_remove_routes(e, peer, (const uint32_t[]){tag, channel}, 1);
}

static int64_t push_link(struct ins_engine *e, struct ins_link *link) {
    struct ins_command command = {.kind = INS_COMMAND_ADD_LINK, .id = link->id, .link = link};
    int64_t result = push(e, &command);
    if (result < 0)
        ins_link_free(link);
    return result;
}

static struct ins_link *link_new(uint32_t id, uint32_t egress, const void *parked, int bell) {
    struct ins_link *link = calloc(1, sizeof *link);
    if (link) {
        link->id = id;
        link->egress = egress;
        link->parked = parked;
        link->bell = bell;
    }
    return link;
}

int64_t ins_engine_add_egress(struct ins_engine *e, uint32_t id, uint32_t datapath, uint32_t tag, void *segment,
                              uint64_t bytes, uint32_t entries, const void *parked, int bell) {
    struct ins_link *link = link_new(id, 1, parked, bell);
    if (!link)
        return -ENOMEM;
    link->out.tag = tag;
    link->out.datapath = datapath;
    int error = ins_consumer_init(&link->out.consumer, segment, bytes, entries);
    if (error) {
        ins_link_free(link);
        return error;
    }
    return push_link(e, link);
}

int64_t ins_engine_add_ingress(struct ins_engine *e, uint32_t id, void *segment, uint64_t bytes, uint32_t entries,
                               const void *parked, int bell) {
    struct ins_link *link = link_new(id, 0, parked, bell);
    if (!link)
        return -ENOMEM;
    int error = ins_producer_init(&link->in.producer, segment, bytes, entries);
    link->in.holds = calloc(e->config.receive_slots, sizeof *link->in.holds);
    if (!error && !link->in.holds)
        error = -ENOMEM;
    if (error) {
        ins_link_free(link);
        return error;
    }
    return push_link(e, link);
}

/* A pool that the engine writes to, for a trust domain or for large messages. */
static int64_t push_domain(struct ins_engine *e, uint32_t kind, uint32_t id, void *memory, uint64_t bytes,
                           uint32_t stride, uint32_t slots) {
    struct ins_command command = {.kind = kind};
    int error = ins_domain_new(id, memory, bytes, stride, slots, &command.domain);
    if (error)
        return error;
    int64_t result = push(e, &command);
    if (result < 0)
        ins_domain_free(command.domain);
    return result;
}

int64_t ins_engine_add_domain(struct ins_engine *e, uint32_t id, void *memory, uint64_t bytes) {
    return push_domain(e, INS_COMMAND_ADD_DOMAIN, id, memory, bytes, e->pool.stride, e->config.receive_slots);
}

int64_t ins_engine_remove_domain(struct ins_engine *e, uint32_t id) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_DOMAIN, .id = id};
    return push(e, &command);
}

int64_t ins_engine_set_domain(struct ins_engine *e, uint32_t link, uint32_t domain) {
    struct ins_command command = {.kind = INS_COMMAND_SET_DOMAIN, .id = link, .index = domain};
    return push(e, &command);
}

int64_t ins_engine_add_assembly(struct ins_engine *e, uint32_t id, void *memory, uint64_t bytes, uint32_t payload) {
    if (payload == 0 || payload > INS_POOL_MAX_MESSAGE)
        return -EINVAL;
    uint32_t stride = INS_POOL_HEADER_ROOM + (payload + 63) / 64 * 64;
    return push_domain(e, INS_COMMAND_ADD_ASSEMBLY, id, memory, bytes, stride, INS_ASSEMBLY_SLOTS);
}

int64_t ins_engine_remove_assembly(struct ins_engine *e, uint32_t id) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_ASSEMBLY, .id = id};
    return push(e, &command);
}

int64_t ins_engine_set_assembly(struct ins_engine *e, uint32_t link, uint32_t id) {
    struct ins_command command = {.kind = INS_COMMAND_SET_ASSEMBLY, .id = link, .index = id};
    return push(e, &command);
}

int64_t ins_engine_remove_link(struct ins_engine *e, uint32_t link) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_LINK, .id = link};
    return push(e, &command);
}

int64_t ins_engine_add_pool(struct ins_engine *e, uint32_t link, uint32_t index, const void *base, uint64_t bytes,
                            uint32_t payload) {
    if (!base || index >= INS_POOL_MAX_POOLS)
        return -EINVAL;
    struct ins_command command = {
        .kind = INS_COMMAND_ADD_POOL, .id = link, .index = index, .base = base, .bytes = bytes, .payload = payload};
    return push(e, &command);
}

int64_t ins_engine_remove_pool(struct ins_engine *e, uint32_t link, uint32_t index) {
    if (index >= INS_POOL_MAX_POOLS)
        return -EINVAL;
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_POOL, .id = link, .index = index};
    return push(e, &command);
}

int64_t ins_engine_add_source(struct ins_engine *e, uint32_t link, uint32_t index, uint32_t source,
                              uint32_t channel_index, uint32_t channel) {
    if (index >= INS_LINK_SOURCES || channel_index > INS_DESCRIPTOR_CHANNEL_MASK)
        return -EINVAL;
    struct ins_command command = {
        .kind = INS_COMMAND_ADD_SOURCE,
        .id = link,
        .index = index,
        .source = source,
        .channel_index = channel_index,
        .channel = channel,
    };
    return push(e, &command);
}

int64_t ins_engine_remove_source(struct ins_engine *e, uint32_t link, uint32_t index) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_SOURCE, .id = link, .index = index};
    return push(e, &command);
}

int64_t ins_engine_subscribe(struct ins_engine *e, uint32_t link, uint32_t tag, uint32_t channel,
                             uint32_t channel_index) {
    if (channel_index > INS_DESCRIPTOR_CHANNEL_MASK)
        return -EINVAL;
    struct ins_command command = {
        .kind = INS_COMMAND_SUBSCRIBE, .id = link, .tag = tag, .channel = channel, .channel_index = channel_index};
    return push(e, &command);
}

int64_t ins_engine_unsubscribe(struct ins_engine *e, uint32_t link, uint32_t tag, uint32_t channel) {
    struct ins_command command = {.kind = INS_COMMAND_UNSUBSCRIBE, .id = link, .tag = tag, .channel = channel};
    return push(e, &command);
}

int64_t ins_engine_add_bell(struct ins_engine *e, int bell) {
    if (bell < 0)
        return -EBADF;
    struct ins_command command = {.kind = INS_COMMAND_ADD_BELL, .bell = bell};
    return push(e, &command);
}

int64_t ins_engine_remove_bell(struct ins_engine *e, int bell) {
    struct ins_command command = {.kind = INS_COMMAND_REMOVE_BELL, .bell = bell};
    return push(e, &command);
}

int64_t ins_engine_set_schedule_on(struct ins_engine *e, uint32_t datapath, const struct ins_gate_list *list,
                                   const struct ins_schedule_clock *clock) {
    struct ins_port_schedule *schedule;
    int error = ins_port_schedule_new(list, clock, &schedule);
    if (error)
        return error;
    struct ins_command command = {.kind = INS_COMMAND_SET_SCHEDULE, .id = datapath, .schedule = schedule};
    int64_t result = push(e, &command);
    if (result < 0)
        free(schedule);
    return result;
}

int64_t ins_engine_set_schedule(struct ins_engine *e, uint32_t datapath, const struct ins_gate_list *list) {
    return ins_engine_set_schedule_on(e, datapath, list, NULL);
}

int64_t ins_engine_set_class(struct ins_engine *e, uint32_t link, uint32_t traffic_class) {
    if (traffic_class >= INS_CLASSES)
        return -EINVAL;
    struct ins_command command = {.kind = INS_COMMAND_SET_CLASS, .id = link, .index = traffic_class};
    return push(e, &command);
}

int64_t ins_engine_set_batching(struct ins_engine *e, uint32_t link, uint32_t batching) {
    struct ins_command command = {.kind = INS_COMMAND_SET_BATCHING, .id = link, .index = batching != 0};
    return push(e, &command);
}

int64_t ins_engine_hold_link(struct ins_engine *e, uint32_t link, uint32_t held) {
    struct ins_command command = {.kind = INS_COMMAND_HOLD_LINK, .id = link, .index = held != 0};
    return push(e, &command);
}

int64_t ins_engine_retire_link(struct ins_engine *e, uint32_t link, uint32_t patience_ms) {
    struct ins_command command = {.kind = INS_COMMAND_RETIRE_LINK, .id = link, .patience_ms = patience_ms};
    return push(e, &command);
}

int64_t ins_engine_move_route(struct ins_engine *e, uint32_t tag, uint32_t channel, uint32_t from, uint32_t to,
                              uint32_t patience_ms) {
    struct ins_command command = {.kind = INS_COMMAND_MOVE_ROUTE,
                                  .tag = tag,
                                  .channel = channel,
                                  .peer = from,
                                  .index = to,
                                  .patience_ms = patience_ms};
    return push(e, &command);
}

static int64_t push_flow(struct ins_engine *e, uint32_t kind, uint32_t host, uint32_t tag, uint32_t channel,
                         uint32_t source, uint32_t flow, uint64_t sent) {
    struct ins_command command = {
        .kind = kind, .peer = host, .tag = tag, .channel = channel, .source = source, .index = flow, .bytes = sent};
    return push(e, &command);
}

int64_t ins_engine_account_flow(struct ins_engine *e, uint32_t host, uint32_t tag, uint32_t channel, uint32_t source,
                                uint32_t flow, uint64_t sent) {
    return push_flow(e, INS_COMMAND_ACCOUNT_FLOW, host, tag, channel, source, flow, sent);
}

int64_t ins_engine_tell_flow(struct ins_engine *e, uint32_t host, uint32_t tag, uint32_t channel, uint32_t source,
                             uint32_t flow, uint64_t sent) {
    return push_flow(e, INS_COMMAND_TELL_FLOW, host, tag, channel, source, flow, sent);
}
