/* An open rdma datapath, for its own files: rdma.c (life), rdma_endpoint.c (libfabric's objects), rdma_receive.c,
   rdma_send.c, rdma_routes.c (destinations). After bind all of it belongs to the engine's thread. */
#ifndef INSANE_RDMA_STATE_H
#define INSANE_RDMA_STATE_H

#include <netinet/in.h>

#include "core/datapath.h"
#include "rdma_fabric.h"

enum {
    RDMA_PREFIX = 8,      /* bytes before the wire header: the sender's endpoint, see docs/wire.md */
    RDMA_IP_HEADERS = 28, /* of the mtu, which counts as for an IP datagram so that all datapaths mean the same */
    RDMA_MTU = 65535,
    RDMA_FRAMES = 512,    /* messages on their way out */
    RDMA_FRAME_BYTES = 65536,
    RDMA_ROUTE_FRAMES = 128, /* of them to one destination, so that one which is stuck leaves some to others */
    RDMA_ROUTES = 1024,
    RDMA_PLACES = 4096,   /* of the hash of routes */
    RDMA_POSTED_MOST = 512,
    RDMA_BURST = 64,
    RDMA_NONE = 0xffff,
};

enum rdma_counter {
    RDMA_EMULATED, /* 0 or 1: the provider is software */
    RDMA_RX_MESSAGES,
    RDMA_RX_SHORT,
    RDMA_RX_TRUNCATED,
    RDMA_RX_ERRORS,
    RDMA_TX_MESSAGES,
    RDMA_TX_COPIED,    /* bytes copied into frames */
    RDMA_TX_WAITED,    /* messages that waited in a frame, for a connection or for room */
    RDMA_TX_AGAIN,     /* bursts that ended early */
    RDMA_TX_REFUSED,
    RDMA_TX_UNREACHED, /* taken, then given up: the destination did not take them in time */
    RDMA_TX_ERRORS,    /* failed after they had been handed to the provider */
    RDMA_DESTINATIONS,
    RDMA_EVICTED,      /* destinations forgotten to make room */
    RDMA_COUNTERS
};

struct rdma_settings {
    char provider[32]; /* "": the one for hardware */
    uint32_t mtu;
    uint32_t patience_ms; /* that a message waits for a destination which took messages before, or was never tried */
};

/* One destination. */
struct rdma_route {
    uint32_t address; /* network order */
    uint16_t port;
    uint16_t held;    /* frames, waiting or with the provider */
    uint16_t first_waiting, last_waiting; /* frames, or RDMA_NONE */
    uint16_t next_waiting; /* route, in the list of those with waiting frames */
    fi_addr_t fabric;
    uint64_t stalled_ms; /* since when nothing went on although something is held; 0: not known to */
    uint64_t refuse_ms;  /* until then messages are refused at once; 0: not */
    uint32_t failed;     /* it took none last time: not much time is given to it until it takes one */
    uint64_t used;       /* when it was last looked up, in lookups */
};

struct rdma {
    struct ins_datapath base;
    /* Hot. */
    struct fid_ep *ep;
    struct fid_cq *tx_cq, *rx_cq;
    struct ins_pool *pool;
    struct fi_context2 *slot_contexts; /* by slot */
    uint8_t *posted;                   /* by slot */
    void *pool_descriptor, *frames_descriptor;
    uint32_t posted_count, target;
    uint32_t room;         /* bytes of wire header and payload together */
    uint32_t idle_looks;
    uint32_t in_flight;    /* frames with the provider */
    uint32_t free_count;
    int broken;            /* -errno: why rx_burst gives up */
    uint16_t last_route;   /* RDMA_NONE: none */
    uint16_t waiting_route; /* first of those with waiting frames */
    uint8_t prefix[RDMA_PREFIX];
    uint8_t *frames;
    uint16_t free_frames[RDMA_FRAMES];
    uint16_t frame_route[RDMA_FRAMES], frame_next[RDMA_FRAMES];
    uint32_t frame_length[RDMA_FRAMES];
    struct fi_context2 frame_contexts[RDMA_FRAMES];

    uint64_t counters[RDMA_COUNTERS]; /* written by the engine's thread, read by any */

    struct rdma_settings settings;
    const struct rdma_fabric *library;
    const struct rdma_provider *provider;
    struct ins_endpoint at;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_mr *pool_mr, *frames_mr;
    int fds[2];            /* of the completion queues; -1: the provider has none */
    struct fi_cq_msg_entry early; /* met when going to sleep; handed on first */
    uint32_t early_set;
    int timer;             /* wakes an engine that sleeps while messages wait for their destination, or whose provider may not */
    uint32_t timer_set;

    uint64_t lookups;
    uint32_t route_count;
    uint16_t places[RDMA_PLACES]; /* routes by hash */
    struct rdma_route routes[RDMA_ROUTES];
};

static inline void rdma_count(struct rdma *rdma, uint32_t which, uint64_t more) {
    __atomic_store_n(&rdma->counters[which], rdma->counters[which] + more, __ATOMIC_RELAXED);
}
static inline void rdma_gauge(struct rdma *rdma, uint32_t which, uint64_t value) {
    __atomic_store_n(&rdma->counters[which], value, __ATOMIC_RELAXED);
}
uint64_t ins_rdma_now_ms(void);

int ins_rdma_options(const char *text, struct rdma_settings *out);
/* rdma_endpoint.c: opens at `rdma->at`, whose port 0 is replaced; on failure everything is undone. */
int ins_rdma_endpoint_open(struct rdma *rdma);
int ins_rdma_endpoint_register(struct rdma *rdma);
void ins_rdma_endpoint_close(struct rdma *rdma);
/* rdma_receive.c */
void ins_rdma_post(struct rdma *rdma);
int ins_rdma_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max);
int ins_rdma_arm(struct ins_datapath *dp);
/* rdma_send.c */
void ins_rdma_prepare_send(struct rdma *rdma);
int ins_rdma_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count);
/* Takes back the frames of messages that were sent, or failed. */
void ins_rdma_completions(struct rdma *rdma);
void ins_rdma_completed(struct rdma *rdma, const void *context, int sent);
/* Tries again what waits, and gives up what has waited too long. */
void ins_rdma_retry(struct rdma *rdma);
/* rdma_routes.c */
void ins_rdma_routes_reset(struct rdma *rdma);
/* Index of the route to a destination, made if need be; or -errno. */
int ins_rdma_route(struct rdma *rdma, const struct ins_endpoint *to);

#endif
