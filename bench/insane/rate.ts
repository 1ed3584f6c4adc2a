// One way over INSANE as fast as it goes: rate.ts embed[-xdp] LOCAL PEER|attach SOCKET near|far spin|park PAYLOAD WARMUP
// SECONDS. `near` sends numbered messages in bursts, `far` counts them.
import type { Sink, Source } from "../../src/index.ts";
import { Counter, SenderCost, say } from "../peers/stopwatch.ts";
import { sequenceAt } from "./sequence.ts";
import { CHANNELS, reach } from "./session.ts";

/** Messages between two publications: those of 64 bytes make a train of 55 KB. */
const BURST = 768;
/** The sender outlasts the receiver's window, which begins later. */
const TAIL_SECONDS = 0.5;
/** Bursts between two glances at the clock. */
const CLOCK_BURSTS = 4;
/** Bursts between two turns of the event loop (control frames): seldom in a loop that spins. */
const SPINNING_TURNS = 65536;
/** Looks in vain after which a receiver that spins gives the event loop a turn: nothing is measured then. */
const IDLE_LOOKS = 4096;
const PARKING_TURNS = 64;

const reached = await reach("bench-rate", process.argv.slice(2));
const { session, rest } = reached;
const [role, waiting, payloadText, warmupText, secondsText] = rest;
const payload = Number(payloadText);
const warmup = Number(warmupText);
const seconds = Number(secondsText);
const turns = waiting === "park" ? PARKING_TURNS : SPINNING_TURNS;
const stream = await reached.stream(payload);

const eventLoop = () => new Promise((resolve) => setImmediate(resolve));

let sequence = 0;
/** A burst as far as slots and credits go; true when nothing was in the way. */
function sendBurst(source: Source): boolean {
  let sent = 0;
  for (; sent < BURST; sent++) {
    const buffer = source.tryGetBuffer(payload);
    if (buffer === null) break;
    buffer.words[buffer.offset >>> 2] = sequence;
    if (source.tryEmit(buffer, true) === 0) {
      buffer[Symbol.dispose]();
      break;
    }
    sequence = (sequence + 1) >>> 0;
  }
  source.flush();
  return sent === BURST;
}

async function send(): Promise<void> {
  const source = await stream.createSource(CHANNELS.there);
  await source.reserve(payload);
  await source.matched();
  const cost = new SenderCost(warmup, seconds);
  const until = performance.now() + (warmup + seconds + TAIL_SECONDS) * 1e3;
  for (let turn = 1; turn % CLOCK_BURSTS !== 0 || cost.sent(sequence) < until; turn++) {
    const full = sendBurst(source);
    session.poll(); // takes returned credits home
    const rest = waiting === "park" && !full ? source.ready() : turn % turns === 0 ? eventLoop() : undefined;
    if (rest !== undefined) await rest;
  }
}

const counter = new Counter(payload, warmup, seconds);
let first = 0;
let last = 0;
let taken = 0;

function take(message: { offset: number; words: Uint32Array; memory: Uint8Array; release(): void }): void {
  last = sequenceAt(message);
  if (taken++ === 0) first = last;
  message.release();
}

/** What the messages taken since the last call add up to; ends the program when the measured time is over. */
function account(): void {
  const more = counter.arrived(first, last, taken);
  taken = 0;
  if (more) return;
  say(counter.result());
  process.exit(0);
}

async function receiveSpinning(sink: Sink): Promise<void> {
  for (let turn = 1, idle = 0; ; turn++) {
    const ready = session.poll();
    idle = ready > 0 ? 0 : idle + 1;
    if (ready > 0) {
      while (taken < ready) {
        const message = sink.tryConsume();
        if (message === null) break;
        take(message);
      }
      if (taken) account();
    }
    if (idle >= IDLE_LOOKS || turn % (16 * turns) === 0) {
      idle = 0;
      await eventLoop();
    }
  }
}

if (role === "near") await send();
else if (waiting === "park") {
  // Callbacks of one wake-up are one burst: its end is the end of this turn of the event loop.
  let scheduled = false;
  await stream.createSink(CHANNELS.there, (message) => {
    take(message);
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      account();
    });
  });
  say("ready");
} else {
  const sink = await stream.createSink(CHANNELS.there);
  say("ready");
  await receiveSpinning(sink);
}
