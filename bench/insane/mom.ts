// Lunar MoM, round trips and one way: mom.ts embed[-xdp|...] LOCAL PEER near|far rtt|rate plain|kept PAYLOAD WARMUP
// SECONDS. Both sides spin: the engine is inline, messages are filled in the slot and come to a handler. `kept`: at least once.

import type { Publisher } from "../../src/apps/lunar-mom/api.ts";
import type { Draft, TopicMessage } from "../../src/apps/lunar-mom/lunar.ts";
import { type Lunar, openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { Counter, Stopwatch, say } from "../peers/stopwatch.ts";
import { sequenceOf } from "./sequence.ts";
import { reach } from "./session.ts";

const BURST = 64;
const LOST_AFTER_MS = 200;
/** Looks, or bursts, between two glances at the clock. */
const LOOKS = 4096;
/** Of a sender that may not go on: turns in vain before the event loop gets one. */
const FULL = 256;
/** Of a sender: turns of the event loop are seldom in a loop that spins. */
const TURNS = 65536;
const TAIL_SECONDS = 0.5;

const reached = await reach("bench-mom", process.argv.slice(2));
const { session, rest, close } = reached;
const [role, kind, lane, payloadText, warmupText, secondsText] = rest;
const [payload, warmup, seconds] = [Number(payloadText), Number(warmupText), Number(secondsText)];
const near = role === "near";
// Never a figure of something else under its name: this throws when the stream does not run where it was asked to.
const { binding } = await reached.stream(payload);
const { acceleration, consumption } = binding.qos;
const lunar: Lunar = await openLunar(session);
const delivery = lane === "kept" ? "at-least-once" : "best-effort";
const options = { qos: { acceleration, consumption }, delivery } as const;
const aside = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let sequence = 0;
const number = ({ memory, offset }: Draft): void => {
  memory[offset] = sequence;
  memory[offset + 1] = sequence >>> 8;
  memory[offset + 2] = sequence >>> 16;
  memory[offset + 3] = sequence >>> 24;
};

async function echo(publisher: Publisher): Promise<void> {
  let asked: TopicMessage;
  const copy = ({ memory, offset }: Draft): void => {
    const { memory: from, offset: at } = asked;
    for (let i = 0; i < payload; i++) memory[offset + i] = from[at + i] as number;
  };
  await lunar.subscribe("there", options, (message) => {
    asked = message;
    publisher.publish(payload, copy);
  });
  say("ready");
  await publisher.matched();
  for (let looks = 1; ; looks++) if (session.poll() === 0 && looks % (16 * LOOKS) === 0) await aside();
}

async function ping(publisher: Publisher): Promise<void> {
  let answered = 0;
  await lunar.subscribe("back", options, (message) => {
    answered = sequenceOf(message);
  });
  await publisher.matched();
  const watch = new Stopwatch(warmup, seconds);
  watch.start();
  for (let more = true; more; ) {
    sequence = (sequence + 1) >>> 0;
    publisher.publish(payload, number);
    const sent = performance.now();
    for (let looks = 1; answered !== sequence; looks++) {
      session.poll();
      if (looks % LOOKS === 0 && performance.now() - sent > LOST_AFTER_MS) break;
    }
    if (answered === sequence) more = watch.stop();
    else {
      await aside();
      watch.start();
    }
  }
  say(watch.result());
}

async function send(publisher: Publisher): Promise<void> {
  await publisher.source.reserve(payload);
  await publisher.matched();
  const until = performance.now() + (warmup + seconds + TAIL_SECONDS) * 1e3;
  for (let turn = 1, full = 0; turn % 16 !== 0 || performance.now() < until; turn++) {
    let sent = 0;
    for (; sent < BURST; sent++) {
      if (publisher.tryPublish(payload, number, true) === 0) break;
      sequence = (sequence + 1) >>> 0;
    }
    publisher.flush();
    session.poll();
    // What is lost is asked for by timers.
    full = sent === 0 ? full + 1 : 0;
    if (turn % TURNS === 0 || full === FULL) {
      full = 0;
      await aside();
    }
  }
  say({ sent: sequence });
}

async function receive(): Promise<void> {
  const counter = new Counter(payload, warmup, seconds);
  let [first, last, taken] = [0, 0, 0];
  await lunar.subscribe("there", { ...options, policy: { kind: "block" } }, (message) => {
    last = sequenceOf(message);
    if (taken++ === 0) first = last;
  });
  say("ready");
  for (let idle = 0, turn = 1; ; turn++) {
    idle = session.poll() > 0 ? 0 : idle + 1;
    if (taken > 0) {
      if (!counter.arrived(first, last, taken)) break;
      taken = 0;
    }
    if (idle >= LOOKS || turn % (16 * TURNS) === 0) {
      idle = 0;
      await aside();
    }
  }
  say(counter.result());
}

if (kind === "rtt") {
  const publisher = await lunar.publisher(near ? "there" : "back", options);
  await (near ? ping(publisher) : echo(publisher));
} else await (near ? send(await lunar.publisher("there", options)) : receive());
void close().then(() => process.exit(0));
