// rtt-xdp and rate-xdp: INSANE over AF_XDP, inline, against AF_XDP in C by raw system calls, both in native and in generic
// (skb) mode, and against what kernel UDP gives the best C program in the same rounds.
import { insaneRates, insaneXdpRoundTrips } from "../insane/network.ts";
import type { System } from "../runner/benchmark.ts";
import type { Topology } from "../runner/topology.ts";
import { betweenHosts, rawPair } from "./between-hosts.ts";
import { rawUdpRates } from "./rate-udp.ts";
import { rawUdpSpin } from "./rtt-udp.ts";

/** A frame, with what the kernel adds, fits the page that AF_XDP has for it: no program for fragments is needed. */
const MTU = 1500;
/** Both copy in the kernel: there is no zero-copy without a network card that has it. */
const MODES = ["native", "skb"] as const;

/** `one-socket`: for both directions. */
const rawXdp = (topology: Topology, kind: "rtt" | "rate", variant?: "one-socket"): System[] =>
  MODES.map((mode) =>
    rawPair(topology, kind, { technology: "xdp", datapath: "xdp", mode, variant }, (self, peer) => [
      variant === undefined ? mode : `${mode}-one`,
      self.address,
      peer.address,
    ]),
  );

export const rttXdp = betweenHosts(
  {
    name: "rtt-xdp",
    summary: "round trip over AF_XDP, one message in flight",
    payloads: [64, 1024],
    compared: ["rtt"],
  },
  (topology) => [
    ...insaneXdpRoundTrips(topology),
    ...rawXdp(topology, "rtt"),
    // As programs usually have it. Two sockets, as the engine has them, are quicker.
    ...rawXdp(topology, "rtt", "one-socket"),
    rawUdpSpin(topology),
  ],
  MTU,
);

export const rateXdp = betweenHosts(
  {
    name: "rate-xdp",
    summary: "one way over AF_XDP as fast as it goes, measured by the receiver",
    payloads: [64, 1024],
    compared: ["rate", "goodput"],
  },
  (topology) => [...insaneRates(topology, "xdp"), ...rawXdp(topology, "rate"), ...rawUdpRates(topology)],
  MTU,
);
