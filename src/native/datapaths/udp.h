/* The two halves of the udp datapath: the socket (udp.c) and what is found out about the host (udp_probe.c). */
#ifndef INSANE_UDP_H
#define INSANE_UDP_H

#include "core/datapath.h"

extern const struct ins_datapath_ops ins_udp_ops;

int ins_udp_probe(const char *interface_or_empty, struct ins_probe *out);
/* MTU of the interface that holds the address (network order), at most 65535; for the unspecified address the smallest
   of all interfaces that are up but loopback. 1500 when nothing is found. */
uint32_t ins_udp_mtu(uint32_t address);

#endif
