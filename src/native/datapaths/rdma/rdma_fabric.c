/* Loads libfabric and asks it for providers, see rdma_fabric.h. */
#include "rdma_fabric.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNALS = 32 };

static struct rdma_fabric loaded;
static int failed; /* -errno, once tried */
static char fault[256];
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static const struct rdma_provider providers[] = {
    {"verbs", "verbs;ofi_rxm", NULL, 1},
    {"efa", NULL, "endpoints of efa have addresses of their own kind, which this version does not announce", 1},
    {"net", "net", NULL, 0},
    {"tcp", "tcp", NULL, 0},
    {"tcp;ofi_rxm", "tcp;ofi_rxm", NULL, 0},
    {"udp;ofi_rxd", NULL, "endpoints of udp;ofi_rxd wake nobody, and stop for good in a flood", 0},
    {"shm", NULL, "endpoints of shm have names of one host, no addresses", 0},
};

const struct rdma_provider *ins_rdma_provider(const char *name) {
    if (!*name)
        return &providers[0];
    for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
        if (strcmp(providers[i].name, name) == 0)
            return &providers[i];
    return NULL;
}

static void handlers_save(struct sigaction *kept) {
    for (int number = 1; number < SIGNALS; number++)
        if (sigaction(number, NULL, &kept[number]))
            kept[number] = (struct sigaction){.sa_handler = SIG_DFL};
}

/* The variables that keep these handlers away are known for two libraries; there may be more. */
static void handlers_restore(const struct sigaction *kept) {
    for (int number = 1; number < SIGNALS; number++) {
        struct sigaction now;
        if (sigaction(number, NULL, &now) == 0 && now.sa_handler != kept[number].sa_handler)
            sigaction(number, &kept[number], NULL);
    }
}

static int take(void *library, const char *name, void *into) {
    *(void **)into = dlsym(library, name);
    return *(void **)into ? 0 : -ELIBACC;
}

static int load(void) {
    setenv("IPATH_NO_BACKTRACE", "1", 1);
    setenv("HFI_NO_BACKTRACE", "1", 1);
    /* ofi_rxm lets a small message complete before a large one that was sent first, unless both fit its buffers; and of
       those it needs no more than we have under way. */
    setenv("FI_OFI_RXM_BUFFER_SIZE", "65792", 0);
    setenv("FI_OFI_RXM_MSG_RX_SIZE", "128", 0);
    setenv("FI_OFI_RXM_MSG_TX_SIZE", "128", 0);
    void *library = dlopen("libfabric.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *said = dlerror();
        snprintf(fault, sizeof fault, "%.250s", said ? said : "libfabric.so.1 cannot be loaded");
        return -ELIBACC;
    }
    int error = take(library, "fi_getinfo", &loaded.getinfo) | take(library, "fi_freeinfo", &loaded.freeinfo) |
                take(library, "fi_dupinfo", &loaded.dupinfo) | take(library, "fi_fabric", &loaded.fabric) |
                take(library, "fi_strerror", &loaded.strerror) | take(library, "fi_version", &loaded.version);
    if (error)
        snprintf(fault, sizeof fault, "libfabric.so.1 lacks a function that it should have");
    return error ? -ELIBACC : 0;
}

const struct rdma_fabric *ins_rdma_fabric(int *error) {
    pthread_mutex_lock(&guard);
    if (!loaded.version && !failed) {
        struct sigaction kept[SIGNALS];
        struct fi_info *any = NULL;
        handlers_save(kept);
        failed = load();
        /* Providers come to life with the first question. */
        if (!failed && loaded.getinfo(FI_VERSION(1, 15), NULL, NULL, FI_PROV_ATTR_ONLY, NULL, &any) == 0)
            loaded.freeinfo(any);
        handlers_restore(kept);
    }
    *error = failed;
    pthread_mutex_unlock(&guard);
    return *error ? NULL : &loaded;
}

const char *ins_rdma_fabric_fault(void) { return fault; }

int ins_rdma_errno(long error) {
    long positive = error < 0 ? -error : error;
    return positive == 0 ? 0 : positive < FI_ERRNO_OFFSET ? (int)-positive : -EIO;
}

int ins_rdma_info(const struct rdma_fabric *fabric, const struct rdma_provider *provider, const char *node,
                  const char *service, struct fi_info **out) {
    *out = NULL;
    if (!provider->asked)
        return -EOPNOTSUPP;
    struct fi_info *hints = fabric->dupinfo(NULL);
    if (!hints)
        return -ENOMEM;
    hints->caps = FI_MSG;
    hints->mode = FI_CONTEXT | FI_CONTEXT2;
    hints->addr_format = FI_SOCKADDR_IN;
    hints->ep_attr->type = FI_EP_RDM;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    /* One thread at a time, which makes everything go on by itself. */
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->domain_attr->control_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->data_progress = FI_PROGRESS_MANUAL;
    hints->domain_attr->resource_mgmt = FI_RM_ENABLED;
    hints->tx_attr->msg_order = FI_ORDER_SAS;
    hints->rx_attr->msg_order = FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(provider->asked); /* freeinfo frees it */
    int error = fabric->getinfo(FI_VERSION(1, 15), node, service, node ? FI_SOURCE : 0, hints, out);
    fabric->freeinfo(hints);
    return ins_rdma_errno(error);
}
