// What the programs of the line tell each other beside pictures, as JSON on topics of Lunar MoM.
import type { Box } from "./difference.ts";

export const TOPICS = { verdicts: "line/verdicts", tallies: "line/tallies" } as const;
export const cameraName = (camera: number): string => `camera-${camera}`;

/** The detector's answer to one picture. */
export interface Verdict {
  readonly camera: number;
  readonly frame: number;
  readonly part: number;
  readonly good: boolean;
  readonly boxes: ReadonlyArray<Box>;
  readonly score: number;
  /** What looking took, milliseconds. */
  readonly inspectMs: number;
}

/** How a camera's parts were judged, by what it knows of them; latencies in ms from the start of capture to the answer. */
export interface Tally {
  readonly camera: number;
  readonly photographed: number;
  readonly answered: number;
  readonly rejected: number;
  readonly missed: number;
  readonly falseAlarms: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
}
