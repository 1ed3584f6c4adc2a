// Runtimes with a gate schedule, on loopback: time-sensitive and best-effort messages arrive in order, what does not fit is
// refused when its stream opens, and the books balance.
import { describe, expect, it } from "vitest";
import { type EmbeddedRuntime, type EmbedOptions, Runtime, type Session } from "../../src/index.ts";
import type { Qos } from "../../src/protocol/qos.ts";
import { eventually } from "./runtime/processes.ts";

/** 4 ms at 1 Gbit/s: 1 ms for class 7, 1 ms for class 3, 2 ms for the others. */
const schedule = {
  lineRateMbps: 1000,
  baseTime: 0,
  cycleNs: 4_000_000,
  marginNs: 15_000,
  entries: [
    { gates: 0x80, intervalNs: 1_000_000 },
    { gates: 0x08, intervalNs: 1_000_000 },
    { gates: 0x01, intervalNs: 2_000_000 },
  ],
};
const fast = { helloIntervalMs: 50, silentAfterMs: 5000 };

const start = (name: string, options: EmbedOptions = {}): Promise<EmbeddedRuntime> =>
  Runtime.embed({ name, log: { level: "silent" }, ...options, network: { ...fast, schedule, ...options.network } });

async function pair(options: EmbedOptions = {}): Promise<{ a: EmbeddedRuntime; b: EmbeddedRuntime } & AsyncDisposable> {
  const a = await start("A", options);
  const b = await start("B", { ...options, network: { ...options.network, peers: [`127.0.0.1:${a.port}`] } });
  a.addPeer(`127.0.0.1:${b.port}`);
  return { a, b, [Symbol.asyncDispose]: async () => void (await Promise.all([a.close(), b.close()])) };
}

const BURST = 200;
const URGENT: Partial<Qos> = { timeSensitivity: "time-sensitive", maxMessage: 1000 };
const counters = (runtime: EmbeddedRuntime): Readonly<Record<string, number>> =>
  runtime.status().engines[0]?.counters ?? {};

async function transfer(from: Session, to: Session, name: string, qos: Partial<Qos>, count: number): Promise<void> {
  const sink = await (await to.createStream({ name, ...qos })).createSink(1);
  const source = await (await from.createStream({ name, ...qos })).createSource(1);
  await source.matched();
  // Never more under way than the sink's link holds: what it has no credit for would be dropped.
  for (let sent = 0; sent < count; ) {
    const burst = Math.min(BURST, count - sent);
    for (let i = 0; i < burst; i++) {
      let buffer = source.tryGetBuffer(64);
      for (; buffer === null; buffer = source.tryGetBuffer(64)) await source.ready();
      new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset).setUint32(0, sent + i);
      while (source.tryEmit(buffer) === 0) await source.ready();
    }
    for (let i = 0; i < burst; i++) {
      const message = await sink.consume();
      expect(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(0)).toBe(sent + i);
      message.release();
    }
    sent += burst;
  }
  expect(await source.settled()).toMatchObject({ consumed: count, outstanding: 0, dropped: {} });
}

describe("runtimes with a gate schedule", () => {
  it.each(["thread", "inline"] as const)("deliver every class, in order (engine mode %s)", async (mode) => {
    await using hosts = await pair({ engine: { mode } });
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    await Promise.all([
      transfer(sa, sb, "urgent", URGENT, 300),
      transfer(sa, sb, "soon", { ...URGENT, trafficClass: 3 }, 300),
      transfer(sa, sb, "bulk", {}, 2000),
    ]);
    const { tx_held = 0, tx_unfit } = counters(hosts.a);
    expect(tx_held).toBeGreaterThan(0);
    expect(tx_unfit).toBe(0);
    const report = hosts.a.explain("soon")[0];
    expect(report?.schedule).toMatchObject({ trafficClass: 3, cycleNs: 4_000_000, longestWindowNs: 1_000_000 });
    expect(report?.schedule?.promisedNs).toBeGreaterThan(0);
    expect(report?.decision.warnings.map(({ code }) => code)).not.toContain("W_NOT_TIME_AWARE");
    await Promise.all([sa.close(), sb.close()]);
    await eventually(
      () => [hosts.a.status(), hosts.b.status()].map(({ links, slots }) => [links.length, slots.outstanding]),
      (left) => left.flat().every((count) => count === 0),
    );
  });

  it("refuse a stream that does not fit, with the arithmetic, and take it when others have left", async () => {
    await using runtime = await start("A");
    await using session = await runtime.connect();
    const huge = session.createStream({ name: "huge", timeSensitivity: "time-sensitive", maxMessage: 2 ** 20 });
    await expect(huge).rejects.toMatchObject({
      code: "ESCHEDULE",
      message: expect.stringMatching(/a maxMessage of [\d,]+ fits/),
    });
    const none = session.createStream({ name: "none", ...URGENT, trafficClass: 5 });
    await expect(none).rejects.toMatchObject({
      code: "ESCHEDULE",
      message: expect.stringContaining("traffic class 5 has no window in the schedule (classes with one: 3, 7)"),
    });
    const large = { timeSensitivity: "time-sensitive", maxMessage: 60_000 } as const;
    const first = await session.createStream({ name: "first", ...large });
    await session.createStream({ name: "second", ...large });
    const third = session.createStream({ name: "third", ...large });
    await expect(third).rejects.toMatchObject({ code: "ESCHEDULE", message: expect.stringContaining("promised") });
    await first.close();
    await session.createStream({ name: "third", ...large });
    const wrong = session.createStream({ name: "wrong", trafficClass: 3 });
    await expect(wrong).rejects.toMatchObject({ code: "ESCHEMA", message: expect.stringContaining("best effort") });
  });

  it("move a stream to another class while it is open, and say how long its messages waited", async () => {
    await using hosts = await pair();
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    const sink = await (await sb.createStream({ name: "s", ...URGENT })).createSink(1);
    const stream = await sa.createStream({ name: "s", ...URGENT });
    const source = await stream.createSource(1);
    await source.matched();
    const send = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        source.emit(source.getBuffer(64));
        (await sink.consume()).release();
      }
    };
    const latency = () => hosts.a.explain("s")[0]?.links.find(({ kind }) => kind === "egress")?.latency ?? null;
    await send(20);
    expect(latency()?.count).toBe(20);
    expect(latency()?.buckets.reduce((sum, more) => sum + more, 0)).toBe(20);
    await stream.setQos({ trafficClass: 3 });
    expect(hosts.a.explain("s")[0]?.schedule?.trafficClass).toBe(3);
    await send(20);
    await expect(stream.setQos({ trafficClass: 5 })).rejects.toMatchObject({ code: "ESCHEDULE" });
    await stream.setQos({ timeSensitivity: "best-effort" });
    expect(hosts.a.explain("s")[0]?.schedule).toMatchObject({ trafficClass: 0 });
    await send(20);
    expect(latency()).toBeNull();
    expect(await source.settled()).toMatchObject({ consumed: 60, dropped: {} });
    await Promise.all([sa.close(), sb.close()]);
  });

  it("give back a best-effort message that no window holds", async () => {
    const narrow = {
      ...schedule,
      entries: [
        { gates: 0x80, intervalNs: 3_900_000 },
        { gates: 0x01, intervalNs: 100_000 },
      ],
    };
    await using hosts = await pair({ network: { schedule: narrow } });
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    await (await sb.createStream({ name: "s" })).createSink(1);
    const source = await (await sa.createStream({ name: "s" })).createSource(1);
    await source.matched();
    // 100 us at 1 Gbit/s are 12,500 bytes.
    const buffer = source.getBuffer(30_000);
    source.emit(buffer);
    expect((await source.settled()).dropped).toMatchObject({ "too-large": 1 });
    expect(counters(hosts.a)["tx_unfit"]).toBe(1);
    await Promise.all([sa.close(), sb.close()]);
  });

  it("are warned of nothing without time-sensitive streams, and warn of those without a schedule", async () => {
    await using runtime = await start("A", { network: { schedule: null } });
    await using session = await runtime.connect();
    const stream = await session.createStream({ name: "s", ...URGENT });
    expect(stream.warnings.map(({ code }) => code)).toContain("W_NOT_TIME_AWARE");
    expect(runtime.explain("s")[0]?.schedule).toBeNull();
  });
});
