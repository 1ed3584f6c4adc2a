// threads: what each way to serve the engines of a host gives and costs: the application's own thread, a thread for each
// engine, one for all of them; parked and yielding.
import { amongOthers } from "../insane/network.ts";
import { spreadReceivers, threadStrategies } from "../insane/threads.ts";
import type { System } from "../runner/benchmark.ts";
import type { Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

/** Its cpu is all of a core on both sides: application and engine are one thread that spins. */
const inline = (topology: Topology): System => ({
  system: "insane",
  datapath: "udp",
  mode: "inline",
  keys: { strategy: "inline" },
  threads: "2 spin: application with its engine inline on core 0, the same on core 1",
  measure: async (point) => [
    ...(await amongOthers(topology, "0,0,0", point)),
    { metric: "cpu", unit: "%", p50: 100 },
    { metric: "rate-cpu", unit: "%", p50: 100 },
  ],
});

export const threads = betweenHosts(
  {
    name: "threads",
    summary: "round trip, rate and processor time over kernel UDP for each way to serve a host's engines by threads",
    payloads: [64],
    compared: [],
  },
  (topology) => [inline(topology), ...threadStrategies(topology), ...spreadReceivers(topology)],
);
