// Role: receives readings and frames, checks every frame's hash, gives the camera credit, and at the end saves the last
// frame as PNG. The same program runs beside the source (shared memory) and on the other host (network).
import { connect } from "../../index.ts";
import { FRAME_MOST, type ReceivedFrame, readFrame } from "./frames.ts";
import { savePicture } from "./picture.ts";
import { GREETING, type Reading, readingsChannel } from "./readings.ts";
import { CHANNELS, latency, runRole, STREAMS } from "./roles.ts";

await runRole(async (say, told) => {
  const number = Number(process.argv[2] ?? 0);
  const file = process.argv[3] || null;
  /** A bystander takes what it gets and gives no credit: it may be killed at any time without holding up anyone. */
  const bystander = process.argv[4] === "bystander";
  const session = await connect({ name: process.env["INSANE_DEMO_NAME"] ?? "receiver" });

  const sensors = await session.createStream({ name: STREAMS.sensors });
  const readingLatency: number[] = [];
  let readings = 0;
  let lost = 0;
  /** Greetings, which come before all else, on each of the two channels. */
  const greeted = new Set<string>();
  const greet = (channel: string): void => {
    if (greeted.has(channel)) return;
    greeted.add(channel);
    if (greeted.size === 2) say({ type: "reached" });
  };
  const policy = bystander ? ({ kind: "drop-newest" } as const) : ({ kind: "block" } as const);
  const readingSink = await readingsChannel.createSink(sensors, { policy }, ({ date }: Reading, message) => {
    if (date === GREETING.date) {
      greet("readings");
      return;
    }
    readings++;
    readingLatency.push(message.receiveTime - message.emitTime);
  });
  readingSink.sink.on("lost", (event) => {
    lost += event.count;
  });

  const control = await session.createStream({ name: STREAMS.control });
  const credit = bystander ? null : await control.createSource(CHANNELS.credit);
  const camera = await session.createStream({
    name: STREAMS.camera,
    acceleration: "fast",
    consumption: "high",
    maxMessage: FRAME_MOST,
  });
  const frameLatency: number[] = [];
  let frames = 0;
  let intact = 0;
  let last: ReceivedFrame | null = null;
  const giveCredit = (): void => {
    const buffer = credit?.tryGetBuffer(8);
    if (credit === null || buffer === null || buffer === undefined) return;
    const view = new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset, 8);
    view.setUint32(0, number, true);
    view.setUint32(4, frames, true);
    if (credit.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
  };
  const frameSink = await camera.createSink(CHANNELS.frames, { policy }, (message) => {
    if (message.length === 0) {
      message.release();
      greet("frames");
      return;
    }
    frameLatency.push(Date.now() - message.emitTime);
    const frame = readFrame(message.bytes);
    frames++;
    if (frame.intact) intact++;
    // The picture that is saved outlives its message.
    if (file !== null) last = { ...frame, pixels: frame.pixels.slice() };
    message.release();
    giveCredit();
    say({ type: "progress", readings, frames });
  });
  frameSink.on("lost", (event) => {
    lost += event.count;
  });

  await credit?.matched(1, { signal: AbortSignal.timeout(15_000) });
  say({
    type: "ready",
    streams: [
      {
        name: camera.name,
        by: process.env["INSANE_DEMO_NAME"] ?? "receiver",
        requested: "fast, resources no concern",
        datapath: camera.binding.datapath,
        warnings: camera.warnings,
        decision: camera.binding,
      },
    ],
  });
  const expected = await told("report");
  const patience = performance.now() + 3000;
  while ((readings < expected.readings || frames < expected.frames) && performance.now() < patience) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (file !== null && last !== null) await savePicture(file, last);
  say({
    type: "received",
    readings,
    frames,
    intact,
    lost,
    readingLatency: latency(readingLatency),
    frameLatency: latency(frameLatency),
    picture: file !== null && last !== null ? file : null,
  });
  await told("end");
  await session.close();
});
