// lunar-mom: publish and subscribe between two hosts, round trips at 64 bytes and one way at 1024; Lunar MoM against the bare
// API below it and against messaging systems in C and in Node.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { insaneBare, insaneMom } from "../insane/network.ts";
import type { Point, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost, repositoryFile } from "../runner/hosts.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { type Host, PORT, type Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

/** A frame fits the page that AF_XDP has for it; the same for all. */
const MTU = 1500;
const RTT_BYTES = 64;

type Command = (role: string, self: Host, peer: Host, tail: number[]) => [string, (string | number)[]];

/** A program with the roles ping, echo, send and receive. */
function peer(topology: Topology, of: Omit<System, "measure" | "keys">, command: Command): System {
  const { a, b } = topology;
  const side = (role: string, self: Host, other: Host, point: Point) =>
    onHost(self, of.system, ...command(role, self, other, [PORT, point.payload, point.warmup, point.seconds]));
  return {
    ...of,
    async measure(point) {
      if (point.payload === RTT_BYTES) {
        return roundTrip(await measurePair(point, side("echo", b, a, point), side("ping", a, b, point), "near"));
      }
      return oneWay(await measurePair(point, side("receive", b, a, point), side("send", a, b, point), "far"));
    },
  };
}

const SHARED = "application and library threads of a side on its core (0, 1)";
const setUp = "run `sh scripts/setup.sh bench`";
const inC =
  (file: string, suffix = ""): Command =>
  (role, self, other, tail) => [
    nativeProgram(file),
    [role === "ping" || role === "echo" ? `${role}${suffix}` : role, self.address, other.address, ...tail],
  ];
const inNode =
  (file: string): Command =>
  (role, self, other, tail) => [
    process.execPath,
    [repositoryFile(`bench/peers/${file}.ts`), role, self.address, other.address, ...tail],
  ];
const packageMissing = (name: string): string | undefined =>
  existsSync(repositoryFile(`bench/peers/node_modules/${name}/package.json`))
    ? undefined
    : `${name} is not there: ${setUp}`;
const serverMissing = (): string | undefined =>
  spawnSync("nats-server", ["--version"]).error ? `nats-server is not there: ${setUp}` : undefined;

export const lunarMom = betweenHosts(
  {
    name: "lunar-mom",
    summary: "publish and subscribe: round trip at 64 B, one way at 1024 B",
    payloads: [RTT_BYTES, 1024],
    compared: ["rtt", "goodput"],
  },
  (topology) => [
    insaneMom(topology, "udp"),
    insaneMom(topology, "udp", undefined, "kept"),
    insaneMom(topology, "xdp"),
    insaneMom(topology, "xdp", undefined, "plain", "skb"),
    // Where the raw program is built, the library is there.
    insaneMom(topology, "dpdk", nativeUnavailable("raw_dpdk_rtt")),
    insaneMom(topology, "rdma", nativeUnavailable("raw_libfabric_rtt")),
    insaneBare(topology, "udp", RTT_BYTES),
    insaneBare(topology, "xdp", RTT_BYTES),
    peer(
      topology,
      { system: "cyclonedds", datapath: "udp", mode: "spin", threads: SHARED, unavailable: missing("raw_cyclonedds") },
      inC("raw_cyclonedds"),
    ),
    peer(
      topology,
      { system: "zeromq", datapath: "tcp", mode: "block", threads: SHARED, unavailable: missing("raw_zeromq") },
      inC("raw_zeromq"),
    ),
    peer(
      topology,
      {
        system: "zeromq-js",
        datapath: "tcp",
        mode: "event-loop",
        threads: SHARED,
        unavailable: packageMissing("zeromq"),
      },
      inNode("zeromq"),
    ),
    peer(
      topology,
      {
        system: "nats-js",
        datapath: "tcp",
        mode: "event-loop",
        threads: `${SHARED}; the server on core 1`,
        unavailable: packageMissing("@nats-io/transport-node") ?? serverMissing(),
      },
      inNode("nats"),
    ),
  ],
  MTU,
);

function missing(file: string): string | undefined {
  return nativeUnavailable(file) === undefined ? undefined : `${nativeUnavailable(file)}; its library: ${setUp}`;
}
