/* Reliable datagrams of libfabric as a datapath: two-sided, in registered memory. Over hardware with the provider verbs; over
   software (net, tcp, tcp;ofi_rxm) only where the options name it, for tests. It speaks to its like only.
   Options, all optional: "provider=NAME,mtu=BYTES,patience=MS" (how long a message waits for a destination). A probe takes the provider's name in place of an interface's. */
#ifndef INSANE_RDMA_H
#define INSANE_RDMA_H

#include "core/datapath.h"

extern const struct ins_datapath_ops ins_rdma_ops;

int ins_rdma_probe(const char *provider_or_empty, struct ins_probe *out);

#endif
