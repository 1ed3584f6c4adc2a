/* The private state of large messages, for fragments*.c only. */
#ifndef INSANE_FRAGMENTS_STATE_H
#define INSANE_FRAGMENTS_STATE_H

#include <time.h>

#include "fragments.h"

enum {
    INS_PLACES = 64,              /* fragments that are predicted at once: as many as there are in a train */
    INS_FOLLOW_MS = 100,          /* for so long after a message another one like it is expected */
    INS_FOLLOWED_MS = 25,         /* so long after one its sender believes that it still is */
    INS_REFUSALS = 64,
    INS_TRANSMISSIONS = 32,       /* under way in an engine */
    INS_SOURCE_LARGE = 8,         /* messages of one source */
    INS_ASSEMBLIES = 64,          /* in an engine */
    INS_PEER_ASSEMBLIES = 16,     /* of one peer */
    INS_FRAGMENTS_MOST = INS_POOL_MAX_MESSAGE / INS_FRAGMENT_LEAST,
    INS_WINDOW_FIRST = 256 * 1024, /* bytes under way to a peer that has not said how much it takes */
    INS_WINDOW_MOST = 6 * 1024 * 1024,
    INS_PROGRESS_MS = 3000,       /* without progress a message is given up */
    INS_LIFE_MS = 10000,          /* and after this and a millisecond for each INS_LIFE_BYTES, progress or not */
    INS_LIFE_BYTES = 4096,
    INS_PROBE_MS = 8,             /* first time that is waited for a status */
    INS_PROBE_MOST_MS = 64,
    INS_PAUSE_MS = 4,             /* before a message is tried again for which the receiver had no slot */
    INS_ROOM_MS = 5000,           /* for so long: its sinks may be slow */
};
#define INS_STATUS_NS 1000000ull /* between two statuses, or two repairs, of one message for the same reason */

/* One entry of a link and its transmissions, one for each route. */
struct ins_shipment {
    uint32_t references; /* 0: free */
    uint32_t sent;       /* something of it went to the network */
    uint32_t status;     /* otherwise: why not */
    uint32_t entry;
    struct ins_link *link;
};

struct ins_transmission {
    uint32_t used;
    uint32_t done;   /* over; waits until nothing of it is staged */
    uint32_t staged; /* fragments */
    uint32_t shipment;
    struct ins_link *link;
    uint32_t source; /* uid */
    uint32_t flow, flow_id;
    uint32_t port, peer, peer_uid;
    uint64_t sequence, emit_time;
    const uint8_t *payload;
    uint32_t length, size, count;
    uint32_t base;      /* all before it are confirmed */
    uint32_t next;      /* first fragment that was never sent */
    uint32_t horizon;   /* fragments before it: the receiver has said what it has of them */
    uint32_t again;     /* sent again beyond that, not known to have come */
    uint32_t confirmed; /* fragments */
    uint32_t resend_at, resend_end;
    uint32_t probe; /* the receiver is to be asked, whether or not there is a window */
    uint32_t announced;
    uint32_t sent;  /* the datapath took one */
    uint64_t paused_ms; /* the receiver has no memory: until then; 0: no */
    uint64_t room_ms;   /* since when it has had none; 0: it has */
    uint64_t resends, repaired_ns, progress_ms, until_ms, probe_ms;
    uint32_t probe_wait;
    uint8_t have[INS_FRAGMENTS_MOST / 8];
};

struct ins_assembly {
    uint32_t used;
    uint32_t complete; /* waits for one before it */
    uint32_t first;    /* none before it is under way, says the sender */
    uint32_t port, peer, peer_uid;
    struct ins_wire wire; /* of its first fragment */
    struct ins_domain *pool;
    uint32_t slot;
    uint32_t count, received;
    uint32_t base; /* all before it are there */
    uint32_t end;  /* none is there from here on */
    uint32_t since; /* bytes since the last status */
    uint32_t quarter; /* of the window, as it was told last: the next status is due then */
    uint64_t status_ns, progress_ms, until_ms;
    uint8_t have[INS_FRAGMENTS_MOST / 8];
};

/* What is expected after a message that is complete: another one whose fragments are as large. */
struct ins_following {
    struct ins_domain *pool; /* NULL: nothing */
    uint32_t slot;           /* kept for it; INS_NONE: none yet */
    uint32_t port, size;
    uint64_t until_ms;
};

/* A message that found no memory: later ones of its flow wait for it. */
struct ins_refusal {
    uint32_t peer, flow;
    uint64_t next; /* its sequence, plus one; 0: none */
};

struct ins_fragments {
    uint32_t sending; /* transmissions in use */
    uint32_t cursor;
    uint32_t crowded; /* somebody waits for the end of any transmission */
    uint32_t asked_turn; /* in which the last question was staged: two of them would make a train */
    uint32_t cached; /* assembly of the last fragment */
    /* Which message was last answered without an assembly. */
    uint32_t answered_peer, answered_flow;
    uint64_t answered_sequence, answered_ns;
    uint64_t consumed[INS_ENGINE_PEERS]; /* payload bytes of fragments taken */
    struct ins_following following;
    struct ins_refusal refusals[INS_REFUSALS]; /* by flow; one pushes out another, which then waits for nothing */
    uint32_t misses, rest; /* predictions that were wrong in a row; reads that go without one */
    uint8_t headers[INS_PLACES][64];
    struct ins_shipment shipments[INS_TRANSMISSIONS];
    struct ins_transmission transmissions[INS_TRANSMISSIONS];
    struct ins_assembly assemblies[INS_ASSEMBLIES];
};

static inline int ins_bit(const uint8_t *bits, uint32_t at) { return bits[at / 8] >> (at % 8) & 1; }
static inline void ins_bit_set(uint8_t *bits, uint32_t at) { bits[at / 8] |= (uint8_t)(1u << (at % 8)); }

static inline uint64_t ins_fragments_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static inline struct ins_flow *ins_transmission_flow(struct ins_engine *e, const struct ins_transmission *t) {
    struct ins_flow *flow = &e->flows[t->flow];
    return flow->used && flow->id == t->flow_id ? flow : NULL;
}

/* ---- fragments_take.c, fragments_send.c, fragments_confirm.c ---- */
/* It is over; status: of the entry, when nothing of it has left. */
void ins_transmission_finish(struct ins_engine *e, struct ins_transmission *t, uint32_t status);
uint64_t ins_transmission_life(const struct ins_engine *e, const struct ins_transmission *t);
/* FIRST: it is the first message of its flow that is under way; AFTER: another one is before it; BEHIND: that has fragments
   that were never sent. Those go first, one message after the other. */
enum ins_turn { INS_TURN_FIRST, INS_TURN_AFTER, INS_TURN_BEHIND };
enum ins_turn ins_transmission_turn(const struct ins_engine *e, const struct ins_transmission *t);
void ins_transmissions_beat(struct ins_engine *e);

/* ---- fragments_pools.c ---- */
/* A slot of the pool for a message; what came back on the links that deliver from it is taken first. Or -EAGAIN. */
int64_t ins_fragments_slot(struct ins_engine *e, struct ins_domain *pool);
/* Gives the memory back; whether the message is lost is found out by its flow. */
void ins_assembly_drop(struct ins_engine *e, struct ins_assembly *a);
void ins_assembly_give_up(struct ins_engine *e, struct ins_assembly *a);

/* ---- fragments_receipt.c ---- */
/* `sent`: so many of its fragments were sent at least, says the sender; those that are not there are missing. */
void ins_assembly_tell(struct ins_engine *e, struct ins_assembly *a, uint32_t sent);
/* For a message of which nothing is kept: `over`: nothing more of it is wanted; else there is no memory for it now. */
void ins_assembly_answer(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire, int over);

/* ---- fragments_deliver.c ---- */
/* What is complete of the flow and waits for nothing any more. Returns how many descriptors were pushed. */
uint32_t ins_assemblies_deliver(struct ins_engine *e, uint32_t peer, uint32_t flow);
/* Nothing up to that message is waited for any more. */
void ins_assemblies_lose(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t sequence);

/* ---- fragments_receive.c ---- */
/* That of the message, or NULL. */
struct ins_assembly *ins_assembly_find(struct ins_engine *e, uint32_t peer, const struct ins_wire *wire);
/* A place for a message of which this is the first fragment seen; NULL: answered, and counted. */
struct ins_assembly *ins_fragments_begin(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire);
/* A fragment that was not there before is in its place. Returns how many descriptors were pushed. */
uint32_t ins_fragments_placed(struct ins_engine *e, struct ins_assembly *a, const struct ins_wire *wire);

void ins_assemblies_beat(struct ins_engine *e);

/* ---- fragments_place.c ---- */
void ins_place_follow(struct ins_engine *e, const struct ins_assembly *a);
void ins_place_forget(struct ins_engine *e);
void ins_place_beat(struct ins_engine *e);

#endif
