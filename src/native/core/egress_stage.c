/* What is staged for a port: sent, its entries given back when the datapath took it, taken back when it cannot be sent.
   See egress.h. */
#include <errno.h>
#include <string.h>

#include "coalesce.h"
#include "egress.h"
#include "engine_links.h"
#include "farewell.h"
#include "fragments.h"
#include "ledger.h"
#include "scheduler_port.h"

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

/* It was given its sequence and is not sent: it is counted where it comes back, and must not be missed by its receiver as
   well. Only the last ones of a flow are ever taken back. */
static void unsequence(struct ins_engine *e, const struct ins_staged *of, uint32_t count) {
    struct ins_flow *flow = &e->flows[of->flow];
    if (flow->used && flow->id == of->flow_id)
        flow->next -= count;
    else
        ins_farewell_unsent(e, of->flow_id, count);
}

/* The same for a datagram that was refused, where nothing of its flow has left behind it: what is still staged moves up. */
static int close_gap(struct ins_engine *e, struct ins_stage *stage, uint32_t at, uint32_t end) {
    const struct ins_staged *of = &stage->of[at];
    const uint32_t count = messages_of(stage, of);
    for (uint32_t i = at + 1; i < stage->tail; i++)
        if (stage->of[i].flow_id == of->flow_id &&
            (stage->of[i].last >= INS_STAGED_FRAGMENT || (i < end && !stage->tx[i].error)))
            return 0;
    for (uint32_t i = end; i < stage->tail; i++)
        if (stage->of[i].flow_id == of->flow_id)
            ins_wire_move_up((uint8_t *)(uintptr_t)stage->tx[i].header, count); /* the stage's, or a shared body's */
    unsequence(e, of, count);
    return 1;
}

/* Of the datagrams from `from` to before `to` of a message some were refused: its receivers miss them, unless none of it
   was sent, so that it comes back. */
static void refused_of(struct ins_engine *e, struct ins_stage *stage, uint32_t from, uint32_t to, uint32_t end,
                       int comes_back) {
    for (uint32_t i = from; i < to; i++) {
        const struct ins_staged *of = &stage->of[i];
        if (stage->tx[i].error && of->last < INS_STAGED_FRAGMENT && !(comes_back && close_gap(e, stage, i, end)))
            ins_ledger_sent(e, of->flow, of->flow_id, messages_of(stage, of));
    }
}

int ins_egress_staged(const struct ins_engine *e, uint32_t flow_id) {
    for (uint32_t i = 0; i < e->port_count; i++) {
        const struct ins_port *port = &e->ports[i];
        if (!port->datapath)
            continue;
        for (uint32_t class = 0; class < (port->schedule ? INS_CLASSES : 1); class ++) {
            const struct ins_stage *stage = port->schedule ? port->schedule->stages[class] : port->stage;
            for (uint32_t k = stage->head; k < stage->tail; k++)
                if (stage->of[k].flow_id == flow_id)
                    return 1;
        }
    }
    return 0;
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
    uint32_t end = stage->head + (uint32_t)taken, refused = 0, first = stage->head, unfinished = 0;
    uint64_t bytes = 0, messages = 0;
    for (uint32_t i = stage->head; i < end; i++) {
        if (stage->tx[i].error) {
            refused++;
            unfinished = 1;
        } else {
            if (stage->of[i].last < INS_STAGED_FRAGMENT)
                ins_ledger_sent(e, stage->of[i].flow, stage->of[i].flow_id, messages_of(stage, &stage->of[i]));
            stage->sent++;
            bytes += stage->tx[i].payload_length;
        }
        if (!stage->of[i].last)
            continue;
        if (unfinished)
            refused_of(e, stage, first, i + 1, end, !stage->sent);
        first = i + 1;
        unfinished = 0;
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
    if (unfinished)
        refused_of(e, stage, first, end, end, 0);
    ins_count(e, INS_COUNT_tx_datagrams, (uint32_t)taken - refused);
    ins_count(e, INS_COUNT_tx_messages, messages);
    ins_count(e, INS_COUNT_tx_bytes, bytes);
    if (refused)
        ins_count(e, INS_COUNT_tx_refused, refused);
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
                unsequence(e, &of, messages_of(stage, &of));
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
