/* See xdp_side.h. */
#include "xdp_side.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "datapaths/xdp.h"
#include "two_hosts.h"

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int xdp_side_open(struct xdp_side *side, const char *options, const char *address, uint32_t slots, uint32_t stride) {
    uint16_t port = side->at.port;
    memset(side, 0, sizeof *side);
    side->at = (struct ins_endpoint){.address = address ? address_of(address) : 0, .port = port};
    side->bytes = (uint64_t)slots * stride;
    side->fd = ins_segment_create("xdp-test", side->bytes);
    if (side->fd < 0 || ins_segment_map(side->fd, side->bytes, 1, &side->memory) ||
        ins_segment_seal_future_write(side->fd) || /* as the runtime does, before the datapath sees it */
        ins_pool_init(&side->pool, side->memory, side->bytes, slots, stride))
        abort();
    int error = ins_xdp_ops.open(options, &side->at, &side->dp);
    if (!error) {
        error = side->dp->ops->bind(side->dp, &side->pool);
        if (error)
            side->dp->ops->close(side->dp);
    }
    if (error) {
        side->dp = NULL;
        xdp_side_close(side);
    }
    return error;
}

void xdp_side_close(struct xdp_side *side) {
    if (side->dp) {
        side->dp->ops->unbind(side->dp);
        side->dp->ops->close(side->dp);
    }
    if (side->memory) {
        ins_pool_free(&side->pool);
        ins_segment_unmap(side->memory, side->bytes);
        ins_fd_close(side->fd);
    }
    memset(side, 0, sizeof *side);
}

uint32_t xdp_side_send(struct xdp_side *side, struct ins_endpoint to, uint32_t length, uint32_t seed, uint32_t count) {
    uint8_t data[16384];
    uint32_t sent = 0;
    uint64_t end = now_ms() + 2000;
    uint64_t left = xdp_side_stat(side, "tx_datagrams") + xdp_side_stat(side, "tx_unresolved");
    while (sent < count && now_ms() < end) {
        for (uint32_t k = 0; k < length; k++)
            data[k] = (uint8_t)((seed + sent + k) % 251);
        uint32_t header = length < INS_WIRE_HEADER ? length : INS_WIRE_HEADER;
        struct ins_tx tx = {.header = data,
                            .header_length = header,
                            .payload = data + header,
                            .payload_length = length - header,
                            .to = to};
        int taken = side->dp->ops->tx_burst(side->dp, &tx, 1);
        if (taken < 0 || tx.error)
            break;
        sent += (uint32_t)taken;
    }
    /* The first ones may wait for their address; the engine would look for news in its turns. */
    while (xdp_side_stat(side, "tx_datagrams") + xdp_side_stat(side, "tx_unresolved") < left + sent && now_ms() < end)
        side->dp->ops->tx_burst(side->dp, NULL, 0);
    return sent;
}

int xdp_side_receive(struct xdp_side *side, struct ins_rx *rx) {
    uint64_t end = now_ms() + 2000;
    do {
        int got = side->dp->ops->rx_burst(side->dp, rx, 1);
        if (got)
            return got;
    } while (now_ms() < end);
    return 0;
}

int xdp_side_intact(const struct xdp_side *side, const struct ins_rx *rx, uint32_t length, uint32_t seed) {
    if (rx->length != length || rx->offset / side->pool.stride != rx->slot || side->pool.refs[rx->slot] != 1 ||
        (uint64_t)rx->offset + rx->length > (uint64_t)(rx->slot + 1) * side->pool.stride)
        return 0;
    for (uint32_t k = 0; k < length; k++)
        if (side->pool.base[rx->offset + k] != (seed + k) % 251)
            return 0;
    return 1;
}

uint64_t xdp_side_stat(struct xdp_side *side, const char *name) {
    const char *names[64];
    uint64_t values[64];
    int count = side->dp->ops->stats(side->dp, names, values, 64);
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return values[i];
    fprintf(stderr, "no counter %s\n", name);
    abort();
}
