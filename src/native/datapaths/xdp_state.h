/* An open xdp datapath, for its own files: xdp.c (life), xdp_options.c, xdp_socket.c (umem, rings), xdp_receive.c,
   xdp_send.c, xdp_routes.c (destinations, news from the kernel). After bind all of it belongs to the engine's thread. */
#ifndef INSANE_XDP_STATE_H
#define INSANE_XDP_STATE_H

#include <linux/if_xdp.h>
#include <stdint.h>

#include "packet/packet.h"
#include "xdp.h"
#include "xdp_filter.h"
#include "xdp_interface.h"

#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
    XDP_CHUNK = 4096,        /* of a umem, the largest there is: a page */
    XDP_KERNEL_ROOM = 256,   /* that the kernel keeps at the start of a chunk it receives into */
    XDP_HEADROOM = 6,        /* more of it, so that a message's payload is aligned to 32 */
    XDP_CHUNK_ROOM = XDP_CHUNK - XDP_KERNEL_ROOM - XDP_HEADROOM, /* for a frame */
    XDP_MTU_ONE_CHUNK = XDP_CHUNK_ROOM - INS_ETHERNET_HEADER,
    XDP_MTU_MOST = 15 * 1024,
    XDP_QUEUES = 16,
    XDP_FILL_MOST = 4096,
    XDP_ROUTES = 2048,       /* places in the hash; half of them are used at most */
    XDP_WAITING = 256,       /* datagrams waiting for an address to be resolved */
    XDP_PIECES = (XDP_MTU_MOST + INS_PACKET_MAX_HEADERS) / XDP_CHUNK + 1,
};

enum xdp_counter {
    XDP_RX_DATAGRAMS,
    XDP_RX_JUMBO_COPIED, /* bytes of second and further chunks that were copied behind the first */
    XDP_RX_TOO_LONG,     /* frames of several chunks that fit no slot */
    XDP_RX_KERNEL_DROPPED,   /* by the kernel, for want of a slot or of memory */
    XDP_RX_KERNEL_RING_FULL, /* by the kernel, because we were too slow */
    XDP_RX_KERNEL_NO_SLOT,   /* by the kernel, because the fill ring was empty */
    XDP_TX_DATAGRAMS,
    XDP_TX_COPIED,       /* bytes copied behind the headers */
    XDP_TX_KICKS,
    XDP_TX_AGAIN,        /* bursts that ended for want of frames */
    XDP_TX_REFUSED,
    XDP_TX_UNRESOLVED,   /* datagrams given up because nobody answers for the address */
    XDP_TX_KERNEL_INVALID,
    XDP_RESOLUTIONS,
    XDP_ZERO_COPY,       /* 0 or 1 */
    XDP_ZERO_COPY_REFUSED, /* errno of the refusal, 0: not refused */
    XDP_NATIVE,
    XDP_QUEUES_BOUND,
    XDP_BIND_RETRIES,
    XDP_RX_KINDS,        /* INS_PACKET_*, from INS_PACKET_SHORT on */
    XDP_COUNTERS = XDP_RX_KINDS + INS_PACKET_KINDS - INS_PACKET_SHORT
};

struct xdp_settings {
    char interface[IF_NAMESIZE];
    int queue;    /* -1: all */
    int generic;
    int checksum; /* -1: by the device */
    int tags;     /* frames of a traffic class carry it */
    uint32_t mtu; /* 0: the interface's */
    uint32_t fill, tx;
};

/* One of a socket's four rings. `index` is our end, `limit` the other's as last read. */
struct xdp_ring {
    uint32_t *producer, *consumer, *flags;
    void *entries;
    uint32_t mask;
    uint32_t index, limit;
    void *map;
    uint64_t map_bytes;
};

struct xdp_queue {
    int fd;
    uint32_t id;
    uint32_t posted;  /* slots in the kernel's hands or in `rx` */
    uint32_t target;  /* how many we would like there */
    struct xdp_ring rx, fill, completion; /* completion: of what is sent, the first queue's only */
    /* A frame of several chunks under way: its first one's slot, and how much is there. */
    uint32_t joining, joined_slot, joined_offset, joined_length, joined_too_long;
};

enum xdp_route_state { XDP_ROUTE_FREE = 0, XDP_ROUTE_READY, XDP_ROUTE_RESOLVING, XDP_ROUTE_FAILED };
/* One destination: address and UDP port. */
struct xdp_route {
    uint32_t address; /* network order */
    uint16_t port;
    uint8_t state;
    uint8_t stale;    /* the kernel doubts the neighbour: tell it at the next use that we use it */
    int error;        /* FAILED */
    uint32_t next_hop;
    uint32_t waiting; /* datagrams */
    uint64_t ms;      /* RESOLVING: since; FAILED: until */
    struct ins_packet_template t, tagged; /* tagged: with a priority, which is put in for each frame */
};

struct xdp_waiting {
    struct xdp_route *route;
    uint32_t pieces, length;
    uint32_t frames[XDP_PIECES];
};

struct xdp {
    struct ins_datapath base;
    /* Hot, sending. */
    uint8_t *tx_area;
    uint64_t tx_address; /* of the tx area in the umem */
    uint32_t *free_frames;
    uint32_t free_count;
    uint32_t colours;    /* 1 to 16, a power of two: places in a frame's chunk where it may begin, so that not all
                            headers meet in one cache set */
    uint32_t mtu;
    uint32_t full_checksum;
    int sender;          /* the socket that sends, -1: not bound */
    struct xdp_ring tx;  /* its */
    uint32_t unsent;     /* in the tx ring without the kernel having been told */
    struct xdp_route *last_route;
    /* Hot, receiving. */
    struct ins_pool *pool;
    uint8_t *held;       /* by slot: 1 while it is posted or in a ring */
    uint32_t queue_count, next_queue;
    uint32_t idle_looks;
    int broken;          /* -errno: why rx_burst gives up */
    struct ins_packet_local local;
    struct xdp_queue queues[XDP_QUEUES];

    uint64_t counters[XDP_COUNTERS]; /* written by the engine's thread, read by any */

    struct xdp_settings settings;
    struct ins_xdp_interface interface;
    struct ins_xdp_filter filter;
    int port_holder;     /* a kernel socket that has our port, deaf, so that nobody else gets it */
    int asking, news;    /* netlink: questions, and events of neighbours, routes and links */
    int retry;           /* timer that wakes an engine which sleeps on frames that the kernel did not take */
    uint32_t retry_set;
    int poll;            /* epoll over queues, news and retry when they are too many to list */
    uint8_t *umem;       /* address range of the umem: the pool's memory, then the tx area */
    uint64_t umem_bytes;
    uint32_t pool_chunks;
    uint32_t jumbo;      /* frames may have several chunks */

    struct xdp_route *routes; /* XDP_ROUTES */
    uint32_t route_count, resolving;
    struct xdp_waiting waiting[XDP_WAITING];
    uint32_t waiting_count;
};

static inline void xdp_count(struct xdp *xdp, uint32_t which, uint64_t more) {
    __atomic_store_n(&xdp->counters[which], xdp->counters[which] + more, __ATOMIC_RELAXED);
}
static inline void xdp_gauge(struct xdp *xdp, uint32_t which, uint64_t value) {
    __atomic_store_n(&xdp->counters[which], value, __ATOMIC_RELAXED);
}

/* xdp_options.c */
int ins_xdp_options(const char *text, struct xdp_settings *out);
/* xdp_socket.c: sockets, umem and rings of all queues; on failure everything is undone. Slots stay where they are. */
int ins_xdp_sockets_open(struct xdp *xdp);
void ins_xdp_sockets_close(struct xdp *xdp);
/* Asks the kernel what it dropped. */
void ins_xdp_kernel_counters(struct xdp *xdp);
/* xdp_receive.c */
void ins_xdp_fill(struct xdp *xdp, struct xdp_queue *queue);
int ins_xdp_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max);
/* xdp_send.c */
int ins_xdp_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count);
/* Takes frames back that were sent. */
void ins_xdp_reclaim(struct xdp *xdp);
/* Tells the kernel of frames in the tx ring. What it does not take stays there (`unsent`). */
void ins_xdp_kick(struct xdp *xdp);
/* When all are taken after all: no wake-up is needed. */
void ins_xdp_retry_over(struct xdp *xdp);
/* Sends (or, with `error`, drops) what waited for this route. */
void ins_xdp_release_waiting(struct xdp *xdp, struct xdp_route *route, int error);
/* xdp_routes.c */
int ins_xdp_routes_open(struct xdp *xdp);
void ins_xdp_routes_close(struct xdp *xdp);
/* The route to a destination, made and resolved if need be. NULL: no room for it now. */
struct xdp_route *ins_xdp_route(struct xdp *xdp, uint32_t address, uint16_t port);
/* Its neighbour went stale in the kernel: have it confirmed. */
void ins_xdp_route_used(struct xdp *xdp, struct xdp_route *route);
/* A route that is not READY: 0 to let the datagram wait, else -errno. */
int ins_xdp_route_retry(struct xdp *xdp, struct xdp_route *route);
/* Reads what the kernel has to say: neighbours found or lost, links gone. */
void ins_xdp_news(struct xdp *xdp);
uint64_t ins_xdp_now_ms(void);

#endif
