// An application in a process of its own, for tests. Sources emit numbered messages (source id, number, filler whose bytes
// follow from both); sinks check what they get: intact, in order, at most once, only their channel. Instead of a socket it
// may be given the settings of a runtime as JSON, which it then embeds.
import {
  connect,
  type Message,
  type ReboundEvent,
  Runtime,
  type Sink,
  type Source,
  type Stream,
} from "../../../src/index.ts";
import { loadLibrary } from "../../../src/native/library.ts";

const [, , socket = "", name = "", user = ""] = process.argv;
if (user !== "") {
  // Loaded while it may be read: another user may not see this folder.
  loadLibrary();
  process.setgroups?.([]);
  process.setgid?.(Number(user));
  process.setuid?.(Number(user));
}
const runtime = socket.startsWith("{")
  ? await Runtime.embed({ socket: null, log: { level: "silent" }, ...JSON.parse(socket) })
  : null;
const session = await (runtime?.connect({ name }) ?? connect({ socket, name }));
const streams = new Map<string, Stream>();
/** Moves of streams, as they were told. */
const rebounds: ReboundEvent[] = [];
const sources: Array<{ source: Source; next: number; running: boolean; done: Promise<void> }> = [];

interface Received {
  count: number;
  last: number;
  gaps: number;
  /** When the last one came, and the longest silence since it was asked for last; ms. */
  at: number;
  silence: number;
}
const sinks: Array<{
  sink: Sink;
  channel: number;
  from: Map<string, Received>;
  faults: string[];
  held: Message[];
  hold: number;
}> = [];

const BLOCK = 512;
const filler = (tag: number, number: number, block: number): number => (tag * 31 + number + block * 7) & 0xff;
const stamp = (bytes: Uint8Array, tag: number, channel: number, number: number): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(0, tag, true);
  view.setUint32(4, channel, true);
  view.setUint32(8, number, true);
  // Another byte in each block of a large one, so that one at another place is seen.
  for (let at = 12, block = 0; at < bytes.length; block++, at = block * BLOCK) {
    bytes.fill(filler(tag, number, block), at, (block + 1) * BLOCK);
  }
};

function check(state: (typeof sinks)[number], message: Message): void {
  const { bytes, channel } = message;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = view.getUint32(0, true);
  const number = view.getUint32(8, true);
  if (view.getUint32(4, true) !== state.channel || channel !== state.channel) {
    state.faults.push(`message of channel ${view.getUint32(4, true)} on ${state.channel}`);
  }
  for (let i = 12; i < bytes.length; i++) {
    if (bytes[i] === filler(tag, number, i >>> 9) || state.faults.length > 20) continue;
    state.faults.push(`byte ${i} of ${tag}/${number}`);
  }
  const key = `${tag}`;
  const now = performance.now();
  const seen = state.from.get(key) ?? { count: 0, last: -1, gaps: 0, at: now, silence: 0 };
  seen.silence = Math.max(seen.silence, now - seen.at);
  seen.at = now;
  if (number <= seen.last) state.faults.push(`${tag}: ${number} after ${seen.last}`);
  // The first message may be any: the sink may have come later.
  if (seen.last >= 0) seen.gaps += number - seen.last - 1;
  seen.last = number;
  seen.count++;
  state.from.set(key, seen);
}

async function streamOf(words: Record<string, unknown>): Promise<Stream> {
  const streamName = String(words["stream"] ?? "test");
  const known = streams.get(streamName);
  if (known) return known;
  const maxMessage = Number(words["maxMessage"] ?? 65536);
  const acceleration = words["acceleration"] === "fast" ? "fast" : "none";
  const consumption = words["consumption"] === "high" ? "high" : "low";
  const urgent =
    words["trafficClass"] === undefined
      ? {}
      : ({ timeSensitivity: "time-sensitive", trafficClass: Number(words["trafficClass"]) } as const);
  const batching = words["batching"] !== false;
  const stream = await session.createStream({
    ...{ name: streamName, maxMessage, acceleration, consumption, batching },
    ...urgent,
  });
  streams.set(streamName, stream);
  stream.on("rebound", (event) => rebounds.push(event));
  return stream;
}

/** Emits until told to stop or `count` is reached; yields to the event loop between bursts and at back-pressure, or rests `pace` ms. */
async function run(
  state: (typeof sources)[number],
  tag: number,
  size: number,
  count: number,
  pace: number,
  most: number,
): Promise<void> {
  const { source } = state;
  while (state.running && state.next < count) {
    for (let burst = 0; burst < most && state.running && state.next < count; burst++) {
      const buffer = source.tryGetBuffer(size);
      if (!buffer) break;
      stamp(buffer.bytes, tag, source.channel, state.next);
      if (source.tryEmit(buffer) === 0) {
        buffer[Symbol.dispose]();
        break;
      }
      state.next++;
    }
    await new Promise((resolve) => (pace > 0 ? setTimeout(resolve, pace) : setImmediate(resolve)));
  }
}

const calls: Record<string, (words: Record<string, unknown>) => unknown> = {
  source: async (words) => {
    const source = await (await streamOf(words)).createSource(Number(words["channel"] ?? 1));
    sources.push({ source, next: 0, running: false, done: Promise.resolve() });
    return { index: sources.length - 1, id: source.id, consumers: source.consumers };
  },
  matched: async ({ index, count }) => {
    await sources[Number(index)]?.source.matched(Number(count ?? 1));
  },
  emit: ({ index, size, count, tag, pace, burst }) => {
    const state = sources[Number(index)];
    if (!state) throw new Error("no such source");
    state.running = true;
    state.done = run(
      state,
      Number(tag ?? state.source.id),
      Number(size ?? 64),
      Number(count ?? Number.POSITIVE_INFINITY),
      Number(pace ?? 0),
      Number(burst ?? 64),
    );
  },
  stop: async ({ index }) => {
    const state = sources[Number(index)];
    if (!state) throw new Error("no such source");
    state.running = false;
    await state.done;
    return { emitted: state.next };
  },
  finished: async ({ index }) => {
    await sources[Number(index)]?.done;
    return { emitted: sources[Number(index)]?.next };
  },
  settled: async ({ index }) => await sources[Number(index)]?.source.settled(),
  /** Why nothing can be emitted now, or null. */
  why: ({ index }) => {
    const source = sources[Number(index)]?.source;
    try {
      const buffer = source?.getBuffer(12);
      try {
        if (buffer) source?.emit(buffer);
      } catch (error) {
        buffer?.[Symbol.dispose]();
        throw error;
      }
      return null;
    } catch (error) {
      return { code: (error as { code?: string }).code, message: (error as Error).message };
    }
  },
  sourceStats: ({ index }) => sources[Number(index)]?.source.stats,
  closeSource: async ({ index }) => {
    const state = sources[Number(index)];
    if (state) state.running = false;
    await state?.done;
    await state?.source.close();
  },
  sink: async (words) => {
    const state = {
      // Its callback may be called before it has resolved.
      sink: undefined as unknown as Sink,
      channel: Number(words["channel"] ?? 1),
      from: new Map<string, Received>(),
      faults: [] as string[],
      held: [] as Message[],
      hold: Number(words["hold"] ?? 0),
    };
    const policy = (words["policy"] ?? { kind: "block" }) as never;
    state.sink = await (await streamOf(words)).createSink(state.channel, { policy }, (message) => {
      check(state, message);
      state.held.push(message);
      while (state.held.length > state.hold) state.held.shift()?.release();
    });
    sinks.push(state);
    return { index: sinks.length - 1, id: state.sink.id, unconfirmed: state.sink.unconfirmed };
  },
  received: ({ index }) => {
    const state = sinks[Number(index)];
    return {
      count: [...(state?.from.values() ?? [])].reduce((sum, { count }) => sum + count, 0),
      from: Object.fromEntries(state?.from ?? []),
      faults: state?.faults.slice(0, 5),
      stats: state?.sink.stats,
    };
  },
  calm: ({ index }) => {
    for (const seen of sinks[Number(index)]?.from.values() ?? []) {
      seen.at = performance.now();
      seen.silence = 0;
    }
  },
  closeSink: async ({ index }) => {
    const state = sinks[Number(index)];
    for (const message of state?.held.splice(0) ?? []) message.release();
    await state?.sink.close();
  },
  closeStream: async (words) => {
    const streamName = String(words["stream"] ?? "test");
    await streams.get(streamName)?.close();
    streams.delete(streamName);
  },
  binding: async (words) => (await streamOf(words)).binding,
  /** Gives the stream another acceleration `times` times, back and forth, resting `pace` ms after each. */
  moves: async ({ times, pace, ...words }) => {
    const stream = await streamOf(words);
    for (let i = 0; i < Number(times); i++) {
      await stream.setQos({ acceleration: stream.qos.acceleration === "fast" ? "none" : "fast" });
      await new Promise((resolve) => setTimeout(resolve, Number(pace ?? 0)));
    }
    return rebounds.slice(-Number(times));
  },
  rebounds: () => rebounds,
  block: ({ ms }) => {
    // Holds the thread as a busy application would: no control message is answered meanwhile.
    const until = performance.now() + Number(ms);
    while (performance.now() < until);
  },
  close: async () => {
    await session.close();
    setImmediate(() => process.disconnect());
  },
};

process.on("message", async (words: Record<string, unknown>) => {
  try {
    process.send?.({ answer: words["call"], result: (await calls[String(words["method"])]?.(words)) ?? null });
  } catch (error) {
    process.send?.({ answer: words["call"], error: String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
session.on("closed", ({ reason }) => process.send?.({ closed: reason }));
process.send?.({ connected: true, session: session.id });
