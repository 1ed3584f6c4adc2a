// One message to many sinks: no copy, each sink's policy is its own, and one that does not read its messages costs those of
// others nothing, whichever way they share sessions, streams and links.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Message, Session, Sink, SinkPolicyRecord, Source } from "../../src/index.ts";
import { ClientBed, send, turn, wordOf } from "../doubles/client-bed.ts";

const BLOCK: SinkPolicyRecord = { kind: "block" };
const NEWEST: SinkPolicyRecord = { kind: "drop-newest" };

describe("a source with several sinks", () => {
  it("gives all of them the same memory", async () => {
    await using bed = new ClientBed({ entries: 64 });
    const source = await bed.source(1);
    const sinks: Sink[] = [];
    for (let i = 0; i < 8; i++) sinks.push((await bed.sink(1)).sink);
    await source.matched(8);
    const buffer = source.getBuffer(8);
    const { memory, offset } = buffer;
    buffer.words[offset >>> 2] = 1;
    source.emit(buffer);
    const messages = sinks.map((sink) => sink.tryConsume() as Message);
    expect(source.stats).toMatchObject({ emitted: 1, pushed: 8, outstanding: 8 });
    // A message is not written any more; to see that nobody has a copy of it.
    memory[offset] = 77;
    expect(messages.map((message) => message.bytes[0])).toEqual(new Array(8).fill(77));
    for (const message of messages) message.release();
    expect((await source.settled()).consumed).toBe(8);
  });

  it("knows who they are, what each of them asked for, and what each of them missed", async () => {
    await using bed = new ClientBed({ entries: 16 });
    const source = await bed.source(1);
    const { session, sink: patient } = await bed.sink(1);
    await (await session.createStream()).createSink(1, { policy: NEWEST });
    const { sink: last } = await bed.sink(1, { policy: { kind: "keep-last", depth: 3 } });
    const { sink: lazy } = await bed.sink(1, { policy: NEWEST });
    await source.matched(3);
    expect(source.receivers.map(({ policies, blocks }) => [blocks, policies])).toEqual([
      [true, [BLOCK, NEWEST]],
      [false, [{ kind: "keep-last", depth: 3 }]],
      [false, [NEWEST]],
    ]);
    expect([patient.policy, last.policy, lazy.policy]).toEqual([BLOCK, { kind: "keep-last", depth: 3 }, NEWEST]);
    for (let i = 0; i < 40; i++) {
      expect(send(source, i)).toBeGreaterThan(0);
      (patient.tryConsume() as Message).release();
      last.dataAvailable();
    }
    const [first, second, third] = source.receivers;
    expect([first?.dropped, second?.dropped]).toEqual([0, 0]);
    expect(third).toMatchObject({ dropped: 24, outstanding: 16, entries: 16 });
    expect(source.stats.dropped["no-credit"]).toBe(24);
    const kept = [last.tryConsume(), last.tryConsume(), last.tryConsume()] as Message[];
    expect(kept.map(wordOf)).toEqual([37, 38, 39]);
  });

  it("goes on beside a sink of the same session that reads nothing, which loses messages of its own", async () => {
    await using bed = new ClientBed({ entries: 16 });
    const source = await bed.source(1);
    const { session, sink } = await bed.sink(1);
    const lazy = await (await session.createStream()).createSink(1, { policy: NEWEST });
    for (let i = 0; i < 200; i++) {
      expect(send(source, i)).toBeGreaterThan(0);
      const message = sink.tryConsume() as Message;
      expect(wordOf(message)).toBe(i);
      message.release();
    }
    expect(sink.stats).toMatchObject({ received: 200, consumed: 200, dropped: 0 });
    expect(lazy.stats.held).toBeLessThanOrEqual(5);
    expect(lazy.stats.dropped).toBeGreaterThan(180);
  });

  it("is not stopped by another source whose sink in the same session blocks", async () => {
    await using bed = new ClientBed({ entries: 16, slots: 64 });
    const stream = await (await bed.session("producer")).createStream();
    const [stuck, free] = [await stream.createSource(1), await stream.createSource(2)];
    const { session } = await bed.sink(1);
    const sink = await (await session.createStream()).createSink(2);
    await Promise.all([stuck.matched(), free.matched()]);
    let sent = 0;
    while (sent < 20 && send(stuck, sent)) sent++;
    expect(sent).toBeLessThanOrEqual(12);
    expect(stuck.againReason).toMatch(/share/);
    for (let i = 0; i < 100; i++) {
      expect(send(free, i)).toBeGreaterThan(0);
      (sink.tryConsume() as Message).release();
    }
    expect(sink.stats.consumed).toBe(100);
  });

  it("keeps the last ones also where that is more than a link carries", async () => {
    await using bed = new ClientBed({ entries: 16, slots: 64 });
    const source = await bed.source(1);
    const { sink } = await bed.sink(1, { policy: { kind: "keep-last", depth: 100 } });
    for (let i = 0; i < 300; i++) {
      expect(send(source, i)).toBeGreaterThan(0);
      sink.dataAvailable();
    }
    expect(sink.mayHold).toBe(4);
    const words: number[] = [];
    for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) {
      words.push(wordOf(message));
      message.release();
    }
    expect(words).toEqual(Array.from({ length: words.length }, (_, i) => 300 - words.length + i));
    expect(words.length).toBeGreaterThanOrEqual(4);
  });
});

/** A sink: in which session, on which channel, how it wants to be waited for, and whether it ever reads. */
const listener = fc.record({
  who: fc.nat(2),
  channel: fc.integer({ min: 1, max: 3 }),
  policy: fc.constantFrom<SinkPolicyRecord>(BLOCK, NEWEST, { kind: "keep-last", depth: 8 }),
  reads: fc.boolean(),
  callback: fc.boolean(),
});

it("a sink that reads nothing takes messages from nobody, and stops a source only by its policy", {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(listener, { minLength: 1, maxLength: 8 }),
      fc.array(fc.record({ channel: fc.integer({ min: 1, max: 3 }), count: fc.integer({ min: 1, max: 4 }) }), {
        minLength: 20,
        maxLength: 60,
      }),
      async (wanted, rounds) => {
        await using bed = new ClientBed({ entries: 64, slots: 1024 });
        const stream = await (await bed.session("producer")).createStream();
        const sources = new Map<number, Source>();
        for (const channel of [1, 2, 3]) sources.set(channel, await stream.createSource(channel));
        const sessions: Session[] = [];
        for (let i = 0; i < 3; i++) sessions.push(await bed.session(`s${i}`));
        const sinks: Array<(typeof wanted)[number] & { readonly sink: Sink; readonly got: number[] }> = [];
        const held: Message[] = [];
        for (const one of wanted) {
          const got: number[] = [];
          const take = (message: Message): void => {
            got.push(wordOf(message));
            if (one.reads) message.release();
            else held.push(message);
          };
          const of = await (sessions[one.who] as Session).createStream();
          const sink = await of.createSink(one.channel, { policy: one.policy }, one.callback ? take : undefined);
          sinks.push({ ...one, sink, got });
        }
        await turn();
        const sent = new Map<number, number[]>([1, 2, 3].map((channel) => [channel, []]));
        let word = 0;
        const read = (): void => {
          for (const session of sessions) session.poll();
          for (const { sink, reads, callback, got } of sinks) {
            if (!reads || callback) continue;
            for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) {
              got.push(wordOf(message));
              message.release();
            }
          }
        };
        for (const { channel, count } of rounds) {
          const stuck = sinks.filter((one) => one.policy.kind === "block" && !one.reads);
          // On a link that another channel has filled, one that blocks waits also for what others of its channel hold.
          const shared = sinks.filter((one) => one.channel === channel && stuck.some(({ who }) => who === one.who));
          const blocked =
            stuck.some((one) => one.channel === channel) ||
            (shared.some(({ policy }) => policy.kind === "block") && shared.some(({ reads }) => !reads));
          for (let i = 0; i < count; i++, word++) {
            if (send(sources.get(channel) as Source, word) > 0) sent.get(channel)?.push(word);
            else expect(blocked, (sources.get(channel) as Source).againReason).toBe(true);
            read();
          }
        }
        for (const { reads, channel, got } of sinks) if (reads) expect(got).toEqual(sent.get(channel));
        for (const message of held) message.release();
        for (const { sink } of sinks)
          for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) message.release();
      },
    ),
    { numRuns: 60, endOnFailure: true },
  );
});
