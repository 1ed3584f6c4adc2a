// What this host can offer to a runtime as it is configured: every technology probed, XDP on the interface that the runtime
// would use. What the configuration excludes is told as such, not probed.
import type { CapabilityRecord } from "../protocol/control.ts";
import { type ProbeResult, probeAll, probeOf } from "../qos/capabilities.ts";
import type { RuntimeConfig } from "./api.ts";
import { xdpInterface } from "./servings.ts";

/** Read-only; nothing is left behind. */
export const probeFor = (config: RuntimeConfig): CapabilityRecord[] => probeAll("", { xdp: () => probeXdp(config) });

function probeXdp(config: RuntimeConfig): ProbeResult {
  const at = xdpInterface(config);
  if ("why" in at) return { available: false, emulated: false, reason: at.why, evidence: [], cure: at.cure };
  return probeOf("xdp", at.name);
}
