// Role: publishes the data set as typed messages, one row at a time, as fast as its consumers allow but 2,000 a second at most.
import { connect } from "../../index.ts";
import { GREETING, loadReadings, readingsChannel } from "./readings.ts";
import { droppedOf, greetUntil, runRole, STREAMS } from "./roles.ts";

await runRole(async (say, told) => {
  const rounds = Number(process.argv[2] ?? 10);
  const consumers = Number(process.argv[3] ?? 1);
  const rows = loadReadings();
  const session = await connect({ name: process.env["INSANE_DEMO_NAME"] ?? "sensor" });
  const stream = await session.createStream({ name: STREAMS.sensors });
  const source = await readingsChannel.createSource(stream);
  say({
    type: "ready",
    streams: [
      {
        name: stream.name,
        by: process.env["INSANE_DEMO_NAME"] ?? "sensor",
        requested: "no acceleration",
        datapath: stream.binding.datapath,
        warnings: stream.warnings,
        decision: stream.binding,
      },
    ],
  });
  const greetings = await greetUntil(told("go"), source.source, () => source.tryEmit(GREETING));
  await source.source.matched(consumers, { signal: AbortSignal.timeout(15_000) });
  const begun = performance.now();
  let messages = 0;
  for (let round = 0; round < rounds; round++) {
    for (let row = 0; row < rows.length; row++) {
      while (source.tryEmit(rows[row] as (typeof rows)[number]) === 0) await source.source.ready();
      messages++;
      if (messages % 2 === 0) {
        const ahead = messages / 2 - (performance.now() - begun);
        if (ahead > 1) await new Promise((resolve) => setTimeout(resolve, ahead));
      }
    }
    say({ type: "progress", readings: messages, frames: 0 });
  }
  const seconds = (performance.now() - begun) / 1000;
  const stats = await source.source.settled({ signal: AbortSignal.timeout(10_000) });
  const dropped = droppedOf(stats) - greetings;
  say({ type: "sent", messages, frames: 0, bytes: 0, seconds, dropped });
  await told("end");
  await session.close();
});
