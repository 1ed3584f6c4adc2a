// One source and its sinks, each in a process of its own: fanout.ts attach SOCKET near SINKS RATE|far WARMUP SECONDS. `near`
// offers RATE messages a second in bursts, and has to wait where a sink is late; `far` counts what it got of them.
import { Counter, say } from "../peers/stopwatch.ts";
import { CHANNELS, reach } from "./session.ts";

const PAYLOAD = 64;
/** Messages published together. */
const BURST = 16;
/** Longest that `near` goes on after the measured time, s: receivers begin to count when they get the first message. */
const TAIL_SECONDS = 1;

const reached = await reach("bench-fanout", process.argv.slice(2));
const { session, rest } = reached;
const role = rest.shift();
const stream = await reached.stream(PAYLOAD);

if (role === "near") {
  const [sinks, rate, warmup, seconds] = rest.map(Number) as [number, number, number, number];
  const source = await stream.createSource(CHANNELS.there);
  await source.reserve(PAYLOAD);
  await source.matched(sinks);
  const began = performance.now();
  const until = began + (warmup + seconds + TAIL_SECONDS) * 1e3;
  let sequence = 0;
  let waits = 0;
  for (let now = began; now < until; now = performance.now()) {
    // What is due by now goes out, in whole bursts; a timer that is late is made up for.
    const due = Math.floor(((now - began) * rate) / 1e3 / BURST) * BURST;
    while (sequence < due) {
      for (let i = 0; i < BURST; i++) {
        let buffer = source.tryGetBuffer(PAYLOAD);
        for (; buffer === null; buffer = source.tryGetBuffer(PAYLOAD)) {
          waits++;
          await source.ready();
        }
        buffer.words[buffer.offset >>> 2] = sequence++;
        while (source.tryEmit(buffer, true) === 0) {
          waits++;
          await source.ready();
        }
      }
      source.flush();
      session.poll();
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  say({ sent: sequence, waits });
} else {
  const [warmup, seconds] = rest.map(Number) as [number, number];
  const counter = new Counter(PAYLOAD, warmup, seconds);
  let [first, last, taken] = [0, 0, 0];
  await stream.createSink(CHANNELS.there, (message) => {
    last = message.words[message.offset >>> 2] as number;
    message.release();
    if (taken++ > 0) return;
    // Callbacks of one wake-up are one burst: its end is the end of this turn of the event loop.
    first = last;
    setImmediate(() => {
      const more = counter.arrived(first, last, taken);
      taken = 0;
      if (more) return;
      say(counter.result());
      process.exit(0);
    });
  });
  say("ready");
  setInterval(() => {}, 1 << 30);
}
