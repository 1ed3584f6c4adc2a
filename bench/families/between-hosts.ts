// What the families between two hosts share: the two namespaces they run in, and the raw peer, a C program of the same
// technology on each side.
import type { Benchmark, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, onHost } from "../runner/hosts.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { type Host, MTU, openTopology, PORT, type Topology, topologyUnavailable } from "../runner/topology.ts";

const networkConditions = (rps: boolean, mtu: number | string): string =>
  `two namespaces joined by veth, MTU ${mtu}, ${
    rps ? "each side's receive work on its own core (RPS)" : "receive work on the sender's core (no RPS)"
  }`;

/** The same system on a link that has the payload's MTU. */
const onLinkOf =
  (topology: Topology, mtuOf: (payload: number) => number) =>
  (system: System): System => ({
    ...system,
    keysAt: (payload) => ({ mtu: mtuOf(payload), ...system.keysAt?.(payload) }),
    measure(point) {
      topology.setMtu(mtuOf(point.payload));
      return system.measure(point);
    },
  });

/**
 * A benchmark whose systems run in two namespaces of their own, which go when it is over. The MTU of the link is the
 * family's, or that of each payload, which the figures then say; unless one is asked for.
 */
export function betweenHosts(
  of: Pick<Benchmark, "name" | "summary" | "payloads" | "payloadNames" | "compared">,
  systems: (topology: Topology) => System[],
  ofFamily: number | ((payload: number) => number) = MTU,
): Benchmark {
  return {
    ...of,
    async open({ rps, mtu }) {
      const why = topologyUnavailable();
      if (why !== undefined) throw new Error(why);
      if (mtu !== undefined || typeof ofFamily === "number") {
        const one = mtu ?? (ofFamily as number);
        const topology = openTopology(rps, one);
        return { systems: systems(topology), conditions: networkConditions(rps, one), rps, close: topology.close };
      }
      const topology = openTopology(rps);
      return {
        systems: systems(topology).map(onLinkOf(topology, ofFamily)),
        conditions: networkConditions(rps, [...new Set(of.payloads.map(ofFamily))].join(" or ")),
        rps,
        close: topology.close,
      };
    },
  };
}

/** The program and roles of each kind of measurement. */
const ROLES = {
  rtt: { near: "ping", far: "echo", threads: "2 spin: ping on core 0, echo on core 1" },
  rate: { near: "send", far: "receive", threads: "2 spin: sender on core 0, receiver on core 1" },
} as const;

/**
 * bench/native/raw_TECHNOLOGY_rtt or _rate on both sides; `ends` is what it is told of them, before port and payload.
 * `variant`: the same program told to do otherwise, a system of its own.
 */
export function rawPair(
  { a, b }: Topology,
  kind: keyof typeof ROLES,
  how: { technology: string; datapath: string; mode: string; variant?: string | undefined },
  ends: (self: Host, peer: Host) => (string | number)[],
): System {
  const { technology, datapath, mode, variant } = how;
  const file = `raw_${technology}_${kind}`;
  const name = ["raw", technology, ...(variant === undefined ? [] : [variant])].join("-");
  const roles = ROLES[kind];
  return {
    system: name,
    datapath,
    mode,
    threads: roles.threads,
    unavailable: nativeUnavailable(file),
    async measure(point) {
      const side = (role: string, self: Host, peer: Host) => {
        const tail = [PORT, point.payload, point.warmup, point.seconds];
        return onHost(self, name, nativeProgram(file), [role, ...ends(self, peer), ...tail]);
      };
      const far = side(roles.far, b, a);
      const near = side(roles.near, a, b);
      return kind === "rtt"
        ? roundTrip(await measurePair(point, far, near, "near"))
        : oneWay(await measurePair(point, far, near, "far"));
    },
  };
}
