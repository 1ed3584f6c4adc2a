/* Probes of what is not built yet: unavailable, with what the host has of it, found by looking at files only. */
#include "absent.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/probe_text.h"

static void absent(struct ins_probe *out, const char *technology) {
    out->available = 0;
    out->error = -ENOSYS;
    snprintf(out->reason, sizeof out->reason, "%s is not built into this library yet", technology);
    snprintf(out->cure, sizeof out->cure, "use a release that has it; until then such streams run on udp");
    ins_probe_kernel(out);
}

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

int ins_absent_dpdk_probe(const char *interface, struct ins_probe *out) {
    char line[64];
    (void)interface;
    absent(out, "DPDK");
    evidence_library(out, "librte_eal", "librte_eal.so*");
    int error = ins_probe_line("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", line, sizeof line);
    ins_probe_evidence(out, "2 MB huge pages", "%s", error ? strerror(-error) : line);
    evidence_file(out, "vfio", "/dev/vfio/vfio");
    return 0;
}

int ins_absent_rdma_probe(const char *interface, struct ins_probe *out) {
    (void)interface;
    absent(out, "RDMA");
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
    return 0;
}
