// The insane side of round trips and rates between two hosts: the engine inline in each application, over kernel UDP or
// XDP, or a daemon a side that shares the side's core with its application.

import type { Point, System } from "../runner/benchmark.ts";
import type { Measurement } from "../runner/figures.ts";
import { measureBoth, measurePair, nativeProgram, nativeUnavailable, nodeProgram, onHost } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import { type Host, PORT, type Topology } from "../runner/topology.ts";
import { insaneUnavailable, startDaemon } from "./daemon.ts";
import { towards } from "./hello.ts";

/** UDP port of the daemons' hello frames. */
const HELLO_PORT = 9711;
const INLINE_THREADS = "2 spin: application with its engine inline on core 0, the same on core 1";

const program = (file: string): string => nodeProgram(`bench/insane/${file}`);
const times = (point: Point): number[] => [point.payload, point.warmup, point.seconds];

type Datapath = "udp" | "xdp" | "dpdk" | "rdma";

/**
 * Kernel UDP with something switched off (`no-gso` each datagram by itself, `unbatched` each message in its own), or XDP in
 * generic mode (`skb`).
 */
type Variant = "no-gso" | "unbatched" | "skb";

/** The quickest of libfabric's software providers. */
export const RDMA_PROVIDER = "net";

/** DPDK's address on a host is its own, the kernel has another one. */
export const dpdkAddress = ({ core }: Host): string => `10.79.0.${11 + core}`;

/** How a program of this folder embeds its runtime, see session.ts. */
const embedded = (datapath: Datapath, self: Host): string =>
  ({
    udp: "embed",
    xdp: "embed-xdp",
    dpdk: `embed-dpdk:${self.device}:${dpdkAddress(self)}`,
    rdma: `embed-rdma:${RDMA_PROVIDER}`,
  })[datapath];

function inlineSide(
  datapath: Datapath,
  self: Host,
  peer: Host,
  file: string,
  rest: (string | number)[],
  variant?: Variant,
) {
  const how = variant === undefined ? embedded(datapath, self) : `embed-${datapath}:${variant}`;
  const args = [program(file), how, self.address, peer.address, ...rest];
  return onHost(self, `insane ${file} inline`, process.execPath, args);
}

/** A side of lunar-stream: the same, with the engine on a thread of its own. */
export const frameSide = (datapath: Datapath, self: Host, peer: Host, rest: (string | number)[]) =>
  inlineSide(datapath, self, peer, "stream", rest);

/** Round trips and then the rate of an inline pair over kernel UDP, with `crowd` (crowd.ts) open on both hosts. */
export async function amongOthers({ a, b }: Topology, crowd: string, point: Point): Promise<Measurement[]> {
  const env = { INSANE_BENCH_CROWD: crowd };
  const pair = (file: string, rest: (string | number)[], measuring: "far" | "near") => {
    const side = (role: string, self: Host, peer: Host) => ({
      ...inlineSide("udp", self, peer, file, [role, "spin", ...rest, ...times(point)]),
      env,
    });
    return measurePair(point, side("far", b, a), side("near", a, b), measuring);
  };
  return [...roundTrip(await pair("rtt", ["copy"], "near")), ...oneWay(await pair("rate", [], "far"))];
}

function roundTripInline({ a, b }: Topology, datapath: Datapath, variant?: Variant): System {
  return {
    system: "insane",
    datapath,
    mode: variant === undefined ? "inline" : `inline-${variant}`,
    threads: INLINE_THREADS,
    unavailable: insaneUnavailable(),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) =>
        inlineSide(datapath, self, peer, "rtt", [role, "spin", "copy", ...times(point)], variant);
      return roundTrip(await measurePair(point, side("far", b, a), side("near", a, b), "near"));
    },
  };
}

function roundTripDaemon({ a, b }: Topology, mode: "daemon" | "daemon-parked"): System {
  const parked = mode === "daemon-parked";
  return {
    system: "insane",
    datapath: "udp",
    mode,
    threads: parked
      ? "none spin: application and daemon of a side share its core (0, 1)"
      : "on core 0 application and engine look and yield to each other, the same on core 1",
    unavailable: insaneUnavailable(),
    measure: (point) =>
      withPrograms(async (start) => {
        const folder = socketFolder();
        try {
          const daemon = (self: Host, peer: Host) =>
            startDaemon(
              start,
              folder.path,
              { core: self.core, namespace: self.namespace },
              {
                network: {
                  ...towards(self.address, peer.address, HELLO_PORT),
                },
                engine: { mode: "thread", idle: parked ? "park" : "yield" },
              },
            );
          const near = await daemon(a, b);
          const far = await daemon(b, a);
          // The socket is in the file system, which all namespaces share.
          const side = (self: Host, role: string, socket: string) => ({
            ...onHost(self, `insane rtt ${mode}`, process.execPath, [
              program("rtt"),
              "attach",
              socket,
              role,
              parked ? "park" : "yield",
              "copy",
              ...times(point),
            ]),
          });
          const echo = start(side(b, "far", far.socket));
          await echo.ready();
          const ping = start(side(a, "near", near.socket));
          return roundTrip(await ping.result(point.warmup + point.seconds, echo, near.program, far.program));
        } finally {
          folder.remove();
        }
      }),
  };
}

/** Lunar MoM over it: round trips below 1024 bytes, one way from there on, as it comes or (`kept`) at least once. */
export function insaneMom(
  { a, b }: Topology,
  datapath: Datapath,
  unavailable = insaneUnavailable(),
  lane: "plain" | "kept" = "plain",
  variant?: Variant,
): System {
  const mode = datapath === "udp" ? "inline" : variant === undefined ? datapath : `${datapath}-${variant}`;
  return {
    system: "insane",
    datapath,
    mode: lane === "kept" ? `${mode}-at-least-once` : mode,
    threads: INLINE_THREADS,
    unavailable,
    async measure(point) {
      const kind = point.payload < 1024 ? "rtt" : "rate";
      const side = (role: string, self: Host, peer: Host) =>
        inlineSide(datapath, self, peer, "mom", [role, kind, lane, ...times(point)], variant);
      const result = await measurePair(point, side("far", b, a), side("near", a, b), kind === "rtt" ? "near" : "far");
      return kind === "rtt" ? roundTrip(result) : oneWay(result);
    },
  };
}

/** The API without Lunar, for the same figures: round trips of so many bytes, else one way. */
export function insaneBare(topology: Topology, datapath: "udp" | "xdp", roundTripBytes: number): System {
  const there = roundTripInline(topology, datapath);
  const [way] = insaneRates(topology, datapath);
  return {
    ...there,
    system: datapath === "udp" ? "insane-bare" : `insane-bare-${datapath}`,
    measure: (point) => (point.payload === roundTripBytes ? there : way!).measure(point),
  };
}

export const insaneUdpRoundTrips = (topology: Topology): System[] => [
  roundTripInline(topology, "udp"),
  roundTripInline(topology, "udp", "unbatched"),
  roundTripDaemon(topology, "daemon"),
  roundTripDaemon(topology, "daemon-parked"),
];

export const insaneRdmaRoundTrips = (topology: Topology): System[] => [roundTripInline(topology, "rdma")];

export const insaneDpdkRoundTrips = (topology: Topology): System[] => [roundTripInline(topology, "dpdk")];

export const insaneXdpRoundTrips = (topology: Topology): System[] => [
  roundTripInline(topology, "xdp"),
  roundTripInline(topology, "xdp", "skb"),
];

function rateInline({ a, b }: Topology, datapath: Datapath, variant?: Variant): System {
  return {
    system: "insane",
    datapath,
    mode: variant === undefined ? "inline" : `inline-${variant}`,
    threads: INLINE_THREADS,
    unavailable: insaneUnavailable(),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) =>
        inlineSide(datapath, self, peer, "rate", [role, "spin", ...times(point)], variant);
      return oneWay(await measureBoth(point, side("far", b, a), side("near", a, b)));
    },
  };
}

/** C generates and consumes the traffic, on the engine as it is. */
function rateNative({ a, b }: Topology, datapath: "udp" | "xdp", variant?: "skb"): System {
  return {
    system: "insane",
    datapath,
    mode: variant === undefined ? "native" : `native-${variant}`,
    threads: INLINE_THREADS,
    unavailable: nativeUnavailable("engine_rate"),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) =>
        onHost(self, "insane native", nativeProgram("engine_rate"), [
          role,
          variant === undefined ? datapath : `${datapath}:mode=${variant}`,
          self.address,
          peer.address,
          PORT,
          ...times(point),
        ]);
      return oneWay(await measureBoth(point, side("receive", b, a), side("send", a, b)));
    },
  };
}

export const insaneUdpRates = (topology: Topology): System[] => [
  rateInline(topology, "udp"),
  rateInline(topology, "udp", "no-gso"),
  rateNative(topology, "udp"),
];

export function insaneRates(topology: Topology, datapath: Datapath): System[] {
  const inline = rateInline(topology, datapath);
  if (datapath === "xdp") {
    return [
      inline,
      rateNative(topology, datapath),
      rateInline(topology, datapath, "skb"),
      rateNative(topology, datapath, "skb"),
    ];
  }
  const why = "the engine for it is in a program of its own, for which there is no generator in C";
  return [
    inline,
    {
      system: "insane",
      datapath,
      mode: "native",
      threads: "",
      unavailable: why,
      measure: () => Promise.reject(new Error(why)),
    },
  ];
}
