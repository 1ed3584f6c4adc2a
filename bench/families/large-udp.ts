// large-udp: large messages one way over kernel UDP, against sendfile over TCP in C; the receiver's goodput.
import { insaneRates } from "../insane/network.ts";
import type { System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay } from "../runner/readings.ts";
import { type Host, PORT, type Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

const FILE = "raw_tcp_sendfile";

const sendfile = ({ a, b }: Topology): System => ({
  system: "sendfile",
  datapath: "tcp",
  mode: "sendfile",
  threads: "2: sender blocks in sendfile on core 0, receiver spins on core 1",
  unavailable: nativeUnavailable(FILE),
  async measure(point) {
    const side = (role: "send" | "receive", self: Host, peer: Host) =>
      onHost(self, "sendfile", nativeProgram(FILE), [
        role,
        self.address,
        peer.address,
        PORT,
        point.payload,
        point.warmup,
        point.seconds,
      ]);
    return oneWay(await measurePair(point, side("receive", b, a), side("send", a, b), "far"));
  },
});

export const largeUdp = betweenHosts(
  {
    name: "large-udp",
    summary: "large messages one way over kernel UDP, against sendfile over TCP in C",
    payloads: [65_536, 1_048_576, 33_554_432],
    compared: ["goodput"],
  },
  (topology) => [...insaneRates(topology, "udp").slice(0, 1), sendfile(topology)],
);
