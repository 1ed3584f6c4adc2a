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

/** Starts `far`, waits until it is ready, starts `near`, and reads their results for as long as the point takes. */
function withPair(
  point: Point,
  far: Launch,
  near: Launch,
  read: (far: Program, near: Program, seconds: number) => Promise<Record<string, number>>,
): Promise<Record<string, number>> {
  return withPrograms(async (start) => {
    const first = start(far);
    await first.ready();
    return await read(first, start(near), point.warmup + point.seconds);
  });
}

/** The result of the side that measures. */
export const measurePair = (
  point: Point,
  far: Launch,
  near: Launch,
  measuring: "far" | "near",
): Promise<Record<string, number>> =>
  withPair(point, far, near, (first, second, seconds) =>
    measuring === "near" ? second.result(seconds, first) : first.result(seconds, second),
  );

/** The far side measures, and the near one adds what it says of itself. */
export const measureBoth = (point: Point, far: Launch, near: Launch): Promise<Record<string, number>> =>
  withPair(point, far, near, async (first, second, seconds) => ({
    ...(await first.result(seconds, second)),
    ...(await second.result(seconds)),
  }));
