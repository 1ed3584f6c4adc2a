/* The one interface of all datapaths. A datapath is one file and one line in the registry (registry.c). probe is
   read-only and answers with evidence; open and close run on the control thread and may take long; the burst functions
   run on the engine's thread, never block and never allocate. */
#ifndef INSANE_DATAPATH_H
#define INSANE_DATAPATH_H

#include <stdint.h>

#include <sys/uio.h>

#include "platform.h"
#include "pool.h"

struct ins_datapath; /* an open instance; begins with its operations */

/* Evidence of a probe, for people and for the decision record. Fixed sizes: it crosses the FFI. */
struct ins_probe {
    uint32_t available;  /* 0 or 1 */
    int32_t error;       /* -errno of the step that failed, or 0 */
    uint32_t mtu;        /* of the interface looked at, or 0 */
    uint32_t flags;      /* INS_PROBE_* */
    char reason[256];    /* one sentence: why (not) */
    char evidence[1024]; /* lines "what: finding" */
    char cure[256];      /* what an operator can do, or empty */
};
enum {
    INS_PROBE_GRO = 1,
    INS_PROBE_GSO = 2,
    INS_PROBE_ZERO_COPY = 4,
    INS_PROBE_EMULATED = 8, /* a software stand-in, for tests */
};

struct ins_endpoint {
    uint32_t address; /* IPv4, network order */
    uint16_t port;    /* host order; 0: any */
    uint16_t mtu;     /* largest IP datagram; filled in by open */
    uint32_t flags;   /* INS_ENDPOINT_*; filled in by open */
};
/* Above the bits of an mtu, with which they travel. SINGLY: a train that a virtual link hands over in one piece is lost
   there, so datagrams must leave one by one. */
enum { INS_ENDPOINT_SINGLY = 1 << 16, INS_ENDPOINT_FLAGS = INS_ENDPOINT_SINGLY };
/* As ins_engine_set_peer takes them. */
static inline uint32_t ins_endpoint_limits(const struct ins_endpoint *at) { return at->mtu | at->flags; }

/* One datagram to send: header and payload stay valid until tx_burst returns (or, for a datapath with
   INS_DATAPATH_ASYNC_TX, until tx_done gives the cookie back). */
struct ins_tx {
    const uint8_t *header;
    const uint8_t *payload;
    uint32_t header_length;
    uint32_t payload_length;
    struct ins_endpoint to;
    uint32_t priority; /* traffic class, 0: best effort; frames may be tagged with it */
    uint64_t cookie;
    int32_t error; /* filled in: 0, or -errno of a datagram that was refused and must not be tried again */
};

/* One received buffer: `length` bytes at `offset` of the receive pool's segment, in `slot`, whose count is one. It may
   hold several datagrams one after the other (a coalesced train), each with its own wire header. */
struct ins_rx {
    uint32_t slot;
    uint32_t offset;
    uint32_t length;
    struct ins_endpoint from;
};

enum {
    INS_DATAPATH_ASYNC_TX = 1,
    INS_DATAPATH_CAN_PARK = 2,
    INS_DATAPATH_CHEAP_RX = 4, /* an rx_burst that finds nothing makes no system call */
    INS_DATAPATH_SPLITS = 8,   /* takes datagrams larger than its mtu: IP cuts them up */
};

struct ins_datapath_ops {
    const char *name;
    uint32_t flags;
    int (*probe)(const char *interface_or_empty, struct ins_probe *out);
    /* Opens an endpoint of its own; `at` is in-out (port 0 is replaced by the one taken, mtu and flags filled in). */
    int (*open)(const char *options, struct ins_endpoint *at, struct ins_datapath **out);
    /* Receive slots come from `pool`, which belongs to the engine's thread; called on that thread. */
    int (*bind)(struct ins_datapath *dp, struct ins_pool *pool);
    /* Sends from the front; returns how many were taken (also those refused by tx->error). 0: try again later. */
    int (*tx_burst)(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count);
    int (*tx_done)(struct ins_datapath *dp, uint64_t *cookies, uint32_t max); /* NULL without ASYNC_TX */
    /* Up to `max` buffers, not necessarily all there are; -ENOBUFS when the pool has no slot to receive into,
       another -errno when the datapath is broken (not for EAGAIN). */
    int (*rx_burst)(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max);
    /* One buffer, scattered over `places` and, what does not fit there, a slot as rx_burst has it. Returns 1, 0 or -errno as
       rx_burst does; rx->length is that of the whole buffer. There is room behind the last place for one more. NULL: it
       cannot, and fragments are copied to where they belong. */
    int (*rx_place)(struct ins_datapath *dp, struct iovec *places, uint32_t count, struct ins_rx *rx);
    /* Descriptors that become readable when rx_burst has something. */
    int (*fds)(struct ins_datapath *dp, int *out, uint32_t max);
    /* The engine is about to sleep on fds. 0: they report from here on; 1: there is something already, or nothing to
       sleep on. NULL: they always report. */
    int (*arm)(struct ins_datapath *dp);
    /* Named counters; writes up to `max` values, returns how many; names[] are static strings. */
    int (*stats)(struct ins_datapath *dp, const char **names, uint64_t *values, uint32_t max);
    /* The one endpoint that there is to talk to, or NULL when there are several or none (on the engine's thread; NULL:
       the datapath does not care). What comes from others may then be refused by whoever is below us. */
    void (*sole_peer)(struct ins_datapath *dp, const struct ins_endpoint *peer);
    /* 1: something that was sent is still held back, here or below us, while its address is resolved; what is sent from now on
       might overtake it, or find no room beside it. 0: all has left. NULL: neither can be. (On the engine's thread.) */
    int (*holds)(struct ins_datapath *dp);
    /* Gives receive slots it still holds back to the pool given by bind (on the engine's thread). */
    void (*unbind)(struct ins_datapath *dp);
    void (*close)(struct ins_datapath *dp);
};

struct ins_datapath {
    const struct ins_datapath_ops *ops;
    uint32_t mtu; /* largest IP datagram that leaves in one piece; 0: not told */
    uint32_t waiting; /* bytes of what arrived that can wait without a receive slot; 0: none */
};

/* ---- registry (control thread) ---- */
/* Names in a fixed order: udp, xdp, dpdk, rdma. NULL beyond the last. */
INS_API const char *ins_datapath_name(uint32_t index);
INS_API int ins_datapath_probe(const char *name, const char *interface_or_empty, struct ins_probe *out);
/* at: in-out, see open. -ENOSYS for a technology that is not built. */
INS_API int ins_datapath_open(const char *name, const char *options, struct ins_endpoint *at,
                              struct ins_datapath **out);
INS_API int ins_datapath_close(struct ins_datapath *dp);
/* INS_DATAPATH_*, -ENOENT, or -ENOSYS for a technology that is not built. */
INS_API int ins_datapath_flags(const char *name);
/* The index-th named counter of an open datapath (any thread); -ENOENT beyond the last. */
INS_API int ins_datapath_stat(struct ins_datapath *dp, uint32_t index, char *name, uint32_t name_bytes,
                              uint64_t *value);

#endif
