/* Asking the kernel over netlink: one question, one answer. Control thread, and the engine's once a destination. */
#ifndef INSANE_XDP_NETLINK_H
#define INSANE_XDP_NETLINK_H

#include <linux/netlink.h>
#include <stdint.h>

/* A request under construction, then its answer. */
struct ins_netlink {
    union {
        struct nlmsghdr header;
        uint8_t bytes[8192];
    };
};

/* A socket of `protocol` (NETLINK_ROUTE, NETLINK_GENERIC), non-blocking, subscribed to `groups` (bits). -errno. */
int ins_netlink_open(int protocol, uint32_t groups);
/* Begins a request whose fixed part is `bytes` of zeroes. Returns that part. */
void *ins_netlink_begin(struct ins_netlink *message, uint16_t type, uint16_t flags, uint32_t bytes);
void ins_netlink_attribute(struct ins_netlink *message, uint16_t type, const void *value, uint32_t bytes);
/* Sends it and puts the answer in its place. Returns 0 (also for a bare acknowledgement, then header.nlmsg_type is
   NLMSG_ERROR), or the kernel's -errno. */
int ins_netlink_ask(int fd, struct ins_netlink *message);
/* The attribute of that type behind a fixed part of `bytes`, and its length; NULL when there is none. */
const void *ins_netlink_find(const struct nlmsghdr *header, uint32_t bytes, uint16_t type, uint32_t *length);
/* The same among attributes nested in one. */
const void *ins_netlink_find_in(const void *attributes, uint32_t bytes, uint16_t type, uint32_t *length);

#endif
