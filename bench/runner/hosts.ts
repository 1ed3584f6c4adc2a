// How the two sides of a network benchmark are started: the far side first and ready, then the measuring one.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Point } from "./benchmark.ts";
import { type Launch, type Program, withPrograms } from "./processes.ts";
import type { Host } from "./topology.ts";

/** The tree this file runs from: the repository, or the JavaScript that `npm run bench` makes of it in build/js. */
const tree = fileURLToPath(new URL("../../", import.meta.url));
const compiled = import.meta.url.endsWith(".js");
const root = compiled ? join(tree, "../..") : tree;

/** Path of a file of this repository, from its root. */
export const repositoryFile = (path: string): string => join(root, path);

/**
 * Path of a program for Node, given from the root and without its ending: compiled where this file is, because that is what
 * users run. (Node strips types with a WebAssembly module, after which V8 checks with every access to a typed array
 * whether its memory is gone: 4 ns a message.)
 */
export const nodeProgram = (path: string): string => join(tree, `${path}${compiled ? ".js" : ".ts"}`);

export const nativeProgram = (name: string): string => repositoryFile(`build/release/bench/${name}`);

export function nativeUnavailable(name: string): string | undefined {
  return existsSync(nativeProgram(name)) ? undefined : `build/release/bench/${name} is not built: run npm run bench`;
}

/** A side of a benchmark as a program: on its host's core, in its host's namespace. */
export function onHost(host: Host, name: string, program: string, args: Launch["args"]): Launch {
  return { name: `${name} on ${host.name}`, core: host.core, namespace: host.namespace, program, args };
}

/** The same where the far side measures, and the near one adds what it says of itself. */
export function measureBoth(point: Point, far: Launch, near: Launch): Promise<Record<string, number>> {
  return withPrograms(async (start) => {
    const first: Program = start(far);
    await first.ready();
    const second = start(near);
    const seconds = point.warmup + point.seconds;
    const measured = await first.result(seconds, second);
    return { ...measured, ...(await second.result(seconds)) };
  });
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
