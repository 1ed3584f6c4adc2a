// What this host can offer: every technology probed, read-only, with evidence and a cure. Never throws: a probe that
// cannot run is a technology that is not available. Set-up of a technology is none of its business.

import { existsSync } from "node:fs";
import { engines } from "../native/engine.ts";
import { platform } from "../native/platform.ts";
import { type Probe, probeApart } from "../native/probe.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { CapabilityRecord } from "../protocol/control.ts";
import { type NetworkTechnology, TECHNOLOGIES } from "../protocol/qos.ts";

/** What a datapath of the native registry says about itself (struct ins_probe). */
export interface ProbeResult {
  readonly available: boolean;
  /** A software stand-in, for tests. */
  readonly emulated: boolean;
  readonly reason: string;
  readonly evidence: ReadonlyArray<string>;
  readonly cure: string;
  /** What does it, where there are several that do not understand each other: of rdma, the provider. */
  readonly provider?: string;
}

/** The probes themselves, so that tests can do without a host. Both may throw. */
export interface Probes {
  readonly sharedMemory: () => ReadonlyArray<string>;
  readonly datapath: (technology: NetworkTechnology, interfaceName: string) => ProbeResult;
}

/** Probes that stand in for those of some technologies. */
export type Instead = { readonly [K in NetworkTechnology]?: () => ProbeResult };

/** Probes all technologies in the order in which they are listed everywhere. `interfaceName` "" leaves the choice open. */
export const probeWith = (probes: Probes, interfaceName = "", instead: Instead = {}): CapabilityRecord[] =>
  TECHNOLOGIES.map((technology) => {
    try {
      return technology === "shm"
        ? {
            technology,
            available: true,
            emulated: false,
            reason: "sealed memory can be shared between processes",
            evidence: [...probes.sharedMemory()],
            cure: "",
          }
        : { technology, ...(instead[technology]?.() ?? probes.datapath(technology, interfaceName)) };
    } catch (cause) {
      return {
        technology,
        available: false,
        emulated: false,
        reason: cause instanceof Error ? cause.message : String(cause),
        evidence: cause instanceof InsaneError ? [`error: ${cause.code}`] : [],
        cure: technology === "shm" ? SHARED_MEMORY_CURE : "",
      };
    }
  });

const SHARED_MEMORY_CURE =
  "INSANE needs memfd_create with F_SEAL_FUTURE_WRITE (Linux 5.1 or newer) and a seccomp profile that allows both.";

/** Probes this host. Nothing is left behind. `interfaceName`: "" leaves the choice to each datapath. */
export const probeAll = (interfaceName = "", instead: Instead = {}): CapabilityRecord[] =>
  probeWith(HOST, interfaceName, instead);

/**
 * What streams may count on: what was found now, but of technologies that are up what was found before. That they carry
 * messages is better evidence than a probe, which may fail of a busy host; and what breaks, its engine says.
 */
export const keepUp = (
  now: ReadonlyArray<CapabilityRecord>,
  before: ReadonlyArray<CapabilityRecord>,
  up: ReadonlyArray<string>,
): ReadonlyArray<CapabilityRecord> =>
  now.map((record) => {
    if (record.available || !up.includes(record.technology)) return record;
    return before.find(({ technology, available }) => technology === record.technology && available) ?? record;
  });

/** Probes one technology of this host. May throw. */
export const probeOf = (technology: NetworkTechnology, interfaceName: string): ProbeResult =>
  HOST.datapath(technology, interfaceName);

/** libfabric is asked, in a process of its own, only where there is something that it could know. */
const RDMA_DEVICES = "/sys/class/infiniband";
const look = (technology: NetworkTechnology, about: string): Probe =>
  technology === "rdma" && (about !== "" || existsSync(RDMA_DEVICES))
    ? probeApart(technology, about)
    : engines().probe(technology, about);

const HOST: Probes = {
  sharedMemory: sealSegment,
  datapath: (technology, interfaceName) => {
    const { available, emulated, reason, evidence, cure } = look(technology, interfaceName);
    const provider = evidence.find(({ what }) => what === "provider")?.finding;
    return {
      available,
      emulated,
      reason,
      evidence: evidence.map(({ what, finding }) => `${what}: ${finding}`),
      cure,
      ...(provider === undefined ? {} : { provider }),
    };
  },
};

const PROBE_BYTES = 4096;

/** Makes a sealed segment as a pool is made, and lets it go again. */
function sealSegment(): string[] {
  const { segmentCreate, segmentMap, segmentUnmap, segmentSealFutureWrite, segmentCheck, fdClose } = platform();
  const fd = segmentCreate("insane-probe", PROBE_BYTES);
  try {
    const address = segmentMap(fd, PROBE_BYTES, true);
    try {
      segmentSealFutureWrite(fd);
      segmentCheck(fd, PROBE_BYTES);
    } finally {
      segmentUnmap(address, PROBE_BYTES);
    }
  } finally {
    fdClose(fd);
  }
  return ["memfd_create: sealed against SHRINK, GROW and FUTURE_WRITE, mapped and released"];
}
