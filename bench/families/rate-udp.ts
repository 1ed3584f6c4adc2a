// rate-udp: one way as fast as it goes over kernel UDP; the receiver's rate, goodput and loss. The raw sides are
// UDP in C in its three forms. GSO trains cross veth unsegmented: no wire would carry them at that rate.
import { insaneRates } from "../insane/network.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay } from "../runner/readings.ts";
import { type Host, openTopology, PORT, type Topology, topologyUnavailable } from "../runner/topology.ts";
import { networkConditions } from "./rtt-udp.ts";

export function rawUdp(topology: Topology, method: "sendto" | "mmsg" | "gso"): System {
  const name = `raw-udp-${method}`;
  return {
    system: name,
    datapath: "udp",
    mode: method,
    threads: "2 spin: sender on core 0, receiver on core 1",
    unavailable: nativeUnavailable("raw_udp_rate"),
    async measure(point) {
      const side = (role: "send" | "receive", self: Host, peer: Host) =>
        onHost(self, name, nativeProgram("raw_udp_rate"), [
          role,
          method,
          self.address,
          peer.address,
          PORT,
          point.payload,
          point.warmup,
          point.seconds,
        ]);
      const { a, b } = topology;
      return oneWay(await measurePair(point, side("receive", b, a), side("send", a, b), "far"));
    },
  };
}

export const rateUdp: Benchmark = {
  name: "rate-udp",
  summary: "one way over kernel UDP as fast as it goes, measured by the receiver",
  payloads: [64, 1024, 8192],
  compared: ["rate", "goodput"],
  async open({ rps }) {
    const why = topologyUnavailable();
    if (why !== undefined) throw new Error(why);
    const topology = openTopology(rps);
    return {
      systems: [
        ...insaneRates(topology, "udp"),
        rawUdp(topology, "sendto"),
        rawUdp(topology, "mmsg"),
        rawUdp(topology, "gso"),
      ],
      conditions: networkConditions(rps),
      rps,
      close: topology.close,
    };
  },
};
