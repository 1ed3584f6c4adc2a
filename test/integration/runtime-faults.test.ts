// A network that loses, doubles, delays and reorders, by the datapath that injects faults: real runtimes and real sinks
// are told exactly what they lost, and get what arrives in order and at most once.
import { describe, expect, it } from "vitest";
import { type EmbeddedRuntime, Runtime, type Sink, type Source } from "../../src/index.ts";
import { eventually } from "./runtime/processes.ts";

const PATIENCE_MS = 30_000;

interface Books {
  readonly a: EmbeddedRuntime;
  readonly b: EmbeddedRuntime;
  readonly source: Source;
  readonly sink: Sink;
  /** Numbers received, in the order they came, and how long each was under way, ms. */
  readonly received: number[];
  readonly latencies: number[];
  /** What the sink was told of, by reason. */
  readonly lost: { wire: number; "no-credit": number };
  emitted: number;
}

/** A datagram each, so that the network is as bad to each message as to any. */
const ALONE = { name: "s", batching: false };

/** A emits to B; what leaves A by UDP is spoilt. */
async function spoilt(faults: string): Promise<Books & AsyncDisposable> {
  const start = (name: string, network: object): Promise<EmbeddedRuntime> =>
    Runtime.embed({
      name,
      log: { level: "silent" },
      // Hello frames have a socket of their own and are not spoilt.
      network: { helloIntervalMs: 50, silentAfterMs: 10_000, ...network },
    });
  const a = await start("A", { faults: { udp: faults } });
  const b = await start("B", { peers: [`127.0.0.1:${a.port}`] });
  a.addPeer(`127.0.0.1:${b.port}`);
  const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
  const received: number[] = [];
  const latencies: number[] = [];
  const lost = { wire: 0, "no-credit": 0 };
  const sink = await (await sb.createStream(ALONE)).createSink(1, (message) => {
    received.push(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(0));
    latencies.push(message.receiveTime - message.emitTime);
    message.release();
  });
  sink.on("lost", ({ count, reason }) => {
    lost[reason] += count;
  });
  const source = await (await sa.createStream(ALONE)).createSource(1);
  await source.matched();
  return {
    ...{ a, b, source, sink, received, latencies, lost },
    emitted: 0,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

const accounted = ({ received, lost }: Books): number => received.length + lost.wire + lost["no-credit"];

/** Emits, never more than `window` ahead of what is accounted for at the other end. */
async function emit(books: Books, count: number, window: number): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  for (const end = books.emitted + count; books.emitted < end; ) {
    // What is lost or late must not hold up the rest for long: it is found by the messages that follow.
    for (let burst = 0; burst < window && books.emitted < end; burst++) {
      const buffer = books.source.tryGetBuffer(64);
      if (!buffer) break;
      new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset).setUint32(0, books.emitted);
      if (books.source.tryEmit(buffer) === 0) {
        buffer[Symbol.dispose]();
        break;
      }
      books.emitted++;
    }
    const behind = books.emitted;
    while (accounted(books) + window < behind) {
      if (performance.now() > until) throw new Error(`${accounted(books)} of ${behind} accounted for`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const settled = (books: Books): Promise<number> =>
  eventually(
    () => accounted(books),
    (count) => count >= books.emitted,
    PATIENCE_MS,
  );

const inOrder = (numbers: ReadonlyArray<number>): boolean =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0));
const counter = (runtime: EmbeddedRuntime, name: string): number => {
  const { engines, datapaths } = runtime.status();
  const counters = [...engines, ...datapaths].map((one) => one.counters[name]);
  return counters.find((value) => value !== undefined) ?? 0;
};

describe("a network", { timeout: 120_000 }, () => {
  it("that loses: what is received and what is told lost is what was emitted", async () => {
    await using books = await spoilt("loss=0.05,seed=11");
    await emit(books, 3000, 64);
    expect(await settled(books)).toBe(3000);
    expect(books.lost["no-credit"]).toBe(0);
    // One in twenty datagrams, and what the host may have lost as well.
    expect(books.lost.wire).toBeGreaterThan(10);
    expect(counter(books.a, "faults_lost")).toBeGreaterThan(10);
    expect(counter(books.b, "rx_lost")).toBe(books.lost.wire);
    expect(inOrder(books.received)).toBe(true);
    expect(books.sink.stats.lost).toBe(books.lost.wire);
  });

  it("that loses the last message for a while: heartbeats tell of it", async () => {
    await using books = await spoilt("loss=0.1,seed=4");
    for (let i = 0; i < 120; i++) {
      await emit(books, 1, 1);
      // Nothing follows before it is received or told lost.
      expect(await settled(books)).toBe(i + 1);
    }
    expect(books.lost.wire).toBeGreaterThan(2);
    expect(counter(books.b, "heartbeats_in")).toBeGreaterThan(0);
    expect(inOrder(books.received)).toBe(true);
  });

  it("that doubles: each message is delivered once, and the others are counted", async () => {
    await using books = await spoilt("duplicate=0.2,seed=2");
    await emit(books, 2000, 64);
    expect(await settled(books)).toBe(2000);
    expect(books.received.length + books.lost.wire).toBe(2000);
    expect(inOrder(books.received)).toBe(true);
    expect(counter(books.a, "faults_duplicated")).toBeGreaterThan(10);
    await eventually(
      () => counter(books.b, "rx_late"),
      (count) => count > 10,
      PATIENCE_MS,
    );
  });

  it("that reorders: what comes late was told lost and is dropped, what is delivered is in order", async () => {
    await using books = await spoilt("reorder=0.03,seed=8");
    await emit(books, 3000, 64);
    expect(await settled(books)).toBe(3000);
    expect(inOrder(books.received)).toBe(true);
    expect(books.lost.wire).toBeGreaterThan(10);
    expect(counter(books.a, "faults_reordered")).toBeGreaterThan(10);
    // All of them arrive in the end, unless the host itself lost some.
    await eventually(
      () => counter(books.b, "rx_late"),
      (late) => late > 10 && late <= books.lost.wire,
      PATIENCE_MS,
    );
  });

  it("that delays: nothing is lost, and every message is that much under way", async () => {
    await using books = await spoilt("delay_us=20000");
    await emit(books, 300, 32);
    expect(await settled(books)).toBe(300);
    expect(books.received.length + books.lost.wire).toBe(300);
    expect(inOrder(books.received)).toBe(true);
    expect(Math.min(...books.latencies)).toBeGreaterThan(18);
  });

  it("that does all of it at once: the books still balance", async () => {
    await using books = await spoilt("loss=0.03,duplicate=0.05,reorder=0.03,delay_us=300,reorder_us=700,seed=9");
    await emit(books, 3000, 64);
    expect(await settled(books)).toBe(3000);
    expect(inOrder(books.received)).toBe(true);
    expect(await books.source.settled()).toMatchObject({ emitted: 3000, consumed: 3000, outstanding: 0 });
    await eventually(
      () => books.a.status().slots.outstanding + books.b.status().slots.outstanding,
      (out) => out === 0,
      PATIENCE_MS,
    );
  });
});
