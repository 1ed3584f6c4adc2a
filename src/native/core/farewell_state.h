/* What an engine keeps of farewells; for farewell*.c only. */
#ifndef INSANE_FAREWELL_STATE_H
#define INSANE_FAREWELL_STATE_H

#include "farewell.h"

/* A flow that ended, and that its receiver is told of until it says so. */
struct ins_farewell {
    struct ins_heartbeat flow;
    uint64_t due_ms, until_ms; /* next try; when it is given up */
    uint32_t used;
    uint32_t handover; /* number plus one; 0: nobody waits for the echo */
    uint32_t host;     /* ids of its peers, divided by INS_PEER_ENDPOINTS */
    uint32_t by_path;  /* the path of its messages is known: peer id and datapath id */
    uint32_t peer, port;
    struct ins_endpoint at; /* where its messages went: what answers elsewhere under the same id is another engine */
    uint32_t tries;
    uint32_t told; /* control knows: another engine may reach the receiver where this one does not */
};

/* A link that is being retired, or a route that was moved: who waits for echoes. */
struct ins_handover {
    uint32_t used;
    uint32_t link;           /* id; INS_NONE: a route */
    uint32_t tag, channel;   /* of the route */
    struct ins_topic *topic; /* its messages are held; NULL: not, or not any more */
    uint32_t draining;       /* the link is not empty yet */
    uint32_t pending, unechoed;
    uint64_t lost;
    uint64_t until_ms;
};

/* What a tracker knew when its peer was removed. */
struct ins_orphan {
    struct ins_heartbeat flow; /* next: the sequence expected */
    uint32_t used, host, peer; /* peer: id */
};

struct ins_echo {
    struct ins_wire wire;
    uint32_t port, peer, peer_uid; /* indices */
};

struct ins_farewells {
    uint32_t high, draining, echo_count, orphan_at;
    struct ins_handover handovers[INS_HANDOVERS];
    struct ins_farewell all[INS_FAREWELLS];
    struct ins_orphan orphans[INS_ORPHANS];
    struct ins_echo echoes[INS_ECHOES];
};

/* One marker or echo, at once. */
void ins_farewell_send(struct ins_engine *e, struct ins_port *port, const struct ins_endpoint *to,
                       const struct ins_wire *wire);

#endif
