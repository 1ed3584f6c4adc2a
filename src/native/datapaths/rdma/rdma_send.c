/* Sending on the rdma datapath. A message is copied behind its prefix into a registered frame (counted as
   tx_copied_bytes), because its header and payload must not change until the provider has sent them and a slot is given
   back when tx_burst returns. Frames come back with their completions. What a destination does not take yet (no connection,
   no room) waits in its frames, in order, for a bounded time. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "rdma_state.h"

enum {
    IMPATIENCE_MS = 500, /* that a message waits for a destination which took none last time */
    REFUSAL_MS = 1000,   /* that such a one is left alone */
    COMPLETIONS = 32,    /* read at once */
};

uint64_t ins_rdma_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ins_rdma_prepare_send(struct rdma *rdma) {
    /* From the lowest up, and the last used first: few frames stay in the caches. */
    for (uint32_t i = 0; i < RDMA_FRAMES; i++)
        rdma->free_frames[i] = (uint16_t)(RDMA_FRAMES - 1 - i);
    rdma->free_count = RDMA_FRAMES;
    rdma->in_flight = 0;
}

static uint8_t *frame_at(struct rdma *rdma, uint32_t frame) {
    return rdma->frames + (size_t)frame * RDMA_FRAME_BYTES;
}

static void give_back(struct rdma *rdma, uint16_t frame) {
    struct rdma_route *route = &rdma->routes[rdma->frame_route[frame]];
    route->held--;
    rdma->free_frames[rdma->free_count++] = frame;
}

/* 0, -FI_EAGAIN, or another of libfabric's errors. */
static long submit(struct rdma *rdma, struct rdma_route *route, uint16_t frame) {
    long result = fi_send(rdma->ep, frame_at(rdma, frame), rdma->frame_length[frame], rdma->frames_descriptor,
                          route->fabric, &rdma->frame_contexts[frame]);
    if (result == 0) {
        rdma->in_flight++;
        rdma_count(rdma, RDMA_TX_MESSAGES, 1);
    }
    return result;
}

static int lost_patience(const struct rdma *rdma, const struct rdma_route *route, uint64_t now) {
    return now - route->stalled_ms >= (route->failed ? IMPATIENCE_MS : rdma->settings.patience_ms);
}

/* ---- frames that wait ---- */

static void let_wait(struct rdma *rdma, uint16_t index, uint16_t frame) {
    struct rdma_route *route = &rdma->routes[index];
    rdma->frame_next[frame] = RDMA_NONE;
    rdma_count(rdma, RDMA_TX_WAITED, 1);
    if (route->first_waiting != RDMA_NONE) {
        rdma->frame_next[route->last_waiting] = frame;
        route->last_waiting = frame;
        return;
    }
    route->first_waiting = route->last_waiting = frame;
    route->next_waiting = rdma->waiting_route;
    rdma->waiting_route = index;
    if (!route->stalled_ms)
        route->stalled_ms = ins_rdma_now_ms();
}

static void give_up(struct rdma *rdma, struct rdma_route *route, uint64_t now) {
    while (route->first_waiting != RDMA_NONE) {
        uint16_t frame = route->first_waiting;
        route->first_waiting = rdma->frame_next[frame];
        give_back(rdma, frame);
        rdma_count(rdma, RDMA_TX_UNREACHED, 1);
    }
    route->refuse_ms = now + REFUSAL_MS;
    route->failed = 1;
}

/* Hands over what waits for one destination. Returns 1 when nothing does any more. */
static int advance(struct rdma *rdma, struct rdma_route *route, uint64_t now) {
    while (route->first_waiting != RDMA_NONE) {
        uint16_t frame = route->first_waiting;
        long result = submit(rdma, route, frame);
        if (result == -FI_EAGAIN) {
            if (!lost_patience(rdma, route, now))
                return 0;
            give_up(rdma, route, now);
            return 1;
        }
        route->first_waiting = rdma->frame_next[frame];
        if (result) {
            give_back(rdma, frame);
            rdma_count(rdma, RDMA_TX_ERRORS, 1);
        } else
            route->stalled_ms = now;
    }
    route->stalled_ms = 0;
    return 1;
}

void ins_rdma_retry(struct rdma *rdma) {
    uint64_t now = ins_rdma_now_ms();
    ins_rdma_completions(rdma); /* which also drives connections */
    for (uint16_t *at = &rdma->waiting_route; *at != RDMA_NONE;) {
        struct rdma_route *route = &rdma->routes[*at];
        if (advance(rdma, route, now))
            *at = route->next_waiting;
        else
            at = &route->next_waiting;
    }
}

/* ---- completions ---- */

/* Of a message that was with the provider. NULL context: of none in particular. */
void ins_rdma_completed(struct rdma *rdma, const void *context, int sent) {
    const struct fi_context2 *at = context;
    if (at < rdma->frame_contexts || at >= rdma->frame_contexts + RDMA_FRAMES)
        return;
    uint16_t frame = (uint16_t)(at - rdma->frame_contexts);
    struct rdma_route *route = &rdma->routes[rdma->frame_route[frame]];
    rdma->in_flight--;
    if (sent)
        route->failed = 0;
    if (route->first_waiting == RDMA_NONE)
        route->stalled_ms = 0;
    give_back(rdma, frame);
}

void ins_rdma_completions(struct rdma *rdma) {
    struct fi_cq_msg_entry done[COMPLETIONS];
    long count;
    do {
        count = fi_cq_read(rdma->tx_cq, done, COMPLETIONS);
        for (long i = 0; i < count; i++)
            ins_rdma_completed(rdma, done[i].op_context, 1);
        if (count == -FI_EAVAIL) {
            struct fi_cq_err_entry failed = {0};
            if (fi_cq_readerr(rdma->tx_cq, &failed, 0) != 1)
                return;
            rdma_count(rdma, RDMA_TX_ERRORS, 1);
            ins_rdma_completed(rdma, failed.op_context, 0);
        }
    } while (count == COMPLETIONS || count == -FI_EAVAIL);
}

/* ---- messages ---- */

/* No frame for one more to this destination. 0: it may wait in its slot; -errno: it has waited long enough. */
static int stalled(const struct rdma *rdma, struct rdma_route *route) {
    uint64_t now = ins_rdma_now_ms();
    if (!route->stalled_ms)
        route->stalled_ms = now;
    if (!lost_patience(rdma, route, now))
        return 0;
    route->failed = 1;
    route->refuse_ms = now + REFUSAL_MS;
    return -EHOSTUNREACH;
}

static int refused(struct rdma_route *route) {
    if (ins_rdma_now_ms() < route->refuse_ms)
        return 1;
    route->refuse_ms = 0;
    route->stalled_ms = 0;
    return 0;
}

static void write_frame(struct rdma *rdma, uint16_t frame, const struct ins_tx *tx) {
    uint8_t *at = frame_at(rdma, frame);
    memcpy(at, rdma->prefix, RDMA_PREFIX);
    memcpy(at + RDMA_PREFIX, tx->header, tx->header_length);
    if (tx->payload_length)
        memcpy(at + RDMA_PREFIX + tx->header_length, tx->payload, tx->payload_length);
    rdma->frame_length[frame] = RDMA_PREFIX + tx->header_length + tx->payload_length;
    rdma_count(rdma, RDMA_TX_COPIED, tx->header_length + tx->payload_length);
}

static int route_to(struct rdma *rdma, const struct ins_endpoint *to) {
    if (rdma->last_route != RDMA_NONE) {
        const struct rdma_route *last = &rdma->routes[rdma->last_route];
        if (last->address == to->address && last->port == to->port)
            return rdma->last_route;
    }
    int index = ins_rdma_route(rdma, to);
    if (index >= 0)
        rdma->last_route = (uint16_t)index;
    return index;
}

/* 1: taken; 0: no room now; -errno: refused. */
static int send_one(struct rdma *rdma, const struct ins_tx *tx) {
    if (tx->payload_length > rdma->room || tx->header_length > rdma->room - tx->payload_length)
        return -EMSGSIZE;
    int index = route_to(rdma, &tx->to);
    if (index < 0)
        return index;
    struct rdma_route *route = &rdma->routes[index];
    if (route->refuse_ms && refused(route))
        return -EHOSTUNREACH;
    if (rdma->free_count == 0 || route->held >= RDMA_ROUTE_FRAMES) {
        ins_rdma_completions(rdma);
        if (rdma->free_count == 0 || route->held >= RDMA_ROUTE_FRAMES)
            return stalled(rdma, route);
    }
    uint16_t frame = rdma->free_frames[--rdma->free_count];
    rdma->frame_route[frame] = (uint16_t)index;
    route->held++;
    write_frame(rdma, frame, tx);
    long result = route->first_waiting == RDMA_NONE ? submit(rdma, route, frame) : -FI_EAGAIN;
    if (result == 0)
        return 1;
    if (result == -FI_EAGAIN) {
        let_wait(rdma, (uint16_t)index, frame);
        return 1;
    }
    give_back(rdma, frame);
    return ins_rdma_errno(result);
}

/* It is refused like the one before. */
static int refusing(struct rdma *rdma, const struct ins_tx *tx) {
    int index = route_to(rdma, &tx->to);
    return index >= 0 && ins_rdma_now_ms() < rdma->routes[index].refuse_ms;
}

int ins_rdma_tx_burst(struct ins_datapath *dp, struct ins_tx *tx, uint32_t count) {
    struct rdma *rdma = (struct rdma *)dp;
    uint32_t done = 0, refusals = 0;
    if (rdma->waiting_route != RDMA_NONE)
        ins_rdma_retry(rdma);
    else if (rdma->in_flight >= RDMA_FRAMES / 4 || count == 0)
        ins_rdma_completions(rdma);
    for (; done < count; done++) {
        /* What is refused is taken out of its flow, unless something behind it has been sent by then. */
        if (refusals && !refusing(rdma, &tx[done]))
            break;
        int result = send_one(rdma, &tx[done]);
        if (result == 0)
            break;
        tx[done].error = result < 0 ? result : 0;
        refusals += result < 0;
        if (result < 0)
            rdma_count(rdma, RDMA_TX_REFUSED, 1);
    }
    if (done < count)
        rdma_count(rdma, RDMA_TX_AGAIN, 1);
    return (int)done;
}
