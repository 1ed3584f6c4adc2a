// Starts `insane up` for a benchmark and waits until its socket is there. The daemon is a program like any other: it
// ends with the block that started it.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { EmbedOptions } from "../../src/index.ts";
import { nodeProgram, repositoryFile } from "../runner/hosts.ts";
import type { Launch, Program } from "../runner/processes.ts";

const CLI = "src/apps/cli/main";
const START_MS = 15_000;
const LOOK_MS = 20;

/** Why insane cannot be measured, or nothing. */
export function insaneUnavailable(): string | undefined {
  for (const path of ["src/index.ts", `${CLI}.ts`])
    if (!existsSync(repositoryFile(path))) return `${path} is not there yet`;
  return undefined;
}

let daemons = 0;

export interface Daemon {
  program: Program;
  socket: string;
}

export async function startDaemon(
  start: (launch: Launch) => Program,
  folder: string,
  where: { core: number; namespace?: string },
  config: Partial<Pick<EmbedOptions, "network" | "engine" | "threads">>,
): Promise<Daemon> {
  const base = join(folder, `daemon-${++daemons}`);
  const socket = `${base}.sock`;
  writeFileSync(
    `${base}.json`,
    JSON.stringify({ name: `bench-${daemons}`, socket, log: { level: "error" }, ...config }),
  );
  const program = start({
    name: "insane up",
    ...where,
    program: process.execPath,
    args: [nodeProgram(CLI), "up", "--config", `${base}.json`],
  });
  const deadline = performance.now() + START_MS;
  while (!existsSync(socket)) {
    program.mustRun();
    if (performance.now() > deadline) throw new Error(`insane up made no socket in ${START_MS / 1000} s`);
    await delay(LOOK_MS);
  }
  return { program, socket };
}
