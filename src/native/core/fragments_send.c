/* Large messages at the sender: fragments straight from the application's slot, as many as the receiver's window allows, a
   burst of each message in turn, staged behind what is small. See fragments.h. */
#include "engine_turn.h"
#include "flow.h"
#include "fragments_state.h"
#include "scheduler_port.h"

enum { TURN = 64 }; /* fragments of a message at once */

static uint32_t flight(const struct ins_transmission *t) {
    return (t->next > t->horizon ? t->next - t->horizon : 0) + t->again;
}

/* Bytes that may still go to the peer. */
static uint64_t room(const struct ins_engine *e, const struct ins_transmission *of) {
    uint64_t window = e->peers[of->peer].endpoints[of->port].window, used = 0;
    if (!window)
        window = INS_WINDOW_FIRST;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        const struct ins_transmission *t = &e->fragments->transmissions[i];
        if (t->used && !t->done && t->peer == of->peer && t->port == of->port)
            used += (uint64_t)flight(t) * t->size;
    }
    return used < window ? window - used : 0;
}

enum { PART, QUESTION };

/* A fragment, or the question what has come of those up to it: its header alone. */
static void stage(struct ins_engine *e, struct ins_port *port, struct ins_transmission *t, int what, uint32_t index,
                  uint32_t flags) {
    struct ins_stage *to = port->stage;
    const struct ins_flow *flow = &e->flows[t->flow];
    uint32_t at = to->tail++, offset = index * t->size;
    uint32_t bytes = what == QUESTION ? 0 : t->length - offset < t->size ? t->length - offset : t->size;
    const struct ins_wire wire = {
        .type = what == QUESTION ? INS_WIRE_TYPE_ASK : INS_WIRE_TYPE_FRAGMENT,
        .flags = flags,
        .tag = flow->tag,
        .channel = flow->channel,
        .source = flow->source,
        .flow = flow->id,
        .sequence = t->sequence,
        .emit_time = t->emit_time,
        .length = t->length,
        .size = t->size,
        .index = index,
    };
    ins_wire_write(to->header[at], &wire);
    to->tx[at] = (struct ins_tx){
        .header = to->header[at],
        .payload = t->payload + offset,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = e->peers[t->peer].endpoints[t->port].at,
        .priority = t->link->out.traffic_class,
    };
    to->of[at] = (struct ins_staged){
        .link = t->link, .flow = t->flow, .flow_id = t->flow_id,
        .last = INS_STAGED_FRAGMENT + (uint32_t)(t - e->fragments->transmissions) +
                (what == QUESTION ? INS_TRANSMISSIONS : 0)};
    t->staged++;
}

enum ins_turn ins_transmission_turn(const struct ins_engine *e, const struct ins_transmission *t) {
    enum ins_turn turn = INS_TURN_FIRST;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS && t->link->out.sending > 1; i++) {
        const struct ins_transmission *o = &e->fragments->transmissions[i];
        if (!o->used || o->done || o->flow_id != t->flow_id || o->sequence >= t->sequence)
            continue;
        if (o->next < o->count || o->room_ms)
            return INS_TURN_BEHIND;
        turn = INS_TURN_AFTER;
    }
    return turn;
}

/* Its receiver expects it: it had one like it just now. Otherwise it is announced, so that it finds its place from the first
   fragment on. */
static int followed(struct ins_engine *e, const struct ins_transmission *t) {
    ins_engine_clock(e); /* it may have slept */
    const struct ins_peer *peer = &e->peers[t->peer];
    const uint32_t tag = e->flows[t->flow].tag;
    return peer->endpoints[t->port].large_tag == tag && peer->endpoints[t->port].large_size == t->size &&
           e->now_ms < peer->endpoints[t->port].large_ms + INS_FOLLOWED_MS;
}

static void follow(struct ins_engine *e, const struct ins_transmission *t) {
    struct ins_peer *peer = &e->peers[t->peer];
    peer->endpoints[t->port].large_tag = e->flows[t->flow].tag;
    peer->endpoints[t->port].large_size = t->size;
    peer->endpoints[t->port].large_ms = e->now_ms;
}

static uint32_t send_some(struct ins_engine *e, struct ins_transmission *t) {
    struct ins_port *port = &e->ports[t->port];
    const struct ins_peer *peer = &e->peers[t->peer];
    if (!port->datapath || port->down || !ins_transmission_flow(e, t) || !peer->used || peer->uid != t->peer_uid ||
        !peer->endpoints[t->port].used || peer->muted) {
        ins_transmission_finish(e, t, INS_STATUS_NO_PEER);
        return 1;
    }
    if (t->paused_ms)
        return 0;
    if (e->schedules)
        ins_schedule_select(e, t->link);
    /* What is small always finds half of the stage. */
    const uint32_t place = port->stage->tail < INS_STAGE / 2 ? INS_STAGE / 2 - port->stage->tail : 0;
    uint32_t most = place < TURN ? place : TURN, count = 0;
    uint64_t allowed = room(e, t) / t->size;
    const enum ins_turn turn = ins_transmission_turn(e, t);
    const uint32_t flags = turn == INS_TURN_FIRST ? INS_WIRE_FLAG_FIRST : 0;
    if (turn == INS_TURN_BEHIND && t->next == 0)
        return 0;
    if (t->probe || (t->next == 0 && (t->room_ms || (allowed && !t->announced && !followed(e, t))))) {
        if (most == 0 || e->fragments->asked_turn == e->turn)
            return 0;
        e->fragments->asked_turn = e->turn;
        stage(e, port, t, QUESTION, t->next ? t->next - 1 : 0, flags);
        t->probe = 0;
        t->announced = 1;
        count++;
        if (t->next == 0 && t->room_ms) {
            t->paused_ms = e->now_ms + INS_PROBE_MS; /* until it says that it has memory now, or the next question */
            ins_due(e, t->paused_ms);
            return count;
        }
    }
    for (; t->resend_at < t->resend_end && count < most && allowed; t->resend_at++) {
        if (ins_bit(t->have, t->resend_at))
            continue;
        stage(e, port, t, PART, t->resend_at, flags);
        ins_count(e, INS_COUNT_tx_fragments_again, 1);
        t->again++;
        t->resends++;
        allowed--;
        count++;
    }
    if (turn == INS_TURN_BEHIND || t->next == t->count)
        return count;
    for (; t->next < t->count && count < most && allowed; allowed--, count++)
        stage(e, port, t, PART, t->next++, flags);
    if (t->next == t->count)
        follow(e, t);
    return count;
}

uint32_t ins_fragments_send(struct ins_engine *e) {
    struct ins_fragments *f = e->fragments;
    uint32_t moved = 0;
    if (f->sending == 0)
        return 0;
    f->cursor++;
    for (uint32_t i = 0; i < INS_TRANSMISSIONS; i++) {
        struct ins_transmission *t = &f->transmissions[(f->cursor + i) % INS_TRANSMISSIONS];
        if (t->used && !t->done)
            moved += send_some(e, t);
    }
    return moved;
}
