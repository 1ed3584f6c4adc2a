// The insane side of rtt-local and rate-local: two applications attached to one daemon, which is not on their path.
import type { System } from "../runner/benchmark.ts";
import { repositoryFile } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import type { Reading } from "../runner/readings.ts";
import { insaneUnavailable, startDaemon } from "./daemon.ts";

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
            repositoryFile(`bench/insane/${task}.ts`),
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
        const far = start(side("far", 1));
        await far.ready();
        const near = start(side("near", 0));
        if (task === "rtt") return read(await near.result(seconds, far, daemon.program));
        const received = await far.result(seconds, daemon.program);
        const sent = await near.result(seconds, daemon.program);
        const cost = (received["cost"] ?? 0) + (sent["cost"] ?? 0);
        // Only full bursts are timed, so a window smaller than a burst leaves no figure.
        const timed = (received["cost"] ?? 0) > 0 && (sent["cost"] ?? 0) > 0;
        return [...read(received), ...(timed ? [{ metric: "js-cost", unit: "ns", p50: cost } as const] : [])];
      }),
  }));
}
