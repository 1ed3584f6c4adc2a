// The fields of the configuration about engine threads and cores: their schema, what does not go together, and cores that are
// not there. What is decided from them is src/qos/threads.ts.
import { readFileSync } from "node:fs";
import * as Schema from "effect/Schema";
import { InsaneError } from "../protocol/codes.ts";
import { LANES, UDP_LANES } from "../protocol/lanes.ts";
import type { RuntimeConfig } from "./api.ts";
import type { ConfigFault } from "./config.ts";
import { flag, whole } from "./config-fields.ts";

const thread = Schema.optionalKey(whole(0, 3, " (number of a thread)"));
export const Threads = Schema.Struct({
  most: Schema.NullOr(whole(1, LANES.length, " threads")),
  map: Schema.NullOr(Schema.Struct({ udp: thread, xdp: thread, dpdk: thread, rdma: thread })),
  advisor: Schema.Literals(["off", "recommend", "act"]),
});

export const Udp = Schema.Struct({
  threads: whole(1, UDP_LANES.length, " receiving threads"),
  trains: flag,
});

export function threadFaults(config: RuntimeConfig): ConfigFault[] {
  const { threads, engine, engines } = config;
  const { most, map } = threads;
  const faults: ConfigFault[] = spreadFaults(config);
  if (engine.mode === "inline") {
    const allowed = "null, unless engine.mode is thread: the application's own thread serves all its engines";
    if (most !== null) faults.push({ field: "threads.most", value: most, allowed });
    if (map !== null) faults.push({ field: "threads.map", value: map, allowed });
  }
  for (const technology of ["udp", "xdp", "dpdk", "rdma"] as const) {
    if (map?.[technology] === undefined || !engines.process[technology]) continue;
    const allowed = `left out, unless engines.process.${technology} is false: another process has threads of its own`;
    faults.push({ field: `threads.map.${technology}`, value: map[technology], allowed });
  }
  const numbers = new Set(Object.values(map ?? {}));
  if (most !== null && numbers.size > most) {
    const allowed = `at least ${numbers.size}, as many as threads.map names`;
    faults.push({ field: "threads.most", value: most, allowed });
  }
  return faults;
}

/** What does not go together with several receiving threads of kernel UDP. */
function spreadFaults({ threads, engine, engines, network }: RuntimeConfig): ConfigFault[] {
  const { udp, dataPort, schedule } = network;
  const others: ReadonlyArray<readonly [boolean, string]> = [
    [engine.mode === "inline", "unless engine.mode is thread: the application's own thread serves all its engines"],
    [engines.process.udp, "unless engines.process.udp is false: an engine in another process receives alone"],
    [schedule !== null, "beside network.schedule: by a schedule one thread alone sends"],
    [
      dataPort !== 0 && dataPort + udp.threads - 1 > 65535,
      `with network.dataPort ${dataPort}: each takes the next port`,
    ],
  ];
  const why = udp.threads > 1 ? others.filter(([is]) => is) : [];
  const faults = why.map(([, text]) => ({ field: "network.udp.threads", value: udp.threads, allowed: `1 ${text}` }));
  const { most } = threads;
  if (most === null || udp.threads <= most) return faults;
  return [...faults, { field: "network.udp.threads", value: udp.threads, allowed: `at most threads.most (${most})` }];
}

/** "0-3,8" as the kernel writes it. */
export function coresOf(list: string): Set<number> {
  const cores = new Set<number>();
  for (const part of list.trim().split(",")) {
    const [first = Number.NaN, last = first] = part.split("-").map(Number);
    for (let core = first; core <= last; core++) cores.add(core);
  }
  return cores;
}

/** Threads that are to be pinned to a core that this host does not have. */
export function coreFaults({ engine, network }: RuntimeConfig, list: string): ConfigFault[] {
  const cores = coresOf(list);
  const fields: ReadonlyArray<readonly [string, number | null]> = [
    ["engine.cpu", engine.cpu],
    ["network.xdp.cpu", network.xdp.cpu],
    ["network.dpdk.cpu", network.dpdk.cpu],
    ["network.rdma.cpu", network.rdma.cpu],
  ];
  return fields
    .filter(([, cpu]) => cpu !== null && !cores.has(cpu))
    .map(([field, value]) => ({ field, value, allowed: `a core that is there: ${list.trim()}` }));
}

/** Throws ECONFIG, naming the field. */
export function checkCores(config: RuntimeConfig): void {
  let list: string;
  try {
    list = readFileSync("/sys/devices/system/cpu/online", "utf8");
  } catch {
    return; // not shown here: what cannot be pinned is told when it is tried
  }
  const faults = coreFaults(config, list);
  if (faults.length === 0) return;
  const lines = faults.map(({ field, value, allowed }) => `${field} is ${value}; allowed: ${allowed}`);
  throw new InsaneError("ECONFIG", `configuration: ${lines.join("; ")}`, { faults });
}
