/* Messages larger than a datagram: at the sender transmissions (fragments_take.c, _send.c, _confirm.c), at the receiver
   assemblies (fragments_pools.c, _receive.c, _place.c, _deliver.c, _receipt.c), and questions and statuses between them
   (docs/wire.md, types 3, 6 and 9). Everything is bounded, by engine and by
   peer; a message that does not come about in time is given up, and what it held is free again. */
#ifndef INSANE_FRAGMENTS_H
#define INSANE_FRAGMENTS_H

#include "domain.h"
#include "engine_state.h"
#include "wire.h"

enum { INS_FRAGMENT_LEAST = INS_WIRE_ALWAYS_WHOLE }; /* payload bytes of a fragment: bounds the bitmaps, and goes whole everywhere */

int ins_fragments_init(struct ins_engine *e);
void ins_fragments_free(struct ins_engine *e);
/* Timers: what is given up, and what is asked for again. */
void ins_fragments_beat(struct ins_engine *e);

/* ---- sender ---- */

/* A message of a link whose messages may be large. 1: it is taken care of, its entry comes back later. 0: it is small,
   and may go. -EAGAIN: others of its source come first. */
int ins_fragments_take(struct ins_engine *e, struct ins_link *link, const struct ins_descriptor *d,
                       const struct ins_egress_source *source, uint32_t port);
/* Which messages of a link ins_fragments_take has to see: to be said anew when anything of that is another. */
void ins_fragments_bound(const struct ins_engine *e, struct ins_link *link);
/* The same for all links: a peer is reached over a port from now on, or will not be any more. */
void ins_fragments_met(struct ins_engine *e, uint32_t port, const struct ins_peer *peer);
void ins_fragments_parted(struct ins_engine *e, uint32_t port, const struct ins_peer *peer);
/* Stages what may go now, in turn. Returns how many fragments. */
uint32_t ins_fragments_send(struct ins_engine *e);
/* Something is out of the stage: sent, refused, or thrown away. `what`: as it was staged, less INS_STAGED_FRAGMENT: the index of
   a transmission for a fragment, and beyond those for a question. */
void ins_fragment_left(struct ins_engine *e, uint32_t what, int sent, int32_t error);
/* Gives up what goes over the port, of one link or (NULL) all: to be called while its fragments are staged. */
void ins_fragments_cancel(struct ins_engine *e, const struct ins_port *port, const struct ins_link *link,
                          uint32_t status);
void ins_fragments_status(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                          const uint8_t *body);

/* ---- receiver ---- */

/* Pools for large messages, as trust domains have them (domain.h). */
int ins_assembly_add(struct ins_engine *e, struct ins_domain *pool);
int ins_assembly_remove(struct ins_engine *e, uint32_t id);
int ins_assembly_set(struct ins_engine *e, struct ins_link *link, uint32_t id);
void ins_assembly_leave(struct ins_link *link);

/* Returns how many descriptors were pushed. */
uint32_t ins_fragment_receive(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire,
                              const uint8_t *payload);
/* The sender asks what has come of a message, or announces it: it is given its place before its fragments come. */
uint32_t ins_fragment_asked(struct ins_engine *e, uint32_t port, uint32_t peer, const struct ins_wire *wire);
/* The sender of the flow has done with all messages before `next`: what is complete is delivered, the rest given up.
   Returns how many descriptors were pushed. */
uint32_t ins_fragments_pass(struct ins_engine *e, uint32_t peer, uint32_t flow, uint64_t next);
void ins_fragments_forget_peer(struct ins_engine *e, uint32_t peer);

#endif
