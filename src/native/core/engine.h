/* An engine: one polling thread (or, by lease, the application's own) that drains links into datapaths and datapaths
   into links. Control talks to it by commands, each acknowledged; it answers by events and counters; nothing else.
   All ins_engine_* functions but ins_engine_poll and ins_engine_release belong to the control thread; those two belong
   to the one thread that holds the inline lease. Link, datapath and peer ids are chosen by control. */
#ifndef INSANE_ENGINE_H
#define INSANE_ENGINE_H

#include <stdint.h>

#include "datapath.h"
#include "gates.h"
#include "layout.h"
#include "platform.h"

struct ins_engine;

enum { INS_IDLE_PARK = 0, INS_IDLE_YIELD = 1, INS_IDLE_SPIN = 2 };
enum { INS_LEASE_NONE = 0, INS_LEASE_INLINE = 1 };

/* All u32 so that a Uint32Array fills it. */
struct ins_engine_config {
    uint32_t idle;           /* INS_IDLE_*: what the thread does when there is nothing to do */
    uint32_t spin_us;        /* INS_IDLE_PARK: how long it looks before it sleeps */
    uint32_t cpu_plus_one;   /* pin to this cpu - 1; 0: not pinned */
    uint32_t lease;          /* INS_LEASE_INLINE: ins_engine_poll may take over; the thread stands by */
    uint32_t takeover_us;    /* how long an inline owner may be away before the thread takes over (1000); up to eight
                                times that after it has polled without a pause */
    uint32_t heartbeat_ms;   /* first heartbeat after the last message of a flow (10), then doubled, six times */
    uint32_t receive_slots;  /* slots of the receive pool */
    uint32_t receive_bytes;  /* payload bytes of a receive slot (65536 when a datapath can coalesce) */
    uint32_t link_burst;     /* descriptors taken from one link in one turn (64) */
    uint32_t receive_burst;  /* datagrams received in one turn (32) */
    uint32_t alive_ms;       /* how often each peer gets a heartbeat, whatever else it gets (1000); 0: never */
    uint32_t fifo_priority;  /* SCHED_FIFO, 1 to 99, where that is permitted (counter realtime); 0: as any thread */
};

/* Events, control <- engine. */
enum {
    INS_EVENT_ACK = 1,       /* a = command sequence, status = 0 or -errno, value = result */
    INS_EVENT_LINK_FAULT,    /* a = link id; the application broke the contract; the link is closed in the engine */
    INS_EVENT_DATAPATH_DOWN, /* a = datapath id, status = -errno */
    INS_EVENT_LOST,          /* a = tag, b = channel, c = source, d = peer, value = messages lost on the wire since */
    INS_EVENT_DROPPED,       /* a = link id, b = channel, c = INS_STATUS_*, value = messages not delivered since */
    INS_EVENT_STALLED_OWNER, /* the thread took the lease because the inline owner was away; value = times since */
    INS_EVENT_MARKED,        /* a = link id, or UINT32_MAX: the route of c = tag, d = channel; b = flows whose echo did
                                not come, value = messages found to be missing */
    INS_EVENT_ENDED,         /* a flow of another engine's has ended (as for UNTOLD): see ins_engine_account_flow */
    INS_EVENT_UNTOLD,        /* a flow has ended that this engine cannot tell of: a = tag, b = channel, c = source,
                                d = flow, status = host, value = messages sent; see ins_engine_tell_flow */
    INS_EVENT_LATE,          /* a = tag, b = channel, c = source, d = of them counted as lost before, value = messages dropped
                                since because they came behind later ones, or twice */
};
struct ins_event {
    uint32_t type;
    int32_t status;
    uint32_t a, b, c, d;
    uint64_t value;
};

/* Peers with the same id / INS_PEER_ENDPOINTS are endpoints of one host: what cannot be told over one of them is told
   over another. */
enum { INS_PEER_ENDPOINTS = 8 };

/* Creates the engine and its thread. -EINVAL: a size is out of bounds. `receive_pool` is a writable mapping of receive_slots * stride bytes (layout
   slot stride of receive_bytes), `parked_page` a writable mapping of INS_PARKED_PAGE_BYTES, `counters` a mapped counter
   segment, of which the engine labels and writes what it needs from index `first_counter` on, and where it notes when it
   last heard of each peer (INS_COUNTERS_HEARD; so a segment is one engine's). Mappings outlive it. */
INS_API int ins_engine_create(const struct ins_engine_config *config, void *receive_pool, uint64_t receive_pool_bytes,
                              void *parked_page, void *counters, uint32_t first_counter, struct ins_engine **out);
/* Asks the thread to end, joins it (at most `timeout_ms`, else -ETIMEDOUT and the engine must be quarantined: nothing
   of it may be unmapped). Live links are reclaimed first; closes no descriptor that it was given. */
INS_API int ins_engine_stop(struct ins_engine *engine, uint32_t timeout_ms);
/* From now on the thread of `host` runs the turns of `engine` as well (at the next burst boundary; what is under way stays, nobody
   notices), and idles by the strategy of `host`; NULL: its own thread again. -EPERM: one of them is inline; -EBUSY: `host` is served
   by another one itself, or `engine` serves others, or `host` has as many as it can (7); -ESHUTDOWN. An engine that stops
   is served by its own thread again, and so are those that it serves. A thread that hangs takes all it serves with it. */
INS_API int ins_engine_serve_by(struct ins_engine *engine, struct ins_engine *host);
/* 0, or -errno when its thread could not be pinned as configured; -EAGAIN: it is not known yet. */
INS_API int ins_engine_pinned(const struct ins_engine *engine);
/* Frees a stopped engine. */
INS_API int ins_engine_destroy(struct ins_engine *engine);
/* Readable while events wait; level-triggered. */
INS_API int ins_engine_event_fd(struct ins_engine *engine);
/* 1 and *out, or 0. */
INS_API int ins_engine_next_event(struct ins_engine *engine, struct ins_event *out);

/* The inline lease: runs one turn on the calling thread. receive_budget 0: only send. Returns how much was moved
   (descriptors sent or given back, buffers received, commands done), or -EBUSY (the engine's thread is inside: try
   again), -EPERM (no lease configured), -ESHUTDOWN (stopped). Executes waiting commands as well. */
INS_API int ins_engine_poll(struct ins_engine *engine, uint32_t receive_budget);
/* The same, and when nothing moved up to `looks` - 1 (at most INS_LOOKS_MOST) looks at the network, or sixteen times as many
   where they cost no system call, until something came: a caller that waits spends less of its time on the way in and out. */
#define INS_LOOKS_MOST 16
INS_API int ins_engine_poll_looks(struct ins_engine *engine, uint32_t receive_budget, uint32_t looks);
/* The owner goes to sleep: the standby thread serves until the next ins_engine_poll. */
INS_API int ins_engine_release(struct ins_engine *engine);

/* ---- commands: each returns its sequence (> 0), acknowledged by INS_EVENT_ACK, or -EAGAIN (queue full) ---- */
INS_API int64_t ins_engine_add_datapath(struct ins_engine *engine, uint32_t id, struct ins_datapath *datapath);
/* After its acknowledgement the datapath is out of the thread's hands and can be closed. */
INS_API int64_t ins_engine_remove_datapath(struct ins_engine *engine, uint32_t id);
/* A peer's endpoint as reached over one datapath; a peer that sends from several is several peers. address: IPv4,
   network order; port: host order. limits: largest IP datagram that it takes (with fragments, if it joins them): messages
   beyond come back as INS_STATUS_TOO_LARGE. 0: any. With it go the endpoint's flags (ins_endpoint_limits). Acknowledged when
   what is sent there cannot be overtaken (meeting.h), after 200 ms at most; other commands are not kept waiting. */
INS_API int64_t ins_engine_set_peer(struct ins_engine *engine, uint32_t peer, uint32_t datapath, uint32_t address,
                                    uint32_t port, uint32_t limits);
/* The same, for one that was set before, in this engine or one that it replaces: its flows may be in the middle, so the
   first message that is seen of each is no proof that others before it were lost. */
INS_API int64_t ins_engine_resume_peer(struct ins_engine *engine, uint32_t peer, uint32_t datapath, uint32_t address,
                                       uint32_t port, uint32_t limits);
INS_API int64_t ins_engine_remove_peer(struct ins_engine *engine, uint32_t peer);
/* No message goes to a muted peer, as if it had no routes (heartbeats do, and what comes from it is delivered). Its flows
   are kept: when it is heard again they go on, and what was lost meanwhile is found missing. */
INS_API int64_t ins_engine_mute_peer(struct ins_engine *engine, uint32_t peer, uint32_t muted);
/* Messages of (tag, channel) go to `peer`; each source gets a flow of its own when it first sends. -EMLINK: that
   channel goes to as many peers as it can (INS_TOPIC_ROUTES); -ENOSPC: there is no room for another channel. */
INS_API int64_t ins_engine_add_route(struct ins_engine *engine, uint32_t tag, uint32_t channel, uint32_t peer);
INS_API int64_t ins_engine_remove_route(struct ins_engine *engine, uint32_t tag, uint32_t channel, uint32_t peer);
/* Many at once: `pairs` are `count` times tag and channel, copied here; at most INS_ROUTES_AT_ONCE, so that messages wait
   for no more than those. Done in order up to the first that is refused: its error is the acknowledgement's status, the
   number done before it the value. */
enum { INS_ROUTES_AT_ONCE = 256 };
INS_API int64_t ins_engine_add_routes(struct ins_engine *engine, uint32_t peer, const uint32_t *pairs, uint32_t count);
INS_API int64_t ins_engine_remove_routes(struct ins_engine *engine, uint32_t peer, const uint32_t *pairs,
                                         uint32_t count);

/* An application's link towards the network. `parked` is the application's parked page (read-only, or NULL: never
   rung), `bell` the end of the doorbell that wakes it (and by which it wakes the engine: it is watched as by
   ins_engine_add_bell), or -1. All its messages belong to the stream `tag` and leave over `datapath`. `segment` is a
   writable mapping of the link; it and `parked` stay mapped until the link's removal is acknowledged. */
INS_API int64_t ins_engine_add_egress(struct ins_engine *engine, uint32_t link, uint32_t datapath, uint32_t tag,
                                      void *segment, uint64_t bytes, uint32_t entries, const void *parked, int bell);
/* A pool that the link's descriptors may name by `index`: a (read-only) mapping of `bytes`, payloads of at most
   `payload` bytes. Removal of a pool must wait until the link has no entry outstanding that names it. */
INS_API int64_t ins_engine_add_pool(struct ins_engine *engine, uint32_t link, uint32_t index, const void *base,
                                    uint64_t bytes, uint32_t payload);
INS_API int64_t ins_engine_remove_pool(struct ins_engine *engine, uint32_t link, uint32_t index);
/* A source of the link: descriptors name it by `index` and must carry `channel_index`; on the wire it is `source` on
   `channel`. Entries of a removed source come back as INS_STATUS_CLOSED; its index may be used again when none is out. */
INS_API int64_t ins_engine_add_source(struct ins_engine *engine, uint32_t link, uint32_t index, uint32_t source,
                                      uint32_t channel_index, uint32_t channel);
INS_API int64_t ins_engine_remove_source(struct ins_engine *engine, uint32_t link, uint32_t index);

/* A link on which the engine delivers what arrives: pool 0 is the engine's receive pool, source indices are 0 (the
   source's id, flow and sequence are in the message's metadata). */
INS_API int64_t ins_engine_add_ingress(struct ins_engine *engine, uint32_t link, void *segment, uint64_t bytes,
                                       uint32_t entries, const void *parked, int bell);
/* Messages of (tag, channel) are pushed on the link with `channel_index`. Subscribe before a peer is told, so that
   sequences are seen from 0. */
INS_API int64_t ins_engine_subscribe(struct ins_engine *engine, uint32_t link, uint32_t tag, uint32_t channel,
                                     uint32_t channel_index);
INS_API int64_t ins_engine_unsubscribe(struct ins_engine *engine, uint32_t link, uint32_t tag, uint32_t channel);

/* A foreign trust domain (a user and group other than the daemon's): links of it deliver copies from `memory`, a writable
   mapping of slots as large as those of the receive pool, and no more of them. It stays mapped until the removal is
   acknowledged, which is refused (-EBUSY) while there are links of it. */
INS_API int64_t ins_engine_add_domain(struct ins_engine *engine, uint32_t domain, void *memory, uint64_t bytes);
INS_API int64_t ins_engine_remove_domain(struct ins_engine *engine, uint32_t domain);
/* An ingress link on which nothing was delivered yet is of that domain. */
INS_API int64_t ins_engine_set_domain(struct ins_engine *engine, uint32_t link, uint32_t domain);

/* Memory in which messages that came in fragments are put together, slots of the layout for `payload` bytes, at most
   INS_ASSEMBLY_SLOTS; mapped and removed as a domain's. */
enum { INS_ASSEMBLY_SLOTS = 64 };
INS_API int64_t ins_engine_add_assembly(struct ins_engine *engine, uint32_t assembly, void *memory, uint64_t bytes,
                                        uint32_t payload);
INS_API int64_t ins_engine_remove_assembly(struct ins_engine *engine, uint32_t assembly);
/* An ingress link delivers large messages from there, as its pool 1. -EBUSY: it has one. */
INS_API int64_t ins_engine_set_assembly(struct ins_engine *engine, uint32_t link, uint32_t assembly);

/* Egress: what was pushed and not sent comes back as INS_STATUS_CLOSED. Ingress: returns are taken, what is still out
   is abandoned (its slots are free again: the consumer must be gone or have let go). The acknowledgement's value is
   the number of entries that were still out. After it nothing of the link is touched any more. */
INS_API int64_t ins_engine_remove_link(struct ins_engine *engine, uint32_t link);
/* A doorbell end by which others wake the engine when its parked page wishes so. Counted: the same descriptor may be
   added several times. */
INS_API int64_t ins_engine_add_bell(struct ins_engine *engine, int bell);
INS_API int64_t ins_engine_remove_bell(struct ins_engine *engine, int bell);
/* The datapath sends by this gate list from its base time on, or by its next cycle that is not past: the first list of
   the datapath, or instead of the one it has. Until the first begins all gates are open. The acknowledgement's value is
   the number of cycles that the base time was advanced by. -EINVAL, -ERANGE: see gates.h. */
INS_API int64_t ins_engine_set_schedule(struct ins_engine *engine, uint32_t datapath, const struct ins_gate_list *list);
/* Traffic class, 0 to 7, of an egress link's messages, where its datapath has a schedule. A link begins with 0. -EAGAIN:
   not at this moment, messages are under way. The acknowledgement's value is the number of a histogram, plus one (0:
   none is free, or class 0), which counts the link's datagrams by microseconds from emission until they were handed over:
   below 2, 4, ... 32768, and more. Its buckets are words of the counter segment, from INS_HISTOGRAMS_FIRST +
   INS_HISTOGRAM_BUCKETS * number on. */
enum { INS_HISTOGRAMS_FIRST = 512, INS_HISTOGRAMS = 32, INS_HISTOGRAM_BUCKETS = 16 };
INS_API int64_t ins_engine_set_class(struct ins_engine *engine, uint32_t link, uint32_t traffic_class);
/* Whether messages of an egress link share datagrams with others that are ready at the same time (coalesce.h). A link
   begins with 1. */
INS_API int64_t ins_engine_set_batching(struct ins_engine *engine, uint32_t link, uint32_t batching);
/* Does nothing; its acknowledgement says that all commands before it are done and the engine lives. */
INS_API int64_t ins_engine_ping(struct ins_engine *engine);

/* Re-binding (docs/decisions/0050-rebinding.md). An egress link that is held (1) is not drained until it is let go (0). */
INS_API int64_t ins_engine_hold_link(struct ins_engine *engine, uint32_t link, uint32_t held);
/* An egress link on which nothing is pushed any more: when it is empty its flows end, and INS_EVENT_MARKED tells when
   their receivers have echoed the markers, or `patience_ms` are over. */
INS_API int64_t ins_engine_retire_link(struct ins_engine *engine, uint32_t link, uint32_t patience_ms);
/* The route to peer `from` leads to peer `to`, another endpoint of its host, from now on: messages wait until the end of
   their flows is echoed, at most `patience_ms`. The acknowledgement's value: 1 when INS_EVENT_MARKED will tell of it. */
INS_API int64_t ins_engine_move_route(struct ins_engine *engine, uint32_t tag, uint32_t channel, uint32_t from,
                                      uint32_t to, uint32_t patience_ms);
/* A flow of `host` (INS_PEER_ENDPOINTS) has ended after `sent` messages: what is missing is counted. The
   acknowledgement's value: 1 when the flow is known here. */
INS_API int64_t ins_engine_account_flow(struct ins_engine *engine, uint32_t host, uint32_t tag, uint32_t channel,
                                        uint32_t source, uint32_t flow, uint64_t sent);
/* `host` is to be told that a flow of another engine's has ended. */
INS_API int64_t ins_engine_tell_flow(struct ins_engine *engine, uint32_t host, uint32_t tag, uint32_t channel,
                                     uint32_t source, uint32_t flow, uint64_t sent);

/* Label of the counter at first_counter + index (without the prefix "engine."), NULL beyond the last. */
INS_API const char *ins_engine_counter(uint32_t index);

#endif
