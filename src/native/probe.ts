// What a datapath finds out about this host: decoded from struct ins_probe (core/datapath.h), asked in this process or, of
// libraries that may crash or hang, in one that is thrown away.
import { spawnSync } from "node:child_process";
import { engineProgram } from "./library.ts";

/** What a datapath found out about this host. */
export interface Probe {
  readonly name: string;
  readonly available: boolean;
  /** -errno of the step that failed, or 0. */
  readonly error: number;
  /** Of the interface looked at, or 0. */
  readonly mtu: number;
  readonly gro: boolean;
  readonly gso: boolean;
  readonly zeroCopy: boolean;
  /** A software stand-in, for tests. */
  readonly emulated: boolean;
  readonly reason: string;
  readonly evidence: ReadonlyArray<{ readonly what: string; readonly finding: string }>;
  /** What an operator can do, or empty. */
  readonly cure: string;
}

/** Of a struct ins_probe. */
export const PROBE_BYTES = 1552;
const PROBE = {
  AVAILABLE: 0,
  ERROR: 4,
  MTU: 8,
  FLAGS: 12,
  REASON: 16,
  EVIDENCE: 272,
  CURE: 1296,
} as const;
const PROBE_FLAG = { GRO: 1, GSO: 2, ZERO_COPY: 4, EMULATED: 8 } as const;

/** How long a library may take to look at this host, ms. */
const PROBE_MS = 5000;

export function decodeProbe(name: string, bytes: Uint8Array): Probe {
  const fields = new DataView(bytes.buffer, bytes.byteOffset, PROBE_BYTES);
  const text = new TextDecoder();
  const string = (from: number, to: number): string => {
    const part = bytes.subarray(from, to);
    const end = part.indexOf(0);
    return text.decode(end < 0 ? part : part.subarray(0, end));
  };
  const flags = fields.getUint32(PROBE.FLAGS, true);
  return {
    name,
    available: fields.getUint32(PROBE.AVAILABLE, true) !== 0,
    error: fields.getInt32(PROBE.ERROR, true),
    mtu: fields.getUint32(PROBE.MTU, true),
    gro: (flags & PROBE_FLAG.GRO) !== 0,
    gso: (flags & PROBE_FLAG.GSO) !== 0,
    zeroCopy: (flags & PROBE_FLAG.ZERO_COPY) !== 0,
    emulated: (flags & PROBE_FLAG.EMULATED) !== 0,
    reason: string(PROBE.REASON, PROBE.EVIDENCE),
    evidence: string(PROBE.EVIDENCE, PROBE.CURE)
      .split("\n")
      .filter((line) => line.includes(": "))
      .map((line) => {
        const colon = line.indexOf(": ");
        return { what: line.slice(0, colon), finding: line.slice(colon + 2) };
      }),
    cure: string(PROBE.CURE, PROBE_BYTES),
  };
}

/**
 * As `engines().probe`, in a process of its own: for what asks a library that may crash, hang or leave handlers behind.
 * Blocks until it has answered, at most five seconds. Throws `ELIBRARY` when that program is not there.
 */
export function probeApart(name: string, about: string, program = engineProgram()): Probe {
  const { output, signal, status, error } = spawnSync(program, ["--probe", name, about], {
    // Libraries write what they like to the usual three.
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    timeout: PROBE_MS,
    killSignal: "SIGKILL",
  });
  const answer = output?.[3] as Uint8Array | null | undefined;
  if (status === 0 && answer?.byteLength === PROBE_BYTES) return decodeProbe(name, answer);
  const late = (error as NodeJS.ErrnoException | undefined)?.code === "ETIMEDOUT";
  const how = late ? `gave no answer in ${PROBE_MS} ms` : `ended by ${signal ?? `itself, status ${status}`}`;
  return {
    ...{ name, available: false, error: 0, mtu: 0, gro: false, gso: false, zeroCopy: false, emulated: false },
    reason: `looking at this host for ${name} failed: the process that asks its library ${how}`,
    evidence: [{ what: "probe", finding: how }],
    cure: "See whether the library or the driver of its device works with its own tools, or update it.",
  };
}
