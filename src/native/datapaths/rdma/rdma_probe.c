/* What this host can do for the rdma datapath. Read-only. Without a device and without a software provider named, libfabric
   is not even loaded: it costs a fifth of a second and could find nothing. */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/probe_text.h"
#include "rdma.h"
#include "rdma_fabric.h"

static void refuse(struct ins_probe *out, int error, const char *reason, const char *cure) {
    out->available = 0;
    out->error = error;
    snprintf(out->reason, sizeof out->reason, "%s", reason);
    snprintf(out->cure, sizeof out->cure, "%s", cure);
}

static uint32_t devices(struct ins_probe *out) {
    DIR *folder = opendir("/sys/class/infiniband");
    uint32_t count = 0;
    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        ins_probe_evidence(out, "RDMA device", "%.64s", entry->d_name);
        count++;
    }
    if (folder)
        closedir(folder);
    if (!count)
        ins_probe_evidence(out, "RDMA devices", "none in /sys/class/infiniband");
    return count;
}

/* The file that would be loaded, whose name says its version. */
static void library_file(struct ins_probe *out) {
    const char *const places[] = {"/usr/lib/*-linux-gnu/libfabric.so.1", "/usr/lib/libfabric.so.1",
                                  "/usr/lib64/libfabric.so.1", "/usr/local/lib/libfabric.so.1"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        glob_t found;
        char *real = glob(places[i], GLOB_NOSORT, NULL, &found) == 0 ? realpath(found.gl_pathv[0], NULL) : NULL;
        globfree(&found);
        if (!real)
            continue;
        ins_probe_evidence(out, "libfabric", "%.160s, not loaded", real);
        free(real);
        return;
    }
    ins_probe_evidence(out, "libfabric", "libfabric.so.1 is not in the usual places");
}

static void ask(struct ins_probe *out, const struct rdma_provider *provider) {
    char reason[200];
    int error;
    struct fi_info *info;
    const struct rdma_fabric *library = ins_rdma_fabric(&error);
    if (!library) {
        ins_probe_evidence(out, "libfabric", "%.200s", ins_rdma_fabric_fault());
        refuse(out, error, "libfabric cannot be loaded", "apt-get install libfabric1 (and what it names as missing)");
        return;
    }
    uint32_t version = library->version();
    ins_probe_evidence(out, "libfabric", "%u.%u", version >> 16, version & 0xffff);
    error = ins_rdma_info(library, provider, NULL, NULL, &info);
    ins_probe_evidence(out, "fi_getinfo", "%s for reliable datagrams of %s: %s (%d)", error ? "nothing" : "offers",
                       provider->asked, library->strerror(-error), error);
    if (error) {
        snprintf(reason, sizeof reason, "libfabric has no reliable datagrams of its provider %s here", provider->name);
        refuse(out, error, reason,
               provider->real ? "look at `ibv_devinfo` and `rdma link`: the device needs a port that is active and has "
                                "an IPv4 address"
                              : "`fi_info -l` lists the providers there are");
        return;
    }
    ins_probe_evidence(out, "provider", "%.60s", info->fabric_attr->prov_name);
    out->available = 1;
    out->flags = provider->real ? 0 : INS_PROBE_EMULATED;
    out->mtu = 65535;
    snprintf(out->reason, sizeof out->reason, provider->real ? "RDMA by the provider %.60s"
                                                             : "emulated in software by the provider %.60s of libfabric",
             info->fabric_attr->prov_name);
    library->freeinfo(info);
}

int ins_rdma_probe(const char *name, struct ins_probe *out) {
    char reason[200];
    const struct rdma_provider *provider = ins_rdma_provider(name ? name : "");
    ins_probe_kernel(out);
    uint32_t found = devices(out);
    if (!provider) {
        snprintf(reason, sizeof reason, "there is no provider %.60s that this version knows", name);
        refuse(out, -EINVAL, reason, "name verbs, or for tests net, tcp or tcp;ofi_rxm");
    } else if (!provider->asked)
        refuse(out, -EOPNOTSUPP, provider->why, "use verbs, or for tests net or tcp;ofi_rxm");
    else if (provider->real && !found) {
        library_file(out);
        refuse(out, -ENODEV, "this host has no RDMA device",
               "fit a network card with RDMA and load its driver; for tests name a software provider "
               "(network.rdma.provider)");
    } else
        ask(out, provider);
    return 0;
}
