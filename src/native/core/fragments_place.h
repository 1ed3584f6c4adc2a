/* Receiving fragments where they belong: before the datapath is read, what comes next is predicted, and the kernel is given
   one place for each header and each payload. What lands wrong is moved, once. For the ingress only. */
#ifndef INSANE_FRAGMENTS_PLACE_H
#define INSANE_FRAGMENTS_PLACE_H

#include "engine_state.h"

/* Whether something is predicted for that port: 1; 0: no; -1: there is no memory for what is expected, and as little as can be
   is to be read until there is. */
int ins_place_ready(struct ins_engine *e, uint32_t port);
/* One buffer of the port. Returns as rx_burst does; of 1 either all is dealt with (rx->length 0; *pushed has grown by the
   descriptors pushed), or what is left is in `rx` as if it had been received so. */
int ins_place_receive(struct ins_engine *e, uint32_t port, struct ins_rx *rx, uint32_t *pushed);

#endif
