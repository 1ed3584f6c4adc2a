// The factory line: a runtime, cameras, a detector and the wall, each a process of its own.
//   npm run example:factory [-- --seconds N --fps N --cameras N --port N --json]
// Prints how the parts were judged and how long an answer took. Ends by itself with --seconds, else at Ctrl-C.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Runtime } from "../../src/index.ts";
import type { Tally } from "./topics.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    fps: { type: "string", default: "12" },
    cameras: { type: "string", default: "2" },
    port: { type: "string", default: "0" },
    json: { type: "boolean", default: false },
  },
});
type Words = { ready?: boolean; url?: string; tally?: Tally };

const cameras = Number(values.cameras);
const folder = mkdtempSync(join(tmpdir(), "insane-factory-"));
const socket = join(folder, "insane.sock");
const tallies = new Map<number, Tally>();
const children: ChildProcess[] = [];
const ending = Promise.withResolvers<void>();
let failure: string | undefined;
let over = false;
const end = (why?: string): void => {
  // What ends once the line is stopped ends because it was told to.
  if (!over) failure = why;
  over = true;
  ending.resolve();
};

function start(program: string, ...args: ReadonlyArray<string | number>): Promise<Words> {
  const line = [join(import.meta.dirname, program), socket, ...args.map(String)];
  const child = spawn(process.execPath, line, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.on("exit", (code, signal) => {
      const why = `${program} ${args.join(" ")} ended with ${signal ?? code}`;
      end(why);
      reject(new Error(why));
    });
    child.on("message", (words: Words) => {
      if (words.ready) resolve(words);
      if (words.tally) tallies.set(words.tally.camera, words.tally);
    });
  });
}

/** Asks each to end in order, and does not wait for ever. */
async function stop(): Promise<void> {
  for (const child of children) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode !== null || child.signalCode !== null) continue;
    if (child.connected) child.send("end");
    const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
    await gone;
    clearTimeout(timer);
  }
}

const show = ({ camera, photographed, answered, rejected, missed, falseAlarms, latencyMs }: Tally): string =>
  `camera ${camera}: ${photographed} parts, ${answered} answers, ${rejected} rejected, ${missed} defects missed, ${falseAlarms} false alarms; ` +
  `capture to answer ${latencyMs.p50.toFixed(2)} ms, p99 ${latencyMs.p99.toFixed(2)} ms`;

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => end());
try {
  const runtime = await Runtime.embed({ name: "line", socket, network: { enabled: false }, log: { level: "error" } });
  try {
    for (let camera = 1; camera <= cameras; camera++) await start("camera.ts", camera, values.fps);
    await start("detector.ts", cameras);
    const { url } = await start("wall.ts", cameras, values.port);
    process.stderr.write(values.json ? `${JSON.stringify({ url })}\n` : `The line runs; see it at ${url}\n`);
    const timer = values.seconds === undefined ? undefined : setTimeout(() => end(), Number(values.seconds) * 1000);
    await ending.promise;
    clearTimeout(timer);
  } finally {
    await stop();
    await runtime.close();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const all = [...tallies.values()].sort((a, b) => a.camera - b.camera);
process.stdout.write(values.json ? `${JSON.stringify(all)}\n` : all.map((tally) => `${show(tally)}\n`).join(""));
if (failure !== undefined) {
  process.stderr.write(`factory-line: ${failure}\n`);
  process.exitCode = 1;
}
