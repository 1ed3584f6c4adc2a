// The memory in which large messages are put together is the session's that receives them: charged to its limit, given back
// when it closes, and a stream that had to go without has it as soon as there is some.
import { describe, expect, it } from "vitest";
import { RuntimeActor } from "../../src/actors/runtime.ts";
import { openSession } from "../../src/client/session.ts";
import type { Sink, Source } from "../../src/index.ts";
import type { Warning } from "../../src/protocol/codes.ts";
import type { EmbedOptions } from "../../src/runtime/api.ts";
import { completeConfig } from "../../src/runtime/config.ts";
import { HelloDirectory } from "../../src/runtime/hello-directory.ts";
import { type Log, SILENT } from "../../src/runtime/log.ts";
import { probeFor } from "../../src/runtime/probe.ts";
import { eventually } from "./runtime/processes.ts";

const MiB = 2 ** 20;
const PATIENCE_MS = 30_000;
const network = { helloIntervalMs: 50, silentAfterMs: 5000 };

interface Watched {
  readonly runtime: RuntimeActor;
  readonly warnings: Warning[];
  readonly news: string[];
}

async function start(name: string, options: EmbedOptions = {}): Promise<Watched> {
  const config = completeConfig({ name, socket: null, ...options, network });
  const warnings: Warning[] = [];
  const news: string[] = [];
  const log: Log = { ...SILENT, warn: (warning) => void warnings.push(warning), info: (text) => void news.push(text) };
  const runtime = new RuntimeActor({
    config,
    strategy: null,
    log,
    probe: () => probeFor(config),
    directory: ({ id, name }, world) => new HelloDirectory({ id, name, network: config.network, world }),
  });
  await runtime.start();
  return { runtime, warnings, news };
}

/** Emits messages of `size` until one has arrived; what was under way before is passed over. */
async function oneArrives(source: Source, sink: Sink, size: number): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (let arrived = false; !arrived; ) {
    expect(performance.now()).toBeLessThan(until);
    const buffer = source.tryGetBuffer(size);
    if (buffer) {
      buffer.bytes.fill(0x5a);
      if (source.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (let message = sink.tryConsume(); message; message = sink.tryConsume()) {
      arrived ||= message.bytes.length === size && message.bytes.every((byte) => byte === 0x5a);
      message.release();
    }
  }
}

/** Of the only session there is. */
const reservedIn = ({ runtime }: Watched): number => runtime.session(1)?.reserved ?? 0;

describe("a session that receives large messages", { timeout: 120_000 }, () => {
  it("pays for their memory, goes without beyond its limit, and has some when it has closed another stream", async () => {
    const a = await start("A");
    // Three slots of a MiB for one stream, not for two.
    const b = await start("B", { limits: { bytesPerSession: 5 * MiB, largeBytesPerStream: MiB } });
    try {
      a.runtime.network.addPeer(`127.0.0.1:${b.runtime.network.port}`);
      b.runtime.network.addPeer(`127.0.0.1:${a.runtime.network.port}`);
      const sa = await openSession({ fd: a.runtime.connectHere() });
      const sb = await openSession({ fd: b.runtime.connectHere() });
      const qos = { maxMessage: MiB };
      const bare = reservedIn(b);
      const first = await sb.createStream({ name: "first", ...qos });
      const firstSink = await first.createSink(1);
      const fromFirst = await (await sa.createStream({ name: "first", ...qos })).createSource(1);
      await fromFirst.matched();
      await oneArrives(fromFirst, firstSink, 900_000);
      expect(reservedIn(b) - bare).toBeGreaterThan(3 * MiB);
      expect(b.warnings.map(({ code }) => code)).not.toContain("W_NO_LARGE_MEMORY");

      const second = await sb.createStream({ name: "second", ...qos });
      const secondSink = await second.createSink(1);
      const told = await eventually(
        () => b.warnings.find(({ code }) => code === "W_NO_LARGE_MEMORY")?.message ?? "",
        (message) => message !== "",
        PATIENCE_MS,
      );
      expect(told).toMatch(
        /stream second.* would need 3\d{6} bytes; .* holds \d+ of the 5242880 .*limits\.bytesPerSession/,
      );
      expect(reservedIn(b)).toBeLessThanOrEqual(5 * MiB);
      const fromSecond = await (await sa.createStream({ name: "second", ...qos })).createSource(1);
      await fromSecond.matched();
      // What goes in a datagram arrives without.
      await oneArrives(fromSecond, secondSink, 1000);

      await first.close();
      await eventually(
        () => b.news,
        (news) => news.some((text) => /has memory for the large messages of stream second again/.test(text)),
        PATIENCE_MS,
      );
      await oneArrives(fromSecond, secondSink, 900_000);
      await second.close();
      await eventually(
        () => reservedIn(b),
        (bytes) => bytes === bare,
        PATIENCE_MS,
      );
      await Promise.all([sa.close(), sb.close()]);
      expect(b.runtime.status().quarantined).toBe(0);
    } finally {
      await Promise.all([a.runtime.close(), b.runtime.close()]);
    }
  });

  it("pays once for what several of its streams share", async () => {
    const b = await start("B");
    try {
      const session = await openSession({ fd: b.runtime.connectHere() });
      const usual = await session.createStream({ name: "one" });
      const before = reservedIn(b);
      await usual.createSink(1);
      await eventually(
        () => reservedIn(b) - before,
        (bytes) => bytes > 4 * MiB,
        PATIENCE_MS,
      );
      await (await session.createStream({ name: "two" })).createSink(1);
      await eventually(
        () => b.runtime.status().links.length,
        (links) => links === 2,
        PATIENCE_MS,
      );
      expect(reservedIn(b) - before).toBeLessThan(6 * MiB);
      await session.close();
    } finally {
      await b.runtime.close();
    }
  });
});
