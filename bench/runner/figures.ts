// What a benchmark run says: figures, skipped systems and comparisons, as the JSON lines of the benchmark contract.
// Types only, and the one place that turns them into text for machines; the table for people is in table.ts.

export type Unit = "us" | "kmsg/s" | "Gbit/s" | "%" | "ns" | "per 10,000" | "instructions" | "frames/s" | "ms";

/** Figures of one metric; a rate or another single figure is in `p50`, and `p99` is left out. */
export interface Measurement {
  metric: string;
  unit: Unit;
  p50: number;
  p99?: number;
}

/** Who was measured, on what, and how it waits. */
export interface Identity {
  bench: string;
  system: string;
  datapath: string;
  mode: string;
  /** Further keys of the contract, such as `load`. */
  keys?: Readonly<Record<string, string | number>>;
}

export interface Figure extends Identity, Measurement {
  /** Bytes of a message; 0 where no message is involved. */
  payload: number;
  /** Who spins, and where. */
  threads: string;
  /** Load average of the machine over one minute, before the point. */
  load1: number;
  /** Present and true when each side's receive work was put on its own core. */
  rps?: true;
}

/** A system that was not measured, and why; without `payload` at none of them. */
export interface Skip extends Identity {
  payload?: number;
  skipped: string;
}

/** `insane` in its first mode is written "insane/PEER", its other modes "insane MODE/PEER". */
export interface Ratio {
  bench: string;
  ratio: string;
  /** Of a peer that was measured in several. */
  peerMode?: string;
  payload: number;
  metric: string;
  value: number;
}

export type Line = Figure | Skip | Ratio;

const rounded = (value: number): number => (Number.isFinite(value) ? Number(value.toPrecision(5)) : value);

/** One JSON object, keys in the order of the contract, numbers to five digits. */
export function jsonLine(line: Line): string {
  if ("ratio" in line) return JSON.stringify({ ...line, value: rounded(line.value) });
  const { keys = {}, ...rest } = line;
  if ("skipped" in rest) return JSON.stringify({ ...rest, ...keys });
  const { bench, system, datapath, mode, payload, metric, p50, p99, unit, threads, load1, rps } = rest;
  return JSON.stringify({
    bench,
    system,
    datapath,
    mode,
    payload,
    metric,
    p50: rounded(p50),
    ...(p99 === undefined ? {} : { p99: rounded(p99) }),
    unit,
    threads,
    load1,
    ...keys,
    ...(rps ? { rps } : {}),
  });
}
