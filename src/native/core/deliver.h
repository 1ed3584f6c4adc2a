/* One message or one shared datagram of them to every link subscribed: in place, or copied where a link must not or
   should not hold the slot it lies in. */
#ifndef INSANE_DELIVER_H
#define INSANE_DELIVER_H

#include "engine_state.h"
#include "wire.h"

enum { INS_COPY_MOST = 512 }; /* payload bytes of a message that is small */

/* Takes what came back on one link. Returns how many. */
uint32_t ins_link_reclaim(struct ins_engine *e, struct ins_link *link);
/* These messages are out on the link no more. */
void ins_link_take_back(struct ins_engine *e, struct ins_link *link, const struct ins_returned *returned,
                        uint32_t count);

/* A message of the receive pool, its metadata before it: one descriptor to every link subscribed. Returns how many were
   pushed. */
uint32_t ins_deliver(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t offset, uint32_t length);
/* The same for the items of a datagram that has been parsed, whose own metadata are written, but for the first `skip`.
   `body`: offset of the first item in the receive pool. */
uint32_t ins_deliver_items(struct ins_engine *e, struct ins_topic *topic, uint32_t slot, uint32_t body,
                           const struct ins_wire *wire, uint32_t skip);

#endif
