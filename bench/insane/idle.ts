// The insane side of idle: processor time of all threads of a daemon, from the kernel's account in nanoseconds.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { System } from "../runner/benchmark.ts";
import { nodeProgram } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import { insaneUnavailable, startDaemon } from "./daemon.ts";

const SESSIONS = 3;
/** Attaching is over, the compiler of the daemon's JavaScript has come to rest. */
const SETTLE_MS = 2000;
/** Clock ticks of /proc/PID/stat, for kernels without schedstat. */
const TICK_NS = 10_000_000;

/** Nanoseconds that the threads of a process have run. Threads that ended meanwhile are not seen. */
export function processorTime(pid: number): number {
  try {
    let total = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`))
      total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    return total;
  } catch {
    // Fields 14 and 15, counted behind the command's name, which may hold spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_NS;
  }
}

export function insaneIdle(folder: string): System {
  return {
    system: "insane",
    datapath: "udp",
    mode: "daemon-parked",
    threads: `none spin: the daemon, ${SESSIONS} attached applications, all at rest`,
    unavailable: insaneUnavailable(),
    measure: (point) =>
      withPrograms(async (start) => {
        const daemon = await startDaemon(start, folder, { core: 0 }, { network: { address: "127.0.0.1", port: 0 } });
        for (let i = 1; i <= SESSIONS; i++) {
          const program = start({
            name: `attached application ${i}`,
            core: 1,
            program: process.execPath,
            args: [nodeProgram("bench/insane/attached"), daemon.socket, i],
          });
          await program.ready();
        }
        await delay(SETTLE_MS);
        daemon.program.mustRun();
        const began = performance.now();
        const before = processorTime(daemon.program.pid);
        await delay(point.seconds * 1e3);
        daemon.program.mustRun();
        const used = processorTime(daemon.program.pid) - before;
        return [{ metric: "cpu", unit: "%", p50: (100 * used) / ((performance.now() - began) * 1e6) }];
      }),
  };
}
