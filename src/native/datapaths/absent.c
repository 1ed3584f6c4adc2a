/* What a probe says of a datapath whose shared object cannot be had, see absent.h. Looks at files only. */
#include "absent.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/probe_text.h"

static void evidence_library(struct ins_probe *out, const char *what, const char *file) {
    const char *const places[] = {"/usr/lib/%s", "/usr/lib64/%s", "/usr/lib/*-linux-gnu/%s", "/usr/local/lib/%s",
                                  "/usr/local/lib/*-linux-gnu/%s"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char pattern[160];
        glob_t found;
        /* The places above are literals with exactly one %s. */
        const char *slot = strstr(places[i], "%s");
        snprintf(pattern, sizeof pattern, "%.*s%s", (int)(slot - places[i]), places[i], file);
        int matched = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;
        if (matched)
            ins_probe_evidence(out, what, "%.120s", found.gl_pathv[0]);
        globfree(&found);
        if (matched)
            return;
    }
    ins_probe_evidence(out, what, "not found");
}

static void evidence_file(struct ins_probe *out, const char *what, const char *path) {
    ins_probe_evidence(out, what, "%s", access(path, F_OK) == 0 ? path : "not there");
}

static void look_for_dpdk(struct ins_probe *out) {
    char line[64];
    evidence_library(out, "librte_eal", "librte_eal.so*");
    int error = ins_probe_line("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", line, sizeof line);
    ins_probe_evidence(out, "2 MB huge pages", "%s", error ? strerror(-error) : line);
    evidence_file(out, "vfio", "/dev/vfio/vfio");
}

static void look_for_rdma(struct ins_probe *out) {
    evidence_library(out, "libfabric", "libfabric.so*");
    DIR *devices = opendir("/sys/class/infiniband");
    uint32_t count = 0;
    for (struct dirent *entry = devices ? readdir(devices) : NULL; entry; entry = readdir(devices)) {
        if (entry->d_name[0] == '.')
            continue;
        ins_probe_evidence(out, "RDMA device", "%.64s", entry->d_name);
        count++;
    }
    if (devices)
        closedir(devices);
    if (!count)
        ins_probe_evidence(out, "RDMA devices", "none in /sys/class/infiniband");
}

static const struct {
    const char *name;
    const char *development; /* Debian's package to build with */
    void (*look)(struct ins_probe *out);
} known[] = {
    {"dpdk", "libdpdk-dev", look_for_dpdk},
    {"rdma", "libfabric-dev", look_for_rdma},
};

int ins_absent_probe(const char *name, int error, const char *why, struct ins_probe *out) {
    out->available = 0;
    out->error = -ENOSYS;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0)
            continue;
        const char *package = known[i].development;
        if (error == -ENOENT) {
            snprintf(out->reason, sizeof out->reason, "%.180s: built without %s", why, package);
            snprintf(out->cure, sizeof out->cure, "apt-get install %s, then build again (npm run setup)", package);
        } else {
            snprintf(out->reason, sizeof out->reason, "%.250s", why);
            snprintf(out->cure, sizeof out->cure,
                     error == -EPROTO ? "build again (npm run setup)"
                                      : "install the libraries it names (apt-get install %s brings them)",
                     package);
        }
        ins_probe_kernel(out);
        known[i].look(out);
        return 0;
    }
    snprintf(out->reason, sizeof out->reason, "%.250s", why);
    ins_probe_kernel(out);
    return 0;
}
