/* AF_XDP as a datapath: frames go between the driver and memory of ours, past the kernel's network stack. Needs
   CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF. */
#ifndef INSANE_XDP_H
#define INSANE_XDP_H

#include "core/datapath.h"

/* Options of open: "interface=NAME,mode=native|skb,queue=N,mtu=BYTES,fill=SLOTS,tx=FRAMES,checksum=none|full,
   tags=none|priority", all
   optional, separated by commas.
     interface  else the one that has the address asked for, else the first that is up with an address
     mode       native (default) needs the driver's support; skb works on any interface. Over veth skb has the shorter
                round trip, but loses the trains of a sender that uses segmentation offload: its endpoint says so
                (INS_ENDPOINT_SINGLY)
     queue      only this receive queue: the operator must steer our port to it. Default: all queues
     mtu        largest IP datagram, default the interface's, at most 3820 unless asked for; beyond that the receive
                pool needs slots that hold a whole one (stride of at least mtu + 280)
     fill       receive slots that the kernel may hold, at most (default: 7/8 of the pool's, at most 4096 a queue)
     tx         frames for sending (default 1024)
     checksum   of UDP: default none on virtual devices, full on others
     tags       priority: frames of a traffic class other than 0 carry it in an IEEE 802.1Q tag of VLAN 0. Such frames are
                taken whatever this says. Default none
   Errors of open: -EINVAL (an option), -ENODEV (no such interface), -EADDRNOTAVAIL (the address is none of its),
   -EADDRINUSE (another socket has the port), -ENETDOWN, -EMSGSIZE (mtu larger than the interface's), -EBUSY (another
   XDP program is attached; the probe says whose), -EOPNOTSUPP (no native mode), -EPERM, -ECHRNG (no such queue),
   -E2BIG (more than 16 queues and none chosen).
   bind (may wait 0.2 s for a socket that was just closed): -EINVAL (the pool is not page-aligned shared memory in slots
   of whole pages), -EMSGSIZE (slots too small for the mtu), -ENOBUFS (RLIMIT_MEMLOCK), -EBUSY (another AF_XDP socket has
   the queue, or one that was just closed). */
extern const struct ins_datapath_ops ins_xdp_ops;
/* Looks at the interface of that name, at the one that carries that IPv4 address, or (empty) at any; for generic mode where
   ",mode=skb" follows. */
int ins_xdp_probe(const char *about, struct ins_probe *out);

#endif
