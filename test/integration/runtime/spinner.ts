// A runtime embedded in a process whose thread spins, for tests: told to, it polls for so long without giving the event
// loop a turn, is quiet at first, then sends a numbered message every millisecond or so, and takes what comes. Settings as JSON in its argument.
import { Runtime } from "../../../src/index.ts";

const { settings, out, back } = JSON.parse(process.argv[2] ?? "{}");
const runtime = await Runtime.embed({ log: { level: "silent" }, ...settings });
const session = await runtime.connect({ name: "spinner" });
const stream = await session.createStream({ name: "spin" });
const source = await stream.createSource(out);
const sink = await stream.createSink(back);
let next = 0;

/**
 * `poll`: the application runs the engine; else it computes, and the engine's own thread has to step in. For
 * `quietMs` it sends nothing.
 */
function spin(ms: number, quietMs: number, poll: boolean): Record<string, unknown> {
  const end = performance.now() + ms;
  const came: number[] = [];
  let due = performance.now() + quietMs;
  while (performance.now() < end) {
    if (poll) session.poll();
    for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) {
      came.push(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(0, true));
      message.release();
    }
    if (performance.now() < due) continue;
    due += 1;
    const buffer = source.tryGetBuffer(4);
    if (buffer === null) continue;
    new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset).setUint32(0, next, true);
    if (source.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
    else next++;
  }
  return { sent: next, came, peers: runtime.status().peers.map(({ state }) => state) };
}

const calls: Record<string, (words: Record<string, unknown>) => unknown> = {
  matched: () => source.matched(),
  spin: ({ ms, quietMs, poll }) => spin(Number(ms), Number(quietMs), poll === true),
  settled: () => source.settled(),
};
process.on("message", async (words: Record<string, unknown>) => {
  try {
    process.send?.({ answer: words["call"], result: (await calls[String(words["method"])]?.(words)) ?? null });
  } catch (error) {
    process.send?.({ answer: words["call"], error: String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
process.send?.({ up: true, port: runtime.port });
