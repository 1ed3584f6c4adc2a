/* libfabric as this plugin reaches it: opened when first needed, never linked against, because loading it takes a fifth
   of a second and dozens of libraries. What it calls is here; all the rest of its interface is tables of the objects it
   hands out. */
#ifndef INSANE_RDMA_FABRIC_H
#define INSANE_RDMA_FABRIC_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <stdint.h>

struct rdma_fabric {
    int (*getinfo)(uint32_t version, const char *node, const char *service, uint64_t flags, const struct fi_info *hints,
                   struct fi_info **info);
    void (*freeinfo)(struct fi_info *info);
    struct fi_info *(*dupinfo)(const struct fi_info *info);
    int (*fabric)(struct fi_fabric_attr *attributes, struct fid_fabric **fabric, void *context);
    const char *(*strerror)(int error);
    uint32_t (*version)(void);
};

/* A provider that may be named. Real: over RDMA hardware; the others do the same in software. */
struct rdma_provider {
    const char *name;  /* as it is configured */
    const char *asked; /* as libfabric is asked for it; NULL: cannot be used, see `why` */
    const char *why;
    int real;
};

/* The loaded library, or NULL and *error (-errno). Any thread; never unloaded. Handlers that the library's dependencies
   install for signals are put back to what they were. */
const struct rdma_fabric *ins_rdma_fabric(int *error);
/* What dlopen said when it failed, or "". */
const char *ins_rdma_fabric_fault(void);
/* By configured name; "": the one for hardware. NULL: none of that name. */
const struct rdma_provider *ins_rdma_provider(const char *name);
/* What the provider offers to reliable datagrams of ours, at a node and service of this host, or anywhere (NULL). 0 and
   *out, to be given to freeinfo; or -errno. */
int ins_rdma_info(const struct rdma_fabric *fabric, const struct rdma_provider *provider, const char *node,
                  const char *service, struct fi_info **out);
/* libfabric's errors go beyond errno's. */
int ins_rdma_errno(long error);

#endif
