// The whole local system against a model: any order of opens, emits, consumes, releases, closes and deaths leaves no slot
// outstanding, delivers in order per source and sink, at most once, and only within the stream and channel.
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  type EmbeddedRuntime,
  type Message,
  Runtime,
  type Session,
  type Sink,
  type Source,
  type Stream,
} from "../../src/index.ts";

const DEEP = process.env["INSANE_DEEP"] !== undefined;
const RUNS = DEEP ? 2000 : 60;

const which = fc.nat({ max: 1000 });
const policy = fc.constantFrom(
  { kind: "block" },
  { kind: "block" },
  { kind: "drop-newest" },
  { kind: "keep-last", depth: 4 },
) as fc.Arbitrary<SinkPolicy>;
type SinkPolicy = NonNullable<
  NonNullable<Parameters<Stream["createSink"]>[1]> extends infer O
    ? O extends { policy?: infer P }
      ? P
      : never
    : never
>;

const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("session" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("source" as const),
      which,
      stream: fc.nat({ max: 1 }),
      channel: fc.nat({ max: 1 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("sink" as const),
      which,
      stream: fc.nat({ max: 1 }),
      channel: fc.nat({ max: 1 }),
      policy,
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant("emit" as const),
      which,
      count: fc.integer({ min: 1, max: 40 }),
      size: fc.constantFrom(16, 16, 300, 5000),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({ do: fc.constant("consume" as const), which, count: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("release" as const), which, count: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("closeSource" as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("closeSink" as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("closeSession" as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("kill" as const), which }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface App {
  readonly session: Session;
  readonly streams: Map<number, Stream>;
}
interface Producing {
  readonly app: App;
  readonly source: Source;
  readonly stream: number;
  next: number;
}
interface Consuming {
  readonly app: App;
  readonly sink: Sink;
  readonly stream: number;
  readonly policy: SinkPolicy;
  readonly held: Message[];
  /** Source id -> the number that came last. */
  readonly last: Map<number, number>;
  /** Source id -> the number that its next message had when this sink opened. */
  readonly since: Map<number, number>;
  /** Source id -> numbers that must all come: emitted while this sink was open and could block. */
  readonly owed: Map<number, number[]>;
}

class World {
  readonly runtime: EmbeddedRuntime;
  readonly apps: App[] = [];
  readonly sources: Producing[] = [];
  readonly sinks: Consuming[] = [];
  consumed = 0;
  /** Source id -> where it belongs. */
  readonly origin = new Map<number, { readonly stream: number; readonly channel: number }>();

  constructor(runtime: EmbeddedRuntime) {
    this.runtime = runtime;
  }

  async do(step: Step): Promise<void> {
    switch (step.do) {
      case "session":
        if (this.apps.length < 4) this.apps.push({ session: await this.runtime.connect(), streams: new Map() });
        return;
      case "source": {
        const app = pick(this.apps, step.which);
        if (!app || this.sources.length > 8) return;
        const source = await (await this.stream(app, step.stream)).createSource(step.channel);
        this.sources.push({ app, source, stream: step.stream, next: 0 });
        this.origin.set(source.id, { stream: step.stream, channel: step.channel });
        return;
      }
      case "sink": {
        const app = pick(this.apps, step.which);
        if (!app || this.sinks.length > 8) return;
        const stream = await this.stream(app, step.stream);
        const sink = await stream.createSink(step.channel, { policy: step.policy });
        // A machine with other work may have kept a link from being confirmed in time: nothing is owed before it is.
        if (sink.unconfirmed.length > 0) await this.linked();
        const since = new Map(this.sources.map(({ source, next }) => [source.id, next]));
        const fresh = { held: [], last: new Map(), owed: new Map(), since };
        this.sinks.push({ app, sink, stream: step.stream, policy: step.policy, ...fresh });
        return;
      }
      case "emit":
        this.emit(pick(this.sources, step.which), step.count, step.size);
        return;
      case "consume": {
        const sink = pick(this.sinks, step.which);
        if (sink) this.consume(sink, step.count);
        return;
      }
      case "release": {
        const sink = pick(this.sinks, step.which);
        for (let i = 0; sink && i < step.count && sink.held.length > 0; i++) {
          // In any order.
          sink.held.splice((step.which + i * 7) % sink.held.length, 1)[0]?.release();
        }
        return;
      }
      case "closeSource": {
        const producing = pick(this.sources, step.which);
        if (!producing) return;
        this.sources.splice(this.sources.indexOf(producing), 1);
        this.takeAll(producing.stream);
        await producing.source.close();
        return;
      }
      case "closeSink": {
        const consuming = pick(this.sinks, step.which);
        if (!consuming) return;
        this.sinks.splice(this.sinks.indexOf(consuming), 1);
        this.letGo(consuming);
        await consuming.sink.close();
        return;
      }
      case "closeSession": {
        const app = pick(this.apps, step.which);
        if (!app) return;
        for (const stream of app.streams.keys()) this.takeAll(stream);
        this.forget(app);
        await app.session.close();
        return;
      }
      case "kill": {
        const app = pick(this.apps, step.which);
        if (app) this.kill(app);
        return;
      }
    }
  }

  /** Resolves when every link is open. */
  async linked(): Promise<void> {
    while (this.runtime.status().links.some(({ state }) => state !== "open")) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  /** As if its process had died: nothing is polled, returned or answered any more, and the socket closes. */
  kill(app: App): void {
    this.forget(app, false);
    const inside = app.session as unknown as {
      pump: { stop(): void };
      control: { close(): void };
      sleeper: { close(): void };
    };
    inside.pump.stop();
    inside.sleeper.close();
    inside.control.close();
  }

  /** What was emitted and not consumed when an end closes or dies is nobody's debt. */
  forget(app: App, alive = true): void {
    this.apps.splice(this.apps.indexOf(app), 1);
    for (const producing of this.sources.filter((one) => one.app === app)) {
      this.sources.splice(this.sources.indexOf(producing), 1);
      for (const { owed } of this.sinks) owed.delete(producing.source.id);
    }
    for (const consuming of this.sinks.filter((one) => one.app === app)) {
      this.sinks.splice(this.sinks.indexOf(consuming), 1);
      if (alive) this.letGo(consuming);
    }
  }

  emit(producing: Producing | undefined, count: number, size: number): void {
    if (!producing) return;
    const { source, stream } = producing;
    for (let i = 0; i < count; i++) {
      const buffer = source.tryGetBuffer(size);
      if (!buffer) return;
      const view = new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset, size);
      view.setUint32(0, source.id);
      view.setUint32(4, producing.next);
      buffer.bytes.fill(producing.next & 0xff, 8);
      if (source.tryEmit(buffer) === 0) {
        buffer[Symbol.dispose]();
        return;
      }
      for (const { sink, owed, policy, stream: theirs } of this.sinks) {
        if (theirs !== stream || sink.channel !== source.channel || policy.kind !== "block") continue;
        const numbers = owed.get(source.id) ?? [];
        numbers.push(producing.next);
        owed.set(source.id, numbers);
      }
      producing.next++;
    }
  }

  consume(consuming: Consuming, count: number): number {
    for (let i = 0; i < count; i++) {
      const message = consuming.sink.tryConsume();
      if (!message) return i;
      this.check(consuming, message);
      consuming.held.push(message);
    }
    return count;
  }

  check({ sink, stream, last, owed, since }: Consuming, message: Message): void {
    const { bytes } = message;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const source = view.getUint32(0);
    const number = view.getUint32(4);
    expect(message.source).toBe(source);
    expect(this.origin.get(source)).toEqual({ stream, channel: sink.channel });
    expect(number, "in order, at most once").toBeGreaterThan(last.get(source) ?? -1);
    last.set(source, number);
    this.consumed++;
    const filler = bytes.subarray(8);
    expect(filler.length === 0 || (filler[0] === (number & 0xff) && filler.at(-1) === (number & 0xff))).toBe(true);
    const debt = owed.get(source);
    // What was on the link when the sink opened may come as well; nobody promised it.
    if (number < (since.get(source) ?? 0)) return;
    if (debt && debt.length > 0) {
      expect(debt[0], "nothing that is owed is passed over").toBe(number);
      debt.shift();
    }
  }

  letGo(consuming: Consuming): void {
    while (this.consume(consuming, 1000) > 0);
    for (const message of consuming.held.splice(0)) message.release();
  }

  takeAll(stream: number): void {
    for (const consuming of this.sinks) if (consuming.stream === stream) this.letGo(consuming);
  }

  async stream(app: App, number: number): Promise<Stream> {
    const known = app.streams.get(number);
    if (known) return known;
    const stream = await app.session.createStream({ name: `stream ${number}`, maxMessage: 5000 });
    app.streams.set(number, stream);
    return stream;
  }
}

/** So that the steps have something to meet. */
const BEGINNING: ReadonlyArray<Step> = [
  { do: "session" },
  { do: "session" },
  { do: "source", which: 0, stream: 0, channel: 0 },
  { do: "sink", which: 1, stream: 0, channel: 0, policy: { kind: "block" } },
];

const pick = <T>(of: ReadonlyArray<T>, which: number): T | undefined => of[which % of.length];

async function settle(runtime: EmbeddedRuntime): Promise<ReturnType<EmbeddedRuntime["status"]>> {
  const until = performance.now() + 30_000;
  for (;;) {
    const status = runtime.status();
    const done = status.sessions.length === 0 && status.links.length === 0;
    if (done || performance.now() > until) return status;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

it(
  "any order of opens, emits, consumes, releases, closes and deaths ends with every slot at home",
  async () => {
    const runtime = await Runtime.embed({
      network: { enabled: false },
      link: { entries: 32 },
      log: { level: "silent" },
    });
    let consumed = 0;
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: "max" }), async (steps) => {
          const world = new World(runtime);
          try {
            for (const one of [...BEGINNING, ...steps]) await world.do(one);
            // Everybody alive reads on until nothing comes: what they were owed must have come.
            for (let i = 0; i < 3; i++) {
              for (const consuming of world.sinks) world.letGo(consuming);
              await new Promise((resolve) => setImmediate(resolve));
            }
            for (const { owed } of world.sinks) {
              for (const [source, numbers] of owed) expect({ source, numbers }).toEqual({ source, numbers: [] });
            }
            for (const { source } of world.sources) {
              const stats = await source.settled();
              const dropped = Object.values(stats.dropped).reduce((sum, count) => sum + count, 0);
              expect(stats.outstanding).toBe(0);
              expect(stats.consumed + dropped + stats.abandoned).toBe(stats.pushed);
            }
          } finally {
            await Promise.all(world.apps.map(({ session }) => session.close()));
          }
          const status = await settle(runtime);
          expect(status.sessions).toEqual([]);
          expect(status.links).toEqual([]);
          expect(status.slots.outstanding).toBe(0);
          expect(status.quarantined).toBe(0);
          consumed += world.consumed;
        }),
        { numRuns: RUNS, endOnFailure: !DEEP },
      );
      // The steps do meet: hundreds of messages arrive in dozens of runs.
      expect(consumed).toBeGreaterThan(RUNS * 5);
    } finally {
      await runtime.close();
    }
  },
  DEEP ? 900_000 : 120_000,
);
