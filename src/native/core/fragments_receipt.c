/* Statuses: what the receiver of large messages tells their senders of what it has, misses, and takes. See fragments.h. */
#include <string.h>

#include "fragments_state.h"
#include "scheduler_port.h"

/* Most of what can wait here, or half of what can be received: the rest is for others' traffic. */
static uint64_t window(const struct ins_engine *e, uint32_t port, uint32_t peer, uint32_t size) {
    const struct ins_assembly *all = e->fragments->assemblies;
    const struct ins_datapath *dp = e->ports[port].datapath;
    uint64_t bytes = dp && dp->waiting ? (uint64_t)dp->waiting * 3 / 4 : (uint64_t)e->config.receive_slots * size / 2, peers = 1;
    /* Each of the peers that send gets its part; one that has several messages under way is counted once. */
    for (uint32_t i = 0; i < INS_ASSEMBLIES && e->assembling > 1; i++) {
        uint32_t known = !all[i].used || all[i].peer == peer;
        for (uint32_t k = 0; k < i && !known; k++)
            known = all[k].used && all[k].peer == all[i].peer;
        peers += !known;
    }
    if (bytes > INS_WINDOW_MOST)
        bytes = INS_WINDOW_MOST;
    bytes /= peers;
    return bytes < 8ull * size ? 8ull * size : bytes;
}

static void send_status(struct ins_engine *e, uint32_t at, uint32_t to, const struct ins_wire *about,
                        struct ins_receipt receipt, const uint8_t *bitmap) {
    struct ins_port *port = &e->ports[at];
    const struct ins_peer *peer = &e->peers[to];
    uint8_t header[64], body[INS_RECEIPT_BITMAP + INS_RECEIPT_MAX_BITMAP];
    const uint32_t bytes = INS_RECEIPT_BITMAP + receipt.bytes;
    if (!port->datapath || port->down || !peer->used || !peer->endpoints[at].used ||
        (port->schedule && !ins_schedule_beat(port, INS_WIRE_HEADER + bytes)))
        return;
    const struct ins_wire wire = {
        .type = INS_WIRE_TYPE_STATUS,
        .tag = about->tag,
        .channel = about->channel,
        .source = about->source,
        .flow = about->flow,
        .sequence = about->sequence,
        .length = bytes,
    };
    receipt.consumed = e->fragments->consumed[to];
    ins_wire_write(header, &wire);
    ins_receipt_write(body, &receipt);
    if (receipt.bytes)
        memcpy(body + INS_RECEIPT_BITMAP, bitmap, receipt.bytes);
    struct ins_tx tx = {
        .header = header,
        .payload = body,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = peer->endpoints[at].at,
    };
    /* Not taken is as good as lost on the way: the sender asks again. */
    if (port->datapath->ops->tx_burst(port->datapath, &tx, 1) == 1 && tx.error == 0)
        ins_count(e, INS_COUNT_status_out, 1);
}

void ins_assembly_tell(struct ins_engine *e, struct ins_assembly *a, uint32_t sent) {
    uint8_t bitmap[INS_RECEIPT_MAX_BITMAP];
    /* Whole bytes only, so that what is not sent yet is not called missing; but to the end when that is there. */
    const uint32_t last = a->end < sent ? sent : a->end;
    const uint32_t first = a->base / 8 * 8, end = last == a->count ? (a->count + 7) / 8 * 8 : last / 8 * 8;
    uint32_t bytes = end > first ? (end - first) / 8 : 0;
    if (bytes > INS_RECEIPT_MAX_BITMAP)
        bytes = INS_RECEIPT_MAX_BITMAP;
    for (uint32_t i = 0; i < bytes; i++) {
        bitmap[i] = 0;
        for (uint32_t bit = 0; bit < 8; bit++)
            if (!ins_bit(a->have, first + 8 * i + bit))
                bitmap[i] |= (uint8_t)(0x80u >> bit);
    }
    a->since = 0;
    a->status_ns = ins_fragments_ns();
    struct ins_receipt receipt = {.window = window(e, a->port, a->peer, a->wire.size), .first = first, .bytes = bytes};
    a->quarter = (uint32_t)(receipt.window / 4);
    if (a->received == a->count) {
        receipt.first = (a->count + 7) / 8 * 8;
        receipt.bytes = 0;
    }
    send_status(e, a->port, a->peer, &a->wire, receipt, bitmap);
}

void ins_assembly_answer(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire, int over) {
    struct ins_fragments *f = e->fragments;
    const uint64_t now = ins_fragments_ns();
    if (f->answered_peer == peer && f->answered_flow == wire->flow && f->answered_sequence == wire->sequence &&
        now - f->answered_ns < INS_STATUS_NS)
        return;
    f->answered_peer = peer;
    f->answered_flow = wire->flow;
    f->answered_sequence = wire->sequence;
    f->answered_ns = now;
    const uint32_t count = (wire->length + wire->size - 1) / wire->size;
    send_status(e, port, peer, wire, (struct ins_receipt){.window = over ? window(e, port, peer, wire->size) : 0,
                                                   .first = over ? (count + 7) / 8 * 8 : 0}, NULL);
}
