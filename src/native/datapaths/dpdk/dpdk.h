/* DPDK (22.11 or newer) as a datapath: frames go between a DPDK port and memory of ours, past the kernel's network stack.
   Built into libinsane-dpdk.so (core/plugin.h). The endpoint's address is its own: the kernel must not have it, ARP is
   answered here. A port cannot wake anybody: this datapath cannot park. */
#ifndef INSANE_DPDK_H
#define INSANE_DPDK_H

#include "core/datapath.h"

/* Options of open: "NAME=VALUE,NAME=VALUE":
     device     a virtual device with its arguments ("net_af_packet0,iface=eth0", "net_memif0,role=client,...") or a PCI
                address ("0000:01:00.0", bound to vfio-pci). The last option, for the sake of its commas. Where af_packet's
                frames do not hold the longest trains, the endpoint says so (INS_ENDPOINT_SINGLY)
     interface  shorthand: an af_packet device on this interface, with frames that hold the longest trains. One of the
                two is needed
     prefix     length of the network's prefix (default 24)
     gateway    for other networks; without it they are out of reach
     mtu        largest IP datagram; default: the device's, at most what its frames and the receive slots hold
     hugepages  auto (default: when enough are free), yes or no
     memory     MiB for DPDK's own use without huge pages (default 64)
     tx         frames for sending (default 1024)
     checksum   of UDP: none or full; default none on virtual devices, full on others
     tags       priority: frames of a traffic class other than 0 carry it in an IEEE 802.1Q tag of VLAN 0. Such frames are
                taken whatever this says. Default none
   The first open of a process starts DPDK's environment (0.2 s, on a thread of its own), which then stays: it can be
   started once in a process's life. Later opens share it.
   Errors of open: -EINVAL (an option, or no address), -ENODEV (no such interface or device), -ENETDOWN (or no
   carrier), -EPERM,
   -EADDRINUSE (this address and port are served already, the probe says by whom; or the kernel owns the address),
   -EBUSY (this process has the device, or another one on its interface, open), -EMSGSIZE (mtu beyond the interface's),
   -EALREADY (the environment runs with other huge page or PCI settings: a new process is needed), -ENOMEM, -EIO (DPDK
   refuses; its words are on standard error).
   bind: -EINVAL (the pool is not on a page boundary), -EMSGSIZE (slots too small for the device's frames), -EOPNOTSUPP (the
   device needs physical addresses), -ENOMEM, -EIO. */
extern const struct ins_datapath_ops ins_dpdk_ops;
/* Takes options as open does, "address=A.B.C.D" and "port=N" among them, or nothing. DPDK is not started. */
int ins_dpdk_probe(const char *options, struct ins_probe *out);

#endif
