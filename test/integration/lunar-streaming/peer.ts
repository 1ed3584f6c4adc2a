// A streaming server or client in a process of its own, for tests, told what to do over IPC. Its source is a test pattern
// whose every frame can be checked byte by byte; some frames are spoiled on request.
import {
  type Client,
  connect,
  type Frame,
  openServer,
  type Server,
  StreamingError,
  TestPattern,
} from "../../../src/apps/lunar-streaming/index.ts";
import { connect as attach } from "../../../src/index.ts";

const [, , socket = "", name = ""] = process.argv;
const session = await attach({ socket, name });
type Words = Record<string, unknown>;

let server: Server | undefined;
const refused: Words[] = [];
const stalls: string[] = [];
const left: string[] = [];
let client: Client | undefined;
let pattern: TestPattern | undefined;
let held: Frame[] = [];
const takenBack: number[] = [];
const got = { frames: 0, intact: 0, last: -1, missing: 0, invalid: [] as string[], end: null as string | null };
const describe = (error: unknown) =>
  error instanceof StreamingError
    ? { code: error.code, message: error.message }
    : { code: "?", message: String(error) };

const calls: Record<string, (words: Words) => unknown> = {
  /** `spoil`: what every fifth frame is: "short", "long", "throw", "kind". */
  serve: async ({ spoil, width, height, frames, maxFrame, ...options }) => {
    const format = { width: Number(width ?? 320), height: Number(height ?? 180), pixels: "rgb8" } as const;
    pattern = new TestPattern(format, Number(frames ?? Number.POSITIVE_INFINITY));
    const good = pattern;
    const source = {
      format,
      ...(maxFrame === undefined ? {} : { maxFrame: Number(maxFrame) }),
      getFrame(into: Uint8Array, number: number) {
        const filled = good.getFrame(into, number);
        if (filled === null || number % 5 !== 4) return filled;
        if (spoil === "short") return { bytes: filled.bytes - 100 };
        if (spoil === "long") return { bytes: filled.bytes + 1 };
        if (spoil === "throw") throw new Error("the camera is unplugged");
        if (spoil === "kind") return { ...filled, format: { ...format, width: 0 } };
        return filled;
      },
    };
    server = await openServer(session, { name: "line", source, ...options });
    server.on("refused", ({ number, error }) => refused.push({ number, code: error.code }));
    server.on("stalled", ({ error }) => stalls.push(error.code));
    server.on("left", ({ why }) => left.push(why));
    return { epoch: server.epoch };
  },
  loop: () => void server?.loop().then((stats) => process.send?.({ looped: stats })),
  serverStats: () => ({
    datapath: server?.stream.binding.datapath,
    ...server?.stats,
    refusals: refused,
    stalls,
    gone: left,
  }),
  closeServer: () => server?.close(),

  /** `read`: "all" (default), "none", or so many milliseconds for each frame. */
  view: async ({ read, verify, keep, timeoutMs, silenceMs }) => {
    try {
      const options = {
        keep: Number(keep ?? 2),
        timeoutMs: Number(timeoutMs ?? 20_000),
        silenceMs: Number(silenceMs ?? 8000),
      };
      client = await connect(session, { name: "line", ...options });
    } catch (error) {
      return describe(error);
    }
    const { width, height, pixels } = client.server;
    pattern = new TestPattern({ width, height, pixels });
    client.on("missing", ({ skipped, overtaken, lost }) => {
      got.missing += skipped + overtaken + lost;
    });
    client.on("invalid", ({ code, message }) => got.invalid.push(`${code} ${message}`));
    client.on("takenBack", ({ number }) => takenBack.push(number));
    client.on("gone", (how) => {
      got.end = how instanceof StreamingError ? how.code : how;
    });
    if (read !== "none") void reading(client, Number(read === undefined ? 0 : read), verify !== false);
    return { server: client.server };
  },
  seen: () => ({ ...got, stats: client?.stats, sink: client?.stream.name }),
  /** Keeps the next frames and never gives them back. */
  hoard: async ({ count }) => {
    for (let i = 0; i < Number(count); i++) {
      const frame = await client?.next();
      if (frame) held.push(frame);
    }
    const still = held.filter((frame) => frame.held);
    const readable = held.filter((frame) => {
      try {
        return frame.bytes.length > 0;
      } catch (error) {
        if (describe(error).code === "ERELEASED") return false;
        throw error;
      }
    });
    const numbers = (frames: Frame[]) => frames.map(({ number }) => number);
    return { got: numbers(held), held: numbers(still), readable: numbers(readable), takenBack };
  },
  letGo: () => {
    for (const frame of held) frame.release();
    held = [];
  },
  closeClient: () => client?.close(),
  close: async () => {
    await server?.close();
    await client?.close();
    await session.close();
    setImmediate(() => process.disconnect());
  },
};

async function reading(from: Client, rest: number, verify: boolean): Promise<void> {
  try {
    for await (const frame of from) {
      got.frames++;
      const right = pattern?.numberIn(frame.bytes) === frame.number && frame.number > got.last;
      if (right && (!verify || pattern?.holds(frame.bytes, frame.number))) got.intact++;
      got.last = frame.number;
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
    }
    process.send?.({ read: "ended" });
  } catch (error) {
    process.send?.({ read: describe(error).code });
  }
}

process.on("message", async (words: Words) => {
  try {
    process.send?.({ answer: words["call"], result: (await calls[String(words["method"])]?.(words)) ?? null });
  } catch (error) {
    process.send?.({ answer: words["call"], error: `${describe(error).code}: ${describe(error).message}` });
  }
});
process.on("disconnect", () => process.exit(0));
process.send?.({ connected: true });
