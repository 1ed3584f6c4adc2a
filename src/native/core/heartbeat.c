/* Heartbeat datagrams, see heartbeat.h. */
#include "heartbeat.h"

#include "scheduler_port.h"
#include "wire.h"

/* 1: the datapath took it, or there is nobody to send it to; 0: not now. */
static int send_beat(struct ins_engine *e, struct ins_beat *beat) {
    struct ins_port *port = &e->ports[beat->port];
    struct ins_peer *peer = &e->peers[beat->peer];
    uint32_t bytes = beat->records * INS_HEARTBEAT_RECORD_BYTES;
    beat->records = 0;
    if (!port->datapath || port->down || !peer->used || !peer->endpoints[beat->port].used)
        return 1;
    if (port->schedule && !ins_schedule_beat(port, INS_WIRE_HEADER + bytes))
        return 0;
    peer->endpoints[beat->port].beaten = e->alive_round;
    struct ins_wire wire = {.type = INS_WIRE_TYPE_HEARTBEAT, .length = bytes};
    ins_wire_write(beat->header, &wire);
    struct ins_tx tx = {
        .header = beat->header,
        .payload = beat->body,
        .header_length = INS_WIRE_HEADER,
        .payload_length = bytes,
        .to = peer->endpoints[beat->port].at,
    };
    /* Not taken is as good as lost on the way: the next one is due soon. */
    int taken = port->datapath->ops->tx_burst(port->datapath, &tx, 1);
    if (taken == 1 && tx.error == 0)
        ins_count(e, INS_COUNT_heartbeats, 1);
    return taken != 0;
}

void ins_beats_add(struct ins_engine *e, struct ins_beats *beats, const struct ins_flow *flow) {
    uint32_t b = 0;
    while (b < beats->used && (beats->open[b].peer != flow->peer || beats->open[b].port != flow->port))
        b++;
    struct ins_beat *beat = &beats->open[b];
    if (b == INS_BEATS_OPEN) {
        beat = &beats->open[beats->oldest++ % INS_BEATS_OPEN];
        if (beat->records)
            send_beat(e, beat);
    } else if (b == beats->used) {
        beats->used++;
        beat->records = 0;
    }
    beat->peer = flow->peer;
    beat->port = flow->port;
    struct ins_heartbeat record = {
        .flow = flow->id, .tag = flow->tag, .channel = flow->channel, .source = flow->source, .next = flow->next};
    ins_heartbeat_write(&beat->body[beat->records++ * INS_HEARTBEAT_RECORD_BYTES], &record);
    if (beat->records == INS_HEARTBEAT_MAX_RECORDS)
        send_beat(e, beat);
}

void ins_beats_send(struct ins_engine *e, struct ins_beats *beats) {
    for (uint32_t b = 0; b < beats->used; b++)
        if (beats->open[b].records)
            send_beat(e, &beats->open[b]);
}

int ins_beat_empty(struct ins_engine *e, uint32_t peer, uint32_t port) {
    struct ins_beat beat = {.peer = peer, .port = port};
    return send_beat(e, &beat);
}
