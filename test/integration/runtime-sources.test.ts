// Many sources: opened at once each is known to the engine before it emits; one after the other, more than an engine has
// room for at once, the last is heard as the first was.
import { expect, it } from "vitest";
import { MAX_SOURCES } from "../../src/actors/source-indices.ts";
import { Runtime, type Source } from "../../src/index.ts";
import { eventually } from "./runtime/processes.ts";

it("a stream has thousands of sources in its life, and each is heard on the other host as itself", async () => {
  const network = { helloIntervalMs: 50, silentAfterMs: 10_000 };
  const options = { log: { level: "silent" as const } };
  await using a = await Runtime.embed({ ...options, name: "A", network });
  await using b = await Runtime.embed({
    ...options,
    name: "B",
    network: { ...network, peers: [`127.0.0.1:${a.port}`] },
  });
  a.addPeer(`127.0.0.1:${b.port}`);
  const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
  const [there, here] = await Promise.all([sb.createStream({ name: "s" }), sa.createStream({ name: "s" })]);
  const sinks = [await there.createSink(1), await here.createSink(1)];
  const one = async (source: Source): Promise<void> => {
    await source.matched(2);
    const buffer = source.getBuffer(8);
    source.emit(buffer);
    for (const sink of sinks) {
      const message = await sink.consume();
      expect(message.source).toBe(source.id);
      message.release();
    }
    await source.settled();
  };
  const batch = 500;
  for (let had = 0; had < MAX_SOURCES + 2 * batch; had += batch) {
    const sources = await Promise.all(Array.from({ length: batch }, () => here.createSource(1)));
    for (const source of [sources[0], sources[batch >> 1], sources.at(-1)]) if (source) await one(source);
    await Promise.all(sources.map((source) => source.close()));
  }
  await Promise.all([sa.close(), sb.close()]);
  await eventually(
    () => [a, b].map((runtime) => runtime.status().links.length),
    (links) => links.join() === "0,0",
  );
  expect(a.status().quarantined + b.status().quarantined).toBe(0);
}, 300_000);
