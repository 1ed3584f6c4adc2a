/* What there is to know of a network interface before AF_XDP is tried on it. Read-only, where the caller's network
   namespace is. */
#ifndef INSANE_XDP_INTERFACE_H
#define INSANE_XDP_INTERFACE_H

#include <net/if.h>
#include <stdint.h>

/* Abilities of the driver (netdev family, Linux 6.3). */
enum {
    INS_XDP_FEATURE_BASIC = 1,
    INS_XDP_FEATURE_REDIRECT = 2,
    INS_XDP_FEATURE_ZERO_COPY = 8,
    INS_XDP_FEATURE_RX_FRAGMENTS = 32,
};

struct ins_xdp_interface {
    char name[IF_NAMESIZE];
    char driver[32];   /* "" when it does not say */
    char kind[32];     /* of a software device ("veth", "bridge", ...), "" for a device with a wire */
    uint32_t index;
    uint32_t flags;    /* IFF_* */
    uint32_t mtu;
    uint32_t queues;   /* receive queues in use */
    uint32_t program;  /* id of the XDP program attached, 0: none */
    uint32_t address;  /* IPv4, network order; the first one, 0: none */
    uint8_t mac[6];
    uint8_t is_ethernet;
    uint8_t features_known;
    uint64_t features; /* INS_XDP_FEATURE_* */
};

/* -ENODEV when there is none of that name. */
int ins_xdp_interface_read(const char *name, struct ins_xdp_interface *out);
/* Name of the interface that has this address; 0 for the address: of the first one that is up, has an address and is not
   loopback. -ENODEV. */
int ins_xdp_interface_find(uint32_t address, char *name);
/* 1 when the interface has this address. */
int ins_xdp_interface_has(const char *name, uint32_t address);

#endif
