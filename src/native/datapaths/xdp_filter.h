/* The XDP program of an endpoint: UDP datagrams to one address and port, whole and without IP options, go to the AF_XDP
   socket of their queue; everything else passes to the kernel. It goes when its descriptors are closed. */
#ifndef INSANE_XDP_FILTER_H
#define INSANE_XDP_FILTER_H

#include <stdint.h>

struct ins_xdp_filter {
    int map;     /* queue -> socket */
    int program;
    int link;    /* the attachment */
};

/* Loads it for sockets of up to `queues` queues, attached to nothing. `fragments`: it also takes frames of several
   buffers (an MTU beyond a page). -EPERM without CAP_BPF and CAP_NET_ADMIN; on refusal by the verifier -EACCES. */
int ins_xdp_filter_load(struct ins_xdp_filter *filter, uint32_t queues, uint32_t address, uint16_t port,
                        int fragments);
/* -EBUSY: another program is attached; -EOPNOTSUPP: the driver has no native mode; -ERANGE: its MTU is too large
   for a program without `fragments`. */
int ins_xdp_filter_attach(struct ins_xdp_filter *filter, uint32_t interface_index, int generic);
/* Directs a queue's datagrams to a socket, or (fd < 0) back to the kernel. */
int ins_xdp_filter_direct(struct ins_xdp_filter *filter, uint32_t queue, int fd);
void ins_xdp_filter_close(struct ins_xdp_filter *filter);

/* Name of an attached program and the process that holds it, as far as /proc tells: "program 7 "insane_40001", process 12".
   *pid: 0 when not found. Slow: it looks through /proc. */
int ins_xdp_filter_holder(uint32_t program_id, char *out, uint32_t bytes, int *pid);

#endif
