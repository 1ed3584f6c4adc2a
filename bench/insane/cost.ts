// What a message costs in JavaScript, get, emit, consume and release, where nothing waits for another core: cost.ts attach
// SOCKET poll|callback PAYLOAD WARMUP SECONDS. One session emits bursts and consumes them itself.
import type { Message } from "../../src/index.ts";
import { Stopwatch, say } from "../peers/stopwatch.ts";
import { CHANNELS, reach } from "./session.ts";

const BURST = 64;
/** Bursts between two readings of the clock, which costs as much as a message. */
const BURSTS = 16;
/** Readings between two turns of the event loop. */
const TURNS = 256;

const { session, rest, stream: open, close } = await reach("bench-cost", process.argv.slice(2));
const [how, payloadText, warmupText, secondsText] = rest;
const payload = Number(payloadText);
const stream = await open(payload);
const source = await stream.createSource(CHANNELS.there);
await source.reserve(payload);

let sum = 0;
function take(message: Message): void {
  sum = (sum + (message.words[message.offset >>> 2] as number)) | 0;
  message.release();
}
const sink = await (how === "callback" ? stream.createSink(CHANNELS.there, take) : stream.createSink(CHANNELS.there));
await source.matched();

let sequence = 0;
function burst(): void {
  for (let i = 0; i < BURST; i++) {
    const buffer = source.getBuffer(payload);
    buffer.words[buffer.offset >>> 2] = sequence;
    sequence = (sequence + 1) | 0;
    source.emit(buffer, true);
  }
  source.flush();
  if (how === "callback") session.poll();
  else for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) take(message);
}

const watch = new Stopwatch(Number(warmupText), Number(secondsText));
for (let more = true; more; ) {
  await new Promise((resolve) => setImmediate(resolve));
  watch.start();
  for (let i = 0; i < TURNS && more; i++) {
    for (let j = 0; j < BURSTS; j++) burst();
    more = watch.stop();
  }
}
const expected = sequence;
if (source.stats.consumed !== expected) throw new Error(`${source.stats.consumed} of ${expected} were consumed`);
const { p50 = 0, p99 = 0 } = watch.result();
const messages = BURST * BURSTS;
say({ p50: (p50 * 1e3) / messages, p99: (p99 * 1e3) / messages, sum });
await close();
process.exit(0);
