/* Destinations of an rdma datapath: endpoints and their addresses in the fabric. A bounded table; when it is full, the one
   that was not used for longest and has nothing under way makes room. */
#include <errno.h>
#include <string.h>

#include "rdma_state.h"

static uint32_t place_of(uint32_t address, uint16_t port) {
    return (uint32_t)(((uint64_t)address << 16 | port) * UINT64_C(0x9e3779b97f4a7c15) >> 52) % RDMA_PLACES;
}

static void put(struct rdma *rdma, uint16_t index) {
    const struct rdma_route *route = &rdma->routes[index];
    uint32_t place = place_of(route->address, route->port);
    while (rdma->places[place] != RDMA_NONE)
        place = (place + 1) % RDMA_PLACES;
    rdma->places[place] = index;
}

void ins_rdma_routes_reset(struct rdma *rdma) {
    memset(rdma->places, 0xff, sizeof rdma->places); /* RDMA_NONE */
    rdma->route_count = 0;
    rdma->last_route = rdma->waiting_route = RDMA_NONE;
    rdma_gauge(rdma, RDMA_DESTINATIONS, 0);
}

/* The index of one that may go, taken from the address vector and the hash; RDMA_NONE when all are busy. */
static uint16_t evict(struct rdma *rdma) {
    uint16_t oldest = RDMA_NONE;
    for (uint16_t i = 0; i < rdma->route_count; i++)
        if (!rdma->routes[i].held && (oldest == RDMA_NONE || rdma->routes[i].used < rdma->routes[oldest].used))
            oldest = i;
    if (oldest == RDMA_NONE)
        return RDMA_NONE;
    fi_av_remove(rdma->av, &rdma->routes[oldest].fabric, 1, 0);
    rdma_count(rdma, RDMA_EVICTED, 1);
    memset(rdma->places, 0xff, sizeof rdma->places);
    for (uint16_t i = 0; i < rdma->route_count; i++)
        if (i != oldest)
            put(rdma, i);
    return oldest;
}

int ins_rdma_route(struct rdma *rdma, const struct ins_endpoint *to) {
    uint32_t place = place_of(to->address, to->port);
    uint16_t index;
    for (; (index = rdma->places[place]) != RDMA_NONE; place = (place + 1) % RDMA_PLACES) {
        struct rdma_route *route = &rdma->routes[index];
        if (route->address != to->address || route->port != to->port)
            continue;
        route->used = ++rdma->lookups;
        return index;
    }
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(to->port), .sin_addr.s_addr = to->address};
    fi_addr_t fabric = FI_ADDR_UNSPEC;
    int inserted = fi_av_insert(rdma->av, &name, 1, &fabric, 0, NULL);
    if (inserted != 1)
        return inserted < 0 ? ins_rdma_errno(inserted) : -EADDRNOTAVAIL;
    index = rdma->route_count < RDMA_ROUTES ? (uint16_t)rdma->route_count : evict(rdma);
    if (index == RDMA_NONE) {
        fi_av_remove(rdma->av, &fabric, 1, 0);
        return -ENOSPC;
    }
    rdma->routes[index] = (struct rdma_route){
        .address = to->address,
        .port = to->port,
        .first_waiting = RDMA_NONE,
        .last_waiting = RDMA_NONE,
        .next_waiting = RDMA_NONE,
        .fabric = fabric,
        .used = ++rdma->lookups,
    };
    if (index == rdma->route_count)
        rdma->route_count++;
    put(rdma, index);
    rdma_gauge(rdma, RDMA_DESTINATIONS, rdma->route_count);
    return index;
}
