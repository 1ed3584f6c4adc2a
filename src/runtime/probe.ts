// What this host can offer to a runtime as it is configured: every technology probed, XDP and DPDK on what the runtime
// would use. What the configuration excludes is told as such, not probed.
import { InsaneError } from "../protocol/codes.ts";
import type { CapabilityRecord } from "../protocol/control.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { type ProbeResult, probeAll, probeOf } from "../qos/capabilities.ts";
import type { RuntimeConfig } from "./api.ts";
import { probeRdma } from "./rdma.ts";
import { dpdkOptions, xdpInterface } from "./servings.ts";

/** Read-only; nothing is left behind. `rdma`: what is known of it, where it is not to be asked. */
export const probeFor = (config: RuntimeConfig, rdma?: CapabilityRecord): CapabilityRecord[] =>
  probeAll("", { xdp: () => probeXdp(config), dpdk: () => probeDpdk(config), rdma: () => rdma ?? probeRdma(config) });

function probeXdp(config: RuntimeConfig): ProbeResult {
  const at = xdpInterface(config);
  if ("why" in at) return without(at);
  const { mode, mtu } = config.network.xdp;
  return probeOf("xdp", `${at.name},mode=${mode}${mtu === null ? "" : `,mtu=${mtu}`}`);
}

function probeDpdk(config: RuntimeConfig): ProbeResult {
  const { address, port } = config.network.dpdk;
  const asked = dpdkOptions(config);
  // The library is looked at in any case: whether it is there is worth knowing before a device is configured.
  if (!config.network.enabled || config.network.dpdk.enabled === false)
    return "why" in asked ? without(asked) : probeOf("dpdk", "");
  return probeOf("dpdk", "why" in asked ? "" : `address=${address},port=${port},${asked.options}`);
}

const without = ({ why, cure }: { readonly why: string; readonly cure: string }): ProbeResult => ({
  available: false,
  emulated: false,
  reason: why,
  evidence: [],
  cure,
});

/** Of a technology that nobody has looked at yet. */
export const unprobed = (technology: NetworkTechnology): CapabilityRecord => ({
  technology,
  available: false,
  emulated: false,
  reason: "it was not probed",
  evidence: [],
  cure: "",
});

/** For a runtime that is configured not to start without a technology. */
export function missing(technology: NetworkTechnology, record = unprobed(technology)): InsaneError {
  const { reason, cure } = record;
  const message = `network.${technology}.enabled is true, but there is no ${technology.toUpperCase()} here: ${reason}. ${cure}`;
  return new InsaneError("ESYSTEM", message);
}
