// rtt-xdp and rate-xdp: INSANE over AF_XDP, inline, against AF_XDP in C by raw system calls, and against what kernel UDP
// gives the best C program in the same rounds.
import { insaneRates, insaneXdpRoundTrips } from "../insane/network.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { type Host, openTopology, PORT, type Topology, topologyUnavailable } from "../runner/topology.ts";
import { rawUdp } from "./rate-udp.ts";
import { networkConditions, rawUdpSpin } from "./rtt-udp.ts";

/** A frame, with what the kernel adds, fits the page that AF_XDP has for it: no program for fragments is needed. */
const MTU = 1500;
/** Native mode on veth copies in the kernel: there is no zero-copy without a network card that has it. */
const MODE = "native";

function rawXdp({ a, b }: Topology, kind: "rtt" | "rate"): System {
  const file = `raw_xdp_${kind}`;
  return {
    system: "raw-xdp",
    datapath: "xdp",
    mode: MODE,
    threads: kind === "rtt" ? "2 spin: ping on core 0, echo on core 1" : "2 spin: sender on core 0, receiver on core 1",
    unavailable: nativeUnavailable(file),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) => {
        const tail = [PORT, point.payload, point.warmup, point.seconds];
        return onHost(self, "raw-xdp", nativeProgram(file), [role, MODE, self.address, peer.address, ...tail]);
      };
      return kind === "rtt"
        ? roundTrip(await measurePair(point, side("echo", b, a), side("ping", a, b), "near"))
        : oneWay(await measurePair(point, side("receive", b, a), side("send", a, b), "far"));
    },
  };
}

function benchmark(
  of: Pick<Benchmark, "name" | "summary" | "payloads" | "compared">,
  systems: (topology: Topology) => System[],
): Benchmark {
  return {
    ...of,
    async open({ rps }) {
      const why = topologyUnavailable();
      if (why !== undefined) throw new Error(why);
      const topology = openTopology(rps, MTU);
      return { systems: systems(topology), conditions: networkConditions(rps, MTU), rps, close: topology.close };
    },
  };
}

export const rttXdp = benchmark(
  {
    name: "rtt-xdp",
    summary: "round trip over AF_XDP, one message in flight",
    payloads: [64, 1024],
    compared: ["rtt"],
  },
  (topology) => [...insaneXdpRoundTrips(topology), rawXdp(topology, "rtt"), rawUdpSpin(topology)],
);

export const rateXdp = benchmark(
  {
    name: "rate-xdp",
    summary: "one way over AF_XDP as fast as it goes, measured by the receiver",
    payloads: [64, 1024],
    compared: ["rate", "goodput"],
  },
  (topology) => [
    ...insaneRates(topology, "xdp"),
    rawXdp(topology, "rate"),
    rawUdp(topology, "sendto"),
    rawUdp(topology, "mmsg"),
    rawUdp(topology, "gso"),
  ],
);
