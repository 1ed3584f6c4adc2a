// The insane side of threads: the same pair of applications over kernel UDP, with the engines of each side served in each way
// that docs/threads.md names. XDP is open beside it on both sides, and idle, so that there are two engines to serve.
import type { Point, System } from "../runner/benchmark.ts";
import type { Measurement } from "../runner/figures.ts";
import { measurePair, nodeProgram, onHost } from "../runner/hosts.ts";
import { type Program, withPrograms } from "../runner/processes.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import type { Host, Topology } from "../runner/topology.ts";
import { insaneUnavailable, startDaemon } from "./daemon.ts";
import { towards } from "./hello.ts";
import { processorTime } from "./idle.ts";

const HELLO_PORT = 9712;

interface Strategy {
  readonly name: string;
  /** One thread for both engines, or one each. */
  readonly shared: boolean;
  readonly idle: "park" | "yield";
}
export const STRATEGIES: ReadonlyArray<Strategy> = [
  { name: "own-park", shared: false, idle: "park" },
  { name: "shared-park", shared: true, idle: "park" },
  { name: "own-yield", shared: false, idle: "yield" },
  { name: "shared-yield", shared: true, idle: "yield" },
];

type Task = "rtt" | "rate";

/** Processor time of daemons, ns. */
const used = (daemons: Program[]): number => daemons.reduce((sum, { pid }) => sum + processorTime(pid), 0);

/** One measurement, and what a daemon used meanwhile, % of a core. */
async function run(
  { a, b }: Topology,
  { shared, idle }: Strategy,
  task: Task,
  point: Point,
): Promise<{ readonly result: Record<string, number>; readonly cpu: number }> {
  const folder = socketFolder();
  try {
    return await withPrograms(async (start) => {
      const daemon = (self: Host, peer: Host) =>
        startDaemon(start, folder.path, self, {
          network: {
            ...towards(self.address, peer.address, HELLO_PORT),
            xdp: { enabled: true },
          },
          engine: { mode: "thread", idle },
          threads: { most: shared ? 1 : null, advisor: "off" },
        });
      const [near, far] = [await daemon(a, b), await daemon(b, a)];
      const side = (self: Host, role: string, socket: string) =>
        onHost(self, `insane ${task}`, process.execPath, [
          nodeProgram(`bench/insane/${task}`),
          "attach",
          socket,
          role,
          // A rate is received as it comes: only a round trip is looked for.
          task === "rate" ? "park" : idle,
          ...(task === "rtt" ? ["copy"] : []),
          point.payload,
          point.warmup,
          point.seconds,
        ]);
      const other = start(side(b, "far", far.socket));
      await other.ready();
      const daemons = [near.program, far.program];
      const before = used(daemons);
      const began = performance.now();
      const first = start(side(a, "near", near.socket));
      const [measuring, needed] = task === "rtt" ? [first, other] : [other, first];
      const result = await measuring.result(point.warmup + point.seconds, needed, ...daemons);
      const passed = performance.now() - began;
      return { result, cpu: (100 * (used(daemons) - before)) / (daemons.length * passed * 1e6) };
    });
  } finally {
    folder.remove();
  }
}

export const threadStrategies = (topology: Topology): System[] =>
  STRATEGIES.map((strategy) => ({
    system: "insane",
    datapath: "udp",
    mode: strategy.idle === "park" ? "daemon-parked" : "daemon",
    keys: { strategy: strategy.name },
    threads: `${strategy.idle === "park" ? "none spin" : "engines look and yield"}; ${strategy.shared ? "one thread serves UDP and XDP" : "a thread for UDP, one for XDP"}; application and daemon of a side share its core (0, 1)`,
    unavailable: insaneUnavailable(),
    async measure(point): Promise<Measurement[]> {
      const there = await run(topology, strategy, "rtt", point);
      const one = await run(topology, strategy, "rate", point);
      return [
        ...roundTrip(there.result),
        { metric: "cpu", unit: "%", p50: there.cpu },
        ...oneWay(one.result),
        { metric: "rate-cpu", unit: "%", p50: one.cpu },
      ];
    },
  }));

/**
 * One thread that receives over kernel UDP against two, on two channels. The receiver has both cores, so its threads and its
 * application share one of them with the sender: with four cores they would not.
 */
export const spreadReceivers = ({ a, b }: Topology): System[] =>
  [1, 2].map((threads) => ({
    system: "insane",
    datapath: "udp",
    mode: "daemon-parked",
    keys: { strategy: `receive-${threads}` },
    threads: `1 spins: the sender inline on core 0; ${threads === 1 ? "one thread receives" : "two threads receive"}, parked when idle, and the application is another, on cores 0 and 1`,
    unavailable: insaneUnavailable(),
    async measure(point): Promise<Measurement[]> {
      const tail = [threads, point.payload, point.warmup, point.seconds];
      const side = (role: string, self: Host, peer: Host) => [
        nodeProgram("bench/insane/spread"),
        role,
        self.address,
        peer.address,
        ...tail,
      ];
      const wide = ["-c", "0,1", process.execPath, ...side("far", b, a)];
      const far = onHost(b, "insane spread receiver", "taskset", wide);
      const near = onHost(a, "insane spread sender", process.execPath, side("near", a, b));
      return oneWay(await measurePair(point, far, near, "far"));
    },
  }));
