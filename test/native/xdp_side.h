/* One side of an xdp test: a pool in shared memory and an xdp datapath bound to it. */
#ifndef INSANE_TEST_XDP_SIDE_H
#define INSANE_TEST_XDP_SIDE_H

#include "core/datapath.h"
#include "core/platform.h"
#include "core/pool.h"

struct xdp_side {
    struct ins_datapath *dp;
    struct ins_endpoint at;
    struct ins_pool pool;
    void *memory;
    uint64_t bytes;
    int fd;
};

/* Opens and binds where the caller stands. Returns 0 or the -errno of open or bind, with nothing left open. */
int xdp_side_open(struct xdp_side *side, const char *options, const char *address, uint32_t slots, uint32_t stride);
void xdp_side_close(struct xdp_side *side);
/* Sends `count` datagrams of `length` bytes (a wire header's worth first, if there are as many); byte k of datagram i is
   (seed + i + k) % 251. Gives up after 2 s. Returns how many were taken,
   when they have left. */
uint32_t xdp_side_send(struct xdp_side *side, struct ins_endpoint to, uint32_t length, uint32_t seed, uint32_t count);
/* Receives one datagram within 2 s; the slot stays out. Returns 1, 0 (none) or the -errno of rx_burst. */
int xdp_side_receive(struct xdp_side *side, struct ins_rx *rx);
/* Whether the datagram is what xdp_side_send made. */
int xdp_side_intact(const struct xdp_side *side, const struct ins_rx *rx, uint32_t length, uint32_t seed);
uint64_t xdp_side_stat(struct xdp_side *side, const char *name);

#endif
