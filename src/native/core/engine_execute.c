/* The engine's side of the command queue. Runs between two bursts: nothing else of the engine is under way. */
#include <errno.h>
#include <stdlib.h>

#include "coalesce.h"
#include "domain.h"
#include "egress.h"
#include "engine_idle.h"
#include "engine_links.h"
#include "engine_peers.h"
#include "engine_turn.h"
#include "farewell.h"
#include "fragments.h"
#include "ingress.h"
#include "meeting.h"
#include "scheduler_port.h"

struct ins_port *ins_port_find(struct ins_engine *e, uint32_t id) {
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && e->ports[i].id == id)
            return &e->ports[i];
    return NULL;
}

static int add_datapath(struct ins_engine *e, const struct ins_command *c) {
    if (ins_port_find(e, c->id))
        return -EEXIST;
    uint32_t index = 0;
    while (index < INS_ENGINE_DATAPATHS && e->ports[index].datapath)
        index++;
    if (index == INS_ENGINE_DATAPATHS)
        return -ENOSPC;
    struct ins_port *port = &e->ports[index];
    int error = c->datapath->ops->bind(c->datapath, &e->pool);
    if (error)
        return error;
    *port = (struct ins_port){.datapath = c->datapath, .stage = c->stage, .id = c->id};
    ins_stage_seal(e, port->stage);
    int count = c->datapath->ops->fds(c->datapath, port->fds, sizeof port->fds / sizeof *port->fds);
    port->fd_count = count > 0 ? (uint32_t)count : 0;
    e->watching = 0; /* so that the thread watches this one as well before it sleeps */
    if (index >= e->port_count)
        e->port_count = index + 1;
    return 0;
}

static void detach(struct ins_engine *e, struct ins_port *port) {
    uint32_t index = (uint32_t)(port - e->ports);
    ins_egress_flush(e, port);
    ins_egress_purge(e, port, NULL, INS_STATUS_CLOSED);
    ins_port_schedule_drop(e, port);
    e->watching = 1;
    ins_ports_unwatch(e);
    port->datapath->ops->unbind(port->datapath);
    for (uint32_t i = 0; i < INS_ENGINE_PEERS; i++)
        ins_peer_forget_endpoint(e, &e->peers[i], index);
    free(port->stage);
    *port = (struct ins_port){0};
    while (e->port_count && !e->ports[e->port_count - 1].datapath)
        e->port_count--;
}

static int remove_datapath(struct ins_engine *e, uint32_t id) {
    struct ins_port *port = ins_port_find(e, id);
    if (!port)
        return -ENOENT;
    detach(e, port);
    return 0;
}

static int add_link(struct ins_engine *e, struct ins_link *link) {
    if (link->bell >= 0) {
        int error = ins_bell_watch(e, link->bell);
        if (error)
            return error;
    }
    int rings = link->parked && link->bell >= 0;
    link->sleeper = rings ? ins_sleeper_need(e, link->parked, link->bell) : NULL;
    int error = rings && !link->sleeper ? -ENOMEM : ins_links_add(e, link);
    if (error) {
        ins_sleeper_drop(e, link->sleeper);
        if (link->bell >= 0)
            ins_bell_unwatch(e, link->bell);
    }
    return error;
}

/* Everything comes back, and is told, before the acknowledgement is. */
static uint64_t detach_link(struct ins_engine *e, struct ins_link *link) {
    uint64_t out = 0;
    if (link->egress) {
        uint64_t out_of_use;
        out = ins_egress_close(e, link);
        ins_schedule_set_class(e, link, 0, &out_of_use);
        for (uint32_t i = 0; i < link->out.source_capacity; i++) {
            struct ins_topic *topic = link->out.sources[i].topic;
            if (!topic)
                continue;
            ins_map_remove(&e->open_sources, link->out.sources[i].uid);
            topic->holders--;
            ins_topic_drop(&e->topics, topic);
        }
    } else {
        uint32_t dropped;
        out = link->faulted ? 0 : ins_ingress_abandon(e, link);
        ins_domain_leave(e, link);
        ins_assembly_leave(link);
        for (uint32_t i = e->topics.count; i-- > 0;) {
            struct ins_topic *topic = e->topics.table[i];
            struct ins_event event = {.type = INS_EVENT_DROPPED, .a = link->id, .b = topic->channel,
                                      .c = INS_STATUS_NO_CREDIT};
            if (ins_topic_unsubscribe(topic, link, &dropped))
                continue;
            event.value = dropped;
            if (dropped)
                ins_event_push(&e->events, &event, 1);
            ins_topic_drop(&e->topics, topic);
        }
    }
    ins_farewells_forget_link(e, link);
    ins_links_publish(e);
    struct ins_event fault = {.type = INS_EVENT_LINK_FAULT, .a = link->id};
    if (link->untold)
        ins_event_push(&e->events, &fault, 1);
    ins_sleeper_drop(e, link->sleeper);
    if (link->bell >= 0)
        ins_bell_unwatch(e, link->bell);
    ins_links_remove(e, link);
    ins_link_free(link);
    return out;
}

static int add_pool(const struct ins_engine *e, struct ins_link *link, const struct ins_command *c) {
    struct ins_egress_pool *pool = &link->out.pools[c->index];
    if (pool->base)
        return -EEXIST;
    *pool = (struct ins_egress_pool){.base = c->base, .bytes = c->bytes, .payload = c->payload};
    /* As much as this always goes in one datagram. */
    link->out.large |= c->payload > INS_FRAGMENT_LEAST;
    ins_fragments_bound(e, link);
    return 0;
}

static int remove_pool(struct ins_engine *e, struct ins_link *link, uint32_t index) {
    if (!link->out.pools[index].base)
        return -ENOENT;
    /* Nothing staged may still point into it, and no large message that is under way. */
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        if (!port->datapath || (!link->out.sending && !ins_port_staged(port)))
            continue;
        if (port->schedule || !ins_egress_flush(e, port) || link->out.sending)
            ins_egress_purge(e, port, link, INS_STATUS_CLOSED);
    }
    link->out.pools[index] = (struct ins_egress_pool){0};
    return 0;
}

static int add_source(struct ins_engine *e, struct ins_link *link, const struct ins_command *c) {
    struct ins_egress *out = &link->out;
    if (c->index >= out->source_capacity) {
        uint32_t capacity = out->source_capacity ? out->source_capacity : 16;
        while (capacity <= c->index)
            capacity *= 2;
        struct ins_egress_source *sources = realloc(out->sources, capacity * sizeof *sources);
        if (!sources)
            return -ENOMEM;
        for (uint32_t i = out->source_capacity; i < capacity; i++)
            sources[i] = (struct ins_egress_source){.state = INS_SOURCE_NEVER, .open_epoch = INS_NOT_OPEN};
        out->sources = sources;
        out->source_capacity = capacity;
    }
    struct ins_egress_source *source = &out->sources[c->index];
    if (source->state == INS_SOURCE_OPEN)
        return -EEXIST;
    struct ins_topic *topic = ins_topic_need(&e->topics, out->tag, c->channel);
    if (!topic)
        return -ENOSPC;
    int error = ins_map_put(&e->open_sources, ++e->source_uid, 0);
    if (error) {
        ins_topic_drop(&e->topics, topic);
        return error;
    }
    topic->holders++;
    *source = (struct ins_egress_source){
        .state = INS_SOURCE_OPEN,
        .open_epoch = INS_NOT_OPEN,
        .source = c->source,
        .channel_index = c->channel_index,
        .link = link->id,
        .uid = e->source_uid,
        .topic = topic,
    };
    return 0;
}

static int remove_source(struct ins_engine *e, struct ins_link *link, uint32_t index) {
    if (index >= link->out.source_capacity || link->out.sources[index].state != INS_SOURCE_OPEN)
        return -ENOENT;
    struct ins_egress_source *source = &link->out.sources[index];
    source->state = INS_SOURCE_REMOVED;
    ins_map_remove(&e->open_sources, source->uid);
    source->topic->holders--;
    ins_topic_drop(&e->topics, source->topic);
    source->topic = NULL;
    return 0;
}

static int subscribe(struct ins_engine *e, struct ins_link *link, const struct ins_command *c) {
    struct ins_topic *topic = ins_topic_need(&e->topics, c->tag, c->channel);
    if (!topic)
        return -ENOSPC;
    int error = ins_topic_subscribe(topic, link, c->channel_index);
    ins_topic_drop(&e->topics, topic);
    return error;
}

static int unsubscribe(struct ins_engine *e, struct ins_link *link, const struct ins_command *c) {
    struct ins_topic *topic = ins_topic_find(&e->topics, c->tag, c->channel);
    uint32_t dropped;
    if (!topic || ins_topic_unsubscribe(topic, link, &dropped))
        return -ENOENT;
    struct ins_event event = {
        .type = INS_EVENT_DROPPED, .a = link->id, .b = topic->channel, .c = INS_STATUS_NO_CREDIT, .value = dropped};
    if (dropped)
        ins_event_push(&e->events, &event, 1);
    ins_topic_drop(&e->topics, topic);
    return 0;
}

/* Commands about a link: 0 or -errno, and the acknowledgement's value. */
static int about_link(struct ins_engine *e, const struct ins_command *c, uint64_t *value) {
    struct ins_link *link = ins_links_find(e, c->id);
    if (!link)
        return -ENOENT;
    int egress_only = c->kind == INS_COMMAND_ADD_POOL || c->kind == INS_COMMAND_REMOVE_POOL ||
                      c->kind == INS_COMMAND_ADD_SOURCE || c->kind == INS_COMMAND_REMOVE_SOURCE ||
                      c->kind == INS_COMMAND_SET_CLASS || c->kind == INS_COMMAND_HOLD_LINK ||
                      c->kind == INS_COMMAND_RETIRE_LINK || c->kind == INS_COMMAND_SET_BATCHING;
    if (c->kind == INS_COMMAND_REMOVE_LINK) {
        *value = detach_link(e, link);
        return 0;
    }
    if (!egress_only == !!link->egress)
        return -EINVAL;
    switch (c->kind) {
    case INS_COMMAND_ADD_POOL:
        return add_pool(e, link, c);
    case INS_COMMAND_REMOVE_POOL:
        return remove_pool(e, link, c->index);
    case INS_COMMAND_ADD_SOURCE:
        return add_source(e, link, c);
    case INS_COMMAND_REMOVE_SOURCE:
        return remove_source(e, link, c->index);
    case INS_COMMAND_SET_CLASS:
        return ins_schedule_set_class(e, link, c->index, value);
    case INS_COMMAND_SUBSCRIBE:
        return subscribe(e, link, c);
    case INS_COMMAND_SET_DOMAIN:
        return ins_domain_set(e, link, c->index);
    case INS_COMMAND_SET_ASSEMBLY:
        return ins_assembly_set(e, link, c->index);
    case INS_COMMAND_HOLD_LINK:
        link->out.held = c->index;
        ins_links_heat(&e->egress, link);
        return 0;
    case INS_COMMAND_SET_BATCHING:
        link->out.alone = c->index ? 0 : INS_NOT_OPEN;
        return 0;
    case INS_COMMAND_RETIRE_LINK:
        return ins_link_retire(e, link, c->patience_ms);
    default:
        return unsubscribe(e, link, c);
    }
}

/* Commands about a flow of another engine's. */
static int about_flow(struct ins_engine *e, const struct ins_command *c, uint64_t *value) {
    const struct ins_heartbeat flow = {
        .flow = c->index, .tag = c->tag, .channel = c->channel, .source = c->source, .next = c->bytes};
    if (c->kind == INS_COMMAND_TELL_FLOW)
        return ins_farewell_tell(e, c->peer, &flow);
    *value = (uint64_t)ins_farewell_account(e, c->peer, &flow);
    return 0;
}

static int execute(struct ins_engine *e, const struct ins_command *c, uint64_t *value) {
    int error;
    switch (c->kind) {
    case INS_COMMAND_PING:
        return 0;
    case INS_COMMAND_ADD_DATAPATH:
        error = add_datapath(e, c);
        if (error)
            free(c->stage);
        return error;
    case INS_COMMAND_REMOVE_DATAPATH:
        return remove_datapath(e, c->id);
    case INS_COMMAND_SET_PEER:
        return ins_peer_set(e, c);
    case INS_COMMAND_REMOVE_PEER:
        return ins_peer_remove(e, c->peer);
    case INS_COMMAND_MUTE_PEER:
        return ins_peer_mute(e, c);
    case INS_COMMAND_ADD_ROUTES:
    case INS_COMMAND_REMOVE_ROUTES:
        error = ins_peer_change_routes(e, c, value);
        free(c->routes);
        return error;
    case INS_COMMAND_MOVE_ROUTE:
        return ins_peer_move_route(e, c, value);
    case INS_COMMAND_ACCOUNT_FLOW:
    case INS_COMMAND_TELL_FLOW:
        return about_flow(e, c, value);
    case INS_COMMAND_ADD_LINK:
        error = add_link(e, c->link);
        if (error)
            ins_link_free(c->link);
        return error;
    case INS_COMMAND_SET_SCHEDULE:
        error = ins_schedule_execute(e, c, value);
        if (error)
            free(c->schedule);
        return error;
    case INS_COMMAND_ADD_DOMAIN:
        error = ins_domain_add(e, c->domain);
        if (error)
            ins_domain_free(c->domain);
        return error;
    case INS_COMMAND_REMOVE_DOMAIN:
        return ins_domain_remove(e, c->id);
    case INS_COMMAND_ADD_ASSEMBLY:
        error = ins_assembly_add(e, c->domain);
        if (error)
            ins_domain_free(c->domain);
        return error;
    case INS_COMMAND_REMOVE_ASSEMBLY:
        return ins_assembly_remove(e, c->id);
    case INS_COMMAND_ADD_BELL:
        return ins_bell_watch(e, c->bell);
    case INS_COMMAND_REMOVE_BELL:
        return ins_bell_unwatch(e, c->bell);
    default:
        return about_link(e, c, value);
    }
}

uint32_t ins_engine_execute(struct ins_engine *e) {
    struct ins_command command;
    uint32_t count = 0;
    ins_engine_clock(e);
    while (ins_event_room(&e->events, 0) && ins_command_pop(&e->commands, &command)) {
        struct ins_event ack = {.type = INS_EVENT_ACK, .a = command.sequence};
        ack.status = execute(e, &command, &ack.value);
        if (command.kind != INS_COMMAND_SET_PEER || ack.status || !ins_meeting_begin(e, &command))
            ins_event_push(&e->events, &ack, 0);
        count++;
    }
    return count;
}

void ins_engine_tear_down(struct ins_engine *e) {
    struct ins_command command;
    /* What still waits is not done; links and stages made for it are ours to free. */
    while (ins_command_pop(&e->commands, &command)) {
        struct ins_event ack = {.type = INS_EVENT_ACK, .status = -ESHUTDOWN, .a = command.sequence};
        if (command.kind == INS_COMMAND_ADD_LINK)
            ins_link_free(command.link);
        if (command.kind == INS_COMMAND_ADD_DATAPATH)
            free(command.stage);
        if (command.kind == INS_COMMAND_SET_SCHEDULE)
            free(command.schedule);
        if (command.kind == INS_COMMAND_ADD_ROUTES || command.kind == INS_COMMAND_REMOVE_ROUTES)
            free(command.routes);
        if (command.kind == INS_COMMAND_ADD_DOMAIN || command.kind == INS_COMMAND_ADD_ASSEMBLY)
            ins_domain_free(command.domain);
        ins_event_push(&e->events, &ack, 0);
    }
    ins_meetings_end(e);
    while (e->link_count)
        detach_link(e, e->links[e->link_count - 1]);
    for (uint32_t i = 0; i < INS_ENGINE_DATAPATHS; i++)
        if (e->ports[i].datapath)
            detach(e, &e->ports[i]);
}
