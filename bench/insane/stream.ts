// Lunar Streaming as lunar-stream measures it: stream.ts WHERE... near|far spin|park HOW WIDTH HEIGHT FPS WARMUP SECONDS. `near` serves, `far`
// views. HOW: `still`, frames lie ready, as the file does for sendfile, and only their number is written; `read`, so as well, and each
// byte is looked at where it lies; `copied`, copied out whole, as TCP does; `written`, written anew, too; `verify`, written anew and compared byte
// by byte. A frame that differs fails a run that looks. FPS 0: as fast as they are taken.
import {
  connect,
  type Frame,
  type FrameSource,
  openServer,
  TestPattern,
} from "../../src/apps/lunar-streaming/index.ts";
import { say } from "../peers/stopwatch.ts";
import { Histogram } from "../runner/histogram.ts";
import { reach } from "./session.ts";

const NAME = "bench";
const NUMBER_BYTES = 4;
/** A value that no byte of the picture has: who looks for it looks at all of them, by the C library's memchr as tcp_sendfile.c does. */
const ABSENT = 1;
/** Frames after which every slot has been used once, at both ends: memory that is touched first is memory to be cleared. */
const SLOTS_USED = 24;
/** With pauses: what came back last is used again, so few slots ever are. */
const SLOTS_USED_SLOWLY = 6;
/** Looks in vain before the event loop gets a turn. */
const LOOKS = 1024;

const { session, rest } = await reach("bench-stream", process.argv.slice(2), { engine: "thread" });
const [role, waiting, how = "still", ...figures] = rest;
const [width = 0, height = 0, fps = 0, warmup = 0, seconds = 0] = figures.map(Number);
const pattern = new TestPattern({ width, height, pixels: "rgb8" });
/** Where the stream has to run; on one host nothing but shared memory is used. */
const wanted = /^embed-(xdp|dpdk|rdma)/.exec(process.argv[2] ?? "")?.[1] ?? "udp";
const quality = {
  acceleration: wanted === "udp" ? "none" : "fast",
  consumption: wanted === "dpdk" ? "high" : "low",
} as const;

/** A slot is drawn once, when it is used for the first time. */
function still(): FrameSource {
  const drawn = new Set<number>();
  const picture = new Uint8Array(width * height * 3);
  pattern.getFrame(picture, 0);
  for (let i = 0; i < picture.length; i++) if (picture[i] === ABSENT) picture[i] = ABSENT + 1;
  return {
    format: pattern.format,
    getFrame(into, number) {
      if (!drawn.has(into.byteOffset)) into.set(picture);
      drawn.add(into.byteOffset);
      new DataView(into.buffer, into.byteOffset, NUMBER_BYTES).setUint32(0, number, true);
      return { bytes: into.length };
    },
  };
}

async function serve(): Promise<void> {
  const source = how === "written" || how === "verify" ? pattern : still();
  // With pauses as a camera would: what is late is not sent, so that no frame waits for another, and no rate is claimed.
  const pace = fps > 0 ? ({ fps, ahead: 1 } as const) : ({ late: "wait" } as const);
  const server = await openServer(session, { name: NAME, source, quality, ...pace });
  const { datapath, warnings } = server.stream.binding;
  // Never a figure of something else under its name.
  if (process.argv[2] !== "attach" && datapath !== wanted)
    throw new Error(`the stream runs on ${datapath}: ${warnings.map(({ message }) => message).join(" ")}`);
  say("ready");
  await server.loop();
}

async function view(): Promise<void> {
  const client = await connect(session, { name: NAME, timeoutMs: 20_000 });
  const latencies = new Histogram();
  const kept = new Uint8Array(width * height * 3);
  const last = { at: 0, frames: 0, wrong: 0 };
  let seen = 0;
  let begin = 0;
  let end = 0;
  const next = async (): Promise<Frame> => {
    if (waiting === "park") return (await client.next()) as Frame;
    for (let looks = 1; ; looks++) {
      const frame = client.tryNext();
      if (frame !== null) return frame;
      if (looks % LOOKS === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  for (;;) {
    const frame = await next();
    const now = performance.now();
    // Until the application has it, woken up if need be, as the peer's does: not only until the engine had it.
    const { number, captureTime } = frame;
    const latencyMs = performance.timeOrigin + now - captureTime;
    if (how === "written" || how === "copied") kept.set(frame.bytes);
    if (how === "read") {
      const { buffer, byteOffset, length } = frame.bytes;
      if (Buffer.from(buffer, byteOffset, length).indexOf(ABSENT, NUMBER_BYTES) !== -1) last.wrong++;
    }
    if (how === "verify" && !pattern.holds(frame.bytes, number)) last.wrong++;
    frame.release();
    if (begin === 0) {
      if (++seen < (fps > 0 ? SLOTS_USED_SLOWLY : SLOTS_USED)) continue;
      begin = now + warmup * 1e3;
      end = begin + seconds * 1e3;
    }
    if (now < begin) continue;
    if (last.at === 0) begin = now;
    else {
      last.frames++;
      latencies.add(Math.max(0, latencyMs));
    }
    last.at = now;
    if (now >= end && last.frames > 0) break;
  }
  const { skipped, overtaken, lost, invalid } = client.stats;
  if (last.wrong + invalid > 0) throw new Error(`${last.wrong} frames differ, ${invalid} are none`);
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
