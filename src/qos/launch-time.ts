// Whether this kernel could keep a gate schedule itself: the queueing disciplines etf (SO_TXTIME) and taprio, and a clock
// of the network card. Told by `insane doctor`; the engine's own scheduler needs none of it. Reads only.
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";

export interface LaunchTime {
  /** Unknown where the kernel does not show its configuration. */
  readonly etf: "present" | "absent" | "unknown";
  readonly taprio: "present" | "absent" | "unknown";
  /** A PTP clock, such as one of a network card. */
  readonly clock: boolean;
  readonly evidence: string;
}

/** The kernel's configuration as text, and where it was found; null: not shown. */
function kernelConfiguration(): { readonly text: string; readonly from: string } | null {
  const boot = `/boot/config-${release()}`;
  if (existsSync("/proc/config.gz")) {
    return { text: gunzipSync(readFileSync("/proc/config.gz")).toString(), from: "/proc/config.gz" };
  }
  return existsSync(boot) ? { text: readFileSync(boot, "utf8"), from: boot } : null;
}

/** What a kernel's configuration says about an option: built in, a module, or neither. */
export const configured = (text: string, option: string): boolean => new RegExp(`^${option}=[ym]$`, "m").test(text);

export function launchTime(): LaunchTime {
  const clock = existsSync("/dev/ptp0");
  const found = kernelConfiguration();
  if (found === null) {
    return { etf: "unknown", taprio: "unknown", clock, evidence: "the kernel does not show its configuration" };
  }
  const option = (name: string): "present" | "absent" => (configured(found.text, name) ? "present" : "absent");
  return {
    etf: option("CONFIG_NET_SCH_ETF"),
    taprio: option("CONFIG_NET_SCH_TAPRIO"),
    clock,
    evidence: `CONFIG_NET_SCH_ETF and CONFIG_NET_SCH_TAPRIO in ${found.from}`,
  };
}
