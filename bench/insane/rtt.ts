// Round trips over INSANE: rtt.ts embed[-xdp] LOCAL PEER|attach SOCKET near|far spin|yield|park copy|mark PAYLOAD WARMUP
// SECONDS. `near` has one message in flight; `far` answers with the whole payload (copy) or its first word only (mark).
import type { Message, Sink, SlotBuffer, Source } from "../../src/index.ts";
import { Stopwatch, say } from "../peers/stopwatch.ts";
import { sequenceAt } from "./sequence.ts";
import { CHANNELS, reach } from "./session.ts";

/** A message not answered for this long is lost, and the next one is sent. */
const LOST_AFTER_MS = 200;
/** Looks between two glances at the clock, some hundred microseconds. */
const LOOKS = 4096;
/** Up to here a loop over words beats the view that `set` needs. */
const WORD_COPY_BYTES = 256;

const reached = await reach("bench-rtt", process.argv.slice(2));
const { session, rest, close } = reached;
const [role, waiting, answering, payloadText, warmupText, secondsText] = rest;
const payload = Number(payloadText);
const near = role === "near";

const stream = await reached.stream(payload);
const source: Source = await stream.createSource(near ? CHANNELS.there : CHANNELS.back);
await source.reserve(payload);

function copyPayload(from: Message, to: SlotBuffer): void {
  if (payload > WORD_COPY_BYTES || from.offset & 3) {
    to.bytes.set(from.bytes);
    return;
  }
  const source = from.words;
  const target = to.words;
  const there = to.offset >>> 2;
  const here = from.offset >>> 2;
  for (let i = 0; i < payload >>> 2; i++) target[there + i] = source[here + i] as number;
}

function answer(message: Message): void {
  const buffer = source.getBuffer(payload);
  if (answering === "copy") copyPayload(message, buffer);
  else buffer.words[buffer.offset >>> 2] = sequenceAt(message);
  message.release();
  source.emit(buffer);
}

function send(sequence: number): void {
  const buffer = source.getBuffer(payload);
  buffer.words[buffer.offset >>> 2] = sequence;
  source.emit(buffer);
}

/** The next message, or null when none came for LOST_AFTER_MS. */
function next(sink: Sink, yielding: boolean): Message | null {
  let deadline = 0;
  for (let looks = 1; ; looks++) {
    const message = sink.tryConsume();
    if (message !== null) return message;
    if (yielding) session.yield();
    if (looks % LOOKS) continue;
    const now = performance.now();
    deadline ||= now + LOST_AFTER_MS;
    if (now > deadline) return null;
  }
}

/** A turn of the event loop, without which an embedded runtime greets nobody; never while something is measured. */
const aside = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function finish(watch: Stopwatch): void {
  say(watch.result());
  void close().then(() => process.exit(0));
}

async function spinning(yielding: boolean): Promise<void> {
  const sink = await stream.createSink(near ? CHANNELS.back : CHANNELS.there);
  if (!near) say("ready");
  await source.matched();
  if (!near) {
    for (;;) {
      const message = next(sink, yielding);
      if (message !== null) answer(message);
      else await aside();
    }
  }
  const watch = new Stopwatch(Number(warmupText), Number(secondsText));
  watch.start();
  for (let sequence = 1, more = true; more; sequence++) {
    send(sequence);
    for (let answered = false; !answered; ) {
      const message = next(sink, yielding);
      if (message === null) {
        await aside();
        watch.start();
        break;
      }
      answered = sequenceAt(message) === sequence; // else an answer that came too late
      message.release();
      if (answered) more = watch.stop();
    }
  }
  finish(watch);
}

async function parked(): Promise<void> {
  if (!near) {
    await stream.createSink(CHANNELS.there, answer);
    say("ready");
    return;
  }
  let watch = new Stopwatch(Number(warmupText), Number(secondsText));
  let sequence = 1;
  const start = () => {
    watch.start();
    send(sequence);
  };
  const lost = setInterval(() => {
    if (performance.now() - watch.started < LOST_AFTER_MS) return;
    sequence++;
    start();
  }, LOST_AFTER_MS);
  await stream.createSink(CHANNELS.back, (message) => {
    const answered = sequenceAt(message) === sequence;
    message.release();
    if (!answered) return;
    sequence++;
    if (watch.stop()) return start();
    clearInterval(lost);
    finish(watch);
  });
  await source.matched();
  watch = new Stopwatch(Number(warmupText), Number(secondsText));
  start();
}

if (waiting === "park") await parked();
else await spinning(waiting === "yield");
