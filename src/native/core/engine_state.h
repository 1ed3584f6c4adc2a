/* The private state of an engine. Everything here belongs to the thread that is inside (holds `inside`), but for the
   fields that say otherwise. For the engine's own files only; engine.h is the contract. */
#ifndef INSANE_ENGINE_STATE_H
#define INSANE_ENGINE_STATE_H

#include <pthread.h>
#include <stdint.h>

#include "clock.h"
#include "command.h"
#include "dispatch.h"
#include "engine.h"
#include "engine_counters.h"
#include "event.h"
#include "link.h"
#include "pool.h"

enum {
    INS_ENGINE_DATAPATHS = 8,
    INS_ENGINE_PEERS = 1024,
    INS_ENGINE_LINKS = 4096,
    INS_ENGINE_FLOWS = 16384,
    INS_ENGINE_TRACKERS = 16384,
    INS_PEER_TRACKERS = 4096, /* of one peer, so that it cannot push out the others */
    INS_LINK_SOURCES = 4096,
    INS_BURST = 64,  /* most descriptors or datagrams in one go */
    INS_STAGE = 256, /* datagrams staged for one datapath */
    INS_MEETINGS = 64, /* new peers whose greeting is on its way */
    INS_GUESTS = 7,  /* engines that one thread serves besides its own */
};

/* One whose bell we may have to ring: an application's session thread. */
struct ins_sleeper {
    const uint32_t *word; /* in its parked page */
    uint32_t rung;
    uint32_t references;
    int bell;
    struct ins_sleeper *next;
};

/* A descriptor in our epoll set by which others wake us. */
struct ins_bell {
    int fd;
    uint32_t references;
    struct ins_bell *next;
};

struct ins_egress_pool {
    const uint8_t *base; /* NULL: not registered */
    uint64_t bytes;
    uint32_t payload;
};

enum { INS_SOURCE_NEVER, INS_SOURCE_OPEN, INS_SOURCE_REMOVED };
struct ins_egress_source {
    uint32_t state;
    uint32_t source; /* on the wire */
    uint32_t channel_index;
    uint32_t link; /* id */
    uint32_t uid;  /* unique in the engine's life: key of its flows */
    uint32_t flow; /* index of the one used last, where it is looked for first */
    uint32_t open_at;    /* where its last message is staged */
    uint64_t open_epoch; /* while the stage's epoch is this: more may join it (coalesce.h) */
    struct ins_topic *topic;
};

struct ins_egress {
    struct ins_consumer consumer;
    struct ins_egress_pool pools[INS_POOL_MAX_POOLS];
    struct ins_egress_source *sources;
    uint32_t source_capacity;
    uint32_t tag;
    uint32_t datapath;                        /* id */
    uint32_t port;                            /* index of the port that had it last, where it is looked for first */
    uint32_t traffic_class;                   /* where its datapath has a schedule; 0: best effort */
    uint32_t histogram;                       /* of its latencies, plus one; 0: none */
    uint32_t held;                            /* nothing is taken: another link's messages go first */
    uint64_t alone;                           /* all bits: its messages share no datagrams; else none */
    uint32_t blocked;                         /* what was taken waits for a route that is being moved */
    uint32_t large;                           /* its stream's messages may be fragmented (fragments.h) */
    uint32_t large_from;                      /* bytes from which on a message may have to be, or to wait for one that is */
    uint32_t sending;                         /* transmissions under way */
    uint32_t waits;                           /* what was taken waits for one of them */
    uint32_t taken_at, taken_count;           /* descriptors taken, not yet staged (back-pressure) */
    struct ins_descriptor taken[INS_BURST];
};

struct ins_domain;
struct ins_ingress {
    struct ins_producer producer;
    struct ins_domain *assembly; /* where its large messages are put together (fragments.h): pool 1; or NULL */
    struct ins_domain *domain; /* a foreign trust domain, whose pool it delivers from (domain.h); NULL: the receive pool */
    uint16_t *holds; /* by slot of that pool: messages of it that are out on this link */
    uint32_t pinned; /* slots of which some are */
    uint32_t copies; /* slot of the receive pool that small messages are copied into, plus one; 0: none */
    uint32_t copied_to; /* where the next one goes */
};

struct ins_link {
    uint32_t id;
    uint32_t egress;   /* else ingress */
    uint32_t faulted;  /* closed in the engine; waits for its removal */
    uint32_t untold;   /* the fault is not told control yet */
    uint32_t touched;  /* on the list of links to publish at the end of the turn */
    uint32_t starved;  /* ingress: had no credit; its returns are worth waking up for */
    uint32_t number;   /* index in the engine's `links` */
    uint32_t position; /* in its set */
    uint32_t idle;     /* looks in a row that found nothing */
    struct ins_link *next_touched;
    const void *parked; /* as given by control; the sleeper is made of it when the link is added */
    int bell;
    struct ins_sleeper *sleeper; /* NULL: never rung */
    union {
        struct ins_egress out;
        struct ins_ingress in;
    };
};

/* Links of one direction: the first `hot` are looked at each turn, the others a slice at a time. */
struct ins_link_set {
    struct ins_link *links[INS_ENGINE_LINKS];
    uint32_t count, hot, cursor;
};

struct ins_peer {
    uint32_t used;
    uint32_t id;
    uint32_t uid;       /* unique in the engine's life: key of its trackers */
    uint32_t trackers;
    uint32_t forgetful; /* trackers were evicted or never made: a flow not seen from 0 is no proof of loss */
    uint32_t muted;     /* control thinks it silent: no message goes to it */
    struct {
        struct ins_endpoint at;
        uint32_t used;
        uint32_t window; /* bytes of fragments that it takes at once; 0: not told */
        uint32_t large_tag, large_size; /* of the last message in fragments: it expects another one of them */
        uint64_t large_ms;              /* when that had been sent */
        uint32_t beaten; /* the last round of heartbeats in which it got one */
    } endpoints[INS_ENGINE_DATAPATHS];
};

/* A peer that was set and is not acknowledged yet (meeting.h). */
struct ins_meeting {
    uint32_t sequence, datapath, peer; /* of the command; ids */
    uint32_t greeted;
    uint64_t until_ms;
};

/* Sequence and heartbeats of one (source, peer) at the sender. */
struct ins_flow {
    uint64_t next;
    uint64_t key;     /* (source uid, route uid) in the map */
    uint64_t last_ms; /* when the last message was sent */
    uint32_t used;
    uint32_t id;      /* on the wire */
    uint32_t peer;    /* index */
    uint32_t port;    /* index of the datapath it is sent over */
    uint32_t route;   /* uid */
    uint32_t link;    /* id of its source's */
    uint32_t tag, channel, source;
    uint32_t beats;   /* heartbeats sent since */
    uint32_t sending; /* large messages under way: no heartbeat says that they are sent */
    uint32_t active;  /* position in the list of flows that owe heartbeats, plus one; 0: none */
    uint32_t next_free;
    uint8_t head[INS_WIRE_SEQUENCE]; /* the header of its messages up to there */
};

/* What we know of a peer's flow at the receiver. */
struct ins_tracker {
    uint64_t expected;
    uint64_t gap, gap_end; /* the last ones that were missed: what comes of them after all came out of order */
    uint64_t lost; /* not told control yet */
    uint32_t late, reordered; /* neither: came behind what was expected; of these those that were missed before */
    struct ins_topic *topic;
    uint32_t used;
    uint32_t peer; /* index */
    uint32_t flow;
    uint32_t source;
    uint32_t seen;  /* turn of the last message, for eviction */
    uint32_t fresh; /* its first message is still to be handed on: it says so (ins_first_begin) */
    uint32_t dirty; /* on the list of those with losses to tell */
    uint32_t next;  /* in the free list or the dirty list */
};

enum { INS_STAGED_LAST = 1, INS_STAGED_FRAGMENT };
struct ins_staged {
    struct ins_link *link;
    uint32_t entry;
    uint32_t last; /* INS_STAGED_LAST: the message's last datagram, with which its entry goes back; INS_STAGED_FRAGMENT and
                      more: of a large message (ins_fragment_left) */
    uint32_t flow; /* index */
    uint32_t flow_id;
    uint32_t batch; /* number of the shared body, plus one; 0: one message */
};
struct ins_stage {
    uint32_t head, tail;
    uint32_t sent; /* datagrams of the message under way that were taken without error */
    uint64_t epoch; /* another one when what is staged may be added to no more */
    struct ins_batches *batches; /* NULL: every message has its own datagram */
    struct ins_tx tx[INS_STAGE];
    struct ins_staged of[INS_STAGE];
    uint8_t header[INS_STAGE][64];
};

/* A datapath as attached to the engine. */
struct ins_port {
    struct ins_datapath *datapath; /* NULL: free */
    struct ins_stage *stage;            /* with a schedule: of the class that is selected */
    struct ins_port_schedule *schedule; /* NULL: first in, first out (scheduler_port.h) */
    uint32_t id;
    uint32_t down;   /* broke; waits for its removal */
    uint32_t untold; /* which is not told control yet */
    int error;
    int fds[4];
    uint32_t fd_count;
};

struct ins_engine {
    struct ins_engine_config config;

    /* Shared between the inline owner, the engine's thread and control; all access atomic. */
    uint32_t inside __attribute__((aligned(64))); /* the lock; only ever tried, but by the thread */
    uint32_t owner;                               /* the inline owner polls; the thread stands by */
    uint32_t polls;                               /* of the owner; written by it alone */
    uint32_t asleep __attribute__((aligned(64))); /* the thread is (about to be) in epoll */
    uint32_t stop;
    uint32_t stopped; /* torn down; nobody comes in any more */

    /* Whose thread runs the turns (engine_thread.c): its own, or that of another engine, whose guest it is then. */
    struct ins_engine *server; /* as control wants it; under the lock of crews */
    struct ins_engine *holder; /* as it is: given on by that thread alone, under the lock of crews */
    uint32_t orders;           /* for whoever serves: `server` is another one, or a guest has arrived; atomic */
    int32_t pin_state;         /* 0: not tried, 1: pinned, else -errno; atomic, written by the thread */
    pthread_cond_t home;       /* its thread waits here while another one has it */
    struct ins_engine *arrivals[INS_GUESTS]; /* under the lock of crews */
    uint32_t arrival_count;
    struct ins_engine *guests[INS_GUESTS]; /* the thread's */
    uint32_t guest_count;
    struct ins_engine *asked, *first_asked, *next_asked; /* control's: whom it gave it to; those given to it */
    uint64_t duty_busy, duty_told_ticks, duty_told_ns; /* the holder's, see engine_duty.h */

    pthread_t thread; /* control's */
    uint32_t joined;
    int wake; /* eventfd */
    int epoll;

    uint64_t *counters __attribute__((aligned(64)));
    uint32_t *word; /* our parked page */
    uint32_t parked;
    uint64_t now_ms;
    uint64_t due_ms; /* earliest time at which the timers have something to do; UINT64_MAX: never */
    uint64_t told_ms; /* last time that losses and drops were told */
    uint64_t alive_ms; /* when peers get a heartbeat next; 0: there are none */
    struct ins_ledger_record *sent, *received; /* for control when we are gone (ledger.h) */
    uint64_t *heard;   /* by peer index: pairs of id + 1 and time, which control reads (layout.h, COUNTERS_HEARD) */
    uint32_t alive_round;
    uint32_t mark_cursor; /* flow whose mark goes out next */
    uint32_t turn;
    uint64_t stage_epoch; /* the last one given to a stage */
    struct ins_clock clock;
    uint64_t stamp; /* its time: of what this turn has received, or sends without a time of its own */
    uint32_t stamp_turn;
    uint32_t untold;  /* something waits to be told control */
    uint32_t starved; /* a link without credit or a pool without slots was met since we last slept */
    uint32_t watching; /* datapath descriptors are in the epoll set: not while an inline owner polls */
    uint32_t no_slot; /* the last look for datagrams found no slot to receive into */
    uint32_t buffer_most; /* messages in one that a datapath gave us, of late; 0: one */
    uint32_t nap_ms;  /* length of the last nap while slots were out; 0: none since something moved */
    uint64_t stalls;  /* takeovers not told control yet */

    struct ins_pool pool;
    uint32_t quota; /* slots that an ingress link may pin before its small messages are copied, if few are free */
    uint64_t slots_out; /* of the pool and of those of all domains */
    struct ins_domain *domains;
    struct ins_domain *assemblies; /* pools for large messages */
    uint32_t whole;                /* payload bytes that each peer gets in one datagram, as far as is known */
    uint32_t whole_unsure;         /* one that takes no more than that has gone: more might go now */
    struct ins_fragments *fragments; /* fragments_state.h */
    uint32_t assembling;             /* messages that are being put together */
    uint32_t expecting;              /* another one is expected: a slot is kept for it */

    struct ins_link *touched;
    struct ins_link_set egress, ingress;
    struct ins_link *links[INS_ENGINE_LINKS]; /* both directions, dense */
    uint32_t link_count;
    struct ins_map link_ids; /* id -> index in `links` */
    struct ins_sleeper *sleepers;
    struct ins_bell *bells;

    struct ins_port ports[INS_ENGINE_DATAPATHS];
    uint32_t port_count; /* highest used, plus one */
    uint32_t schedules;  /* ports that have one */
    uint32_t class_links[8]; /* egress links by traffic class, but class 0 */
    uint64_t *histograms;    /* in the counter segment, see ins_engine_set_class */
    uint32_t histograms_used; /* a bit each */
    uint64_t alarm_ns;   /* the thread's: how long it may sleep because of frames that wait; UINT64_MAX: as long as it likes */

    struct ins_peer *peers;
    struct ins_map peer_ids;  /* id -> index */
    struct ins_map endpoints; /* (port, address, udp port) -> index */
    struct ins_meeting meetings[INS_MEETINGS];
    uint32_t meeting_count;
    uint32_t peer_uid;
    uint64_t cached_endpoint; /* last one looked up; ~0: none */
    uint32_t cached_peer;

    struct ins_topics topics;
    struct ins_topic *dirty_topics;
    uint32_t route_uid;
    uint32_t source_uid;
    struct ins_map open_sources; /* uid -> nothing */

    struct ins_flow *flows;
    struct ins_map flow_keys;
    uint32_t *active_flows;
    uint32_t active_count, free_flow, flow_limit, flow_high, flow_id; /* high: highest ever used, plus one */

    struct ins_tracker *trackers;
    struct ins_map tracker_keys; /* (peer uid, flow) -> index */
    uint32_t free_tracker, tracker_limit, tracker_high, dirty_trackers, evict_cursor;
    struct ins_farewells *farewells; /* farewell_state.h */
    uint32_t farewells_pending;      /* something of them is to be done at the end of the turn */
    uint32_t first; /* flag of the descriptors that are being pushed: INS_DESCRIPTOR_FLAG_FIRST, or 0 */
    uint64_t cached_flow; /* key of the last tracker looked up; valid when cached_tracker is not NONE */
    uint32_t cached_tracker;

    struct ins_command_queue commands;
    struct ins_event_ring events;
};

#define INS_NONE UINT32_MAX

static inline void ins_count(struct ins_engine *e, enum ins_engine_counter which, uint64_t more) {
    __atomic_store_n(&e->counters[which], e->counters[which] + more, __ATOMIC_RELAXED);
}
static inline void ins_gauge(struct ins_engine *e, enum ins_engine_counter which, uint64_t value) {
    __atomic_store_n(&e->counters[which], value, __ATOMIC_RELAXED);
}
/* Asks for the timers at `ms` or earlier. */
static inline void ins_due(struct ins_engine *e, uint64_t ms) {
    if (ms < e->due_ms)
        e->due_ms = ms;
}

#endif
