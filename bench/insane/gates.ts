// The two sides of the gates benchmark: gates.ts send|receive LOCAL PEER PAYLOAD SECONDS none|best-effort. `send` emits a
// time-sensitive message a cycle, long before its window opens, and as much best effort as is taken if asked to; `receive`
// takes what comes. When the frames leave is told by a capture (bench/native/raw_gates_capture.c), how many of them the
// sender knows to be late by its counters.
import { execFileSync } from "node:child_process";
import { Runtime, type Source } from "../../src/index.ts";
import { say } from "../peers/stopwatch.ts";
import { BULK, CHANNELS, CYCLE_NS, EMIT_NS, HELLO_PORT, LAST_EMIT_NS, SCHEDULE, URGENT } from "./gates-plan.ts";
import { towards } from "./hello.ts";

const [role, address = "", peer = "", payloadText, secondsText, load] = process.argv.slice(2);
const payload = Number(payloadText);
const seconds = Number(secondsText);
const sends = role === "send";
/** Of a best-effort message; its datagram fills a frame of MTU 1500. */
const BULK_BYTES = 1400;
const CYCLE_MS = CYCLE_NS / 1e6;

await using runtime = await Runtime.embed({
  name: `bench-gates-${role}`,
  socket: null,
  network: {
    ...towards(address, peer, HELLO_PORT),
    xdp: { enabled: false },
    ...(sends ? { schedule: SCHEDULE } : {}),
  },
  engine: sends ? { mode: "thread", idle: "spin", cpu: 0 } : { mode: "thread", idle: "park", cpu: 1 },
  log: { level: "error" },
});
// The sender's engine has core 0 for itself: our own thread, which may use both so that the engine may spin, leaves it.
if (sends) execFileSync("taskset", ["-pc", "1", String(process.pid)], { stdio: "ignore" });
const session = await runtime.connect({ name: `bench-gates-${role}` });
const urgent = await session.createStream({ ...URGENT, maxMessage: payload });
const bulk = await session.createStream({ ...BULK, maxMessage: BULK_BYTES });

const eventLoop = () => new Promise((resolve) => setImmediate(resolve));
const counter = (name: string): number => runtime.status().engines[0]?.counters[name] ?? 0;
/** ns into the cycle; TAI differs from UTC by whole seconds, and a cycle is a part of one. */
const phaseNs = (): number => ((performance.timeOrigin + performance.now()) % CYCLE_MS) * 1e6;

function emit(source: Source, bytes: number): boolean {
  const buffer = source.tryGetBuffer(bytes);
  if (buffer === null) return false;
  if (source.tryEmit(buffer) !== 0) return true;
  buffer[Symbol.dispose]();
  return false;
}

async function send(): Promise<void> {
  const source = await urgent.createSource(CHANNELS.urgent);
  const filler = await bulk.createSource(CHANNELS.bulk);
  await Promise.all([source.matched(), filler.matched()]);
  const late = counter("tx_late");
  let sent = 0;
  let filled = 0;
  const until = performance.now() + seconds * 1e3;
  while (performance.now() < until) {
    // Once in the part of the cycle that lies well before the window and well after the last.
    while (phaseNs() < EMIT_NS) if (load === "best-effort" && emit(filler, BULK_BYTES)) filled++;
    // A loop that was interrupted lets a cycle go: a message emitted into its window would not be late by the engine.
    if (phaseNs() < LAST_EMIT_NS && emit(source, payload)) sent++;
    for (let look = 0; phaseNs() >= EMIT_NS; look++) {
      if (load === "best-effort" && emit(filler, BULK_BYTES)) filled++;
      if (look === 0) await eventLoop();
    }
  }
  await Promise.all([source.settled(), filler.settled()]);
  say({ sent, filled, late: counter("tx_late") - late, held: counter("tx_held") });
}

if (sends) await send();
else {
  await urgent.createSink(CHANNELS.urgent, (message) => message.release());
  await bulk.createSink(CHANNELS.bulk, (message) => message.release());
  say("ready");
  await new Promise(() => setInterval(() => {}, 1 << 30));
}
