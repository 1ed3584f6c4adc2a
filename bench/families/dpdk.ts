// rtt-dpdk and rate-dpdk: INSANE over DPDK's af_packet device, inline, against DPDK in C on the same kind of device, and
// against what kernel UDP gives the best C program in the same rounds.
import { dpdkAddress, insaneDpdkRoundTrips, insaneRates } from "../insane/network.ts";
import type { System } from "../runner/benchmark.ts";
import { hardwareAddress, type Topology } from "../runner/topology.ts";
import { betweenHosts, rawPair } from "./between-hosts.ts";
import { rawUdpRates } from "./rate-udp.ts";
import { rawUdpSpin } from "./rtt-udp.ts";

const MTU = 1500;
/** Both on the same kind of device, with the same rings (bench/native/dpdk_device.h). */
const DEVICE = "net_af_packet";

/** `usual-rings`: those that the device has by itself. */
const rawDpdk = (topology: Topology, kind: "rtt" | "rate", variant?: "usual-rings"): System =>
  rawPair(topology, kind, { technology: "dpdk", datapath: "dpdk", mode: DEVICE, variant }, (self, peer) => [
    variant ?? "large-rings",
    self.device,
    dpdkAddress(self),
    dpdkAddress(peer),
    hardwareAddress(peer),
  ]);

export const rttDpdk = betweenHosts(
  {
    name: "rtt-dpdk",
    summary: "round trip over DPDK (af_packet), one message in flight",
    payloads: [64, 1024],
    compared: ["rtt"],
  },
  (topology) => [
    ...insaneDpdkRoundTrips(topology),
    rawDpdk(topology, "rtt"),
    rawDpdk(topology, "rtt", "usual-rings"),
    rawUdpSpin(topology),
  ],
  MTU,
);

export const rateDpdk = betweenHosts(
  {
    name: "rate-dpdk",
    summary: "one way over DPDK (af_packet) as fast as it goes, measured by the receiver",
    payloads: [64, 1024],
    compared: ["rate", "goodput"],
  },
  (topology) => [...insaneRates(topology, "dpdk"), rawDpdk(topology, "rate"), ...rawUdpRates(topology)],
  MTU,
);
