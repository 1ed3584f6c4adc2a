// The insane side of idle, as the runner sees it.
import type { System } from "../runner/benchmark.ts";

const NOT_YET = "the library is not there yet";

export const insaneIdle = (_folder: string): System => ({
  system: "insane",
  datapath: "shm",
  mode: "daemon-parked",
  threads: "none spin",
  unavailable: NOT_YET,
  measure: () => Promise.reject(new Error(NOT_YET)),
});
