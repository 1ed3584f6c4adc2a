/* Commands about peers and routes, see engine_peers.h. */
#include "engine_peers.h"

#include <errno.h>

#include "farewell.h"
#include "flow.h"
#include "fragments.h"
#include "liveness.h"
#include "tracker.h"

static uint64_t endpoint_key(uint32_t port, const struct ins_endpoint *at) {
    return ins_map_key(at->address, port << 16 | at->port);
}

/* Tells a datapath when it has come to talk to one peer only, or no longer does. */
static void tell_sole(struct ins_engine *e, uint32_t number) {
    struct ins_datapath *datapath = e->ports[number].datapath;
    const struct ins_endpoint *sole = NULL;
    uint32_t count = 0;
    if (!datapath || !datapath->ops->sole_peer)
        return;
    for (uint32_t i = 0, left = e->peer_ids.count; i < INS_ENGINE_PEERS && left && count < 2; i++) {
        const struct ins_peer *peer = &e->peers[i];
        if (!peer->used)
            continue;
        left--;
        if (!peer->endpoints[number].used)
            continue;
        count++;
        sole = &peer->endpoints[number].at;
    }
    datapath->ops->sole_peer(datapath, count == 1 ? sole : NULL);
}

void ins_peer_forget_endpoint(struct ins_engine *e, struct ins_peer *peer, uint32_t port) {
    if (!peer->endpoints[port].used)
        return;
    ins_map_remove(&e->endpoints, endpoint_key(port, &peer->endpoints[port].at));
    ins_fragments_parted(e, port, peer);
    peer->endpoints[port].used = 0;
    e->cached_endpoint = UINT64_MAX;
}

int ins_peer_set(struct ins_engine *e, const struct ins_command *c) {
    struct ins_port *port = ins_port_find(e, c->id);
    if (!port)
        return -ENODEV;
    uint32_t number = (uint32_t)(port - e->ports), index, holder;
    uint64_t key = endpoint_key(number, &c->endpoint);
    int known = ins_map_get(&e->peer_ids, c->peer, &index);
    if (ins_map_get(&e->endpoints, key, &holder) && (!known || holder != index))
        return -EADDRINUSE;
    if (!known) {
        for (index = 0; index < INS_ENGINE_PEERS && e->peers[index].used;)
            index++;
        if (index == INS_ENGINE_PEERS)
            return -ENOSPC;
        int error = ins_map_put(&e->peer_ids, c->peer, index);
        if (error)
            return error;
        e->peers[index] = (struct ins_peer){
            .used = 1, .id = c->peer, .uid = ++e->peer_uid, .forgetful = c->index != 0};
        ins_liveness_add(e, index);
        ins_gauge(e, INS_COUNT_peers, e->peer_ids.count);
    }
    struct ins_peer *peer = &e->peers[index];
    ins_peer_forget_endpoint(e, peer, number);
    int error = ins_map_put(&e->endpoints, key, index);
    if (error)
        return error;
    peer->endpoints[number].at = c->endpoint;
    peer->endpoints[number].used = 1;
    tell_sole(e, number);
    ins_fragments_met(e, number, peer);
    return 0;
}

int ins_peer_remove(struct ins_engine *e, uint32_t id) {
    uint32_t index, uid;
    if (!ins_map_get(&e->peer_ids, id, &index))
        return -ENOENT;
    struct ins_peer *peer = &e->peers[index];
    for (uint32_t i = e->topics.count; i-- > 0;) {
        struct ins_topic *topic = e->topics.table[i];
        if (ins_topic_remove_route(topic, index, &uid) == 0)
            ins_topic_drop(&e->topics, topic);
    }
    ins_flows_drop_peer(e, index);
    ins_trackers_drop_peer(e, index);
    for (uint32_t i = 0; i < INS_ENGINE_DATAPATHS; i++)
        ins_peer_forget_endpoint(e, peer, i);
    ins_map_remove(&e->peer_ids, id);
    peer->used = 0;
    for (uint32_t i = 0; i < e->port_count; i++)
        tell_sole(e, i);
    ins_liveness_remove(e, index);
    ins_gauge(e, INS_COUNT_peers, e->peer_ids.count);
    return 0;
}

int ins_peer_mute(struct ins_engine *e, const struct ins_command *c) {
    uint32_t index;
    if (!ins_map_get(&e->peer_ids, c->peer, &index))
        return -ENOENT;
    e->peers[index].muted = c->index;
    return 0;
}

static int add_route(struct ins_engine *e, uint32_t peer, uint32_t tag, uint32_t channel) {
    struct ins_topic *topic = ins_topic_need(&e->topics, tag, channel);
    if (!topic)
        return -ENOSPC;
    int error = ins_topic_add_route(topic, peer, ++e->route_uid);
    ins_topic_drop(&e->topics, topic);
    return error == -ENOSPC ? -EMLINK : error;
}

static int remove_route(struct ins_engine *e, uint32_t peer, uint32_t tag, uint32_t channel, uint32_t *uid) {
    struct ins_topic *topic = ins_topic_find(&e->topics, tag, channel);
    if (!topic)
        return -ENOENT;
    int error = ins_topic_remove_route(topic, peer, uid);
    if (!error)
        ins_topic_drop(&e->topics, topic);
    return error;
}

int ins_peer_change_routes(struct ins_engine *e, const struct ins_command *c, uint64_t *done) {
    uint32_t peer, removed[INS_ROUTES_AT_ONCE], i = 0;
    int error = ins_map_get(&e->peer_ids, c->peer, &peer) ? 0 : -ENOENT;
    for (; !error && i < c->routes->count; i += !error) {
        const uint32_t *pair = &c->routes->pairs[2 * i];
        error = c->kind == INS_COMMAND_ADD_ROUTES ? add_route(e, peer, pair[0], pair[1])
                                                  : remove_route(e, peer, pair[0], pair[1], &removed[i]);
    }
    if (c->kind == INS_COMMAND_REMOVE_ROUTES)
        ins_flows_drop_routes(e, removed, i, INS_NONE); /* nobody wants to hear of them any more */
    *done = i;
    return error;
}

int ins_peer_move_route(struct ins_engine *e, const struct ins_command *c, uint64_t *follows) {
    uint32_t from, to;
    struct ins_topic *topic = ins_topic_find(&e->topics, c->tag, c->channel);
    if (!topic || !ins_map_get(&e->peer_ids, c->peer, &from) || !ins_map_get(&e->peer_ids, c->index, &to))
        return -ENOENT;
    return ins_route_move(e, topic, from, to, c->patience_ms, follows);
}
