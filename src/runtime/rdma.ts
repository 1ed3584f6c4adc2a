// RDMA as this runtime may serve it: with hardware by itself, over a software provider only where the configuration names
// one. Looks at the host's list of devices; opens nothing.
import { readdirSync } from "node:fs";
import type { ServingPlan } from "../actors/serving.ts";
import { type ProbeResult, probeOf } from "../qos/capabilities.ts";
import type { RuntimeConfig } from "./api.ts";

/** Providers that a configuration may name; all but the first are software. */
export const RDMA_PROVIDERS = ["verbs", "net", "tcp", "tcp;ofi_rxm"] as const;
export type RdmaProvider = (typeof RDMA_PROVIDERS)[number];

/** Every message comes whole, so a slot holds the largest there is on the wire. */
const SLOT_BYTES = 65_536;
/** A sender waits while there is none, so few are enough. */
const SLOTS = 256;
const DEVICES = "/sys/class/infiniband";

function devices(): string[] {
  try {
    return readdirSync(DEVICES);
  } catch {
    return []; // this kernel has no RDMA
  }
}

/** Why this configuration excludes it, or null. */
function excluded({ network }: RuntimeConfig): string | null {
  if (!network.enabled) return "network.enabled";
  return network.rdma.enabled === false ? "network.rdma.enabled" : null;
}

export function probeRdma(config: RuntimeConfig): ProbeResult {
  const field = excluded(config);
  if (field === null) return probeOf("rdma", config.network.rdma.provider ?? "");
  const reason = `it is switched off in this runtime's configuration (${field})`;
  return { available: false, emulated: false, reason, evidence: [], cure: `Set ${field}.` };
}

/** Null where there is none to serve: no device, and no provider named. */
export function rdmaPlan(config: RuntimeConfig): ServingPlan | null {
  const { engine, network } = config;
  const { rdma } = network;
  if (excluded(config) !== null) return null;
  if (rdma.provider === null && rdma.enabled !== true && devices().length === 0) return null;
  return {
    lane: "rdma",
    name: "rdma",
    engine: { ...engine, idle: rdma.idle ?? engine.idle, cpu: rdma.cpu },
    aliveMs: network.helloIntervalMs,
    largeBytes: config.limits.largeBytesPerStream,
    options: rdma.provider === null ? "" : `provider=${rdma.provider}`,
    at: { address: network.address, port: rdma.port },
    receive: { slots: rdma.slots ?? SLOTS, bytes: SLOT_BYTES },
  };
}
