/* Destinations of an xdp datapath. The kernel keeps its neighbour table and answers ARP for our address (all but our
   port passes to it), so we ask it for next hop and neighbour, once a destination, have it resolve what it does not know
   (NTF_USE: as if it had sent itself), and hear of changes by its events. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "xdp_netlink.h"
#include "xdp_state.h"

enum {
    USABLE = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE,
    UNREACHABLE_MS = 1000, /* an address nobody answers for is left alone for so long */
    NO_ROUTE_MS = 100,
    RESOLVING_MS = 4000,   /* the kernel gives up after 3 s; its event may have been lost */
};

static const uint8_t nobody[INS_MAC_BYTES];

uint64_t ins_xdp_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void enter(struct xdp *xdp, struct xdp_route *route, enum xdp_route_state state) {
    xdp->resolving -= route->state == XDP_ROUTE_RESOLVING;
    route->state = (uint8_t)state;
    xdp->resolving += state == XDP_ROUTE_RESOLVING;
}

static void fail(struct xdp *xdp, struct xdp_route *route, int error, uint32_t for_ms) {
    enter(xdp, route, XDP_ROUTE_FAILED);
    route->error = error;
    route->ms = ins_xdp_now_ms() + for_ms;
    ins_xdp_release_waiting(xdp, route, error);
}

static void write_headers(const struct xdp *xdp, struct xdp_route *route, const uint8_t *mac) {
    ins_packet_templates(&route->t, xdp->settings.tags ? &route->tagged : NULL, &xdp->local, mac, route->address,
                         route->port);
}

static void ready(struct xdp *xdp, struct xdp_route *route, const uint8_t *mac, int stale) {
    write_headers(xdp, route, mac);
    route->stale = (uint8_t)stale;
    enter(xdp, route, XDP_ROUTE_READY);
    ins_xdp_release_waiting(xdp, route, 0);
}

/* Asks for it as if the kernel itself had something to send there. */
static int neighbour_use(struct xdp *xdp, uint32_t address) {
    struct ins_netlink message;
    struct ndmsg *ask = ins_netlink_begin(&message, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE, sizeof *ask);
    ask->ndm_family = AF_INET;
    ask->ndm_ifindex = (int)xdp->interface.index;
    ask->ndm_flags = NTF_USE;
    ins_netlink_attribute(&message, NDA_DST, &address, sizeof address);
    return ins_netlink_ask(xdp->asking, &message);
}

/* What a message about a neighbour says. Returns its state, 0 when it is none of ours. */
static uint32_t neighbour_read(const struct xdp *xdp, const struct nlmsghdr *header, uint32_t *address, uint8_t *mac) {
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(struct ndmsg)))
        return 0;
    const struct ndmsg *neighbour = NLMSG_DATA(header);
    uint32_t length;
    const void *value = ins_netlink_find(header, sizeof *neighbour, NDA_DST, &length);
    if (neighbour->ndm_family != AF_INET || (uint32_t)neighbour->ndm_ifindex != xdp->interface.index || !value ||
        length != sizeof *address)
        return 0;
    memcpy(address, value, length);
    value = ins_netlink_find(header, sizeof *neighbour, NDA_LLADDR, &length);
    memcpy(mac, value && length == INS_MAC_BYTES ? value : nobody, INS_MAC_BYTES);
    return neighbour->ndm_state;
}

/* Returns the neighbour's state, 0 when the kernel has none. */
static uint32_t neighbour_get(struct xdp *xdp, uint32_t address, uint8_t *mac) {
    struct ins_netlink message;
    struct ndmsg *ask = ins_netlink_begin(&message, RTM_GETNEIGH, 0, sizeof *ask);
    ask->ndm_family = AF_INET;
    ask->ndm_ifindex = (int)xdp->interface.index;
    ins_netlink_attribute(&message, NDA_DST, &address, sizeof address);
    uint32_t of;
    return ins_netlink_ask(xdp->asking, &message) ? 0 : neighbour_read(xdp, &message.header, &of, mac);
}

/* Where a datagram to `address` goes first. */
static int next_hop(struct xdp *xdp, uint32_t address, uint32_t *out) {
    struct ins_netlink message;
    struct rtmsg *route = ins_netlink_begin(&message, RTM_GETROUTE, 0, sizeof *route);
    uint32_t length;
    route->rtm_family = AF_INET;
    route->rtm_dst_len = route->rtm_src_len = 32;
    ins_netlink_attribute(&message, RTA_DST, &address, sizeof address);
    ins_netlink_attribute(&message, RTA_SRC, &xdp->local.address, sizeof xdp->local.address);
    int error = ins_netlink_ask(xdp->asking, &message);
    if (error)
        return error;
    route = NLMSG_DATA(&message.header);
    uint32_t through = 0;
    /* Not asked for with the question, which would make the kernel call everything on-link that it has no route to. */
    const void *value = ins_netlink_find(&message.header, sizeof *route, RTA_OIF, &length);
    if (value && length == sizeof through)
        memcpy(&through, value, length);
    if (route->rtm_type == RTN_LOCAL)
        return -EADDRNOTAVAIL; /* ourselves: shared memory is the way */
    if (route->rtm_type != RTN_UNICAST || through != xdp->interface.index)
        return -ENETUNREACH;
    *out = address;
    value = ins_netlink_find(&message.header, sizeof *route, RTA_GATEWAY, &length);
    if (value && length == sizeof *out)
        memcpy(out, value, length);
    return ins_netlink_find(&message.header, sizeof *route, RTA_VIA, &length) ? -EHOSTUNREACH : 0;
}

static void resolve(struct xdp *xdp, struct xdp_route *route) {
    uint8_t mac[INS_MAC_BYTES] = {0};
    xdp_count(xdp, XDP_RESOLUTIONS, 1);
    int error = next_hop(xdp, route->address, &route->next_hop);
    if (error) {
        fail(xdp, route, error, NO_ROUTE_MS);
        return;
    }
    uint32_t state = neighbour_get(xdp, route->next_hop, mac);
    if (!(state & (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP)))
        error = neighbour_use(xdp, route->next_hop);
    if (state & USABLE)
        ready(xdp, route, mac, 0);
    else if (error)
        fail(xdp, route, -EHOSTUNREACH, UNREACHABLE_MS);
    else {
        /* Headers for those that wait; the address is put in when it is known. */
        write_headers(xdp, route, nobody);
        route->ms = ins_xdp_now_ms();
        enter(xdp, route, XDP_ROUTE_RESOLVING);
    }
}

/* Forgets all: rarely, when the table is half full. */
static void routes_clear(struct xdp *xdp) {
    for (uint32_t i = 0; i < XDP_ROUTES; i++)
        if (xdp->routes[i].waiting)
            ins_xdp_release_waiting(xdp, &xdp->routes[i], -EHOSTUNREACH);
    memset(xdp->routes, 0, XDP_ROUTES * sizeof *xdp->routes);
    xdp->route_count = 0;
    xdp->resolving = 0;
    xdp->last_route = NULL;
}

struct xdp_route *ins_xdp_route(struct xdp *xdp, uint32_t address, uint16_t port) {
    uint32_t at = (address ^ (uint32_t)port << 13) * 0x9e3779b1u;
    for (at >>= 21;; at = (at + 1) % XDP_ROUTES) {
        struct xdp_route *route = &xdp->routes[at];
        if (route->state == XDP_ROUTE_FREE) {
            if (xdp->route_count >= XDP_ROUTES / 2) {
                routes_clear(xdp);
                return ins_xdp_route(xdp, address, port);
            }
            xdp->route_count++;
            route->address = address;
            route->port = port;
            resolve(xdp, route);
            return route;
        }
        if (route->address == address && route->port == port)
            return route;
    }
}

void ins_xdp_route_used(struct xdp *xdp, struct xdp_route *route) {
    route->stale = 0;
    neighbour_use(xdp, route->next_hop);
}

int ins_xdp_route_retry(struct xdp *xdp, struct xdp_route *route) {
    uint64_t now = ins_xdp_now_ms();
    if (route->state == XDP_ROUTE_FAILED) {
        if (now < route->ms)
            return route->error;
        resolve(xdp, route);
    } else if (now - route->ms > RESOLVING_MS)
        fail(xdp, route, -EHOSTUNREACH, UNREACHABLE_MS);
    return route->state == XDP_ROUTE_FAILED ? route->error : 0;
}

/* The next use asks the kernel again. */
static void doubt(struct xdp *xdp, struct xdp_route *route) {
    if (route->state != XDP_ROUTE_READY)
        return;
    enter(xdp, route, XDP_ROUTE_FAILED);
    route->ms = 0;
}

static void neighbour_news(struct xdp *xdp, const struct nlmsghdr *header) {
    uint32_t address;
    uint8_t mac[INS_MAC_BYTES];
    uint32_t state = neighbour_read(xdp, header, &address, mac);
    int gone = header->nlmsg_type == RTM_DELNEIGH;
    if (state == 0 && !gone)
        return;
    for (uint32_t i = 0; i < XDP_ROUTES; i++) {
        struct xdp_route *route = &xdp->routes[i];
        if (route->state == XDP_ROUTE_FREE || route->next_hop != address)
            continue;
        if (!gone && state & USABLE && memcmp(mac, nobody, INS_MAC_BYTES) != 0)
            ready(xdp, route, mac, (state & NUD_STALE) != 0);
        else if (route->state == XDP_ROUTE_RESOLVING && state & NUD_FAILED)
            fail(xdp, route, -EHOSTUNREACH, UNREACHABLE_MS);
        else if (gone || state & NUD_FAILED)
            doubt(xdp, route);
    }
}

static void link_news(struct xdp *xdp, const struct nlmsghdr *header) {
    const struct ifinfomsg *link = NLMSG_DATA(header);
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof *link) || (uint32_t)link->ifi_index != xdp->interface.index ||
        link->ifi_family != AF_UNSPEC)
        return;
    if (header->nlmsg_type == RTM_DELLINK)
        xdp->broken = -ENODEV;
    else if (!(link->ifi_flags & IFF_UP))
        xdp->broken = -ENETDOWN;
}

static void address_news(struct xdp *xdp, const struct nlmsghdr *header) {
    const struct ifaddrmsg *of = NLMSG_DATA(header);
    uint32_t length;
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof *of) || of->ifa_index != xdp->interface.index)
        return;
    const void *local = ins_netlink_find(header, sizeof *of, IFA_LOCAL, &length);
    if (local && length == 4 && memcmp(local, &xdp->local.address, 4) == 0)
        xdp->broken = -EADDRNOTAVAIL;
}

static void one_piece_of_news(struct xdp *xdp, const struct nlmsghdr *header) {
    switch (header->nlmsg_type) {
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        neighbour_news(xdp, header);
        break;
    case RTM_NEWLINK:
    case RTM_DELLINK:
        link_news(xdp, header);
        break;
    case RTM_DELADDR:
        address_news(xdp, header);
        break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        for (uint32_t i = 0; i < XDP_ROUTES; i++)
            doubt(xdp, &xdp->routes[i]);
        break;
    default:
        break;
    }
}

void ins_xdp_news(struct xdp *xdp) {
    struct ins_netlink news;
    ssize_t got;
    while ((got = recv(xdp->news, news.bytes, sizeof news.bytes, MSG_DONTWAIT)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == ENOBUFS) { /* we were too slow: nothing that we know is sure */
            for (uint32_t i = 0; i < XDP_ROUTES; i++) {
                doubt(xdp, &xdp->routes[i]);
                if (xdp->routes[i].state == XDP_ROUTE_RESOLVING)
                    resolve(xdp, &xdp->routes[i]);
            }
            continue;
        }
        if (got < 0)
            return;
        uint32_t left = (uint32_t)got;
        for (const struct nlmsghdr *header = &news.header; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left))
            one_piece_of_news(xdp, header);
    }
}

int ins_xdp_routes_open(struct xdp *xdp) {
    xdp->routes = calloc(XDP_ROUTES, sizeof *xdp->routes);
    if (!xdp->routes)
        return -ENOMEM;
    xdp->asking = ins_netlink_open(NETLINK_ROUTE, 0);
    if (xdp->asking < 0)
        return xdp->asking;
    xdp->news =
        ins_netlink_open(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_IFADDR);
    return xdp->news < 0 ? xdp->news : 0;
}

void ins_xdp_routes_close(struct xdp *xdp) {
    if (xdp->asking >= 0)
        close(xdp->asking);
    if (xdp->news >= 0)
        close(xdp->news);
    free(xdp->routes);
    xdp->asking = xdp->news = -1;
    xdp->routes = NULL;
}
