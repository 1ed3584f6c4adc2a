/* What this host can do for AF_XDP, and who is in the way. Read-only: what is made to find out (a socket, a program that
   is attached to nothing) is closed at once. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "core/probe_text.h"
#include "xdp_state.h"

enum { LOCKED_LEAST = 16 << 20, FRAGMENTS_SINCE = 6 << 8 | 6 };

/* How it would be opened. */
struct asked {
    int generic;
    uint32_t mtu; /* 0: as large as one buffer takes */
};

/* Major and minor number, a byte each. */
static uint32_t kernel_release(void) {
    struct utsname name;
    uint32_t major = 0, minor = 0;
    if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
        return 0;
    return major << 8 | (minor > 255 ? 255 : minor);
}

static int refuse(struct ins_probe *out, int error, const char *reason, const char *cure) {
    out->available = 0;
    out->error = error;
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    snprintf(out->cure, sizeof out->cure, "%s", cure);
    return 0;
}

static int probe_socket(struct ins_probe *out) {
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), error = fd < 0 ? errno : 0;
    ins_probe_evidence(out, "AF_XDP socket", "%s", error ? strerror(error) : "permitted");
    if (fd >= 0)
        close(fd);
    if (error == EAFNOSUPPORT)
        refuse(out, -error, "the kernel has no AF_XDP", "use a kernel built with CONFIG_XDP_SOCKETS=y");
    else if (error)
        refuse(out, -error, "AF_XDP sockets are not permitted",
               "run the daemon as root or give it CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF");
    return error;
}

static int probe_program(struct ins_probe *out) {
    struct ins_xdp_filter filter;
    int error = ins_xdp_filter_load(&filter, 1, 0, 1, 0);
    ins_probe_evidence(out, "filter program", "%s", error ? strerror(-error) : "passes the verifier");
    if (!error)
        ins_xdp_filter_close(&filter);
    else
        refuse(out, error, "the kernel refuses our XDP program",
               error == -EPERM ? "run the daemon as root or give it CAP_BPF and CAP_NET_ADMIN"
                               : "use Linux 5.9 or newer with CONFIG_BPF_SYSCALL=y");
    return error;
}

static void probe_memory(struct ins_probe *out) {
    struct rlimit locked;
    if (getrlimit(RLIMIT_MEMLOCK, &locked))
        return;
    if (locked.rlim_cur == RLIM_INFINITY)
        ins_probe_evidence(out, "RLIMIT_MEMLOCK", "unlimited");
    else
        ins_probe_evidence(out, "RLIMIT_MEMLOCK", "%llu KiB%s", (unsigned long long)locked.rlim_cur / 1024,
                           geteuid() == 0 ? " (does not bind root)" : "");
    if (locked.rlim_cur < LOCKED_LEAST && geteuid() != 0)
        snprintf(out->cure, sizeof out->cure, "raise RLIMIT_MEMLOCK to 64 MiB or more, or give CAP_IPC_LOCK");
}

static int probe_holder(struct ins_probe *out, uint32_t program) {
    char holder[128], whose[64], reason[256];
    int pid;
    if (!program) {
        ins_probe_evidence(out, "XDP program attached", "none");
        return 0;
    }
    ins_xdp_filter_holder(program, holder, sizeof holder, &pid);
    int ours = pid ? ins_probe_whose(pid, whose, sizeof whose) : 0;
    ins_probe_evidence(out, "XDP program attached", "%s%s", holder, pid ? whose : ", of no process that we may look at");
    if (ours)
        return 0;
    snprintf(reason, sizeof reason, "the interface has another XDP program: %s%s", holder, pid ? whose : "");
    refuse(out, -EBUSY, reason, "stop that program, or use another interface; `ip link` shows what is attached");
    return -EBUSY;
}

static void tell_mode(struct ins_probe *out, const struct ins_xdp_interface *interface, int generic) {
    if (generic)
        ins_probe_evidence(out, "mode", "skb, which needs no ability of the driver's");
    else if (strcmp(interface->kind, "veth") == 0)
        ins_probe_evidence(out, "mode", "native; skb is the quicker one on a veth device, where frames come as the "
                                        "kernel's own buffers, which native mode copies into a driver's first");
    else
        ins_probe_evidence(out, "mode", "native");
}

static int probe_features(struct ins_probe *out, const struct ins_xdp_interface *interface, int generic) {
    char reason[200];
    if (!interface->features_known) {
        ins_probe_evidence(out, "driver's XDP features", "not told by this kernel (before Linux 6.3)");
        return 0;
    }
    uint64_t features = interface->features;
    ins_probe_evidence(out, "driver's XDP features", "%s%s%s%s", features & INS_XDP_FEATURE_BASIC ? "native" : "none",
                       features & INS_XDP_FEATURE_REDIRECT ? ", redirect" : "",
                       features & INS_XDP_FEATURE_ZERO_COPY ? ", zero-copy" : "",
                       features & INS_XDP_FEATURE_RX_FRAGMENTS ? ", jumbo" : "");
    if (generic)
        return 0;
    if (features & INS_XDP_FEATURE_ZERO_COPY)
        out->flags |= INS_PROBE_ZERO_COPY;
    if (features & INS_XDP_FEATURE_BASIC && features & INS_XDP_FEATURE_REDIRECT)
        return 0;
    snprintf(reason, sizeof reason, "the driver of %s (%s) has no native XDP with redirection", interface->name,
             interface->driver[0] ? interface->driver : "unknown");
    refuse(out, -EOPNOTSUPP, reason, "use an interface whose driver has it, or set network.xdp.mode to skb");
    return -EOPNOTSUPP;
}

/* What does not fit one chunk is received in several, which AF_XDP has since Linux 6.6 and a native driver must be able to. */
static int probe_jumbo(struct ins_probe *out, const struct ins_xdp_interface *interface, const struct asked *asked) {
    char why[128], reason[256];
    uint32_t release = kernel_release();
    int kernel = release >= FRAGMENTS_SINCE;
    int driver = asked->generic || (interface->features_known && interface->features & INS_XDP_FEATURE_RX_FRAGMENTS);
    if (!kernel)
        snprintf(why, sizeof why, "AF_XDP takes them since Linux 6.6, and this is %u.%u", release >> 8, release & 0xff);
    else
        snprintf(why, sizeof why, "the driver of %s (%s) cannot take frames of several buffers", interface->name,
                 interface->driver[0] ? interface->driver : "unknown");
    if (kernel && driver)
        ins_probe_evidence(out, "jumbo", "datagrams beyond %u bytes can be taken: set network.xdp.mtu to have them",
                           XDP_MTU_ONE_CHUNK);
    else
        ins_probe_evidence(out, "jumbo", "no datagrams beyond %u bytes: %s; %s", XDP_MTU_ONE_CHUNK, why,
                           kernel ? "network.xdp.mode skb, or another driver, can" : "use Linux 6.6 or newer to have them");
    if (asked->mtu > interface->mtu) {
        snprintf(reason, sizeof reason, "network.xdp.mtu is %u, and the mtu of %s is %u", asked->mtu, interface->name,
                 interface->mtu);
        refuse(out, -EMSGSIZE, reason, "ip link set dev NAME mtu N on both hosts, or lower network.xdp.mtu");
        return -EMSGSIZE;
    }
    if (asked->mtu <= XDP_MTU_ONE_CHUNK || (kernel && driver))
        return 0;
    snprintf(reason, sizeof reason, "network.xdp.mtu is %u, beyond one buffer: %s", asked->mtu, why);
    refuse(out, -EOPNOTSUPP, reason,
           kernel ? "set network.xdp.mode to skb, use an interface whose driver can, or set network.xdp.mtu to 3820 or less"
                  : "use Linux 6.6 or newer, or set network.xdp.mtu to 3820 or less");
    return -EOPNOTSUPP;
}

static int probe_interface(struct ins_probe *out, const char *name, const struct asked *asked) {
    struct ins_xdp_interface interface;
    int error = ins_xdp_interface_read(name, &interface);
    if (error) {
        char reason[128];
        snprintf(reason, sizeof reason, "there is no interface %.64s", name);
        refuse(out, error, reason, "name one that `ip link` lists");
        return error;
    }
    out->mtu = interface.mtu;
    ins_probe_evidence(out, "interface", "%s, driver %s, %s, mtu %u, %u receive queue(s), %s", interface.name,
                       interface.driver[0] ? interface.driver : "unknown",
                       interface.kind[0] ? "virtual" : "not virtual", interface.mtu, interface.queues,
                       interface.flags & IFF_UP ? "up" : "down");
    if (!interface.is_ethernet) {
        refuse(out, -EOPNOTSUPP, "the interface is no Ethernet device", "name one that is");
        return -EOPNOTSUPP;
    }
    if (!(interface.flags & IFF_UP)) {
        refuse(out, -ENETDOWN, "the interface is down", "ip link set dev NAME up");
        return -ENETDOWN;
    }
    if (!interface.address) {
        refuse(out, -EADDRNOTAVAIL, "the interface has no IPv4 address (IPv6 is not spoken)",
               "ip address add ADDRESS dev NAME");
        return -EADDRNOTAVAIL;
    }
    if (interface.queues > XDP_QUEUES) {
        refuse(out, -E2BIG, "the interface has more than 16 receive queues; what arrives on the others would be lost",
               "ethtool -L NAME combined 16 (or fewer), or open with queue=N and steer our port to it");
        return -E2BIG;
    }
    tell_mode(out, &interface, asked->generic);
    error = probe_features(out, &interface, asked->generic);
    if (!error)
        error = probe_jumbo(out, &interface, asked);
    return error ? error : probe_holder(out, interface.program);
}

/* "NAME,mode=skb,mtu=9000", all but the name as it may be. -1: that is no name. */
static int split(const char *about, char *name, size_t room, struct asked *out) {
    size_t length = strcspn(about, ",");
    if (length >= room)
        return -1;
    memcpy(name, about, length);
    name[length] = '\0';
    for (const char *at = about + length; *at; at += strcspn(at, ",")) {
        at++;
        char *end = NULL;
        if (strncmp(at, "mode=skb", 8) == 0 && strcspn(at, ",") == 8)
            out->generic = 1;
        else if (strncmp(at, "mtu=", 4) == 0 && at[4] >= '0' && at[4] <= '9')
            out->mtu = (uint32_t)strtoul(at + 4, &end, 10);
        else if (strncmp(at, "mode=native", 11) != 0 || strcspn(at, ",") != 11)
            return -1;
        if (end && *end && *end != ',')
            return -1;
    }
    return 0;
}

int ins_xdp_probe(const char *about, struct ins_probe *out) {
    char name[IF_NAMESIZE] = "", asked[INET6_ADDRSTRLEN + 64];
    const char *interface_or_empty = asked;
    struct asked how = {0};
    if (split(about ? about : "", asked, sizeof asked, &how))
        return refuse(out, -ENODEV, "what was asked about is no interface", "name one that `ip link` lists");
    ins_probe_kernel(out);
    if (probe_socket(out) || probe_program(out))
        return 0;
    probe_memory(out);
    if (!*interface_or_empty) {
        if (ins_xdp_interface_find(0, name))
            return refuse(out, -ENODEV, "no interface but loopback is up and has an IPv4 address",
                          "configure one, or name the interface");
        interface_or_empty = name;
    }
    struct in6_addr six;
    if (inet_pton(AF_INET6, interface_or_empty, &six) == 1)
        return refuse(out, -EAFNOSUPPORT, "only IPv4 is spoken, and this is an IPv6 address",
                      "name the interface, or its IPv4 address");
    struct in_addr address;
    if (inet_pton(AF_INET, interface_or_empty, &address) == 1) {
        char reason[128];
        snprintf(reason, sizeof reason, "no interface of this host carries %.32s", interface_or_empty);
        if (ins_xdp_interface_find(address.s_addr, name))
            return refuse(out, -EADDRNOTAVAIL, reason, "correct the address, or name the interface");
        interface_or_empty = name;
    }
    if (probe_interface(out, interface_or_empty, &how))
        return 0;
    out->available = 1;
    snprintf(out->reason, sizeof out->reason, "AF_XDP works on %.32s%s%s", interface_or_empty,
             how.generic ? " in generic mode" : "", out->flags & INS_PROBE_ZERO_COPY ? "" : ", copying in the kernel");
    return 0;
}
