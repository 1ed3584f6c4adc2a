/* What is staged for a port: sent, its entries given back when the datapath took it, taken back when it cannot be sent.
   See egress.h. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "coalesce.h"
#include "egress.h"
#include "engine_links.h"
#include "fragments.h"
#include "ledger.h"
#include "scheduler_port.h"
#include "wire.h"

static inline uint32_t messages_of(const struct ins_stage *stage, const struct ins_staged *of) {
    return of->batch ? ins_batch_of(stage, of)->count : 1;
}

void ins_port_down(struct ins_engine *e, struct ins_port *port, int error) {
    if (port->down)
        return;
    port->down = 1;
    port->untold = 1;
    port->error = error;
    e->untold = 1;
    ins_due(e, e->now_ms);
    ins_egress_purge(e, port, NULL, INS_STATUS_NETWORK);
}

/* A datagram that was refused: its flow is as if it had never been, if nothing was sent on it after that. */
static void unsend(struct ins_engine *e, const struct ins_stage *stage, uint32_t at) {
    const struct ins_staged *of = &stage->of[at];
    struct ins_flow *flow = &e->flows[of->flow];
    const uint32_t count = messages_of(stage, of);
    uint64_t sequence;
    memcpy(&sequence, stage->tx[at].header + INS_WIRE_SEQUENCE, sizeof sequence);
    if (!flow->used || flow->id != of->flow_id || flow->next != be64toh(sequence) + count)
        return;
    flow->next -= count;
    ins_ledger_unsent(e, of->flow, of->flow_id, count);
}

/* Messages that no peer got are counted where they come back, as what cannot be sent: their receivers must not miss them as
   well. From the last one on, as sequences can be taken back in that order only. `before`: datagrams of the first one that
   had left already. */
static void unsend_refused(struct ins_engine *e, const struct ins_stage *stage, uint32_t from, uint32_t end,
                           uint32_t before) {
    while (end > from) {
        uint32_t begin = end - 1, sent = stage->of[end - 1].last != INS_STAGED_LAST || !stage->tx[end - 1].error;
        for (; begin > from && !stage->of[begin - 1].last; begin--)
            sent |= !stage->tx[begin - 1].error;
        sent |= begin == from && before;
        for (uint32_t i = end; !sent && i > begin; i--)
            unsend(e, stage, i - 1);
        end = begin;
    }
}

int ins_egress_flush(struct ins_engine *e, struct ins_port *port) {
    struct ins_stage *stage = port->stage;
    if (stage->head == stage->tail)
        return 1;
    ins_stage_seal(e, stage);
    int taken = port->schedule
                    ? ins_schedule_send(e, port)
                    : port->datapath->ops->tx_burst(port->datapath, &stage->tx[stage->head], stage->tail - stage->head);
    if (taken < 0) {
        ins_port_down(e, port, taken);
        return 1;
    }
    const uint32_t end = stage->head + (uint32_t)taken, before = stage->sent;
    uint32_t refused = 0;
    uint64_t bytes = 0, messages = 0;
    for (uint32_t i = stage->head; i < end; i++) {
        if (stage->of[i].last < INS_STAGED_FRAGMENT)
            ins_ledger_sent(e, stage->of[i].flow, stage->of[i].flow_id, messages_of(stage, &stage->of[i]));
        if (stage->tx[i].error)
            refused++;
        else {
            stage->sent++;
            bytes += stage->tx[i].payload_length;
        }
        if (!stage->of[i].last)
            continue;
        if (stage->of[i].last >= INS_STAGED_FRAGMENT) {
            stage->sent = 0;
            ins_fragment_left(e, stage->of[i].last - INS_STAGED_FRAGMENT, 1, stage->tx[i].error);
            continue;
        }
        uint32_t status = stage->sent                             ? INS_STATUS_DONE
                          : stage->tx[i].error == -EMSGSIZE ? INS_STATUS_TOO_LARGE
                                                            : INS_STATUS_NETWORK;
        if (stage->of[i].batch) {
            const struct ins_batch *batch = ins_batch_of(stage, &stage->of[i]);
            bytes -= (uint64_t)stage->sent * (batch->used - batch->payload);
            messages += stage->sent ? batch->count : 0;
            if (stage->sent)
                ins_coalesce_count(e, batch);
            ins_coalesce_give_back(e, stage, &stage->of[i], status);
        } else {
            messages += stage->sent != 0;
            ins_egress_give_back(e, stage->of[i].link, stage->of[i].entry, status);
        }
        stage->sent = 0;
    }
    ins_count(e, INS_COUNT_tx_datagrams, (uint32_t)taken - refused);
    ins_count(e, INS_COUNT_tx_messages, messages);
    ins_count(e, INS_COUNT_tx_bytes, bytes);
    if (refused) {
        ins_count(e, INS_COUNT_tx_refused, refused);
        unsend_refused(e, stage, stage->head, end, before);
    }
    /* At once: should the next call of a datapath never come back, what was sent is known by both ends alike. */
    ins_links_publish(e);
    stage->head = end;
    if (stage->head == stage->tail) {
        ins_stage_empty(stage);
        return 1;
    }
    if (!port->schedule)
        ins_count(e, INS_COUNT_tx_again, 1);
    return 0;
}

/* It was given its sequence and is not sent: it is counted where it comes back, and must not be missed by its receiver as
   well. Only the last ones of a flow are ever taken back. */
static void unsequence(struct ins_engine *e, const struct ins_stage *stage, const struct ins_staged *of) {
    struct ins_flow *flow = &e->flows[of->flow];
    if (flow->used && flow->id == of->flow_id)
        flow->next -= messages_of(stage, of);
}

static void take_back(struct ins_engine *e, const struct ins_stage *stage, const struct ins_staged *of, uint32_t status) {
    if (of->batch)
        ins_coalesce_give_back(e, stage, of, status);
    else
        ins_egress_give_back(e, of->link, of->entry, status);
}

static void purge(struct ins_engine *e, struct ins_stage *stage, struct ins_link *link, uint32_t status) {
    uint32_t kept = 0, sent = stage->sent; /* which belongs to the first message alone */
    for (uint32_t i = stage->head; i < stage->tail; i++) {
        struct ins_staged of = stage->of[i];
        if (!link || of.link == link) {
            if (of.last >= INS_STAGED_FRAGMENT) {
                ins_fragment_left(e, of.last - INS_STAGED_FRAGMENT, 0, 0);
                continue;
            }
            if (!sent)
                unsequence(e, stage, &of);
            else
                ins_ledger_sent(e, of.flow, of.flow_id, messages_of(stage, &of)); /* its receivers miss it */
            if (of.last)
                take_back(e, stage, &of, sent ? INS_STATUS_DONE : status);
            if (of.last && sent)
                stage->sent = 0;
            sent = of.last ? 0 : sent;
            continue;
        }
        sent = of.last ? 0 : sent;
        struct ins_tx tx = stage->tx[i];
        memmove(stage->header[kept], tx.header, tx.header_length);
        tx.header = stage->header[kept];
        stage->tx[kept] = tx;
        stage->of[kept] = of;
        kept++;
    }
    if (kept == 0)
        ins_stage_empty(stage);
    ins_stage_seal(e, stage);
    stage->head = 0;
    stage->tail = kept;
}

void ins_egress_purge(struct ins_engine *e, struct ins_port *port, struct ins_link *link, uint32_t status) {
    ins_fragments_cancel(e, port, link, status);
    if (!port->schedule) {
        purge(e, port->stage, link, status);
        return;
    }
    for (uint32_t class = 0; class < INS_CLASSES; class ++)
        purge(e, port->schedule->stages[class], link, status);
}

int ins_port_staged(const struct ins_port *port) {
    if (!port->schedule)
        return port->stage->tail != 0;
    for (uint32_t class = 0; class < INS_CLASSES; class ++)
        if (port->schedule->stages[class]->tail)
            return 1;
    return 0;
}

int ins_egress_waits(const struct ins_engine *e) {
    for (uint32_t i = 0; i < e->port_count; i++)
        if (e->ports[i].datapath && ins_port_staged(&e->ports[i]))
            return 1;
    return 0;
}
