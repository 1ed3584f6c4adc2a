// One way over kernel UDP on two channels, received by one thread or by two: spread.ts near|far LOCAL PEER THREADS PAYLOAD
// WARMUP SECONDS. `near` sends bursts on each channel by turns, its engine inline; `far` counts what comes on both, its
// application on a thread besides those that receive.
import { Runtime, type Source } from "../../src/index.ts";
import { laneOf } from "../../src/protocol/lanes.ts";
import { streamTag } from "../../src/protocol/qos.ts";
import { Counter, say } from "../peers/stopwatch.ts";
import { towards } from "./hello.ts";
import { sequenceAt } from "./sequence.ts";
import { HELLO_PORT, STREAM } from "./session.ts";

const [role, address = "", peer = "", ...numbers] = process.argv.slice(2);
const [threads = 1, payload = 0, warmup = 0, seconds = 0] = numbers.map(Number);
/** They lie on different lanes where there are two. */
const CHANNELS = [1, 2] as const;
const BURST = 256;
/** Rounds of bursts between two turns of the event loop. */
const TURNS = 64;
/** The sender outlasts the receiver's window, which begins later. */
const TAIL_SECONDS = 0.5;
const receives = role === "far";

if (new Set(CHANNELS.map((channel) => laneOf("udp", streamTag(STREAM), channel, threads))).size !== threads)
  throw new Error(`channels ${CHANNELS.join(" and ")} do not spread over ${threads} threads`);

await using runtime = await Runtime.embed({
  name: `bench-spread-${role}`,
  socket: null,
  network: {
    ...towards(address, peer, HELLO_PORT),
    xdp: { enabled: false },
    udp: { threads: receives ? threads : 1 },
  },
  engine: { mode: receives ? "thread" : "inline", idle: "park" },
  threads: { advisor: "off" },
  log: { level: "error" },
});
const session = await runtime.connect({ name: "bench-spread" });
const stream = await session.createStream({ name: STREAM });
const eventLoop = () => new Promise((resolve) => setImmediate(resolve));

function sendBurst(source: Source, from: number): number {
  let sent = 0;
  for (; sent < BURST; sent++) {
    const buffer = source.tryGetBuffer(payload);
    if (buffer === null) break;
    buffer.words[buffer.offset >>> 2] = (from + sent) >>> 0;
    if (source.tryEmit(buffer, true) === 0) {
      buffer[Symbol.dispose]();
      break;
    }
  }
  source.flush();
  return (from + sent) >>> 0;
}

async function send(): Promise<void> {
  const sources = await Promise.all(CHANNELS.map((channel) => stream.createSource(channel)));
  await Promise.all(sources.map((source) => source.matched()));
  const next = sources.map(() => 0);
  const until = performance.now() + (warmup + seconds + TAIL_SECONDS) * 1e3;
  for (let turn = 1; performance.now() < until; turn++) {
    sources.forEach((source, i) => {
      next[i] = sendBurst(source, next[i] as number);
      session.poll();
    });
    if (turn % TURNS === 0) await eventLoop();
  }
}

/** What the windows of both channels add up to. */
function sum(counters: readonly Counter[]): Record<string, number> {
  const results = counters.map((counter) => counter.result());
  const add = (key: string) => results.reduce((total, result) => total + (result[key] ?? 0), 0);
  return { rate: add("rate"), goodput: add("goodput"), loss: add("loss") / results.length };
}

/** Of one channel: messages of one wake-up are one burst, which ends with this turn of the event loop. */
class Arrivals {
  readonly counter = new Counter(payload, warmup, seconds);
  over = false;
  #first = 0;
  #last = 0;
  #taken = 0;

  take(sequence: number): void {
    if (this.#taken++ === 0) this.#first = sequence;
    this.#last = sequence;
  }

  account(): void {
    if (this.#taken > 0 && !this.over) this.over = !this.counter.arrived(this.#first, this.#last, this.#taken);
    this.#taken = 0;
  }
}

async function receive(): Promise<void> {
  const all = CHANNELS.map(() => new Arrivals());
  let scheduled = false;
  const account = () => {
    scheduled = false;
    for (const arrivals of all) arrivals.account();
    if (!all.every(({ over }) => over)) return;
    say(sum(all.map(({ counter }) => counter)));
    process.exit(0);
  };
  for (const [i, channel] of CHANNELS.entries()) {
    const arrivals = all[i] as Arrivals;
    await stream.createSink(channel, (message) => {
      arrivals.take(sequenceAt(message));
      message.release();
      if (scheduled) return;
      scheduled = true;
      setImmediate(account);
    });
  }
  say("ready");
  await new Promise(() => setInterval(() => {}, 1 << 30));
}

await (receives ? receive() : send());
