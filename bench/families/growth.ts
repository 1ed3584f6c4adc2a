// growth: what a message costs when there is much else that is open and does nothing, against a pair that is alone: round trip and
// rate of co-located applications, and of two hosts over kernel UDP whose engines have all of those links and routes as well.
import { insaneUnavailable, startDaemon } from "../insane/daemon.ts";
import { amongOthers } from "../insane/network.ts";
import type { Benchmark, Point, System } from "../runner/benchmark.ts";
import type { Measurement } from "../runner/figures.ts";
import { repositoryFile } from "../runner/hosts.ts";
import { withPrograms } from "../runner/processes.ts";
import { oneWay, roundTrip } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import { openTopology, topologyUnavailable } from "../runner/topology.ts";

const ALONE = { channels: 1, streams: 1, sessions: 1 };
const MANY = { channels: 1000, streams: 200, sessions: 100 };

type Size = typeof ALONE;
/** What there is besides the pair. */
const others = ({ channels, streams, sessions }: Size): string => [channels, streams, sessions].join(",");

const local = (size: Size, folder: string): System => ({
  system: "insane",
  datapath: "shm",
  mode: "spin",
  keys: size,
  threads: "2 spin: one application on core 0, one on core 1; the daemon and all others are parked",
  unavailable: insaneUnavailable(),
  measure: (point) =>
    withPrograms(async (start) => {
      const daemon = await startDaemon(start, folder, { core: 0 }, { network: { enabled: false } });
      if (size !== ALONE) {
        const program = process.execPath;
        const args = [repositoryFile("bench/insane/crowd.ts"), daemon.socket, others(size)];
        await start({ name: "the others", core: 0, program, args }).ready();
      }
      const measure = async (task: "rtt" | "rate"): Promise<Record<string, number>> => {
        const side = (role: "near" | "far", core: number) => ({
          name: `insane ${task}, ${role}`,
          core,
          program: process.execPath,
          args: [
            repositoryFile(`bench/insane/${task}.ts`),
            "attach",
            daemon.socket,
            role,
            "spin",
            ...(task === "rtt" ? ["mark"] : []),
            point.payload,
            point.warmup,
            point.seconds,
          ],
        });
        const far = start(side("far", 1));
        await far.ready();
        const near = start(side("near", 0));
        const seconds = point.warmup + point.seconds;
        const [measuring, other] = task === "rtt" ? [near, far] : [far, near];
        try {
          return await measuring.result(seconds, other, daemon.program);
        } finally {
          for (const one of [near, far]) await one.stop();
        }
      };
      return [...roundTrip(await measure("rtt")), ...oneWay(await measure("rate"))];
    }),
});

export const growth: Benchmark = {
  name: "growth",
  summary: "a pair of applications beside 1,000 channels on 200 streams of 100 sessions that are open, and alone",
  payloads: [64],
  compared: [],
  async open({ rps }) {
    const folder = socketFolder();
    const why = topologyUnavailable();
    const topology = why === undefined ? openTopology(rps) : undefined;
    const between = (size: Size): System => ({
      system: "insane",
      datapath: "udp",
      mode: "inline",
      keys: size,
      threads: "2 spin: application with its engine inline on core 0, the same on core 1; the others are parked",
      unavailable: why ?? insaneUnavailable(),
      measure: (point: Point): Promise<Measurement[]> => {
        if (topology === undefined) throw new Error(why);
        return amongOthers(
          topology,
          size === ALONE ? others({ channels: 0, streams: 0, sessions: 0 }) : others(size),
          point,
        );
      },
    });
    return {
      systems: [local(ALONE, folder.path), local(MANY, folder.path), between(ALONE), between(MANY)],
      conditions:
        "the others have a source and a sink on each of their channels, and no traffic; on both hosts the same ones",
      rps,
      close: () => {
        folder.remove();
        topology?.close();
      },
    };
  },
};
