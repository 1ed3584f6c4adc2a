/* Facts of an interface, see xdp_interface.h: from rtnetlink, the netdev family and ethtool; never from /sys, which
   shows the namespace in which it was mounted. */
#include "xdp_interface.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xdp_netlink.h"

/* Of the netdev family; the headers that name them came with Linux 6.3. */
enum { NETDEV_DEV_GET = 1, NETDEV_DEV_IFINDEX = 1, NETDEV_DEV_XDP_FEATURES = 3 };

static void text(char *out, uint32_t room, const void *value, uint32_t length) {
    length = length < room - 1 ? length : room - 1;
    if (value)
        memcpy(out, value, length);
    out[value ? length : 0] = '\0';
}

static uint32_t number(const void *value, uint32_t length) {
    uint32_t result = 0;
    if (value && length >= sizeof result)
        memcpy(&result, value, sizeof result);
    return result;
}

static int read_link(int netlink, const char *name, struct ins_xdp_interface *out) {
    struct ins_netlink message;
    uint32_t length, nested;
    ins_netlink_begin(&message, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    ins_netlink_attribute(&message, IFLA_IFNAME, name, (uint32_t)strlen(name) + 1);
    int error = ins_netlink_ask(netlink, &message);
    if (error)
        return error;
    const struct ifinfomsg *info = NLMSG_DATA(&message.header);
    const uint32_t fixed = sizeof *info;
    out->index = (uint32_t)info->ifi_index;
    out->flags = info->ifi_flags;
    out->is_ethernet = info->ifi_type == ARPHRD_ETHER;
    const void *value = ins_netlink_find(&message.header, fixed, IFLA_MTU, &length);
    out->mtu = number(value, length);
    value = ins_netlink_find(&message.header, fixed, IFLA_NUM_RX_QUEUES, &length);
    out->queues = number(value, length);
    value = ins_netlink_find(&message.header, fixed, IFLA_ADDRESS, &length);
    if (value && length == sizeof out->mac)
        memcpy(out->mac, value, length);
    value = ins_netlink_find(&message.header, fixed, IFLA_LINKINFO, &length);
    if (value) {
        value = ins_netlink_find_in(value, length, IFLA_INFO_KIND, &nested);
        text(out->kind, sizeof out->kind, value, nested);
    }
    value = ins_netlink_find(&message.header, fixed, IFLA_XDP, &length);
    if (value) {
        const void *id = ins_netlink_find_in(value, length, IFLA_XDP_PROG_ID, &nested);
        out->program = number(id, nested);
        /* Several at once (native and generic) are told apart only by their own attributes. */
        static const uint16_t others[] = {IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID, IFLA_XDP_HW_PROG_ID};
        for (uint32_t i = 0; i < sizeof others / sizeof *others && !out->program; i++) {
            id = ins_netlink_find_in(value, length, others[i], &nested);
            out->program = number(id, nested);
        }
    }
    return 0;
}

static void read_ethtool(struct ins_xdp_interface *out) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
    struct ifreq request = {.ifr_data = (char *)&driver};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", out->name);
    if (ioctl(fd, SIOCETHTOOL, &request) == 0)
        text(out->driver, sizeof out->driver, driver.driver, (uint32_t)strnlen(driver.driver, sizeof driver.driver));
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    request.ifr_data = (char *)&channels;
    /* What netlink says is how many there could be; a driver without channels uses all of them. */
    if (ioctl(fd, SIOCETHTOOL, &request) == 0 && channels.rx_count + channels.combined_count > 0)
        out->queues = channels.rx_count + channels.combined_count;
    close(fd);
}

static void read_features(struct ins_xdp_interface *out) {
    struct ins_netlink message;
    uint32_t length;
    int netlink = ins_netlink_open(NETLINK_GENERIC, 0);
    if (netlink < 0)
        return;
    struct genlmsghdr *generic = ins_netlink_begin(&message, GENL_ID_CTRL, 0, sizeof *generic);
    generic->cmd = CTRL_CMD_GETFAMILY;
    generic->version = 1;
    ins_netlink_attribute(&message, CTRL_ATTR_FAMILY_NAME, "netdev", sizeof "netdev");
    if (ins_netlink_ask(netlink, &message) == 0) {
        uint16_t family;
        const void *value = ins_netlink_find(&message.header, sizeof *generic, CTRL_ATTR_FAMILY_ID, &length);
        if (value && length == sizeof family) {
            memcpy(&family, value, sizeof family);
            generic = ins_netlink_begin(&message, family, 0, sizeof *generic);
            generic->cmd = NETDEV_DEV_GET;
            generic->version = 1;
            ins_netlink_attribute(&message, NETDEV_DEV_IFINDEX, &out->index, sizeof out->index);
            if (ins_netlink_ask(netlink, &message) == 0) {
                value = ins_netlink_find(&message.header, sizeof *generic, NETDEV_DEV_XDP_FEATURES, &length);
                if (value && length == sizeof out->features) {
                    memcpy(&out->features, value, sizeof out->features);
                    out->features_known = 1;
                }
            }
        }
    }
    close(netlink);
}

/* First address of the interface, or whether it is one of them. */
static uint32_t address_of(const char *name, uint32_t wanted) {
    struct ifaddrs *all;
    uint32_t found = 0;
    if (getifaddrs(&all))
        return 0;
    for (const struct ifaddrs *at = all; at && !found; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET || strcmp(at->ifa_name, name) != 0)
            continue;
        uint32_t address = ((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr.s_addr;
        if (!wanted || address == wanted)
            found = address;
    }
    freeifaddrs(all);
    return found;
}

int ins_xdp_interface_has(const char *name, uint32_t address) {
    return address_of(name, address) == address;
}

int ins_xdp_interface_read(const char *name, struct ins_xdp_interface *out) {
    memset(out, 0, sizeof *out);
    if (strlen(name) >= sizeof out->name || !*name)
        return -ENODEV;
    snprintf(out->name, sizeof out->name, "%s", name);
    int netlink = ins_netlink_open(NETLINK_ROUTE, 0);
    if (netlink < 0)
        return netlink;
    int error = read_link(netlink, name, out);
    close(netlink);
    if (error)
        return error;
    read_ethtool(out);
    read_features(out);
    out->queues = out->queues ? out->queues : 1;
    out->address = address_of(name, 0);
    return 0;
}

int ins_xdp_interface_find(uint32_t address, char *name) {
    struct ifaddrs *all;
    int error = -ENODEV;
    if (getifaddrs(&all))
        return -errno;
    for (const struct ifaddrs *at = all; at && error; at = at->ifa_next) {
        if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET)
            continue;
        uint32_t its = ((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr.s_addr;
        int any = !address && (at->ifa_flags & IFF_UP) && !(at->ifa_flags & IFF_LOOPBACK);
        if ((any || (address && its == address)) && strlen(at->ifa_name) < IF_NAMESIZE) {
            snprintf(name, IF_NAMESIZE, "%s", at->ifa_name);
            error = 0;
        }
    }
    freeifaddrs(all);
    return error;
}
