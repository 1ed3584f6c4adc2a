/* Large messages that are complete, to the links of their sinks: in the order of their flow, and none before an earlier one
   that may still become complete. See fragments.h. */
#include <errno.h>
#include <string.h>

#include "engine_links.h"
#include "fragments_state.h"
#include "ingress.h"
#include "ledger.h"
#include "tracker.h"

/* One link's descriptor from an assembly pool; 0 for want of a credit. */
static uint32_t push(struct ins_engine *e, struct ins_subscription *to, struct ins_domain *pool, uint32_t slot,
                     uint32_t length) {
    struct ins_link *link = to->link;
    const uint32_t offset = ins_pool_payload(&pool->pool, slot);
    int entry = ins_producer_push(&link->in.producer, 1, slot, 0, offset, length, to->channel_index, 0, e->first);
    if (entry < 0 && ins_ingress_reclaim_link(e, link) && !link->faulted)
        entry = ins_producer_push(&link->in.producer, 1, slot, 0, offset, length, to->channel_index, 0, e->first);
    if (entry < 0)
        return 0;
    ins_pool_ref(&pool->pool, slot, 1);
    ins_link_touch(e, link);
    return 1;
}

/* The message in a slot of another pool: copied there once for all links that deliver from that. */
static int copy(struct ins_engine *e, const struct ins_assembly *a, struct ins_domain *to, struct ins_domain **copied) {
    if (to->copied)
        return 1;
    const int64_t slot = a->wire.length <= to->pool.payload ? ins_fragments_slot(e, to) : -EMSGSIZE;
    if (slot < 0)
        return 0;
    memcpy(to->pool.base + ins_pool_payload(&to->pool, (uint32_t)slot) - INS_META_BYTES,
           a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) - INS_META_BYTES,
           INS_META_BYTES + (uint64_t)a->wire.length);
    ins_count(e, INS_COUNT_rx_copied_domain, 1);
    to->slot = (uint32_t)slot;
    to->copied = 1;
    to->next_copied = *copied;
    *copied = to;
    return 1;
}

static uint32_t deliver_one(struct ins_engine *e, struct ins_assembly *a) {
    uint32_t pushed = 0;
    struct ins_domain *copied = NULL;
    struct ins_tracker *tracker = ins_ingress_admit(e, a->peer, &a->wire);
    if (!tracker || a->wire.sequence < tracker->expected) {
        ins_assembly_drop(e, a);
        return 0;
    }
    ins_ingress_settle(e, tracker, a->wire.sequence);
    ins_count(e, INS_COUNT_rx_bytes, a->wire.length);
    ins_count(e, INS_COUNT_rx_large, 1);
    ins_wire_to_meta(a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) - INS_META_BYTES, &a->wire, e->stamp);
    struct ins_topic *topic = tracker->topic;
    const uint64_t missed = e->counters[INS_COUNT_rx_no_credit];
    if (tracker->fresh)
        ins_first_begin(e, a->pool->pool.base + ins_pool_payload(&a->pool->pool, a->slot) - INS_META_BYTES);
    if (topic->subscription_count == 0)
        ins_count(e, INS_COUNT_rx_no_subscriber, 1);
    for (uint32_t i = 0; i < topic->subscription_count; i++) {
        struct ins_subscription *to = &topic->subscriptions[i];
        struct ins_domain *pool = to->link->in.assembly;
        if (to->link->faulted)
            continue;
        if (pool == a->pool ? push(e, to, pool, a->slot, a->wire.length)
                            : pool && copy(e, a, pool, &copied) && push(e, to, pool, pool->slot, a->wire.length))
            pushed++;
        else if (!to->link->faulted)
            ins_ingress_dropped(e, topic, to);
    }
    ins_domain_copied(e, copied);
    if (e->first)
        ins_first_end(e, tracker, missed);
    ins_assembly_drop(e, a);
    return pushed;
}

/* The first in sequence that is being put together of the flow, below `next`; or NULL. */
static struct ins_assembly *earliest(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t next) {
    struct ins_assembly *first = NULL;
    for (uint32_t i = 0; i < INS_ASSEMBLIES; i++) {
        struct ins_assembly *a = &e->fragments->assemblies[i];
        if (a->used && a->peer == peer && a->peer_uid == e->peers[peer].uid && a->wire.flow == flow &&
            a->wire.sequence < next && (!first || a->wire.sequence < first->wire.sequence))
            first = a;
    }
    return first;
}

uint32_t ins_assemblies_deliver(struct ins_engine *e, uint32_t peer, uint32_t flow) {
    uint32_t pushed = 0;
    struct ins_assembly *a;
    while ((a = earliest(e, peer, flow, UINT64_MAX)) && a->complete) {
        const struct ins_tracker *tracker = ins_tracker_find(e, peer, flow);
        if (tracker && a->wire.sequence > tracker->expected && !a->first)
            break; /* one before it is still to come */
        pushed += deliver_one(e, a);
    }
    return pushed;
}

uint32_t ins_fragments_pass(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t next) {
    uint32_t pushed = 0;
    struct ins_assembly *a;
    while ((a = earliest(e, peer, flow, next))) {
        if (a->complete)
            pushed += deliver_one(e, a);
        else
            ins_assembly_give_up(e, a);
    }
    return pushed;
}

void ins_assemblies_lose(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t sequence) {
    struct ins_tracker *tracker = ins_tracker_find(e, peer, flow);
    if (!tracker || tracker->expected > sequence || earliest(e, peer, flow, sequence))
        return;
    ins_tracker_lost(e, tracker, sequence + 1 - tracker->expected);
    tracker->expected = sequence + 1;
    ins_ledger_next(&e->received[tracker - e->trackers], tracker->expected);
}
