/* Netlink, see xdp_netlink.h. The kernel answers such questions within the sendmsg, so nothing here waits. */
#include "xdp_netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int ins_netlink_open(int protocol, uint32_t groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    if (fd < 0)
        return -errno;
    struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (bind(fd, (struct sockaddr *)&at, sizeof at)) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

void *ins_netlink_begin(struct ins_netlink *message, uint16_t type, uint16_t flags, uint32_t bytes) {
    memset(message->bytes, 0, NLMSG_SPACE(bytes));
    message->header.nlmsg_len = NLMSG_LENGTH(bytes);
    message->header.nlmsg_type = type;
    message->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    return NLMSG_DATA(&message->header);
}

void ins_netlink_attribute(struct ins_netlink *message, uint16_t type, const void *value, uint32_t bytes) {
    uint32_t at = NLMSG_ALIGN(message->header.nlmsg_len);
    if (at + NLA_HDRLEN + bytes > sizeof message->bytes)
        return; /* never with what we ask */
    struct nlattr attribute = {.nla_len = (uint16_t)(NLA_HDRLEN + bytes), .nla_type = type};
    memcpy(message->bytes + at, &attribute, sizeof attribute);
    memcpy(message->bytes + at + NLA_HDRLEN, value, bytes);
    message->header.nlmsg_len = at + NLA_HDRLEN + bytes;
}

int ins_netlink_ask(int fd, struct ins_netlink *message) {
    static uint32_t sequences;
    uint32_t sequence = __atomic_add_fetch(&sequences, 1, __ATOMIC_RELAXED);
    message->header.nlmsg_seq = sequence;
    if (send(fd, message->bytes, message->header.nlmsg_len, 0) < 0)
        return -errno;
    for (;;) {
        ssize_t got = recv(fd, message->bytes, sizeof message->bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!NLMSG_OK(&message->header, (uint32_t)got))
            return -EPROTO;
        if (message->header.nlmsg_seq != sequence)
            continue; /* left over from a question that was given up */
        if (message->header.nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *error = NLMSG_DATA(&message->header);
            return error->error;
        }
        return 0;
    }
}

const void *ins_netlink_find_in(const void *attributes, uint32_t bytes, uint16_t type, uint32_t *length) {
    const uint8_t *at = attributes;
    while (bytes >= NLA_HDRLEN) {
        struct nlattr attribute;
        memcpy(&attribute, at, sizeof attribute);
        if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > bytes)
            return NULL;
        if ((attribute.nla_type & NLA_TYPE_MASK) == type) {
            *length = attribute.nla_len - NLA_HDRLEN;
            return at + NLA_HDRLEN;
        }
        uint32_t step = NLA_ALIGN(attribute.nla_len);
        if (step >= bytes)
            return NULL;
        at += step;
        bytes -= step;
    }
    return NULL;
}

const void *ins_netlink_find(const struct nlmsghdr *header, uint32_t bytes, uint16_t type, uint32_t *length) {
    if (header->nlmsg_len < NLMSG_SPACE(bytes))
        return NULL;
    return ins_netlink_find_in((const uint8_t *)NLMSG_DATA(header) + NLMSG_ALIGN(bytes),
                               header->nlmsg_len - (uint32_t)NLMSG_SPACE(bytes), type, length);
}
