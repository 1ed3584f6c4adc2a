/* From the network to applications' links, see ingress.h. A payload stays where the datapath put it; its header is
   rewritten in place into the metadata that the sink reads. */
#include "ingress.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "deliver.h"
#include "domain.h"
#include "egress.h"
#include "engine_links.h"
#include "farewell.h"
#include "fragments.h"
#include "fragments_place.h"
#include "ledger.h"
#include "liveness.h"
#include "tracker.h"
#include "wire.h"

static uint32_t look(struct ins_engine *e, struct ins_link *link) {
    uint32_t moved = ins_link_reclaim(e, link);
    if (moved)
        ins_links_heat(&e->ingress, link);
    else
        ins_links_cool(&e->ingress, link);
    return moved;
}

uint32_t ins_ingress_reclaim(struct ins_engine *e) {
    struct ins_link_set *set = &e->ingress;
    uint32_t moved = 0;
    for (uint32_t i = set->hot; i-- > 0;)
        moved += look(e, set->links[i]);
    for (uint32_t i = 0; i < INS_LINKS_SLICE && set->hot < set->count; i++) {
        if (set->cursor < set->hot || set->cursor >= set->count)
            set->cursor = set->hot;
        moved += look(e, set->links[set->cursor++]);
    }
    return moved;
}

uint32_t ins_ingress_reclaim_all(struct ins_engine *e) {
    uint32_t moved = 0;
    for (uint32_t i = 0; i < e->ingress.count; i++)
        moved += ins_link_reclaim(e, e->ingress.links[i]);
    return moved;
}

uint32_t ins_ingress_abandon(struct ins_engine *e, struct ins_link *link) {
    struct ins_returned returned[INS_BURST];
    uint32_t total = 0, count;
    ins_link_reclaim(e, link);
    while ((count = ins_producer_abandon(&link->in.producer, returned, INS_BURST))) {
        ins_link_take_back(e, link, returned, count);
        total += count;
    }
    ins_count(e, INS_COUNT_rx_abandoned, total);
    ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    return total;
}

/* Where `count` messages belong that begin with the one of the header. */
static inline struct ins_tracker *admit(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire,
                                        uint32_t count) {
    struct ins_tracker *tracker = ins_tracker_find(e, peer, wire->flow);
    if (!tracker) {
        struct ins_topic *topic = ins_topic_find(&e->topics, wire->tag, wire->channel);
        if (!topic || topic->subscription_count == 0) {
            ins_count(e, INS_COUNT_rx_no_subscriber, count);
            return NULL;
        }
        uint64_t expected = e->peers[peer].forgetful ? wire->sequence : 0;
        if (wire->sequence - expected <= INS_TRACKER_LEAP)
            tracker = ins_tracker_make(e, peer, wire->flow, wire->source, topic, expected);
        if (!tracker) {
            ins_count(e, INS_COUNT_rx_bad_flow, count);
            return NULL;
        }
    }
    const struct ins_topic *topic = tracker->topic;
    if (topic->tag != wire->tag || topic->channel != wire->channel || tracker->source != wire->source ||
        (wire->sequence > tracker->expected && wire->sequence - tracker->expected > INS_TRACKER_LEAP)) {
        ins_count(e, INS_COUNT_rx_bad_flow, count);
        return NULL;
    }
    return tracker;
}

struct ins_tracker *ins_ingress_admit(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire) {
    return admit(e, peer, wire, 1);
}

/* What lies before `sequence` and was not seen is lost; `next` is expected. */
static inline void settle(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence, uint64_t next) {
    if (sequence > tracker->expected) {
        tracker->gap = tracker->expected;
        tracker->gap_end = sequence;
        ins_tracker_lost(e, tracker, sequence - tracker->expected);
    }
    tracker->expected = next;
    ins_ledger_next(&e->received[tracker - e->trackers], next);
    tracker->seen = e->turn;
}

void ins_ingress_settle(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence) {
    settle(e, tracker, sequence, sequence + 1);
}

/* A stream that moves gets messages from two engines, and their links are read by one that may not have looked for a while.
   What came over the old path is published before the marker that ends it is echoed, and only then is anything sent over
   the new one: so whoever meets the first message of a flow takes what is older on the other links before it. */
void ins_first_begin(struct ins_engine *e, uint8_t *meta) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const uint64_t began = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    memcpy(meta + INS_META_BEGAN, &began, 8);
    e->first = INS_DESCRIPTOR_FLAG_FIRST;
}

/* Where some link had no room for it the next one says it again. */
void ins_first_end(struct ins_engine *e, struct ins_tracker *tracker, uint64_t missed) {
    e->first = 0;
    tracker->fresh = tracker->topic->subscription_count == 0 || e->counters[INS_COUNT_rx_no_credit] != missed;
}

static __attribute__((noinline)) uint32_t deliver_first(struct ins_engine *e, struct ins_tracker *tracker, uint32_t slot,
                                                        uint32_t offset, const struct ins_wire *wire, uint32_t skip) {
    const uint64_t missed = e->counters[INS_COUNT_rx_no_credit];
    ins_first_begin(e, e->pool.base + offset - INS_META_BYTES);
    const uint32_t pushed = wire->type == INS_WIRE_TYPE_COALESCED
                                ? ins_deliver_items(e, tracker->topic, slot, offset, wire, skip)
                                : ins_deliver(e, tracker->topic, slot, offset, wire->length);
    ins_first_end(e, tracker, missed);
    return pushed;
}

/* A data message of a known peer. Returns to how many links it was pushed. */
static uint32_t accept(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire, uint8_t *header,
                       uint32_t slot, uint32_t offset) {
    /* A sender has done with its large messages before it sends this. */
    uint32_t pushed = e->assembling ? ins_fragments_pass(e, peer, wire->flow, wire->sequence) : 0;
    struct ins_tracker *tracker = admit(e, peer, wire, 1);
    if (!tracker)
        return pushed;
    struct ins_topic *topic = tracker->topic;
    if (wire->sequence < tracker->expected) {
        ins_tracker_late(e, tracker, wire->sequence, wire->sequence + 1);
        return pushed;
    }
    settle(e, tracker, wire->sequence, wire->sequence + 1);
    ins_count(e, INS_COUNT_rx_bytes, wire->length);
    if (topic->subscription_count == 0) {
        ins_count(e, INS_COUNT_rx_no_subscriber, 1);
        return pushed;
    }
    ins_wire_to_meta(header, wire, e->stamp);
    if (tracker->fresh)
        return pushed + deliver_first(e, tracker, slot, offset, wire, 0);
    return pushed + ins_deliver(e, topic, slot, offset, wire->length);
}

/* The same for coalesced data: the items are messages of the sequences from that of the header on. */
static uint32_t accept_items(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire, uint8_t *header,
                             uint32_t slot, uint32_t offset) {
    uint32_t pushed = e->assembling ? ins_fragments_pass(e, peer, wire->flow, wire->sequence) : 0, skip = 0;
    struct ins_tracker *tracker = admit(e, peer, wire, wire->items);
    if (!tracker)
        return pushed;
    struct ins_topic *topic = tracker->topic;
    uint64_t end = wire->sequence + wire->items;
    if (wire->sequence < tracker->expected) {
        uint64_t behind = tracker->expected - wire->sequence;
        skip = behind < wire->items ? (uint32_t)behind : wire->items;
        ins_tracker_late(e, tracker, wire->sequence, wire->sequence + skip);
        if (skip == wire->items)
            return pushed;
    }
    settle(e, tracker, wire->sequence, end);
    if (topic->subscription_count == 0)
        ins_count(e, INS_COUNT_rx_no_subscriber, wire->items - skip);
    ins_wire_to_meta(header, wire, e->stamp);
    if (tracker->fresh)
        return pushed + deliver_first(e, tracker, slot, offset, wire, skip);
    return pushed + ins_deliver_items(e, topic, slot, offset, wire, skip);
}

/* Index of the peer that sends from there, or INS_NONE. */
static inline __attribute__((always_inline)) uint32_t peer_at(struct ins_engine *e, uint32_t port, const struct ins_endpoint *from) {
    uint64_t key = ins_map_key(from->address, port << 16 | from->port);
    if (e->cached_endpoint == key)
        return e->cached_peer;
    uint32_t peer;
    if (!ins_map_get(&e->endpoints, key, &peer))
        return INS_NONE;
    e->cached_endpoint = key;
    e->cached_peer = peer;
    return peer;
}

uint32_t ins_ingress_peer(struct ins_engine *e, uint32_t port, const struct ins_endpoint *from) {
    return peer_at(e, port, from);
}

static uint32_t ingest(struct ins_engine *e, uint32_t port, const struct ins_rx *rx) {
    uint32_t peer = peer_at(e, port, &rx->from), at = rx->offset, left = rx->length, pushed = 0, messages = 0;
    e->slots_out++; /* ours, until the descriptors pushed have counts of their own */
    do {
        struct ins_wire wire;
        uint8_t *header = e->pool.base + at;
        messages++;
        enum ins_wire_fault fault = INS_WIRE_OK;
        if (!ins_wire_parse_plain(header, left, &wire))
            fault = ins_wire_parse(header, left, &wire);
        if (fault) {
            /* Where the next one would begin is not known. */
            ins_count(e, INS_COUNT_rx_bad_short + (fault - INS_WIRE_BAD_SHORT), 1);
            break;
        }
        if (peer == INS_NONE) {
            ins_count(e, INS_COUNT_rx_unknown_peer, 1);
            break;
        }
        ins_heard(e, peer);
        uint32_t body = at + INS_WIRE_HEADER, bytes = wire.length;
        if (wire.type == INS_WIRE_TYPE_DATA)
            pushed += accept(e, peer, &wire, header, rx->slot, body);
        else if (wire.type == INS_WIRE_TYPE_COALESCED)
            pushed += accept_items(e, peer, &wire, header, rx->slot, body);
        else if (wire.type == INS_WIRE_TYPE_FRAGMENT) {
            pushed += ins_fragment_receive(e, port, peer, &wire, e->pool.base + body);
            bytes = wire.body;
        } else if (wire.type == INS_WIRE_TYPE_ASK) {
            pushed += ins_fragment_asked(e, port, peer, &wire);
            bytes = 0;
        } else if (wire.type == INS_WIRE_TYPE_STATUS)
            ins_fragments_status(e, port, peer, &wire, e->pool.base + body);
        else if (wire.type == INS_WIRE_TYPE_MARKER)
            ins_farewell_marker(e, port, peer, &wire);
        else if (wire.type == INS_WIRE_TYPE_MARKER_ECHO)
            ins_farewell_echoed(e, peer, &wire);
        else
            ins_trackers_heartbeat(e, peer, e->pool.base + body, wire.length);
        at = body + bytes;
        left -= INS_WIRE_HEADER + bytes;
    } while (left);
    ins_count(e, INS_COUNT_rx_datagrams, messages);
    ins_domain_unref(e, &e->pool, rx->slot);
    return pushed;
}

/* Fragments are expected: they are received where they belong, until something comes that is none of them, which is in `rx`
   then (its length is not 0). As rx_burst otherwise. */
static __attribute__((noinline)) int receive_placed(struct ins_engine *e, uint32_t port, uint32_t budget,
                                                    struct ins_rx *rx, uint32_t *pushed) {
    int count = 0;
    for (rx->length = 0; count < (int)budget && rx->length == 0 && ins_place_ready(e, port) > 0;) {
        int result = ins_place_receive(e, port, rx, pushed);
        if (result <= 0) {
            rx->length = 0;
            return count ? count : result;
        }
        if (count++ == 0)
            e->stamp = ins_clock_now(&e->clock);
    }
    return count;
}

/* What a buffer holds, by those that came last: as much as the fullest ones of late; 0 when each holds one message. */
static __attribute__((noinline)) void note_buffers(struct ins_engine *e, uint32_t buffers, uint32_t messages) {
    const uint32_t now = (messages + buffers - 1) / buffers, late = e->buffer_most - (e->buffer_most + 7) / 8;
    e->buffer_most = now > 1 && now > late ? now : late;
}

/* Buffers that may be asked for without more messages coming than the only link there is has credits for: what waits in
   the datapath is not lost yet. One at least, as not all that comes is for links. */
static uint32_t affordable(struct ins_engine *e, uint32_t budget) {
    if (e->buffer_most == 0 || e->ingress.count != 1)
        return budget;
    const uint32_t buffers = e->ingress.links[0]->in.producer.free_count / e->buffer_most;
    return buffers >= budget ? budget : buffers ? buffers : 1;
}

uint32_t ins_ingress_turn(struct ins_engine *e, uint32_t budget) {
    struct ins_rx rx[INS_BURST];
    uint32_t moved = 0, pushed = 0;
    e->no_slot = 0;
    budget = affordable(e, budget);
    for (uint32_t i = 0; i < e->port_count; i++) {
        struct ins_port *port = &e->ports[i];
        if (!port->datapath || port->down)
            continue;
        const int placed = e->assembling | e->expecting ? ins_place_ready(e, i) : 0;
        int count;
        if (placed > 0)
            count = receive_placed(e, i, budget, rx, &pushed);
        else
            count = port->datapath->ops->rx_burst(port->datapath, rx, placed < 0 ? 1 : budget);
        if (count == -ENOBUFS) {
            ins_count(e, INS_COUNT_rx_no_slot, 1);
            e->starved = 1;
            e->no_slot = 1;
            continue;
        }
        if (count < 0) {
            ins_port_down(e, port, count);
            continue;
        }
        if (count)
            e->stamp = ins_clock_now(&e->clock);
        const int whole = placed > 0 ? rx->length != 0 : count;
        const uint32_t before = pushed;
        for (int k = 0; k < whole; k++)
            pushed += ingest(e, i, &rx[k]);
        if (whole && (pushed - before > (uint32_t)whole || e->buffer_most))
            note_buffers(e, (uint32_t)whole, pushed - before);
        moved += (uint32_t)count;
    }
    if (pushed)
        ins_count(e, INS_COUNT_rx_messages, pushed);
    if (moved) /* also when nothing was pushed: what gave slots back meanwhile counted those we were holding */
        ins_gauge(e, INS_COUNT_slots_out, e->slots_out);
    return moved;
}
