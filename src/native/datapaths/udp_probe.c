/* What this host can do for the udp datapath. Read-only: the sockets it tries options on are closed at once. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/probe_text.h"
#include "udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static uint32_t mtu_of(int fd, const char *interface) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
    if (ioctl(fd, SIOCGIFMTU, &request))
        return 0;
    return request.ifr_mtu > 65535 ? 65535 : (uint32_t)request.ifr_mtu;
}

uint32_t ins_udp_mtu(uint32_t address) {
    struct ifaddrs *all;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 1500;
    uint32_t found = 0;
    if (getifaddrs(&all) == 0) {
        for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
            if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET)
                continue;
            uint32_t mtu = mtu_of(fd, at->ifa_name);
            const struct sockaddr_in *name = (const void *)at->ifa_addr;
            int any = address == INADDR_ANY && (at->ifa_flags & IFF_UP) && !(at->ifa_flags & IFF_LOOPBACK);
            int loopback = (ntohl(address) >> 24) == 127 && (at->ifa_flags & IFF_LOOPBACK);
            if (mtu && (any || loopback || name->sin_addr.s_addr == address) && (!found || mtu < found))
                found = mtu;
        }
        freeifaddrs(all);
    }
    close(fd);
    return found ? found : 1500;
}

int ins_udp_probe(const char *interface, struct ins_probe *out) {
    char line[64];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, segment = 1400;
    ins_probe_kernel(out);
    if (fd < 0) {
        out->error = -errno;
        snprintf(out->reason, sizeof out->reason, "the kernel refuses an IPv4 UDP socket: %s", strerror(errno));
        snprintf(out->cure, sizeof out->cure, "allow AF_INET sockets (seccomp, container policy)");
        return 0;
    }
    if (setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) == 0)
        out->flags |= INS_PROBE_GRO;
    ins_probe_evidence(out, "UDP_GRO", "%s", out->flags & INS_PROBE_GRO ? "supported" : strerror(errno));
    if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0)
        out->flags |= INS_PROBE_GSO;
    ins_probe_evidence(out, "UDP_SEGMENT", "%s", out->flags & INS_PROBE_GSO ? "supported" : strerror(errno));
    int error = ins_probe_line("/proc/sys/net/core/rmem_max", line, sizeof line);
    ins_probe_evidence(out, "net.core.rmem_max", "%s", error ? strerror(-error) : line);
    int large = 8 * 1024 * 1024;
    int forced = setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large) == 0;
    ins_probe_evidence(out, "SO_RCVBUFFORCE", "%s", forced ? "permitted" : strerror(errno));
    out->available = 1;
    snprintf(out->reason, sizeof out->reason, "kernel sockets are always there");
    if (interface && *interface) {
        out->mtu = mtu_of(fd, interface);
        if (out->mtu)
            ins_probe_evidence(out, "mtu", "%u on %s", out->mtu, interface);
        else {
            out->available = 0;
            out->error = -ENODEV;
            snprintf(out->reason, sizeof out->reason, "there is no interface %.64s", interface);
            snprintf(out->cure, sizeof out->cure, "name one that `ip link` lists, or none");
        }
    } else
        out->mtu = ins_udp_mtu(INADDR_ANY);
    if (out->available && !forced && atol(line) < large)
        snprintf(out->cure, sizeof out->cure,
                 "larger receive buffers lose less in bursts: sysctl net.core.rmem_max=%d, or CAP_NET_ADMIN", large);
    close(fd);
    return 0;
}
