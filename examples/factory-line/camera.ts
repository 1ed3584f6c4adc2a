// A camera of the line: camera.ts SOCKET NUMBER FPS. Streams a picture of each part, and measures how long it takes until it
// knows what the detector says: one clock, from the start of capture to the answer.
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { type Filled, openServer } from "../../src/apps/lunar-streaming/index.ts";
import { connect } from "../../src/index.ts";
import { defectOf, FORMAT, Parts } from "./parts.ts";
import { cameraName, type Tally, TOPICS, type Verdict } from "./topics.ts";

const [socket = "", camera = 1, fps = 12] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const REMEMBERED = 4096;
const TELL_MS = 500;

const parts = await Parts.of(camera);
const session = await connect({ socket, name: cameraName(camera) });
const lunar = await openLunar(session);
/** Pictures that wait for their answer: when each was begun, and whether its part is good. */
const open = new Map<number, { begun: number; good: boolean }>();
const latencies: number[] = [];
const counts = { photographed: 0, answered: 0, rejected: 0, missed: 0, falseAlarms: 0 };

await lunar.subscribe(TOPICS.verdicts, (message) => {
  const verdict = JSON.parse(message.text()) as Verdict;
  const asked = verdict.camera === camera ? open.get(verdict.frame) : undefined;
  if (asked === undefined) return;
  open.delete(verdict.frame);
  latencies.push(performance.now() - asked.begun);
  if (latencies.length > REMEMBERED) latencies.shift();
  counts.answered++;
  if (!verdict.good) counts.rejected++;
  if (verdict.good && !asked.good) counts.missed++;
  if (!verdict.good && asked.good) counts.falseAlarms++;
});

const server = await openServer(session, {
  name: cameraName(camera),
  fps,
  source: {
    format: FORMAT,
    getFrame(into: Uint8Array, number: number): Filled {
      const begun = performance.now();
      // One part a picture; the first are good whenever the line was started.
      const part = counts.photographed++;
      const bytes = parts.photograph(into, part);
      open.set(number, { begun, good: defectOf(camera, part) === undefined });
      if (open.size > REMEMBERED) open.delete(open.keys().next().value as number);
      return { bytes };
    },
  },
});

const timer = setInterval(() => {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  const tally: Tally = { camera, ...counts, latencyMs: { p50: at(0.5), p99: at(0.99) } };
  lunar.publish(TOPICS.tallies, JSON.stringify(tally)).catch(() => {});
  process.send?.({ tally });
}, TELL_MS);
process.on("disconnect", () => process.exit(0));
process.once("message", async () => {
  clearInterval(timer);
  await server.close();
  await session.close();
  process.disconnect();
});
process.send?.({ ready: true });
await server.loop();
