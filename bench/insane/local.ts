// The insane side of rtt-local and rate-local: two applications attached to one daemon, which is not on their path.
import type { System } from "../runner/benchmark.ts";
import { nodeProgram } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import type { Reading } from "../runner/readings.ts";
import { insaneUnavailable, startDaemon } from "./daemon.ts";

/** Larger payloads run out of slots before a burst is full. */
const COST_PAYLOAD = 1024;

export type LocalTask = "rtt" | "rate";

const THREADS = {
  spin: "2 spin: one application on core 0, one on core 1; the daemon is parked",
  parked: "none spin: one event loop on core 0, one on core 1; the daemon is parked",
};

export function insaneLocal(task: LocalTask, folder: string, read: Reading): System[] {
  return (["spin", "parked"] as const).map((mode) => ({
    system: "insane",
    datapath: "shm",
    mode,
    threads: THREADS[mode],
    unavailable: insaneUnavailable(),
    measure: (point) =>
      withPrograms(async (start) => {
        const daemon = await startDaemon(start, folder, { core: 0 }, { network: { enabled: false } });
        const waiting = mode === "parked" ? "park" : "spin";
        const side = (role: "near" | "far", core: number) => ({
          name: `insane ${task} ${mode}, ${role}`,
          core,
          program: process.execPath,
          args: [
            nodeProgram(`bench/insane/${task}`),
            "attach",
            daemon.socket,
            role,
            waiting,
            ...(task === "rtt" ? ["mark"] : []),
            point.payload,
            point.warmup,
            point.seconds,
          ],
        });
        const seconds = point.warmup + point.seconds;
        /** Of get, emit, consume and release, on one thread; afterwards, when nobody else runs. */
        const cost = async () => {
          const program = start({
            name: "insane cost of a message",
            core: 1,
            program: process.execPath,
            args: [
              nodeProgram("bench/insane/cost"),
              "attach",
              daemon.socket,
              "callback",
              point.payload,
              point.warmup,
              point.seconds,
            ],
          });
          const { p50 = 0, p99 = 0 } = await program.result(seconds, daemon.program);
          return [{ metric: "js-cost", unit: "ns", p50, p99 } as const];
        };
        const far = start(side("far", 1));
        await far.ready();
        const near = start(side("near", 0));
        if (task === "rtt") return read(await near.result(seconds, far, daemon.program));
        const received = await far.result(seconds, daemon.program);
        await near.result(seconds, daemon.program);
        return [...read(received), ...(mode === "spin" && point.payload <= COST_PAYLOAD ? await cost() : [])];
      }),
  }));
}
