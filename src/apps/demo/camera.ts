// Role: streams a picture as raw RGB frames of several MB, each one message. It is never more than a few frames ahead of
// its receivers: they give credit back on a channel of their own.
import { connect, type Source } from "../../index.ts";
import { FRAME_HEADER, FRAME_MOST, type Frame, writeFrame } from "./frames.ts";
import { loadPicture, nextFrame } from "./picture.ts";
import { CHANNELS, droppedOf, greetUntil, runRole, STREAMS, WINDOW } from "./roles.ts";

await runRole(async (say, told) => {
  const frames = Number(process.argv[2] ?? 10);
  const receivers = Number(process.argv[3] ?? 1);
  const consumers = Number(process.argv[4] ?? 1);
  const picture = await loadPicture(process.argv[5]);
  const session = await connect({ name: process.env["INSANE_DEMO_NAME"] ?? "camera" });
  const stream = await session.createStream({
    name: STREAMS.camera,
    acceleration: "fast",
    consumption: "high",
    maxMessage: FRAME_MOST,
  });
  const source = await stream.createSource(CHANNELS.frames);
  const control = await session.createStream({ name: STREAMS.control });
  /** Frames each receiver has taken, by its number. */
  const taken = new Map<number, number>();
  let wake = (): void => {};
  await control.createSink(CHANNELS.credit, (message) => {
    const view = new DataView(message.bytes.buffer, message.bytes.byteOffset, 8);
    taken.set(view.getUint32(0, true), view.getUint32(4, true));
    message.release();
    wake();
  });
  const slowest = (): number => (taken.size < receivers ? 0 : Math.min(...taken.values()));
  say({
    type: "ready",
    streams: [
      {
        name: stream.name,
        by: process.env["INSANE_DEMO_NAME"] ?? "camera",
        requested: "fast, resources no concern",
        datapath: stream.binding.datapath,
        warnings: stream.warnings,
        decision: stream.binding,
      },
    ],
  });
  const greetings = await greetUntil(told("go"), source, () => {
    const buffer = source.tryGetBuffer(0);
    if (buffer !== null && source.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
  });
  await source.matched(consumers, { signal: AbortSignal.timeout(15_000) });
  const begun = performance.now();
  const buffers = [new Uint8Array(picture.pixels.length), new Uint8Array(picture.pixels.length)];
  for (let number = 0; number < frames; number++) {
    const frame: Frame = {
      number,
      width: picture.width,
      height: picture.height,
      pixels: nextFrame(picture, number, buffers[number & 1] as Uint8Array),
    };
    if (number - slowest() >= WINDOW) {
      const credited = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), 10_000);
        wake = () => {
          if (number - slowest() >= WINDOW) return;
          clearTimeout(timer);
          resolve(true);
        };
        wake();
      });
      if (!credited)
        throw new Error(
          `no credit for 10 s after ${number} frames; receivers have taken ${[...taken].map(([who, n]) => `#${who}: ${n}`).join(", ")}`,
        );
    }
    await sendFrame(source, frame);
    say({ type: "progress", readings: 0, frames: number + 1 });
  }
  const seconds = (performance.now() - begun) / 1000;
  const stats = await source.settled({ signal: AbortSignal.timeout(10_000) });
  const dropped = droppedOf(stats) - greetings;
  say({ type: "sent", messages: frames, frames, bytes: frames * picture.pixels.length, seconds, dropped });
  await told("end");
  await session.close();
});

async function sendFrame(source: Source, frame: Frame): Promise<void> {
  const length = FRAME_HEADER + frame.pixels.length;
  let buffer = source.tryGetBuffer(length);
  while (buffer === null) {
    await source.ready();
    buffer = source.tryGetBuffer(length);
  }
  writeFrame(buffer.bytes, frame);
  while (source.tryEmit(buffer) === 0) await source.ready();
}
