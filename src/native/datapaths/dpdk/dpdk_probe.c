/* What this host can do for DPDK on the device that is configured, and what is in the way. Read-only: DPDK's environment is
   not started, files and the kernel are asked instead. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <libgen.h>
#include <limits.h>
#include <rte_eal.h>
#include <rte_version.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/probe_text.h"
#include "datapaths/xdp_interface.h"
#include "dpdk_state.h"

static int refuse(struct ins_probe *out, int error, const char *reason, const char *cure) {
    out->available = 0;
    out->error = error;
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    snprintf(out->cure, sizeof out->cure, "%s", cure);
    return error;
}

static void probe_memory(struct ins_probe *out, const struct dpdk_settings *settings) {
    int huge, runs = ins_dpdk_eal_runs(&huge);
    uint32_t free_mib = ins_dpdk_huge_free();
    ins_probe_evidence(out, "huge pages", "%u MiB free%s", free_mib,
                       settings->pages == DPDK_PAGES_SMALL      ? ", not to be used"
                       : settings->pages == DPDK_PAGES_HUGE     ? ", and no others are to be used"
                       : free_mib < settings->memory && !huge ? "; small pages do as well" : "");
    ins_probe_evidence(out, "environment", "%s", !runs   ? "not started in this process"
                                                 : huge ? "runs in this process, on huge pages"
                                                        : "runs in this process, on small pages");
}

static int probe_pages(struct ins_probe *out, const struct dpdk_settings *settings) {
    int huge;
    if (settings->pages != DPDK_PAGES_HUGE || ins_dpdk_eal_runs(&huge) || ins_dpdk_huge_free())
        return 0;
    return refuse(out, -ENOMEM, "huge pages are asked for and none are free",
                  "sysctl vm.nr_hugepages=64, or let the configuration say hugepages auto or no");
}

/* The drivers lie in a folder beside the library; each is a file of its own. */
static int probe_driver(struct ins_probe *out, const struct dpdk_settings *settings) {
    char folder[PATH_MAX], kind[64], pattern[PATH_MAX + 128], reason[160];
    Dl_info library;
    glob_t found;
    if (settings->pci || !dladdr((void *)(uintptr_t)rte_eal_init, &library) || !library.dli_fname)
        return 0;
    snprintf(folder, sizeof folder, "%s", library.dli_fname);
    snprintf(kind, sizeof kind, "%s", *settings->name ? settings->name : "net_af_packet");
    if (strncmp(kind, "net_af_packet", 13) == 0)
        kind[13] = 0; /* what follows is the device's own name */
    kind[strcspn(kind, "0123456789")] = 0;
    snprintf(pattern, sizeof pattern, "%s/dpdk/pmds-*/librte_%s.so*", dirname(folder), kind);
    int there = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;
    globfree(&found);
    ins_probe_evidence(out, "driver", "%s %s", kind, there ? "installed" : "not found beside the library");
    if (there)
        return 0;
    snprintf(reason, sizeof reason, "DPDK's driver %s is not installed", kind);
    return refuse(out, -ENODEV, reason, "install DPDK's drivers (on Debian apt-get install dpdk), or correct the device");
}

static int probe_interface(struct ins_probe *out, const struct dpdk_settings *settings) {
    struct ins_xdp_interface interface;
    char reason[160];
    int error = ins_xdp_interface_read(settings->interface, &interface);
    if (error) {
        snprintf(reason, sizeof reason, "there is no interface %.15s", settings->interface);
        return refuse(out, error, reason, "name one that `ip link` lists");
    }
    out->mtu = interface.mtu;
    ins_probe_evidence(out, "interface", "%s, driver %s, %s, mtu %u, %s", interface.name,
                       interface.driver[0] ? interface.driver : "unknown", interface.kind[0] ? "virtual" : "not virtual",
                       interface.mtu, interface.flags & IFF_UP ? "up" : "down");
    if (!interface.is_ethernet)
        return refuse(out, -EOPNOTSUPP, "the interface is no Ethernet device", "name one that is");
    if (!(interface.flags & IFF_UP))
        return refuse(out, -ENETDOWN, "the interface is down", "ip link set dev NAME up");
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), refused = fd < 0 ? errno : 0;
    ins_probe_evidence(out, "packet socket", "%s", refused ? strerror(refused) : "permitted");
    if (fd >= 0)
        close(fd);
    if (refused)
        return refuse(out, -refused, "packet sockets are not permitted",
                      "run the daemon as root or give it CAP_NET_RAW and CAP_NET_ADMIN");
    if (settings->address && ins_xdp_interface_has(settings->interface, settings->address))
        return refuse(out, -EADDRINUSE, "the kernel owns the address that is configured for DPDK",
                      "give DPDK an address of its own in that network, which no interface carries");
    return 0;
}

static int probe_pci(struct ins_probe *out, const struct dpdk_settings *settings) {
    char path[128], target[PATH_MAX], reason[160];
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s", settings->name);
    if (access(path, F_OK)) {
        snprintf(reason, sizeof reason, "there is no PCI device %s", settings->name);
        return refuse(out, -ENODEV, reason, "name one that `lspci -D` lists");
    }
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver", settings->name);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    const char *driver = length > 0 ? basename(target) : "none";
    ins_probe_evidence(out, "kernel driver of the device", "%s", driver);
    ins_probe_evidence(out, "/dev/vfio/vfio", "%s", access("/dev/vfio/vfio", R_OK | W_OK) ? strerror(errno) : "accessible");
    /* Mellanox devices are driven beside the kernel's own driver. */
    if (strcmp(driver, "vfio-pci") != 0 && strncmp(driver, "mlx", 3) != 0)
        return refuse(out, -EBUSY, "the PCI device is not bound to vfio-pci", "dpdk-devbind.py --bind=vfio-pci ADDRESS");
    return 0;
}

static int probe_address(struct ins_probe *out, const struct dpdk_settings *settings) {
    char text[INET_ADDRSTRLEN], whose[64], reason[200];
    if (!settings->address)
        return refuse(out, -EADDRNOTAVAIL, "no address is configured for DPDK",
                      "give it one of its own in the device's network, which no interface carries");
    inet_ntop(AF_INET, &settings->address, text, sizeof text);
    int pid = settings->port ? ins_dpdk_who_holds(settings->address, (uint16_t)settings->port) : 0;
    ins_probe_evidence(out, "address", "%s/%u", text, settings->prefix);
    if (!pid)
        return 0;
    int ours = ins_probe_whose(pid, whose, sizeof whose);
    ins_probe_evidence(out, "served by", "process %d%s", pid, whose);
    if (ours)
        return 0;
    snprintf(reason, sizeof reason, "process %d%s serves %s:%u by DPDK already", pid, whose, text, settings->port);
    return refuse(out, -EADDRINUSE, reason, "stop that process, or configure another address or port");
}

int ins_dpdk_probe(const char *options, struct ins_probe *out) {
    struct dpdk_settings settings;
    char text[512], reason[200];
    /* Elsewhere a probe takes the name of an interface; here that is short for an option. */
    snprintf(text, sizeof text, "%s%s", *options && !strchr(options, '=') ? "interface=" : "", options);
    int error = ins_dpdk_options(text, 1, &settings);
    ins_probe_kernel(out);
    ins_probe_evidence(out, "library", "%s", rte_version());
    if (error) {
        snprintf(reason, sizeof reason, "the options are not understood: %.150s", options);
        refuse(out, error, reason, "correct network.dpdk in the configuration");
        return 0;
    }
    probe_memory(out, &settings);
    if (!*settings.name && !*settings.interface) {
        refuse(out, -ENODEV, "no device is configured for DPDK",
               "set network.dpdk.interface (or device) and network.dpdk.address in the configuration");
        return 0;
    }
    ins_probe_evidence(out, "device", "%s%s%s", *settings.name ? settings.name : "net_af_packet",
                       *settings.arguments ? "," : "", settings.arguments);
    if (probe_driver(out, &settings) || (*settings.interface && probe_interface(out, &settings)) ||
        (settings.pci && probe_pci(out, &settings)) || probe_address(out, &settings) || probe_pages(out, &settings))
        return 0;
    out->available = 1;
    snprintf(out->reason, sizeof out->reason, "DPDK works on %.64s; its engine polls, it cannot sleep until something comes",
             *settings.interface ? settings.interface : settings.name);
    return 0;
}
