// rtt-udp: one message in flight between two hosts over kernel UDP; insane against what C and Node get from sockets.
import { insaneUdpRoundTrips } from "../insane/network.ts";
import type { System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, nodeProgram, onHost } from "../runner/hosts.ts";
import { roundTrip } from "../runner/readings.ts";
import { type Host, PORT, type Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

type Command = (role: "ping" | "echo", self: Host, peer: Host, tail: number[]) => [string, (string | number)[]];

function socketSystem(topology: Topology, name: string, mode: string, threads: string, command: Command): System {
  return {
    system: name,
    datapath: "udp",
    mode,
    threads,
    async measure(point) {
      const side = (role: "ping" | "echo", self: Host, peer: Host) =>
        onHost(self, name, ...command(role, self, peer, [PORT, point.payload, point.warmup, point.seconds]));
      const { a, b } = topology;
      return roundTrip(await measurePair(point, side("echo", b, a), side("ping", a, b), "near"));
    },
  };
}

export function rawUdpSpin(topology: Topology): System {
  return {
    ...socketSystem(
      topology,
      "raw-udp-spin",
      "spin",
      "2 spin: ping on core 0, echo on core 1",
      (role, self, peer, tail) => [nativeProgram("raw_udp_rtt"), [role, "spin", self.address, peer.address, ...tail]],
    ),
    unavailable: nativeUnavailable("raw_udp_rtt"),
  };
}

function rawUdpBlock(topology: Topology): System {
  return {
    ...socketSystem(
      topology,
      "raw-udp-block",
      "block",
      "none spin: ping on core 0, echo on core 1",
      (role, self, peer, tail) => [nativeProgram("raw_udp_rtt"), [role, "block", self.address, peer.address, ...tail]],
    ),
    unavailable: nativeUnavailable("raw_udp_rtt"),
  };
}

function nodeDgram(topology: Topology): System {
  const threads = "none spin: ping on core 0, echo on core 1, one event loop each";
  return socketSystem(topology, "node-dgram", "event-loop", threads, (role, self, peer, tail) => [
    process.execPath,
    [nodeProgram("bench/peers/node-dgram"), role, self.address, peer.address, ...tail],
  ]);
}

export const rttUdp = betweenHosts(
  {
    name: "rtt-udp",
    summary: "round trip over kernel UDP, one message in flight",
    payloads: [64, 1024, 8192],
    compared: ["rtt"],
  },
  (topology) => [...insaneUdpRoundTrips(topology), rawUdpSpin(topology), rawUdpBlock(topology), nodeDgram(topology)],
);
