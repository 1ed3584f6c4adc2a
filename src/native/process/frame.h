/* What the runtime and an engine process say to each other, over one SOCK_SEQPACKET pair: requests with the descriptors
   that belong to them, in order, and answers that are the engine's events (core/engine.h) or of the same size. Both ends
   are of one build: nothing here is versioned but by the layout hash in INS_FRAME_BEGIN. Mirrored in native/engine-frames.ts. */
#ifndef INSANE_PROCESS_FRAME_H
#define INSANE_PROCESS_FRAME_H

#include <stdint.h>

#include "core/engine.h"
#include "core/gates.h"

enum { INS_FRAME_WORDS = 12, INS_FRAME_DATA = 2560, INS_FRAME_FDS = 3 };

/* `sequence` is chosen by the runtime, and comes back in the acknowledgement. */
struct ins_frame {
    uint32_t kind;
    uint32_t sequence;
    uint32_t a[INS_FRAME_WORDS];
    uint64_t bytes;
    uint8_t data[INS_FRAME_DATA]; /* only as much as is used is sent; what is not sent reads as 0 */
};

_Static_assert(sizeof(struct ins_gate_list) <= INS_FRAME_DATA && INS_ROUTES_AT_ONCE * 8 <= INS_FRAME_DATA &&
                   sizeof(struct ins_engine_config) <= INS_FRAME_DATA,
               "the largest thing a frame carries");

/* Words of `a` in the order given. Kinds from INS_FRAME_PING on are acknowledged by an INS_EVENT_ACK of the engine. */
enum ins_frame_kind {
    INS_FRAME_BEGIN = 1, /* layout hash, bytes of data; bytes of the receive pool; data: struct ins_engine_config;
                            descriptors: receive pool, parked page, counters. Answer: INS_ANSWER_BEGUN */
    INS_FRAME_OPEN,      /* handle, address, port; data: name, 0, options, 0. Answer: INS_ANSWER_OPENED */
    INS_FRAME_CLOSE,     /* handle. Answer: INS_ANSWER_CLOSED */
    INS_FRAME_STATS,     /* Answer: an INS_ANSWER_STATS for each open datapath */
    INS_FRAME_STOP,      /* it exits */
    INS_FRAME_PING = 16,
    INS_FRAME_ADD_DATAPATH,    /* id, handle */
    INS_FRAME_REMOVE_DATAPATH, /* id */
    INS_FRAME_SET_PEER,        /* peer, datapath, address, port, limits */
    INS_FRAME_REMOVE_PEER,     /* peer */
    INS_FRAME_ADD_ROUTE,       /* tag, channel, peer */
    INS_FRAME_REMOVE_ROUTE,    /* tag, channel, peer */
    INS_FRAME_ADD_EGRESS,      /* link, datapath, tag, entries; bytes of the link; descriptors: link, parked page, bell */
    INS_FRAME_ADD_POOL,        /* link, index, payload; bytes of the pool; descriptor: pool */
    INS_FRAME_REMOVE_POOL,     /* link, index */
    INS_FRAME_ADD_SOURCE,      /* link, index, source, channel index, channel */
    INS_FRAME_REMOVE_SOURCE,   /* link, index */
    INS_FRAME_ADD_INGRESS,     /* link, entries; bytes of the link; descriptors: link, parked page, bell */
    INS_FRAME_SUBSCRIBE,       /* link, tag, channel, channel index */
    INS_FRAME_UNSUBSCRIBE,     /* link, tag, channel */
    INS_FRAME_REMOVE_LINK,     /* link */
    INS_FRAME_MUTE_PEER,       /* peer, muted */
    INS_FRAME_RESUME_PEER,     /* peer, datapath, address, port, limits */
    INS_FRAME_ADD_ROUTES,      /* peer, count; data: as many pairs of tag and channel */
    INS_FRAME_REMOVE_ROUTES,   /* peer, count; data: as many pairs of tag and channel */
    INS_FRAME_SET_SCHEDULE,    /* datapath; data: struct ins_gate_list */
    INS_FRAME_SET_CLASS,       /* link, class */
    INS_FRAME_HOLD_LINK,       /* link, held */
    INS_FRAME_RETIRE_LINK,     /* link, patience */
    INS_FRAME_MOVE_ROUTE,      /* tag, channel, from, to, patience */
    INS_FRAME_ACCOUNT_FLOW,    /* host, tag, channel, source, flow; bytes: messages sent */
    INS_FRAME_TELL_FLOW,       /* host, tag, channel, source, flow; bytes: messages sent */
    INS_FRAME_ADD_DOMAIN,      /* domain; bytes of its memory; descriptor: memory, sealed once this is acknowledged */
    INS_FRAME_REMOVE_DOMAIN,   /* domain */
    INS_FRAME_SET_DOMAIN,      /* link, domain */
    INS_FRAME_ADD_ASSEMBLY,    /* assembly, payload; bytes of its memory; descriptor: memory, sealed as a domain's */
    INS_FRAME_REMOVE_ASSEMBLY, /* assembly */
    INS_FRAME_SET_ASSEMBLY,    /* link, assembly */
    INS_FRAME_SET_BATCHING,    /* link, batching */
};

/* Answers that are no events of the engine, in the form of one (struct ins_event). */
enum {
    INS_ANSWER_BEGUN = 64, /* status */
    INS_ANSWER_OPENED,     /* a = handle, status, b = address, c = port, d = limits */
    INS_ANSWER_CLOSED,     /* a = handle, status */
    INS_ANSWER_STATS,      /* a = handle, b = count; as many struct ins_stat follow */
};
struct ins_stat {
    char name[56];
    uint64_t value;
};
enum { INS_FRAME_STATS_MOST = 64 };

#endif
