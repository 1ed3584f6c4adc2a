/* libfabric's objects of an rdma datapath: fabric, domain, completion queues, address vector, endpoint, registrations. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "rdma_state.h"

enum { KEY_POOL = 1, KEY_FRAMES = 2 };

static void release(struct fid *fid) {
    if (fid)
        fi_close(fid);
}

void ins_rdma_endpoint_close(struct rdma *rdma) {
    /* Each after what was made with it. */
    release(rdma->ep ? &rdma->ep->fid : NULL);
    release(rdma->pool_mr ? &rdma->pool_mr->fid : NULL);
    release(rdma->frames_mr ? &rdma->frames_mr->fid : NULL);
    release(rdma->av ? &rdma->av->fid : NULL);
    release(rdma->tx_cq ? &rdma->tx_cq->fid : NULL);
    release(rdma->rx_cq ? &rdma->rx_cq->fid : NULL);
    release(rdma->domain ? &rdma->domain->fid : NULL);
    release(rdma->fabric ? &rdma->fabric->fid : NULL);
    if (rdma->info)
        rdma->library->freeinfo(rdma->info);
    rdma->ep = NULL;
    rdma->pool_mr = rdma->frames_mr = NULL;
    rdma->av = NULL;
    rdma->tx_cq = rdma->rx_cq = NULL;
    rdma->domain = NULL;
    rdma->fabric = NULL;
    rdma->info = NULL;
    rdma->fds[0] = rdma->fds[1] = -1;
}

/* With a descriptor to sleep on where the provider has one. */
static int open_queue(struct rdma *rdma, size_t entries, struct fid_cq **out, int *fd) {
    struct fi_cq_attr attributes = {.size = entries, .format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD};
    int error = fi_cq_open(rdma->domain, &attributes, out, NULL);
    if (error == 0) {
        if (fi_control(&(*out)->fid, FI_GETWAIT, fd))
            *fd = -1;
        return 0;
    }
    attributes.wait_obj = FI_WAIT_NONE;
    return fi_cq_open(rdma->domain, &attributes, out, NULL);
}

static int open_objects(struct rdma *rdma) {
    struct fi_av_attr addresses = {.type = FI_AV_TABLE, .count = RDMA_ROUTES};
    int error = rdma->library->fabric(rdma->info->fabric_attr, &rdma->fabric, NULL);
    if (!error)
        error = fi_domain(rdma->fabric, rdma->info, &rdma->domain, NULL);
    if (!error)
        error = open_queue(rdma, RDMA_FRAMES, &rdma->tx_cq, &rdma->fds[0]);
    if (!error)
        error = open_queue(rdma, RDMA_POSTED_MOST, &rdma->rx_cq, &rdma->fds[1]);
    if (!error)
        error = fi_av_open(rdma->domain, &addresses, &rdma->av, NULL);
    if (!error)
        error = fi_endpoint(rdma->domain, rdma->info, &rdma->ep, NULL);
    if (!error)
        error = fi_ep_bind(rdma->ep, &rdma->av->fid, 0);
    if (!error)
        error = fi_ep_bind(rdma->ep, &rdma->tx_cq->fid, FI_TRANSMIT);
    if (!error)
        error = fi_ep_bind(rdma->ep, &rdma->rx_cq->fid, FI_RECV);
    if (!error)
        error = fi_enable(rdma->ep);
    return error;
}

int ins_rdma_endpoint_open(struct rdma *rdma) {
    struct in_addr address = {rdma->at.address};
    struct sockaddr_in name;
    size_t length = sizeof name;
    char node[INET_ADDRSTRLEN], service[8];
    inet_ntop(AF_INET, &address, node, sizeof node);
    snprintf(service, sizeof service, "%u", rdma->at.port);
    rdma->fds[0] = rdma->fds[1] = -1;
    int error = ins_rdma_info(rdma->library, rdma->provider, node, service, &rdma->info);
    if (!error)
        error = ins_rdma_errno(open_objects(rdma));
    if (!error)
        error = ins_rdma_errno(fi_getname(&rdma->ep->fid, &name, &length));
    if (!error && (name.sin_family != AF_INET || name.sin_addr.s_addr != rdma->at.address))
        error = -EADDRNOTAVAIL;
    if (error) {
        ins_rdma_endpoint_close(rdma);
        return error;
    }
    rdma->at.port = ntohs(name.sin_port);
    ins_rdma_routes_reset(rdma);
    return 0;
}

/* Only where a provider asks for it does it matter; the others take the registration and pay nothing for it. */
int ins_rdma_endpoint_register(struct rdma *rdma) {
    size_t bytes = (size_t)rdma->pool->slots * rdma->pool->stride;
    int error = fi_mr_reg(rdma->domain, rdma->pool->base, bytes, FI_RECV, 0, KEY_POOL, 0, &rdma->pool_mr, NULL);
    if (!error)
        error = fi_mr_reg(rdma->domain, rdma->frames, (size_t)RDMA_FRAMES * RDMA_FRAME_BYTES, FI_SEND, 0, KEY_FRAMES,
                          0, &rdma->frames_mr, NULL);
    if (error)
        return ins_rdma_errno(error);
    rdma->pool_descriptor = fi_mr_desc(rdma->pool_mr);
    rdma->frames_descriptor = fi_mr_desc(rdma->frames_mr);
    return 0;
}
