// rate-udp: one way as fast as it goes over kernel UDP; the receiver's rate, goodput and loss, and what a message costs the
// sender. The raw sides are UDP in C in its three forms. GSO trains cross veth unsegmented: no wire would carry them at
// that rate.
import { insaneUdpRates } from "../insane/network.ts";
import type { System } from "../runner/benchmark.ts";
import { measureBoth, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay } from "../runner/readings.ts";
import { type Host, PORT, type Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

/** Small messages as on any network; what fits no such frame on one of jumbo frames. */
const ETHERNET = 1500;
const JUMBO = 9000;
const ETHERNET_PAYLOAD = 1400;

function rawUdp(topology: Topology, method: "sendto" | "mmsg" | "gso"): System {
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
      return oneWay(await measureBoth(point, side("receive", b, a), side("send", a, b)));
    },
  };
}

/** UDP in C in its three forms. */
export const rawUdpRates = (topology: Topology): System[] =>
  (["sendto", "mmsg", "gso"] as const).map((method) => rawUdp(topology, method));

export const rateUdp = betweenHosts(
  {
    name: "rate-udp",
    summary: "one way over kernel UDP as fast as it goes, measured by the receiver",
    payloads: [64, 1024, 8192],
    compared: ["rate", "goodput"],
  },
  (topology) => [...insaneUdpRates(topology), ...rawUdpRates(topology)],
  (payload) => (payload > ETHERNET_PAYLOAD ? JUMBO : ETHERNET),
);
