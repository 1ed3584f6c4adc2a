// What Node itself offers two processes of one host, as the peers of rtt-local and rate-local: a Unix stream socket
// with length-prefixed messages, and process.send between a parent and its forked child.
import { join } from "node:path";
import type { LocalTask } from "../insane/local.ts";
import type { System } from "../runner/benchmark.ts";
import { measurePair, nodeProgram } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import type { Reading } from "../runner/readings.ts";

const THREADS = "none spin: one event loop on core 0, one on core 1";

export function nodeUnix(task: LocalTask, folder: string, read: Reading): System {
  let runs = 0;
  return {
    system: "node-unix",
    datapath: "unix",
    mode: "event-loop",
    threads: THREADS,
    async measure(point) {
      const socket = join(folder, `peer-${++runs}.sock`);
      const side = (role: "near" | "far", core: number) => ({
        name: `node-unix ${role}`,
        core,
        program: process.execPath,
        args: [nodeProgram("bench/peers/node-unix"), role, task, socket, point.payload, point.warmup, point.seconds],
      });
      return read(await measurePair(point, side("far", 1), side("near", 0), task === "rtt" ? "near" : "far"));
    },
  };
}

export function nodeProcessSend(task: LocalTask, read: Reading): System {
  return {
    system: "node-process-send",
    datapath: "unix",
    mode: "event-loop",
    threads: THREADS,
    measure: (point) =>
      withPrograms(async (start) => {
        const parent = start({
          name: "node-process-send",
          core: 0,
          program: process.execPath,
          args: [
            nodeProgram("bench/peers/node-process-send"),
            "near",
            task,
            point.payload,
            point.warmup,
            point.seconds,
          ],
        });
        return read(await parent.result(point.warmup + point.seconds));
      }),
  };
}
