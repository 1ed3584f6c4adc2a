// The insane side of rtt-local and rate-local, as the runner sees it.
import type { LocalTask } from "../families/local-peers.ts";
import type { System } from "../runner/benchmark.ts";
import type { Measurement } from "../runner/figures.ts";

const NOT_YET = "the library is not there yet";

export const insaneLocal = (
  _task: LocalTask,
  _folder: string,
  _read: (result: Record<string, number>) => Measurement[],
): System[] =>
  ["spin", "parked"].map((mode) => ({
    system: "insane",
    datapath: "shm",
    mode,
    threads: "",
    unavailable: NOT_YET,
    measure: () => Promise.reject(new Error(NOT_YET)),
  }));
