/* Liveness, see liveness.h. */
#include "liveness.h"

#include "flow.h"
#include "heartbeat.h"

void ins_liveness_add(struct ins_engine *e, uint32_t peer) {
    __atomic_store_n(&e->heard[2 * peer + 1], 0, __ATOMIC_RELAXED);
    /* Pairs with control's load of the id: who sees it does not see the time of the one before. */
    __atomic_store_n(&e->heard[2 * peer], (uint64_t)e->peers[peer].id + 1, __ATOMIC_RELEASE);
    if (e->config.alive_ms == 0)
        return;
    if (e->alive_ms == 0)
        e->alive_ms = e->now_ms + e->config.alive_ms;
    ins_due(e, e->alive_ms);
}

void ins_liveness_remove(struct ins_engine *e, uint32_t peer) {
    __atomic_store_n(&e->heard[2 * peer], 0, __ATOMIC_RELEASE);
}

void ins_liveness_beat(struct ins_engine *e) {
    struct ins_beats beats;
    if (e->alive_ms == 0)
        return;
    if (e->peer_ids.count == 0) {
        e->alive_ms = 0;
        return;
    }
    if (e->now_ms >= e->alive_ms) {
        e->alive_ms = e->now_ms + e->config.alive_ms;
        e->alive_round++;
        beats.used = beats.oldest = 0;
        ins_flows_mark(e, &beats);
        ins_beats_send(e, &beats);
        for (uint32_t peer = 0; peer < INS_ENGINE_PEERS; peer++)
            for (uint32_t port = 0; port < e->port_count && e->peers[peer].used; port++)
                if (e->peers[peer].endpoints[port].used && e->peers[peer].endpoints[port].beaten != e->alive_round)
                    ins_beat_empty(e, peer, port);
    }
    ins_due(e, e->alive_ms);
}
