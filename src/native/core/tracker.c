/* Trackers, see tracker.h. */
#include "tracker.h"

#include <errno.h>
#include <stdlib.h>

#include "farewell.h"
#include "fragments.h"
#include "ledger.h"

int ins_trackers_init(struct ins_engine *e) {
    e->trackers = calloc(e->tracker_limit, sizeof *e->trackers);
    if (!e->trackers || ins_map_init(&e->tracker_keys, e->tracker_limit))
        return -ENOMEM;
    for (uint32_t i = 0; i < e->tracker_limit; i++)
        e->trackers[i].next = i + 1 < e->tracker_limit ? i + 1 : INS_NONE;
    e->dirty_trackers = INS_NONE;
    e->cached_tracker = INS_NONE;
    return 0;
}

void ins_trackers_free(struct ins_engine *e) {
    free(e->trackers);
    ins_map_free(&e->tracker_keys);
}

struct ins_tracker *ins_tracker_find(struct ins_engine *e, uint32_t peer, uint32_t flow) {
    uint64_t key = ins_map_key(e->peers[peer].uid, flow);
    if (e->cached_tracker != INS_NONE && e->cached_flow == key)
        return &e->trackers[e->cached_tracker];
    uint32_t index;
    if (!ins_map_get(&e->tracker_keys, key, &index))
        return NULL;
    e->cached_flow = key;
    e->cached_tracker = index;
    return &e->trackers[index];
}

static int tell(struct ins_engine *e, struct ins_tracker *tracker, uint32_t reserved) {
    struct ins_event event = {
        .type = INS_EVENT_LOST,
        .a = tracker->topic->tag,
        .b = tracker->topic->channel,
        .c = tracker->source,
        .d = e->peers[tracker->peer].id,
        .value = tracker->lost,
    };
    if (tracker->lost && !ins_event_push(&e->events, &event, reserved))
        return 0;
    tracker->lost = 0;
    e->received[tracker - e->trackers].untold = 0;
    event.type = INS_EVENT_LATE;
    event.d = tracker->reordered;
    event.value = tracker->late;
    if (tracker->late && !ins_event_push(&e->events, &event, reserved))
        return 0;
    tracker->late = tracker->reordered = 0;
    return 1;
}

/* What is not told yet is told first, if there is any room; in any case it is in the counter. */
static void forget(struct ins_engine *e, struct ins_tracker *tracker) {
    if (tracker->dirty) {
        uint32_t *at = &e->dirty_trackers;
        while (*at != (uint32_t)(tracker - e->trackers))
            at = &e->trackers[*at].next;
        *at = tracker->next;
        tracker->dirty = 0;
        tell(e, tracker, 0);
    }
    struct ins_peer *peer = &e->peers[tracker->peer];
    ins_map_remove(&e->tracker_keys, ins_map_key(peer->uid, tracker->flow));
    peer->trackers--;
    tracker->topic->holders--;
    ins_topic_drop(&e->topics, tracker->topic);
    tracker->used = 0;
    ins_ledger_end(&e->received[tracker - e->trackers]);
    tracker->next = e->free_tracker;
    e->free_tracker = (uint32_t)(tracker - e->trackers);
    e->cached_tracker = INS_NONE;
    ins_gauge(e, INS_COUNT_trackers, e->tracker_keys.count);
}

/* Forgets the longest silent of a sample of `peer`'s flows (any peer's: INS_NONE). 1 when one was forgotten. */
static int evict(struct ins_engine *e, uint32_t peer) {
    enum { SAMPLE = 8 };
    struct ins_tracker *oldest = NULL;
    uint32_t found = 0;
    /* A full peer has a quarter of all there can be: few looks on the average, and a long way over the others' only
       once in hundreds of evictions. */
    for (uint32_t i = 0; i < e->tracker_high && found < SAMPLE; i++) {
        struct ins_tracker *tracker = &e->trackers[e->evict_cursor++ % e->tracker_high];
        if (!tracker->used || (peer != INS_NONE && tracker->peer != peer))
            continue;
        found++;
        if (!oldest || e->turn - tracker->seen > e->turn - oldest->seen)
            oldest = tracker;
    }
    if (!oldest)
        return 0;
    e->peers[oldest->peer].forgetful = 1;
    ins_count(e, INS_COUNT_trackers_evicted, 1);
    forget(e, oldest);
    return 1;
}

struct ins_tracker *ins_tracker_make(struct ins_engine *e, uint32_t peer, uint32_t flow, uint32_t source,
                                     struct ins_topic *topic, uint64_t expected) {
    topic->holders++; /* eviction below must not free it */
    if ((e->peers[peer].trackers >= INS_PEER_TRACKERS && !evict(e, peer)) ||
        (e->free_tracker == INS_NONE && !evict(e, INS_NONE)) ||
        ins_map_put(&e->tracker_keys, ins_map_key(e->peers[peer].uid, flow), e->free_tracker)) {
        topic->holders--;
        return NULL;
    }
    uint32_t index = e->free_tracker;
    struct ins_tracker *tracker = &e->trackers[index];
    e->free_tracker = tracker->next;
    if (index >= e->tracker_high)
        e->tracker_high = index + 1;
    *tracker = (struct ins_tracker){
        .expected = expected,
        .topic = topic,
        .used = 1,
        .peer = peer,
        .flow = flow,
        .source = source,
        .seen = e->turn,
        .fresh = 1,
        .next = INS_NONE,
    };
    ins_ledger_begin(&e->received[index],
                     &(struct ins_ledger_record){.host = e->peers[peer].id / INS_PEER_ENDPOINTS + 1,
                                                 .flow = flow,
                                                 .tag = topic->tag,
                                                 .channel = topic->channel,
                                                 .source = source,
                                                 .next = expected});
    e->peers[peer].trackers++;
    ins_gauge(e, INS_COUNT_trackers, e->tracker_keys.count);
    return tracker;
}

/* There is something to tell of it. */
static void soil(struct ins_engine *e, struct ins_tracker *tracker) {
    enum { COALESCE_MS = 10 };
    if (!tracker->dirty) {
        tracker->dirty = 1;
        tracker->next = e->dirty_trackers;
        e->dirty_trackers = (uint32_t)(tracker - e->trackers);
    }
    e->untold = 1;
    ins_due(e, e->told_ms + COALESCE_MS);
}

void ins_tracker_lost(struct ins_engine *e, struct ins_tracker *tracker, uint64_t count) {
    ins_count(e, INS_COUNT_rx_lost, count);
    tracker->lost += count;
    e->received[tracker - e->trackers].untold = (uint32_t)tracker->lost; /* at most a leap between two words */
    soil(e, tracker);
}

void ins_tracker_late(struct ins_engine *e, struct ins_tracker *tracker, uint64_t sequence, uint64_t end) {
    uint64_t from = sequence > tracker->gap ? sequence : tracker->gap, to = end < tracker->gap_end ? end : tracker->gap_end;
    uint32_t reordered = from < to ? (uint32_t)(to - from) : 0;
    ins_count(e, INS_COUNT_rx_late, end - sequence);
    ins_count(e, INS_COUNT_rx_reordered, reordered);
    tracker->late += (uint32_t)(end - sequence); /* a datagram's messages at a time; told 100 times a second */
    tracker->reordered += reordered;
    soil(e, tracker);
}

int ins_trackers_tell(struct ins_engine *e) {
    while (e->dirty_trackers != INS_NONE) {
        struct ins_tracker *tracker = &e->trackers[e->dirty_trackers];
        if (!tell(e, tracker, INS_EVENTS_RESERVED))
            return 0;
        tracker->dirty = 0;
        e->dirty_trackers = tracker->next;
    }
    return 1;
}

void ins_trackers_drop_peer(struct ins_engine *e, uint32_t peer) {
    ins_fragments_forget_peer(e, peer);
    for (uint32_t i = 0; i < e->tracker_high && e->peers[peer].trackers; i++)
        if (e->trackers[i].used && e->trackers[i].peer == peer) {
            ins_farewell_orphan(e, &e->trackers[i]);
            forget(e, &e->trackers[i]);
        }
}

void ins_tracker_beat(struct ins_engine *e, uint32_t peer, const struct ins_heartbeat *beat) {
    if (e->assembling)
        ins_fragments_pass(e, peer, beat->flow, beat->next);
    struct ins_tracker *tracker = ins_tracker_find(e, peer, beat->flow);
    if (!tracker) {
        struct ins_topic *topic = ins_topic_find(&e->topics, beat->tag, beat->channel);
        if (!topic || topic->subscription_count == 0 || beat->next == 0)
            return;
        /* Of a flow that was forgotten it tells no loss: not worth forgetting another one for. */
        if (e->peers[peer].forgetful && e->peers[peer].trackers >= INS_PEER_TRACKERS)
            return;
        uint64_t expected = e->peers[peer].forgetful ? beat->next : 0;
        if (beat->next - expected > INS_TRACKER_LEAP) {
            ins_count(e, INS_COUNT_rx_bad_flow, 1);
            return;
        }
        tracker = ins_tracker_make(e, peer, beat->flow, beat->source, topic, expected);
        if (!tracker)
            return;
    }
    if (tracker->topic->tag != beat->tag || tracker->topic->channel != beat->channel ||
        tracker->source != beat->source) {
        ins_count(e, INS_COUNT_rx_bad_flow, 1);
        return;
    }
    if (beat->next <= tracker->expected)
        return;
    uint64_t missing = beat->next - tracker->expected;
    if (missing > INS_TRACKER_LEAP) {
        ins_count(e, INS_COUNT_rx_bad_flow, 1);
        return;
    }
    tracker->gap = tracker->expected;
    tracker->gap_end = beat->next;
    tracker->expected = beat->next;
    ins_ledger_next(&e->received[tracker - e->trackers], tracker->expected);
    ins_tracker_lost(e, tracker, missing);
}

void ins_trackers_heartbeat(struct ins_engine *e, uint32_t peer, const uint8_t *records, uint32_t bytes) {
    ins_count(e, INS_COUNT_heartbeats_in, 1);
    for (uint32_t at = 0; at < bytes; at += INS_HEARTBEAT_RECORD_BYTES) {
        struct ins_heartbeat beat;
        ins_heartbeat_read(records + at, &beat);
        ins_tracker_beat(e, peer, &beat);
    }
}
