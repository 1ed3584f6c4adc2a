// Instructions per message on the hot path, counted by callgrind: repeatable where times are not. The steps are those of
// bench/native/hotpath.c.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { repositoryFile } from "../runner/hosts.ts";

/** Sinks beyond the first whose cost is taken together. */
const MANY_SINKS = 8;
export const BURST = 64;
const ROUNDS = 100;

const PROGRAM = "build/release/bench/hotpath";
const STEPS = ["get", "emit", "consume", "release", "reclaim", "send", "send-shared", "receive"] as const;
/** The steps, and what one more sink costs an engine. */
export const PATHS = [...STEPS, "one-more-sink"] as const;
export type HotPath = (typeof PATHS)[number];

/** Why nothing can be counted, or nothing. */
export function hotpathUnavailable(): string | undefined {
  if (!existsSync(repositoryFile(PROGRAM))) return `${PROGRAM} is not built (npm run setup)`;
  if (spawnSync("valgrind", ["--version"]).error) return "needs the program valgrind (Debian package valgrind)";
  return undefined;
}

function count(step: string): number {
  const args = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"];
  const program = [repositoryFile(PROGRAM), step, String(BURST), String(ROUNDS)];
  const done = spawnSync("valgrind", [...args, "--toggle-collect=measured", ...program], { encoding: "utf8" });
  const collected = /Collected : (\d+)/.exec(done.stderr)?.[1];
  if (done.status !== 0 || collected === undefined) throw new Error(`hotpath ${step}: ${done.stderr.trim()}`);
  return Number(collected) / (BURST * ROUNDS);
}

/** Instructions per message of each path, in bursts of BURST. */
export function countInstructions(): Record<HotPath, number> {
  const counts = Object.fromEntries(STEPS.map((step) => [step, count(step)])) as Record<HotPath, number>;
  counts["one-more-sink"] = (count(`receive-${MANY_SINKS}`) - counts.receive) / (MANY_SINKS - 1);
  return counts;
}

/** Rounds of a step that is timed, and how often it is done again: the quickest one was disturbed least. */
const TIMED_ROUNDS = 5000;
const TIMED_AGAIN = 15;

/** Nanoseconds per message of a step, by the clock: for machines that are quiet. */
export function hotpathTime(step: string): number {
  const times = Array.from({ length: TIMED_AGAIN }, () => {
    const done = spawnSync(repositoryFile(PROGRAM), [step, String(BURST), String(TIMED_ROUNDS), "time"], {
      encoding: "utf8",
    });
    if (done.status !== 0) throw new Error(`hotpath ${step}: ${done.stderr.trim()}`);
    return Number(done.stdout);
  });
  return Math.min(...times);
}
