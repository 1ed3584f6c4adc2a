// fanout: one source and 1 to 8 sinks in processes of their own, at a load that one sink takes easily: each has to get all of
// it. And what one more sink costs an engine that has received a message, with all consumers awake.
import { insaneUnavailable, startDaemon } from "../insane/daemon.ts";
import { BURST, hotpathTime, hotpathUnavailable } from "../insane/hotpath.ts";
import type { Benchmark, System } from "../runner/benchmark.ts";
import { nodeProgram } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import { socketFolder } from "../runner/socket-folder.ts";

const SINKS = [1, 2, 4, 8] as const;
/** Offered messages a second. */
const RATE = 10_000;
const MOST = 8;

const fan = (sinks: number, folder: string): System => ({
  system: "insane",
  datapath: "shm",
  mode: "parked",
  keys: { sinks, offered: RATE },
  threads: `none spin: the source on core 0, ${sinks} ${sinks === 1 ? "sink" : "sinks"} on core 1; the daemon is parked`,
  unavailable: insaneUnavailable(),
  measure: (point) =>
    withPrograms(async (start) => {
      const daemon = await startDaemon(start, folder, { core: 0 }, { network: { enabled: false } });
      const program = (name: string, core: number, ...args: (string | number)[]) =>
        start({
          name: `insane fanout, ${name}`,
          core,
          program: process.execPath,
          args: [nodeProgram("bench/insane/fanout"), "attach", daemon.socket, ...args],
        });
      const far = [];
      for (let i = 1; i <= sinks; i++) far.push(program(`sink ${i}`, 1, "far", point.warmup, point.seconds));
      for (const one of far) await one.ready();
      const near = program("source", 0, "near", sinks, RATE, point.warmup, point.seconds);
      const seconds = point.warmup + point.seconds;
      const results = await Promise.all(far.map((one) => one.result(seconds, daemon.program)));
      await near.result(seconds, daemon.program);
      const of = (key: string): number[] => results.map((result) => result[key] ?? Number.NaN);
      return [
        { metric: "rate", unit: "kmsg/s", p50: Math.min(...of("rate")) },
        { metric: "loss", unit: "%", p50: Math.max(...of("loss")) },
      ];
    }),
});

const engine: System = {
  system: "insane",
  datapath: "none",
  mode: "native",
  keys: { sinks: MOST },
  threads: `one engine, its consumers awake; bursts of ${BURST}; time by the clock, (${MOST} sinks - 1 sink) / ${MOST - 1}`,
  unavailable: hotpathUnavailable(),
  measure: async () => {
    const one = hotpathTime("receive");
    const all = hotpathTime(`receive-${MOST}`);
    return [{ metric: "cost-per-sink", unit: "ns", p50: (all - one) / (MOST - 1) }];
  },
};

export const fanout: Benchmark = {
  name: "fanout",
  summary:
    "one source, 1 to 8 sinks in processes of their own: rate and loss of each; an engine's cost of one more sink",
  payloads: [64],
  compared: [],
  async open() {
    const folder = socketFolder();
    return {
      systems: [...SINKS.map((sinks) => fan(sinks, folder.path)), engine],
      conditions: `${RATE} messages/s offered; rate and loss are those of the sink that got least; instructions of one more sink: hotpath`,
      close: folder.remove,
    };
  },
};
