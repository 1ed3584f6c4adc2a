/* Large messages at the sender: what statuses say has come, what is to go again, and what is given up in the end. See
   fragments.h. */
#include "fragments_state.h"
#include "ledger.h"

static struct ins_transmission *find(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire) {
    for (uint32_t i = 0; i < INS_TRANSMISSIONS && e->fragments->sending; i++) {
        struct ins_transmission *t = &e->fragments->transmissions[i];
        if (t->used && !t->done && t->flow_id == wire->flow && t->sequence == wire->sequence && t->peer == peer &&
            t->port == port && t->peer_uid == e->peers[peer].uid)
            return t;
    }
    return NULL;
}

static void confirm(struct ins_transmission *t, uint32_t index) {
    if (index < t->next && !ins_bit(t->have, index)) {
        ins_bit_set(t->have, index);
        t->confirmed++;
    }
}

/* The receiver has no memory for it: from the beginning, a little later. */
static void put_off(struct ins_engine *e, struct ins_transmission *t) {
    if (t->confirmed)
        return;
    t->next = t->horizon = t->again = t->resend_at = t->resend_end = t->probe = 0;
    t->paused_ms = e->now_ms + INS_PAUSE_MS;
    if (t->room_ms == 0)
        t->room_ms = e->now_ms;
    if (e->now_ms - t->room_ms < INS_ROOM_MS)
        t->progress_ms = e->now_ms;
    ins_due(e, t->paused_ms);
}

void ins_fragments_status(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                          const uint8_t *body) {
    struct ins_receipt receipt;
    ins_count(e, INS_COUNT_status_in, 1);
    struct ins_transmission *t = find(e, port, peer, wire);
    if (!t || !ins_receipt_read(body, wire->length, &receipt))
        return;
    if (receipt.window == 0 && receipt.first < t->count) {
        put_off(e, t);
        return;
    }
    const uint64_t window = receipt.window < INS_WINDOW_MOST ? receipt.window : INS_WINDOW_MOST;
    e->peers[peer].endpoints[port].window = (uint32_t)window;
    if (receipt.first >= t->count) {
        ins_transmission_finish(e, t, INS_STATUS_DONE);
        return;
    }
    uint32_t before = t->confirmed, said = receipt.first + 8 * receipt.bytes;
    /* All before `first` are there. */
    for (; t->base < receipt.first && t->base < t->next; t->base++)
        confirm(t, t->base);
    for (uint32_t i = receipt.first; i < said && i < t->next; i++)
        if (!(body[INS_RECEIPT_BITMAP + (i - receipt.first) / 8] & 0x80u >> (i % 8)))
            confirm(t, i);
    t->link->out.waits = 0;
    if (said > t->next)
        said = t->next;
    if (t->confirmed > before) {
        const uint32_t news = t->confirmed - before;
        t->again -= news < t->again ? news : t->again;
        t->progress_ms = e->now_ms;
        t->probe_wait = INS_PROBE_MS;
        if (t->room_ms) {
            t->room_ms = 0;
            t->until_ms = ins_transmission_life(e, t);
        }
    }
    if (t->room_ms && t->confirmed == 0 && t->paused_ms) {
        t->paused_ms = t->room_ms = 0; /* there is memory for it now */
        t->until_ms = ins_transmission_life(e, t);
    }
    t->probe_ms = e->now_ms + t->probe_wait;
    if (said > t->horizon)
        t->horizon = said;
    /* What it misses goes again, but not what is on its way since the last time. */
    const uint64_t now = ins_fragments_ns();
    if (t->resend_at >= t->resend_end && now - t->repaired_ns >= INS_STATUS_NS && receipt.first < t->horizon) {
        t->repaired_ns = now;
        t->again = 0;
        t->resend_at = receipt.first;
        t->resend_end = t->horizon;
    }
}

void ins_transmissions_beat(struct ins_engine *e) {
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        struct ins_transmission *t = &e->fragments->transmissions[i];
        if (!t->used || t->done)
            continue;
        t->link->out.waits = 0; /* looked at again */
        if (t->next == 0 && ins_transmission_turn(e, t) == INS_TURN_BEHIND) {
            /* Its time begins with its turn. */
            t->progress_ms = e->now_ms;
            t->until_ms = ins_transmission_life(e, t);
            t->probe_ms = e->now_ms + t->probe_wait;
            ins_due(e, t->probe_ms);
            continue;
        }
        if (t->paused_ms && e->now_ms >= t->paused_ms) {
            t->paused_ms = 0;
            t->probe_ms = e->now_ms + t->probe_wait;
            ins_due(e, e->now_ms);
        } else if (t->paused_ms)
            ins_due(e, t->paused_ms);
        if (e->now_ms - t->progress_ms >= INS_PROGRESS_MS || (e->now_ms >= t->until_ms && !t->room_ms) ||
            t->resends > 8ull * t->count + 1024) {
            ins_count(e, INS_COUNT_tx_unconfirmed, 1);
            ins_transmission_finish(e, t, INS_STATUS_NETWORK);
            continue;
        }
        if (!t->paused_ms && e->now_ms >= t->probe_ms && t->staged == 0) {
            t->probe = 1;
            ins_due(e, e->now_ms);
            t->probe_wait = t->probe_wait * 2 < INS_PROBE_MOST_MS ? t->probe_wait * 2 : INS_PROBE_MOST_MS;
            t->probe_ms = e->now_ms + t->probe_wait;
        }
        ins_due(e, t->probe_ms > e->now_ms ? t->probe_ms : e->now_ms + 1);
    }
}
