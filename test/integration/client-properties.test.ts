// Whatever applications do, in any order: what a sink gets from a source is in order and comes once, only on its stream and
// channel, and when all is settled every message is accounted for and every slot is home.
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Message, Session, Sink, Source, Stream } from "../../src/index.ts";
import { ClientBed, send, turn, wordOf } from "../doubles/client-bed.ts";

const SESSIONS = 3;
const policy = fc.constantFrom(
  { kind: "block" } as const,
  { kind: "drop-newest" } as const,
  { kind: "keep-last", depth: 2 } as const,
);
const who = fc.nat(SESSIONS - 1);
const pick = fc.nat(99);
const operation = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("source" as const),
      who,
      channel: fc.integer({ min: 1, max: 2 }),
      stream: fc.nat(1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("sink" as const),
      who,
      channel: fc.integer({ min: 1, max: 2 }),
      stream: fc.nat(1),
      policy,
      callback: fc.boolean(),
    }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("emit" as const),
      pick,
      count: fc.integer({ min: 1, max: 40 }),
      more: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("consume" as const),
      pick,
      count: fc.integer({ min: 1, max: 40 }),
      hold: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("poll" as const), who }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("turn" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("closeSource" as const, "closeSink" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("closeSession" as const), who }) },
);

interface Listener {
  readonly sink: Sink;
  readonly stream: number;
  readonly channel: number;
  readonly callback: boolean;
  /** Last sequence by source. */
  readonly last: Map<number, number>;
}

it("delivers in order, once, where it belongs, and accounts for everything", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 120, size: "max" }), async (operations) => {
      await using bed = new ClientBed({ entries: 16, slots: 24 });
      const sessions: Session[] = [];
      const streams: Stream[][] = [];
      for (let i = 0; i < SESSIONS; i++) {
        const session = await bed.session(`s${i}`);
        sessions.push(session);
        streams.push([await session.createStream({ name: "one" }), await session.createStream({ name: "two" })]);
      }
      const sources: Array<{ readonly source: Source; readonly stream: number }> = [];
      const listeners: Listener[] = [];
      const origin = new Map<number, { stream: number; channel: number }>();
      const held: Message[] = [];
      const take = (listener: Listener, message: Message, hold: boolean): void => {
        const from = origin.get(message.source);
        expect(from).toEqual({ stream: listener.stream, channel: listener.channel });
        expect(wordOf(message)).toBe(message.sequence);
        expect(message.sequence).toBeGreaterThan(listener.last.get(message.source) ?? -1);
        listener.last.set(message.source, message.sequence);
        if (hold) held.push(message);
        else message.release();
      };
      const streamOf = ({ who, stream }: { who: number; stream: number }) =>
        (streams[who] as Stream[])[stream] as Stream;
      const open = (i: number): boolean => sessions[i]?.closed === false;
      const closing: Promise<unknown>[] = [];
      for (const op of operations) {
        if (op.kind === "source") {
          if (!open(op.who)) continue;
          const source = await streamOf(op).createSource(op.channel);
          sources.push({ source, stream: op.stream });
          origin.set(source.id, { stream: op.stream, channel: op.channel });
        } else if (op.kind === "sink") {
          if (!open(op.who)) continue;
          const callback = (message: Message): void => take(listener, message, message.sequence % 7 === 0);
          const sink = await streamOf(op).createSink(
            op.channel,
            { policy: op.policy },
            op.callback ? callback : undefined,
          );
          const listener: Listener = {
            sink,
            stream: op.stream,
            channel: op.channel,
            callback: op.callback,
            last: new Map(),
          };
          listeners.push(listener);
        } else if (op.kind === "emit") {
          const { source } = sources[op.pick % sources.length] ?? {};
          if (source === undefined) continue;
          for (let i = 0; i < op.count; i++)
            if (send(source, source.stats.emitted, op.more && i < op.count - 1) === 0) break;
          source.flush();
        } else if (op.kind === "consume") {
          const listener = listeners[op.pick % listeners.length];
          if (listener === undefined || listener.callback) continue;
          for (let i = 0; i < op.count; i++) {
            const message = listener.sink.tryConsume();
            if (message === null) break;
            take(listener, message, op.hold);
          }
        } else if (op.kind === "release") for (const message of held.splice(0)) message.release();
        else if (op.kind === "poll") sessions[op.who]?.poll();
        else if (op.kind === "turn") await turn();
        else if (op.kind === "closeSource") {
          const [gone] = sources.splice(op.pick % Math.max(1, sources.length), 1);
          if (gone) closing.push(gone.source.close());
        } else if (op.kind === "closeSink") {
          const [gone] = listeners.splice(op.pick % Math.max(1, listeners.length), 1);
          if (gone) await gone.sink.close();
        } else if (op.kind === "closeSession") {
          if (!open(op.who) || sessions.filter(({ closed }) => !closed).length === 1) continue;
          for (const message of held.splice(0)) message.release();
          await (sessions[op.who] as Session).close();
          for (let i = sources.length - 1; i >= 0; i--)
            if (isClosed((sources[i] as { source: Source }).source)) sources.splice(i, 1);
          for (let i = listeners.length - 1; i >= 0; i--)
            if (isShut((listeners[i] as Listener).sink)) listeners.splice(i, 1);
        }
      }
      for (const message of held.splice(0)) message.release();
      for (const listener of listeners) await listener.sink.close();
      await Promise.all(closing);
      for (const { source } of sources) {
        const { pushed, consumed, dropped, abandoned, outstanding } = await source.settled({
          signal: AbortSignal.timeout(30_000),
        });
        expect(outstanding).toBe(0);
        expect(consumed + abandoned + Object.values(dropped).reduce((sum, n) => sum + n, 0)).toBe(pushed);
        // Every slot is home: all can be borrowed at once.
        const buffers = Array.from({ length: 24 }, () => source.getBuffer(8));
        for (const buffer of buffers) buffer[Symbol.dispose]();
      }
      expect(bed.runtime.faults).toEqual([]);
    }),
    { numRuns: 40 },
  );
});

const isClosed = (source: Source): boolean => {
  try {
    source.tryGetBuffer(1)?.[Symbol.dispose]();
    return false;
  } catch {
    return true;
  }
};
const isShut = (sink: Sink): boolean => {
  try {
    sink.dataAvailable();
    return false;
  } catch {
    return true;
  }
};
