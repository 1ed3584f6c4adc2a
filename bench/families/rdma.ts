// rtt-rdma: INSANE over RDMA as emulated by a software provider of libfabric, inline, against libfabric in C with the same
// provider, and against what kernel UDP gives the best C program in the same rounds.
import { insaneRdmaRoundTrips, RDMA_PROVIDER } from "../insane/network.ts";
import { betweenHosts, rawPair } from "./between-hosts.ts";
import { rawUdpSpin } from "./rtt-udp.ts";

const MTU = 1500;

export const rttRdma = betweenHosts(
  {
    name: "rtt-rdma",
    summary: "round trip over RDMA, emulated in software, one message in flight",
    payloads: [64, 1024],
    compared: ["rtt"],
  },
  (topology) => [
    ...insaneRdmaRoundTrips(topology),
    rawPair(topology, "rtt", { technology: "libfabric", datapath: "rdma", mode: RDMA_PROVIDER }, (self, peer) => [
      RDMA_PROVIDER,
      self.address,
      peer.address,
    ]),
    rawUdpSpin(topology),
  ],
  MTU,
);
