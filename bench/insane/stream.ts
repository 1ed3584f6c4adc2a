// Lunar Streaming as lunar-stream measures it: stream.ts WHERE... near|far HOW WIDTH HEIGHT FPS WARMUP SECONDS. `near` serves, `far`
// views. HOW: `still`, frames lie ready, as the file does for sendfile, and only their number is written; `written`, each is written
// anew and copied out whole, as TCP does; `verify`, each is written anew and compared byte by byte, and one that differs fails the run. FPS 0: as fast as they are taken.
import { connect, type FrameSource, openServer, TestPattern } from "../../src/apps/lunar-streaming/index.ts";
import { say } from "../peers/stopwatch.ts";
import { Histogram } from "../runner/histogram.ts";
import { reach } from "./session.ts";

const NAME = "bench";
const NUMBER_BYTES = 4;
/** Looks in vain before the event loop gets a turn. */
const LOOKS = 64;

const { session, rest } = await reach("bench-stream", process.argv.slice(2), { engine: "thread" });
const [role, how = "still", ...figures] = rest;
const [width = 0, height = 0, fps = 0, warmup = 0, seconds = 0] = figures.map(Number);
const pattern = new TestPattern({ width, height, pixels: "rgb8" });
const quality = { acceleration: process.argv[2]?.startsWith("embed-") ? "fast" : "none" } as const;

/** A slot is drawn once, when it is used for the first time. */
function still(): FrameSource {
  const drawn = new Set<number>();
  return {
    format: pattern.format,
    getFrame(into, number) {
      if (!drawn.has(into.byteOffset)) pattern.getFrame(into, 0);
      drawn.add(into.byteOffset);
      new DataView(into.buffer, into.byteOffset, NUMBER_BYTES).setUint32(0, number, true);
      return { bytes: into.length };
    },
  };
}

async function serve(): Promise<void> {
  const source = how === "still" ? still() : pattern;
  const server = await openServer(session, { name: NAME, source, quality, late: "wait", ...(fps > 0 ? { fps } : {}) });
  say("ready");
  await server.loop();
}

async function view(): Promise<void> {
  const client = await connect(session, { name: NAME, timeoutMs: 20_000 });
  const latencies = new Histogram();
  const kept = new Uint8Array(width * height * 3);
  const last = { at: 0, frames: 0, wrong: 0 };
  let begin = 0;
  let end = 0;
  for (let looks = 0; ; ) {
    const frame = client.tryNext();
    if (frame === null) {
      // What spins here shares its core with its engine.
      if (++looks % LOOKS === 0) await new Promise((resolve) => setImmediate(resolve));
      else session.yield();
      continue;
    }
    const now = performance.now();
    const { number, latencyUs } = frame;
    if (how === "written") kept.set(frame.bytes);
    if (how === "verify" && !pattern.holds(frame.bytes, number)) last.wrong++;
    frame.release();
    if (begin === 0) {
      begin = now + warmup * 1e3;
      end = begin + seconds * 1e3;
    }
    if (now < begin) continue;
    if (last.at === 0) begin = now;
    else {
      last.frames++;
      latencies.add(latencyUs / 1e3);
    }
    last.at = now;
    if (now >= end && last.frames > 0) break;
  }
  const { skipped, overtaken, lost, invalid } = client.stats;
  if (how === "verify" && last.wrong + invalid > 0) throw new Error(`${last.wrong} frames differ, ${invalid} are none`);
  say({
    fps: (last.frames * 1e3) / (last.at - begin),
    p50: latencies.quantile(0.5) / 1e3,
    p99: latencies.quantile(0.99) / 1e3,
    frames: last.frames,
    missing: skipped + overtaken + lost,
  });
}

if (role === "near") await serve();
else await view();
process.exit(0);
