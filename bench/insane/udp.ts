// The insane side of rtt-udp and rate-udp, as the runner sees it.
import type { System } from "../runner/benchmark.ts";
import type { Topology } from "../runner/topology.ts";

const NOT_YET = "the library is not there yet";
const missing = (mode: string): System => ({
  system: "insane",
  datapath: "udp",
  mode,
  threads: "",
  unavailable: NOT_YET,
  measure: () => Promise.reject(new Error(NOT_YET)),
});

export const insaneUdpRoundTrips = (_: Topology): System[] => ["inline", "daemon", "daemon-parked"].map(missing);
export const insaneUdpRates = (_: Topology): System[] => ["inline", "native"].map(missing);
