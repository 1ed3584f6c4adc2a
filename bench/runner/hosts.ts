// How the two sides of a network benchmark are started: the far side first and ready, then the measuring one.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Point } from "./benchmark.ts";
import { type Launch, type Program, withPrograms } from "./processes.ts";
import type { Host } from "./topology.ts";

const root = new URL("../../", import.meta.url);

/** Path of a file of this repository, from its root. */
export const repositoryFile = (path: string): string => fileURLToPath(new URL(path, root));

export const nativeProgram = (name: string): string => repositoryFile(`build/release/bench/${name}`);

export function nativeUnavailable(name: string): string | undefined {
  return existsSync(nativeProgram(name)) ? undefined : `build/release/bench/${name} is not built: run npm run bench`;
}

/** A side of a benchmark as a program: on its host's core, in its host's namespace. */
export function onHost(host: Host, name: string, program: string, args: Launch["args"]): Launch {
  return { name: `${name} on ${host.name}`, core: host.core, namespace: host.namespace, program, args };
}

/** Starts `far`, waits until it is ready, starts `near` and gives the result of the side that measures. */
export function measurePair(
  point: Point,
  far: Launch,
  near: Launch,
  measuring: "far" | "near",
): Promise<Record<string, number>> {
  return withPrograms(async (start) => {
    const first: Program = start(far);
    await first.ready();
    const second = start(near);
    const seconds = point.warmup + point.seconds;
    const other = measuring === "near" ? first : second;
    return await (measuring === "near" ? second : first).result(seconds, other);
  });
}
