/* An open dpdk datapath, for its own files: dpdk.c (life), dpdk_options.c, dpdk_eal.c (DPDK's environment), dpdk_port.c
   (the device), dpdk_pools.c (mbufs over receive slots), dpdk_receive.c, dpdk_send.c, dpdk_routes.c (destinations),
   dpdk_holder.c (who serves an address). After bind all of it belongs to the engine's thread. */
#ifndef INSANE_DPDK_STATE_H
#define INSANE_DPDK_STATE_H

#include <net/if.h>
#include <rte_mbuf.h>
#include <stdint.h>

#include "dpdk.h"
#include "packet/arp.h"
#include "packet/packet.h"

enum {
    /* A frame begins 128 bytes (RTE_PKTMBUF_HEADROOM) into its mbuf's buffer. That begins here in the slot, so that a
       message's payload, behind 42 bytes of headers and the wire header, lies at 256. */
    DPDK_BUFFER_AT = 38,
    DPDK_MTU_LEAST = 576,
    DPDK_MTU_MOST = 65000,
    DPDK_ROOM_MOST = 65535, /* of an mbuf's buffer */
    DPDK_TRAIN = 65024,     /* IP bytes of the longest train that a kernel sender hands over in one piece (UDP_TRAIN_BYTES) */
    DPDK_BURST = 64,
    DPDK_ROUTES = 1024,     /* places in the hash; half of them are used at most */
    DPDK_WAITING = 256,     /* datagrams waiting for an address to be resolved */
};

enum dpdk_counter {
    DPDK_RX_DATAGRAMS,
    DPDK_RX_NO_SLOT,     /* times that the device found no slot to receive into */
    DPDK_RX_CUT,         /* frames longer than the device's buffers: lost */
    DPDK_RX_SEGMENTED,   /* frames spread over several buffers, which was not asked for: lost */
    DPDK_TX_DATAGRAMS,
    DPDK_TX_COPIED,      /* bytes copied behind the headers */
    DPDK_TX_AGAIN,       /* bursts that ended because the device took no more */
    DPDK_TX_REFUSED,
    DPDK_TX_UNRESOLVED,  /* datagrams given up because nobody answers for the address */
    DPDK_DEVICE_DROPPED, /* what the device says it dropped or failed to send; looked up now and then */
    DPDK_LINK_UP,        /* 0 or 1 */
    DPDK_HUGE_PAGES,     /* 0 or 1 */
    DPDK_ARP,            /* INS_ARP_COUNTERS of them */
    DPDK_RX_KINDS = DPDK_ARP + INS_ARP_COUNTERS, /* INS_PACKET_*, from INS_PACKET_SHORT on */
    DPDK_COUNTERS = DPDK_RX_KINDS + INS_PACKET_KINDS - INS_PACKET_SHORT
};

enum dpdk_pages { DPDK_PAGES_AUTO, DPDK_PAGES_HUGE, DPDK_PAGES_SMALL };

struct dpdk_settings {
    char name[64];       /* of the device, as DPDK's bus knows it; "" until open chose one for `interface` */
    char arguments[192]; /* of a virtual device */
    char interface[IF_NAMESIZE]; /* kernel interface underneath, "" for none */
    uint32_t pci;
    uint32_t frame_bytes; /* of af_packet's rings; 0: does not apply */
    uint32_t address;     /* of the probe's options; network order */
    uint32_t port;
    uint32_t prefix;
    uint32_t gateway; /* network order, 0: none */
    uint32_t mtu;     /* 0: the device's */
    uint32_t memory;  /* MiB */
    uint32_t tx;
    int checksum;     /* -1: by the device */
    int tags;         /* frames of a traffic class are tagged with it */
    enum dpdk_pages pages;
};

/* The mempool whose objects stand for the receive slots: object i is bound to slot i for good, taking one takes the slot
   from the engine's pool and freeing it gives the slot back. */
struct dpdk_slots {
    struct ins_pool *pool;
    struct rte_mempool *mempool;
    struct rte_mbuf **mbufs; /* by slot */
    uint8_t *out;            /* by slot: 1 while the device has it */
    uint32_t made;           /* objects seen while the mempool is filled */
    uint32_t closing;        /* it is being emptied: slots are not meant any more */
    uint32_t held;           /* slots with the device */
    uint32_t refused;        /* times that there was none */
};

enum dpdk_route_state { DPDK_ROUTE_FREE = 0, DPDK_ROUTE_READY, DPDK_ROUTE_RESOLVING, DPDK_ROUTE_FAILED };
/* One destination: address and UDP port. */
struct dpdk_route {
    uint32_t address; /* network order */
    uint16_t port;
    uint8_t state;
    int error; /* FAILED */
    uint32_t next_hop;
    uint32_t waiting; /* datagrams */
    uint32_t news;    /* READY: the cache's news when it was last asked */
    uint64_t ms;      /* READY: ask the cache again then; RESOLVING: since; FAILED: until */
    struct ins_packet_template t, tagged; /* the latter where frames are tagged */
};

struct dpdk_waiting {
    struct dpdk_route *route;
    struct rte_mbuf *mbuf;
};

struct dpdk {
    struct ins_datapath base;
    /* Hot. */
    struct dpdk_slots slots;
    struct rte_mempool *frames; /* for sending */
    struct dpdk_route *last_route;
    uint32_t pending_at, pending_count; /* datagrams that the device has not taken yet */
    struct rte_mbuf *pending[DPDK_BURST];
    uint32_t mtu;
    uint32_t full_checksum;
    uint32_t singly;      /* its frames are shorter than trains: senders are told */
    uint16_t device;      /* DPDK's number of it */
    uint16_t attached;    /* the device exists in DPDK */
    uint32_t started;
    uint32_t idle_looks;
    uint32_t early_count; /* datagrams that came while a sender looked for ARP's answers: for the next rx_burst */
    struct ins_rx early[DPDK_BURST];
    int broken;           /* -errno: why rx_burst gives up */
    uint32_t news;        /* ARP frames seen: routes ask the cache again */
    uint32_t resolving;   /* routes */
    struct ins_packet_local local;
    struct ins_arp arp;

    uint64_t counters[DPDK_COUNTERS]; /* written by the engine's thread, read by any */

    struct dpdk_settings settings;
    uint32_t mask;        /* of our network, network order */
    int holder;           /* socket whose name says that we serve this address and port */
    int holder_name;      /* one that says who we are */
    int holder_interface; /* and one that says that this process has a device on the interface */
    int questions;        /* a kernel socket to ask about `interface`; -1 without one */
    void *registered;     /* the pool's memory, as DPDK knows it */
    uint64_t registered_bytes;
    uint32_t mapped;      /* for the device's DMA */
    uint64_t looked_ms;   /* when the link was last looked at */
    uint64_t down_ms;     /* since when it is down, 0: it is not */

    struct dpdk_route *routes; /* DPDK_ROUTES */
    uint32_t route_count;
    struct dpdk_waiting waiting[DPDK_WAITING];
    uint32_t waiting_count;
};

static inline void dpdk_count(struct dpdk *dpdk, uint32_t which, uint64_t more) {
    __atomic_store_n(&dpdk->counters[which], dpdk->counters[which] + more, __ATOMIC_RELAXED);
}
static inline void dpdk_gauge(struct dpdk *dpdk, uint32_t which, uint64_t value) {
    __atomic_store_n(&dpdk->counters[which], value, __ATOMIC_RELAXED);
}

/* dpdk_options.c: also of the probe, hence `for_probe` allows address and port and needs no device. */
int ins_dpdk_options(const char *text, int for_probe, struct dpdk_settings *out);
/* Value of an argument in "a=1,b=2"; returns its length, 0 when it is not there. */
uint32_t ins_dpdk_argument(const char *arguments, const char *name, char *out, uint32_t bytes);

/* dpdk_eal.c: starts DPDK's environment, once in the process's life; any thread. */
int ins_dpdk_eal_start(const struct dpdk_settings *settings);
/* 1 when it runs; *huge: on huge pages. */
int ins_dpdk_eal_runs(int *huge);
/* Free huge pages of the host in MiB. */
uint32_t ins_dpdk_huge_free(void);

/* dpdk_port.c */
int ins_dpdk_port_attach(struct dpdk *dpdk);
int ins_dpdk_port_start(struct dpdk *dpdk);
/* Stops and removes it; the slots that it held are free afterwards. */
void ins_dpdk_port_remove(struct dpdk *dpdk);
/* Whether the link is still there; counters of the device. Sets `broken`. */
void ins_dpdk_port_look(struct dpdk *dpdk, uint64_t now_ms);

/* dpdk_pools.c */
int ins_dpdk_pools_register(void); /* once, when the environment runs */
int ins_dpdk_pools_open(struct dpdk *dpdk, struct ins_pool *pool);
void ins_dpdk_pools_close(struct dpdk *dpdk);
/* Room of an mbuf's buffer over a slot of this stride. */
uint32_t ins_dpdk_room(uint32_t stride);
/* The slot of an mbuf that the device handed over; from now on it is the caller's. */
uint32_t ins_dpdk_slot_taken(struct dpdk *dpdk, struct rte_mbuf *mbuf);

/* dpdk_receive.c */
int ins_dpdk_rx_burst(struct ins_datapath *dp, struct ins_rx *rx, uint32_t max);
/* Looks for answers to our ARP requests on behalf of a sender; datagrams are kept for rx_burst. */
void ins_dpdk_look_ahead(struct dpdk *dpdk);

/* dpdk_send.c */
int ins_dpdk_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count);
/* Hands the device what is pending. */
void ins_dpdk_flush(struct dpdk *dpdk);
/* An ARP frame; dropped when there is no room. */
void ins_dpdk_send_frame(struct dpdk *dpdk, const uint8_t *frame, uint32_t length);
/* Requests that are due. */
void ins_dpdk_ask(struct dpdk *dpdk, uint64_t now_ms);
/* Sends (or, with `error`, drops) what waited for this route. */
void ins_dpdk_release_waiting(struct dpdk *dpdk, struct dpdk_route *route, int error);
/* Drops everything that was taken and not sent. */
void ins_dpdk_drop_pending(struct dpdk *dpdk);

/* dpdk_routes.c */
/* The route to a destination, made if need be. NULL: no room for it now. */
struct dpdk_route *ins_dpdk_route(struct dpdk *dpdk, uint32_t address, uint16_t port, uint64_t now_ms);
/* Asks the cache anew when that is due. 0, or -errno when nothing can be sent there now. */
int ins_dpdk_route_check(struct dpdk *dpdk, struct dpdk_route *route, uint64_t now_ms);
/* Looks at all routes that wait for an answer. */
void ins_dpdk_routes_look(struct dpdk *dpdk, uint64_t now_ms);
uint64_t ins_dpdk_now_ms(void);

/* dpdk_holder.c: names in the abstract namespace of Unix sockets, which are those of a network namespace and go with
   their process. */
int ins_dpdk_hold(struct dpdk *dpdk);
void ins_dpdk_let_go(struct dpdk *dpdk);
/* Process that serves the address and port, 0: nobody (who tells). */
int ins_dpdk_who_holds(uint32_t address, uint16_t port);

#endif
