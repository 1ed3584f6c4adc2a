// What a benchmark family gives the runner: its systems, their payloads and how to measure one point. One file a
// family in bench/families/; the order of measuring, medians and comparisons are the business of rounds.ts.
import type { Measurement } from "./figures.ts";

export interface Options {
  /** Measured seconds of a point, warm-up not counted. */
  seconds: number;
  /** Interleaved rounds. */
  repeat: number;
  rps: boolean;
  /** Of the link between the hosts; left out: the family's. */
  mtu?: number;
}

export interface Point {
  payload: number;
  seconds: number;
  /** Seconds before the measured ones, the same for every system. */
  warmup: number;
}

export interface System {
  system: string;
  datapath: string;
  mode: string;
  /** Further keys of its figures, such as `load`; systems of one name differ in them. */
  keys?: Readonly<Record<string, string | number>>;
  /** Those that go with the payload, such as `frame`. */
  keysAt?: (payload: number) => Readonly<Record<string, string | number>>;
  /** Who spins, and where. */
  threads: string;
  /** Why it cannot be measured here, or nothing. */
  unavailable?: string | undefined;
  measure(point: Point): Promise<Measurement[]>;
}

/** A benchmark made ready to run; `close` takes down what was made for it. */
export interface Stage {
  /** Insane first: its modes are compared with every other system. */
  systems: System[];
  /** The conditions that all systems share, for the table. */
  conditions: string;
  /** Whether `Options.rps` was applied; nothing where no network is involved. */
  rps?: boolean;
  close(): void;
}

export interface Benchmark {
  name: string;
  summary: string;
  /** Bytes; [0] where no message is involved. */
  payloads: readonly number[];
  /** Those of them that have a name may be asked for by it. */
  payloadNames?: Readonly<Record<string, number>>;
  /** The metrics compared; the ratios are insane's value to the peer's. */
  compared: readonly string[];
  open(options: Options): Promise<Stage>;
}
