/* Destinations of a dpdk datapath: next hop by our own prefix and gateway, its address by our own ARP cache. A route keeps
   the headers made for it and asks the cache again now and then, and after each ARP frame. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "dpdk_state.h"

enum {
    NO_ROUTE_MS = 100,
    AGAIN_MS = 250, /* how long headers are used without the cache being asked: an entry that is used is renewed */
};

uint64_t ins_dpdk_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void enter(struct dpdk *dpdk, struct dpdk_route *route, enum dpdk_route_state state) {
    dpdk->resolving -= route->state == DPDK_ROUTE_RESOLVING;
    route->state = (uint8_t)state;
    dpdk->resolving += state == DPDK_ROUTE_RESOLVING;
}

static void fail(struct dpdk *dpdk, struct dpdk_route *route, int error, uint64_t until_ms) {
    enter(dpdk, route, DPDK_ROUTE_FAILED);
    route->error = error;
    route->ms = until_ms;
    ins_dpdk_release_waiting(dpdk, route, error);
}

static void write_headers(const struct dpdk *dpdk, struct dpdk_route *route, const uint8_t *mac) {
    ins_packet_templates(&route->t, dpdk->settings.tags ? &route->tagged : NULL, &dpdk->local, mac, route->address,
                         route->port);
}

/* Asks the cache. */
static void ask(struct dpdk *dpdk, struct dpdk_route *route, uint64_t now_ms) {
    uint8_t mac[INS_MAC_BYTES];
    int found = ins_arp_find(&dpdk->arp, route->next_hop, now_ms, mac);
    if (found < 0) {
        fail(dpdk, route, found, now_ms + INS_ARP_FAILED_MS);
        return;
    }
    if (found == 0) {
        if (route->state != DPDK_ROUTE_RESOLVING) {
            route->ms = now_ms;
            enter(dpdk, route, DPDK_ROUTE_RESOLVING);
        }
        ins_dpdk_ask(dpdk, now_ms);
        return;
    }
    if (route->state != DPDK_ROUTE_READY || memcmp(route->t.headers, mac, INS_MAC_BYTES) != 0)
        write_headers(dpdk, route, mac);
    route->news = dpdk->news;
    route->ms = now_ms + AGAIN_MS;
    enter(dpdk, route, DPDK_ROUTE_READY);
    if (route->waiting)
        ins_dpdk_release_waiting(dpdk, route, 0);
}

static void resolve(struct dpdk *dpdk, struct dpdk_route *route, uint64_t now_ms) {
    uint32_t ours = dpdk->local.address;
    route->next_hop = ((route->address ^ ours) & dpdk->mask) == 0 ? route->address : dpdk->settings.gateway;
    if (route->address == ours || !route->next_hop) {
        /* Ourselves: shared memory is the way. Elsewhere: nobody said which way. */
        fail(dpdk, route, route->address == ours ? -EADDRNOTAVAIL : -ENETUNREACH, now_ms + NO_ROUTE_MS);
        return;
    }
    /* For a datagram that waits to be written; whom the frame is for is filled in when it is known. */
    static const uint8_t nobody[INS_MAC_BYTES];
    write_headers(dpdk, route, nobody);
    ask(dpdk, route, now_ms);
}

/* When too many were used: all that nothing waits for are forgotten. */
static void forget(struct dpdk *dpdk) {
    struct dpdk_route *routes = dpdk->routes;
    if (dpdk->waiting_count)
        return;
    memset(routes, 0, DPDK_ROUTES * sizeof *routes);
    dpdk->route_count = dpdk->resolving = 0;
    dpdk->last_route = NULL;
}

struct dpdk_route *ins_dpdk_route(struct dpdk *dpdk, uint32_t address, uint16_t port, uint64_t now_ms) {
    uint32_t at = (address ^ (uint32_t)port << 16) * 0x9e3779b1u >> 22;
    for (uint32_t i = 0; i < DPDK_ROUTES; i++, at++) {
        struct dpdk_route *route = &dpdk->routes[at % DPDK_ROUTES];
        if (route->state != DPDK_ROUTE_FREE && route->address == address && route->port == port)
            return route;
        if (route->state != DPDK_ROUTE_FREE)
            continue;
        if (dpdk->route_count >= DPDK_ROUTES / 2) {
            forget(dpdk);
            if (dpdk->route_count)
                return NULL;
        }
        *route = (struct dpdk_route){.address = address, .port = port};
        dpdk->route_count++;
        resolve(dpdk, route, now_ms);
        return route;
    }
    return NULL;
}

int ins_dpdk_route_check(struct dpdk *dpdk, struct dpdk_route *route, uint64_t now_ms) {
    if (route->state == DPDK_ROUTE_READY && (route->news != dpdk->news || now_ms >= route->ms))
        ask(dpdk, route, now_ms);
    else if (route->state == DPDK_ROUTE_FAILED && now_ms >= route->ms)
        resolve(dpdk, route, now_ms);
    return route->state == DPDK_ROUTE_FAILED ? route->error : 0;
}

void ins_dpdk_routes_look(struct dpdk *dpdk, uint64_t now_ms) {
    for (uint32_t i = 0; i < DPDK_ROUTES && dpdk->resolving; i++)
        if (dpdk->routes[i].state == DPDK_ROUTE_RESOLVING)
            ask(dpdk, &dpdk->routes[i], now_ms);
}
