/* The datapaths there are, in a fixed order; a new one is a line here. Those that need a library
   of their own are loaded from a shared object on first use. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "datapath.h"
#include "datapaths/absent.h"
#include "datapaths/faulty.h"
#include "datapaths/udp.h"
#include "datapaths/xdp.h"
#include "plugin.h"

static const struct {
    const char *name;
    const struct ins_datapath_ops *ops; /* NULL: in a shared object of its own (plugin.h), loaded when first asked for */
} registry[] = {
    {"udp", &ins_udp_ops},
    {"xdp", &ins_xdp_ops},
    {"dpdk", NULL},
    {"rdma", NULL},
    {"faulty", &ins_faulty_ops}, /* for tests; the last, because it is not listed */
};
enum { COUNT = sizeof registry / sizeof *registry, LISTED = COUNT - 1 };

static int find(const char *name) {
    for (int i = 0; name && i < COUNT; i++)
        if (strcmp(registry[i].name, name) == 0)
            return i;
    return -ENOENT;
}

static const struct ins_datapath_ops *operations(int index, int *error, char *why, uint32_t why_bytes) {
    if (registry[index].ops)
        return registry[index].ops;
    return ins_plugin_load(registry[index].name, error, why, why_bytes);
}

const char *ins_datapath_name(uint32_t index) { return index < LISTED ? registry[index].name : NULL; }

int ins_datapath_flags(const char *name) {
    char why[256];
    int error, index = find(name);
    if (index < 0)
        return index;
    const struct ins_datapath_ops *ops = operations(index, &error, why, sizeof why);
    return ops ? (int)ops->flags : -ENOSYS;
}

int ins_datapath_probe(const char *name, const char *interface_or_empty, struct ins_probe *out) {
    char why[256] = "";
    int error, index = find(name);
    if (index < 0)
        return index;
    memset(out, 0, sizeof *out);
    const struct ins_datapath_ops *ops = operations(index, &error, why, sizeof why);
    if (!ops)
        return ins_absent_probe(name, error, why, out);
    return ops->probe(interface_or_empty ? interface_or_empty : "", out);
}

int ins_datapath_open(const char *name, const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    char why[256];
    /* Options that name a datapath underneath are for the one that injects faults, whichever it is to wrap. */
    int error, index = find(options && strncmp(options, "of=", 3) == 0 ? "faulty" : name);
    if (index < 0)
        return index;
    const struct ins_datapath_ops *ops = operations(index, &error, why, sizeof why);
    return ops ? ops->open(options ? options : "", at, out) : -ENOSYS;
}

int ins_datapath_close(struct ins_datapath *dp) {
    if (!dp)
        return -EINVAL;
    dp->ops->close(dp);
    return 0;
}

int ins_datapath_stat(struct ins_datapath *dp, uint32_t index, char *name, uint32_t name_bytes, uint64_t *value) {
    enum { MOST = 64 };
    const char *names[MOST];
    uint64_t values[MOST];
    if (!dp || !name_bytes)
        return -EINVAL;
    int count = dp->ops->stats(dp, names, values, MOST);
    if (count < 0 || index >= (uint32_t)count)
        return count < 0 ? count : -ENOENT;
    snprintf(name, name_bytes, "%s", names[index]);
    *value = values[index];
    return 0;
}
