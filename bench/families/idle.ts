// idle: what a daemon costs while three sessions are attached and nothing moves.
import { insaneIdle } from "../insane/idle.ts";
import type { Benchmark } from "../runner/benchmark.ts";
import { socketFolder } from "../runner/socket-folder.ts";

export const idle: Benchmark = {
  name: "idle",
  summary: "processor time of a daemon with three attached sessions, each with a source and a sink, and no traffic",
  payloads: [0],
  compared: [],
  async open() {
    const folder = socketFolder();
    return {
      systems: [insaneIdle(folder.path)],
      conditions: "all threads of the daemon, in % of one core",
      close: folder.remove,
    };
  },
};
