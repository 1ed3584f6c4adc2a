/* The datapaths there are, in a fixed order; a new one is a line here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "datapath.h"
#include "datapaths/absent.h"
#include "datapaths/udp.h"
#include "datapaths/xdp.h"

static const struct {
    const char *name;
    const struct ins_datapath_ops *ops; /* NULL: not built */
    int (*probe)(const char *interface_or_empty, struct ins_probe *out);
} registry[] = {
    {"udp", &ins_udp_ops, ins_udp_probe},
    {"xdp", &ins_xdp_ops, ins_xdp_probe},
    {"dpdk", NULL, ins_absent_dpdk_probe},
    {"rdma", NULL, ins_absent_rdma_probe},
};
enum { COUNT = sizeof registry / sizeof *registry };

static int find(const char *name) {
    for (int i = 0; name && i < COUNT; i++)
        if (strcmp(registry[i].name, name) == 0)
            return i;
    return -ENOENT;
}

const char *ins_datapath_name(uint32_t index) { return index < COUNT ? registry[index].name : NULL; }

int ins_datapath_flags(const char *name) {
    int index = find(name);
    return index < 0 ? index : registry[index].ops ? (int)registry[index].ops->flags : -ENOSYS;
}

int ins_datapath_probe(const char *name, const char *interface_or_empty, struct ins_probe *out) {
    int index = find(name);
    if (index < 0)
        return index;
    memset(out, 0, sizeof *out);
    return registry[index].probe(interface_or_empty ? interface_or_empty : "", out);
}

int ins_datapath_open(const char *name, const char *options, struct ins_endpoint *at, struct ins_datapath **out) {
    int index = find(name);
    if (index < 0)
        return index;
    if (!registry[index].ops)
        return -ENOSYS;
    return registry[index].ops->open(options ? options : "", at, out);
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
