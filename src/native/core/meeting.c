/* New peers are greeted, see meeting.h. */
#include "meeting.h"

#include <arpa/inet.h>
#include <errno.h>

#include "engine_peers.h"
#include "heartbeat.h"

/* Whoever does not answer within this is not there, or another peer of the same socket is not; either way the new one is as
   well served now as later. Well below the time in which control expects its acknowledgement. */
enum { LONGEST_MS = 200 };

/* Nothing is resolved on the way there. */
static int is_loopback(uint32_t address) { return ntohl(address) >> 24 == 127; }

/* Looks at the greeting. 1: it, or something else that this datapath sent, has not left yet. */
static int waits(struct ins_engine *e, struct ins_meeting *m) {
    struct ins_port *port = ins_port_find(e, m->datapath);
    uint32_t peer;
    if (!port || port->down || !ins_map_get(&e->peer_ids, m->peer, &peer) || e->now_ms >= m->until_ms)
        return 0;
    if (!m->greeted)
        m->greeted = (uint32_t)ins_beat_empty(e, peer, (uint32_t)(port - e->ports));
    return !m->greeted || port->datapath->ops->holds(port->datapath);
}

static int acknowledge(struct ins_engine *e, const struct ins_meeting *m, int32_t status) {
    const struct ins_event ack = {.type = INS_EVENT_ACK, .a = m->sequence, .status = status};
    return ins_event_push(&e->events, &ack, 0);
}

int ins_meeting_begin(struct ins_engine *e, const struct ins_command *c) {
    const struct ins_port *port = ins_port_find(e, c->id);
    struct ins_meeting m = {
        .sequence = c->sequence, .datapath = c->id, .peer = c->peer, .until_ms = e->now_ms + LONGEST_MS};
    if (!port || !port->datapath->ops->holds || is_loopback(c->endpoint.address) || !waits(e, &m) || e->meeting_count == INS_MEETINGS)
        return 0;
    e->meetings[e->meeting_count++] = m;
    ins_due(e, e->now_ms + 1);
    return 1;
}

void ins_meetings_beat(struct ins_engine *e) {
    for (uint32_t i = e->meeting_count; i-- > 0;)
        if (!waits(e, &e->meetings[i]) && acknowledge(e, &e->meetings[i], 0))
            e->meetings[i] = e->meetings[--e->meeting_count];
    if (e->meeting_count)
        ins_due(e, e->now_ms + 1);
}

void ins_meetings_end(struct ins_engine *e) {
    while (e->meeting_count)
        acknowledge(e, &e->meetings[--e->meeting_count], -ESHUTDOWN);
}
