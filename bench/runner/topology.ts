// Two network namespaces joined by a veth pair stand for two hosts: one queue, fixed neighbours (no ARP in the
// figures), the same MTU for every system. Whatever it creates it removes; leftovers of killed runs are swept.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { undoAtExit } from "./cleanup.ts";

/** Holds the largest payload (8,192 bytes) in one frame; a GSO segment must fit the MTU. */
export const MTU = 9000;
export const PORT = 9700;

export interface Host {
  name: "A" | "B";
  namespace: string;
  device: string;
  address: string;
  core: number;
}

export interface Topology {
  a: Host;
  b: Host;
  /** For what is started from now on. */
  setMtu(mtu: number): void;
  close(): void;
}

const PREFIX = "ibn";

function ip(...args: string[]): void {
  const done = spawnSync("ip", args, { encoding: "utf8" });
  if (done.error) throw new Error(`ip ${args.join(" ")}: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`ip ${args.join(" ")}: ${done.stderr.trim()}`);
}

/** Why there can be no namespaces here, or nothing. */
export function topologyUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root: two network namespaces stand for two hosts";
  const probe = spawnSync("ip", ["-V"]);
  return probe.error ? "needs the program ip (Debian package iproute2)" : undefined;
}

function sweep(): void {
  let names: string[] = [];
  try {
    names = readdirSync("/run/netns");
  } catch {
    return; // no namespace was ever made here
  }
  for (const name of names) {
    const owner = new RegExp(`^${PREFIX}-(\\d+)-[ab]$`).exec(name)?.[1];
    if (owner && !existsSync(`/proc/${owner}`)) spawnSync("ip", ["netns", "del", name]);
  }
}

/** MAC address of a host's device. */
export const hardwareAddress = (side: Host): string => `02:00:00:00:79:0${side.core + 1}`;

/** With `rps` each side's receive work runs on its own core, as behind a network card; else on the sender's. */
export function openTopology(rps: boolean, mtu = MTU): Topology {
  sweep();
  const host = (name: "A" | "B", core: number): Host => ({
    name,
    namespace: `${PREFIX}-${process.pid}-${name.toLowerCase()}`,
    device: `${PREFIX}${core}`,
    address: `10.79.0.${core + 1}`,
    core,
  });
  const a = host("A", 0);
  const b = host("B", 1);
  const close = undoAtExit(() => {
    for (const { namespace } of [a, b]) spawnSync("ip", ["netns", "del", namespace]);
  });
  try {
    for (const { namespace } of [a, b]) ip("netns", "add", namespace);
    const end = (side: Host) => [
      "netns",
      side.namespace,
      "address",
      hardwareAddress(side),
      "numrxqueues",
      "1",
      "numtxqueues",
      "1",
    ];
    ip("link", "add", a.device, ...end(a), "type", "veth", "peer", "name", b.device, ...end(b));
    for (const [side, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const inside = (...args: string[]) => ip("-n", side.namespace, ...args);
      inside("address", "add", `${side.address}/24`, "dev", side.device);
      inside("link", "set", side.device, "up", "mtu", String(mtu));
      inside("link", "set", "lo", "up");
      inside("neighbour", "replace", other.address, "lladdr", hardwareAddress(other), "dev", side.device);
      if (rps) {
        const mask = (1 << side.core).toString(16);
        const file = `/sys/class/net/${side.device}/queues/rx-0/rps_cpus`;
        // ip netns exec mounts the /sys of the namespace.
        ip("netns", "exec", side.namespace, "sh", "-c", `echo ${mask} > ${file}`);
      }
    }
  } catch (error) {
    close();
    throw error;
  }
  const setMtu = (bytes: number) => {
    for (const { namespace, device } of [a, b]) ip("-n", namespace, "link", "set", device, "mtu", String(bytes));
  };
  return { a, b, setMtu, close };
}
