// Runs a benchmark: per payload K rounds through all systems in the same order (A B A B …), so that a change of the
// machine's mood hits all alike; then medians over the rounds, figures and ratios. Prints nothing itself.
import { readFileSync } from "node:fs";
import type { Benchmark, Options, Stage, System } from "./benchmark.ts";
import type { Figure, Identity, Line, Measurement, Ratio } from "./figures.ts";

/** Connections made, code compiled, caches filled: excluded from every figure. */
export const WARMUP_SECONDS = 0.5;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The median of each metric over rounds that all gave the same metrics. */
export function medians(rounds: readonly Measurement[][]): Measurement[] {
  return (rounds[0] ?? []).map((first) => {
    const same = rounds.flatMap((round) => round.filter((m) => m.metric === first.metric));
    const p99 = same.flatMap((m) => (m.p99 === undefined ? [] : [m.p99]));
    return { ...first, p50: median(same.map((m) => m.p50)), ...(p99.length ? { p99: median(p99) } : {}) };
  });
}

const load1 = (): number => Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);

export interface Reporter {
  line(line: Line): void;
  /** For people who wait. */
  progress(text: string): void;
}

/** True when every system that could be measured was. */
export async function runBenchmark(
  benchmark: Benchmark,
  stage: Stage,
  options: Options,
  payloads: readonly number[],
  report: Reporter,
): Promise<boolean> {
  const figures: Figure[] = [];
  const identity = ({ system, datapath, mode, keys }: System): Identity => ({
    bench: benchmark.name,
    system,
    datapath,
    mode,
    ...(keys === undefined ? {} : { keys }),
  });
  const able = stage.systems.filter((system) => {
    if (system.unavailable === undefined) return true;
    report.line({ ...identity(system), skipped: system.unavailable });
    return false;
  });
  let allWell = true;
  for (const payload of payloads) {
    const taken = new Map(able.map((system) => [system, { rounds: [] as Measurement[][], loads: [] as number[] }]));
    for (let round = 1; round <= options.repeat; round++) {
      for (const [system, { rounds, loads }] of taken) {
        report.progress(
          `${benchmark.name} ${payload} B, round ${round}/${options.repeat}: ${system.system} ${system.mode}`,
        );
        loads.push(load1());
        try {
          rounds.push(await system.measure({ payload, seconds: options.seconds, warmup: WARMUP_SECONDS }));
        } catch (error) {
          allWell = false;
          taken.delete(system);
          const why = error instanceof Error ? error.message : String(error);
          report.line({ ...identity(system), payload, skipped: `failed in round ${round}: ${why}` });
        }
      }
    }
    for (const [system, { rounds, loads }] of taken) {
      for (const measurement of medians(rounds)) {
        const figure: Figure = {
          ...identity(system),
          ...(system.keysAt === undefined ? {} : { keys: { ...system.keys, ...system.keysAt(payload) } }),
          payload,
          ...measurement,
          threads: system.threads,
          load1: median(loads),
          ...(stage.rps ? { rps: true } : {}),
        };
        figures.push(figure);
        report.line(figure);
      }
    }
  }
  for (const ratio of ratios(benchmark, figures, stage.systems)) report.line(ratio);
  return allWell;
}

/**
 * Whether it is this mode of a peer that a mode of insane is compared with. Of one that has several it is the one that
 * insane's ends in (`inline-skb`: `skb`), else the first.
 */
const isCounterpart = (own: Figure, peer: Figure, modes: readonly string[]): boolean =>
  peer.mode === (modes.find((mode) => own.mode.endsWith(`-${mode}`)) ?? modes[0]);

/** Every mode of insane against every other system, payload by payload. `systems`: also those without a figure. */
export function ratios(
  benchmark: Benchmark,
  figures: readonly Figure[],
  systems: ReadonlyArray<Pick<System, "system" | "mode">> = figures,
): Ratio[] {
  const ours = figures.filter((figure) => figure.system === "insane" && benchmark.compared.includes(figure.metric));
  const firstMode = ours[0]?.mode;
  const modesOf = (name: string): string[] => [
    ...new Set(systems.filter(({ system }) => system === name).map(({ mode }) => mode)),
  ];
  return ours.flatMap((own) =>
    figures
      .filter((peer) => peer.system !== "insane" && peer.metric === own.metric && peer.payload === own.payload)
      .filter((peer) => isCounterpart(own, peer, modesOf(peer.system)))
      .map((peer) => ({
        bench: benchmark.name,
        ratio: `${own.mode === firstMode ? "insane" : `insane ${own.mode}`}/${peer.system}`,
        ...(modesOf(peer.system).length > 1 ? { peerMode: peer.mode } : {}),
        payload: own.payload,
        metric: own.metric,
        value: own.p50 / peer.p50,
      })),
  );
}
