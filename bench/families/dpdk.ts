// rtt-dpdk and rate-dpdk: INSANE over DPDK's af_packet device, inline, against DPDK in C on the same kind of device, and
// against what kernel UDP gives the best C program in the same rounds.
import { dpdkAddress, insaneDpdkRoundTrips, insaneRates } from "../insane/network.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import {
  type Host,
  hardwareAddress,
  openTopology,
  PORT,
  type Topology,
  topologyUnavailable,
} from "../runner/topology.ts";
import { rawUdp } from "./rate-udp.ts";
import { networkConditions, rawUdpSpin } from "./rtt-udp.ts";

const MTU = 1500;
/** Both on the same kind of device, with the same rings (bench/native/dpdk_device.h). */
const DEVICE = "net_af_packet";

function rawDpdk({ a, b }: Topology, kind: "rtt" | "rate"): System {
  const file = `raw_dpdk_${kind}`;
  return {
    system: "raw-dpdk",
    datapath: "dpdk",
    mode: DEVICE,
    threads: kind === "rtt" ? "2 spin: ping on core 0, echo on core 1" : "2 spin: sender on core 0, receiver on core 1",
    unavailable: nativeUnavailable(file),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) => {
        const ends = [self.device, dpdkAddress(self), dpdkAddress(peer), hardwareAddress(peer)];
        const tail = [PORT, point.payload, point.warmup, point.seconds];
        return onHost(self, "raw-dpdk", nativeProgram(file), [role, ...ends, ...tail]);
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

export const rttDpdk = benchmark(
  {
    name: "rtt-dpdk",
    summary: "round trip over DPDK (af_packet), one message in flight",
    payloads: [64, 1024],
    compared: ["rtt"],
  },
  (topology) => [...insaneDpdkRoundTrips(topology), rawDpdk(topology, "rtt"), rawUdpSpin(topology)],
);

export const rateDpdk = benchmark(
  {
    name: "rate-dpdk",
    summary: "one way over DPDK (af_packet) as fast as it goes, measured by the receiver",
    payloads: [64, 1024],
    compared: ["rate", "goodput"],
  },
  (topology) => [
    ...insaneRates(topology, "dpdk"),
    rawDpdk(topology, "rate"),
    rawUdp(topology, "sendto"),
    rawUdp(topology, "mmsg"),
    rawUdp(topology, "gso"),
  ],
);
