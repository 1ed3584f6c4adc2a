/* Address resolution (RFC 826) for datapaths whose address the kernel does not own: a cache with timeouts, answers for
   our own address, requests that are due. Pure but for its own state: the caller gives the time (any clock in
   milliseconds that does not go back) and sends the frames. One thread. */
#ifndef INSANE_ARP_H
#define INSANE_ARP_H

#include <stdint.h>

#include "packet.h"

enum {
    INS_ARP_FRAME = 64,      /* room for a frame that is written: 60 bytes, 64 with a tag */
    INS_ARP_SETS = 64,
    INS_ARP_WAYS = 4,
    INS_ARP_TRIES = 3,       /* requests without an answer before an address counts as unreachable */
    INS_ARP_RETRY_MS = 1000, /* between them */
    INS_ARP_FRESH_MS = 30000, /* an answer is trusted for so long; then it is used on while it is asked for anew */
    INS_ARP_FAILED_MS = 1000, /* how long an unreachable address is not asked for again */
};

enum ins_arp_state { INS_ARP_FREE = 0, INS_ARP_ASKING, INS_ARP_KNOWN, INS_ARP_RENEWING, INS_ARP_FAILED };

struct ins_arp_entry {
    uint32_t address; /* network order */
    uint8_t state;
    uint8_t tries;    /* requests sent for the present question */
    uint8_t mac[INS_MAC_BYTES];
    uint64_t due_ms;  /* ASKING, RENEWING: next request or verdict; KNOWN: end of trust; FAILED: end of the verdict */
    uint64_t used_ms; /* last looked up, for eviction */
};

enum ins_arp_counter {
    INS_ARP_REQUESTS_SENT,
    INS_ARP_ANSWERED,   /* requests for our address */
    INS_ARP_LEARNED,    /* answers to a question of ours */
    INS_ARP_MALFORMED,  /* short, not Ethernet and IPv4, or a sender that cannot be one */
    INS_ARP_CONFLICTS,  /* somebody else claims our address */
    INS_ARP_UNASKED,    /* an answer that nobody asked for: not learned */
    INS_ARP_TIMEOUTS,   /* addresses that became unreachable */
    INS_ARP_EVICTED,
    INS_ARP_COUNTERS
};

struct ins_arp {
    const struct ins_packet_local *local; /* the caller's; outlives this */
    struct ins_arp_entry sets[INS_ARP_SETS][INS_ARP_WAYS];
    uint32_t waiting;  /* entries ASKING or RENEWING */
    uint64_t next_ms;  /* nothing of them is due before; UINT64_MAX when none waits */
    uint64_t counters[INS_ARP_COUNTERS];
};

void ins_arp_init(struct ins_arp *arp, const struct ins_packet_local *local);
/* 1 and the address in `mac`; 0: being asked for, try again after ins_arp_due or ins_arp_input; -EHOSTUNREACH;
   -EINVAL for an address that no single host can have, and for our own. */
int ins_arp_find(struct ins_arp *arp, uint32_t address, uint64_t now_ms, uint8_t *mac);
/* Takes a frame that ins_packet_parse called INS_PACKET_ARP. Returns the length of the answer written to `answer`
   (INS_ARP_FRAME bytes of room), or 0. */
uint32_t ins_arp_input(struct ins_arp *arp, const uint8_t *frame, uint32_t length, uint64_t now_ms, uint8_t *answer);
/* Writes the next request that is due and returns its length, 0 when there is none: call until then, whenever
   arp->next_ms has come. */
uint32_t ins_arp_due(struct ins_arp *arp, uint64_t now_ms, uint8_t *frame);
/* Writes an announcement of our address (RFC 5227, 2.3), which corrects the caches of others. Returns its length. */
uint32_t ins_arp_announce(const struct ins_arp *arp, uint8_t *frame);
/* Static, "arp_requests_sent", ... */
const char *ins_arp_counter_name(enum ins_arp_counter counter);

#endif
