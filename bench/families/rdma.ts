// rtt-rdma: INSANE over RDMA as emulated by a software provider of libfabric, inline, against libfabric in C with the same
// provider, and against what kernel UDP gives the best C program in the same rounds.
import { insaneRdmaRoundTrips, RDMA_PROVIDER } from "../insane/network.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { roundTrip } from "../runner/readings.ts";
import { type Host, openTopology, PORT, type Topology, topologyUnavailable } from "../runner/topology.ts";
import { networkConditions, rawUdpSpin } from "./rtt-udp.ts";

const MTU = 1500;

function rawLibfabric({ a, b }: Topology): System {
  return {
    system: "raw-libfabric",
    datapath: "rdma",
    mode: RDMA_PROVIDER,
    threads: "2 spin: ping on core 0, echo on core 1",
    unavailable: nativeUnavailable("raw_libfabric_rtt"),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) => {
        const tail = [PORT, point.payload, point.warmup, point.seconds];
        const args = [role, RDMA_PROVIDER, self.address, peer.address, ...tail];
        return onHost(self, "raw-libfabric", nativeProgram("raw_libfabric_rtt"), args);
      };
      return roundTrip(await measurePair(point, side("echo", b, a), side("ping", a, b), "near"));
    },
  };
}

export const rttRdma: Benchmark = {
  name: "rtt-rdma",
  summary: "round trip over RDMA, emulated in software, one message in flight",
  payloads: [64, 1024],
  compared: ["rtt"],
  async open({ rps }) {
    const why = topologyUnavailable();
    if (why !== undefined) throw new Error(why);
    const topology = openTopology(rps, MTU);
    const systems = [...insaneRdmaRoundTrips(topology), rawLibfabric(topology), rawUdpSpin(topology)];
    return { systems, conditions: networkConditions(rps, MTU), rps, close: topology.close };
  },
};
