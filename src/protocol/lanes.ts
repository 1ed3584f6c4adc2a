// Lanes: by which engine of a host messages come. Each technology has one; kernel UDP has as many as its receiving work is spread
// over (docs/threads.md), each with an endpoint of its own, by whose name subscriptions ask for it. Pure; may know of no engine.
import type { NetworkTechnology } from "./qos.ts";

/** A technology's own lane bears its name, and is the only one that sends messages; the others receive. */
export const LANES = ["udp", "xdp", "dpdk", "rdma", "udp-2", "udp-3", "udp-4"] as const;
export type Lane = (typeof LANES)[number];

/** Those of kernel UDP, in their order. */
export const UDP_LANES = ["udp", "udp-2", "udp-3", "udp-4"] as const satisfies ReadonlyArray<Lane>;

export const isLane = (name: string): name is Lane => (LANES as ReadonlyArray<string>).includes(name);

const isUdp = (lane: Lane): lane is (typeof UDP_LANES)[number] => (UDP_LANES as ReadonlyArray<Lane>).includes(lane);

export const technologyOf = (lane: Lane): NetworkTechnology => (isUdp(lane) ? "udp" : lane);

export const lanesOf = (technology: NetworkTechnology): ReadonlyArray<Lane> =>
  technology === "udp" ? UDP_LANES : [technology];

/** It sends nothing but what its own flows need: statuses, echoes, signs of life. */
export const receivesOnly = (lane: Lane): boolean => technologyOf(lane) !== lane;

/** 2^32 by the golden ratio: channels in a row, and most other series, come to lie evenly. */
const GOLDEN = 0x9e3779b1;

/**
 * The lane by which messages of a channel come over a technology, of which `spread` lanes are configured for kernel UDP. It
 * follows from tag and channel alone, so that a channel stays on its lane whatever comes, goes or fails.
 */
export function laneOf(technology: NetworkTechnology, tag: number, channel: number, spread: number): Lane {
  if (technology !== "udp" || spread === 1) return technology;
  const hash = (tag + Math.imul(channel, GOLDEN)) >>> 0;
  return UDP_LANES[Math.floor((hash / 2 ** 32) * spread)] ?? "udp";
}
