/* Technologies that this library does not contain yet: they are listed and say why they cannot be had. */
#ifndef INSANE_ABSENT_H
#define INSANE_ABSENT_H

#include "core/datapath.h"

int ins_absent_dpdk_probe(const char *interface_or_empty, struct ins_probe *out);
int ins_absent_rdma_probe(const char *interface_or_empty, struct ins_probe *out);

#endif
