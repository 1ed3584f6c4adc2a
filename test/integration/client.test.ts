// The thin client against itself over real shared memory, the control side played by a double: what an application sees of
// sources and sinks.
import { describe, expect, it } from "vitest";
import type { Message } from "../../src/index.ts";
import { ClientBed, refusal, send, turn, until, wordOf } from "../doubles/client-bed.ts";

describe("a source", () => {
  it("delivers to every sink of its channel, in order and once, and to no other", async () => {
    await using bed = new ClientBed();
    const source = await bed.source(7);
    const got: number[][] = [[], [], []];
    const take = (list: number[]) => (message: Message) => {
      list.push(wordOf(message));
      message.release();
    };
    const { session } = await bed.sink(7, {}, take(got[0] as number[]));
    await (await session.createStream()).createSink(7, take(got[1] as number[]));
    await bed.sink(7, {}, take(got[2] as number[]));
    const other = await bed.sink(8);
    const elsewhere = await bed.sink(7, {}, undefined, { acceleration: "fast" });
    expect(source.consumers).toBe(2);
    for (let i = 0; i < 3000; i++) while (!send(source, i)) await source.ready();
    const stats = await source.settled();
    const all = Array.from({ length: 3000 }, (_, i) => i);
    expect(got).toEqual([all, all, all]);
    expect(other.sink.dataAvailable() + elsewhere.sink.dataAvailable()).toBe(0);
    expect(stats).toMatchObject({
      emitted: 3000,
      pushed: 6000,
      consumed: 6000,
      dropped: {},
      outstanding: 0,
      unmatched: 0,
    });
  });

  it("goes on when sinks that may be passed over keep all they get", async () => {
    await using bed = new ClientBed();
    const bytes = 65_536; // the class with the fewest slots
    const stream = await (await bed.session("producer")).createStream();
    const source = await stream.createSource(1);
    const elsewhere = await stream.createSource(2);
    const { sink: fair } = await bed.sink(1, { policy: { kind: "drop-newest" } });
    // They never look at a message, and their links have credits for more than there are slots.
    await bed.sink(1, { policy: { kind: "drop-newest" } });
    await bed.sink(2, { policy: { kind: "drop-newest" } });
    let got = 0;
    for (let i = 0; i < 1000; i++) {
      source.emit(source.getBuffer(bytes));
      if (i % 4 === 0) elsewhere.emit(elsewhere.getBuffer(bytes));
      for (let message = fair.tryConsume(); message !== null; message = fair.tryConsume()) {
        got++;
        message.release();
      }
    }
    expect(got).toBe(1000);
    const { dropped, pushed, outstanding } = source.stats;
    expect(dropped["no-credit"]).toBeGreaterThan(900);
    expect(pushed).toBe(2000);
    expect(outstanding).toBeLessThanOrEqual(48);
  });

  it("carries source, sequence and both times", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { sink } = await bed.sink();
    const before = Date.now();
    send(source, 1);
    send(source, 2);
    const [first, second] = [sink.tryConsume(), sink.tryConsume()] as [Message, Message];
    expect([first.sequence, second.sequence]).toEqual([0, 1]);
    expect(first.source).toBe(source.id);
    expect(first.channel).toBe(1);
    for (const time of [first.emitTime, second.receiveTime]) {
      expect(time).toBeGreaterThan(before - 2);
      expect(time).toBeLessThan(Date.now() + 2);
    }
    expect(second.receiveTime).toBeGreaterThanOrEqual(second.emitTime - 0.01);
    first.release();
    second.release();
  });

  it("says which slots are out, and is ready again when they come home", async () => {
    await using bed = new ClientBed({ slots: 4 });
    const source = await bed.source();
    const { sink } = await bed.sink();
    const buffers = [1, 2, 3, 4].map(() => source.getBuffer(8));
    expect(source.tryGetBuffer(8)).toBeNull();
    expect(() => source.getBuffer(8)).toThrow(refusal("EAGAIN", /All 4 slots of 2048 bytes are out/));
    let ready = false;
    const waiting = source.ready().then(() => {
      ready = true;
    });
    for (const buffer of buffers) source.emit(buffer);
    await turn();
    expect(ready).toBe(false);
    sink.tryConsume()?.release();
    await waiting;
    expect(source.getBuffer(8)).toBe(buffers[0]);
  });

  it("is stopped by a slow sink that blocks, which it names, and by no other", async () => {
    await using bed = new ClientBed({ entries: 16 });
    const source = await bed.source();
    const { session, sink } = await bed.sink();
    const drops = await bed.sink(1, { policy: { kind: "drop-newest" } });
    for (let i = 0; i < 16; i++) expect(send(source, i)).toBeGreaterThan(0);
    expect(send(source, 16)).toBe(0);
    expect(source.againReason).toMatch(`session ${session.id} (consumer) holds all 16 credits`);
    const buffer = source.getBuffer(8);
    expect(() => source.emit(buffer)).toThrow(refusal("EAGAIN"));
    for (let i = 0; i < 4; i++) sink.tryConsume()?.release();
    await source.ready();
    source.emit(buffer);
    for (let i = 0; i < 3; i++) expect(send(source, i)).toBeGreaterThan(0);
    // What the other had no credit for was dropped for it alone.
    expect(source.stats.dropped).toEqual({ "no-credit": 4 });
    while (drops.sink.dataAvailable()) drops.sink.tryConsume()?.release();
    expect(drops.sink.stats.received).toBe(16);
    while (sink.dataAvailable()) sink.tryConsume()?.release();
    expect(await source.settled()).toMatchObject({ pushed: 40, consumed: 36, outstanding: 0 });
  });

  it("tells the outcome of each message", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const unheard = send(source, 0);
    expect(source.checkEmitOutcome(unheard)).toEqual({ state: "dropped", reason: "no-sink" });
    const { sink } = await bed.sink(1, { policy: { kind: "keep-last", depth: 1 } });
    const [overtaken, kept] = [send(source, 1), send(source, 2)];
    expect(source.checkEmitOutcome(kept)).toEqual({ state: "pending" });
    const message = sink.tryConsume() as Message;
    expect(wordOf(message)).toBe(2);
    await turn();
    expect(source.checkEmitOutcome(overtaken)).toEqual({ state: "dropped", reason: "overtaken" });
    expect(source.checkEmitOutcome(kept)).toEqual({ state: "pending" });
    message.release();
    await turn();
    expect(source.checkEmitOutcome(kept)).toEqual({ state: "sent" });
    expect(() => source.checkEmitOutcome(kept + 1)).toThrow(refusal("ENOENT"));
    expect(source.stats).toMatchObject({ emitted: 3, unmatched: 1, pushed: 2, consumed: 1, dropped: { overtaken: 1 } });
    // One that is out stays pending however many come after it.
    const first = send(source, 3);
    const held = sink.tryConsume() as Message;
    for (let i = 0; i < 10_000; i++) while (!send(source, i)) sink.dataAvailable();
    expect(source.checkEmitOutcome(first)).toEqual({ state: "pending" });
    held.release();
    await turn();
    expect(source.checkEmitOutcome(first)).toEqual({ state: "sent" });
  });

  it("refuses what cannot be, readably", async () => {
    await using bed = new ClientBed();
    const source = await bed.source(1, { maxMessage: 5000 });
    const other = await bed.source(1, { maxMessage: 6000 });
    expect(() => source.getBuffer(5001)).toThrow(refusal("EMSGSIZE", /5001 bytes; .* 5000 bytes at most/));
    for (const bytes of [-1, 1.5, Number.NaN]) expect(() => source.getBuffer(bytes)).toThrow(refusal("EVALUE"));
    const buffer = source.getBuffer(5000);
    expect(() => other.emit(buffer)).toThrow(refusal("EVALUE", /another stream/));
    expect(() => other.emit(new Uint8Array(3) as never)).toThrow(refusal("EVALUE", /copy your bytes/));
    buffer.length = 5001;
    expect(() => source.emit(buffer)).toThrow(refusal("EVALUE", /only be lowered/));
    buffer.length = 10;
    source.emit(buffer);
    expect(() => source.emit(buffer)).toThrow(refusal("ERELEASED"));
    const disposed = source.getBuffer(1);
    disposed[Symbol.dispose]();
    disposed[Symbol.dispose]();
    expect(() => source.emit(disposed)).toThrow(refusal("ERELEASED"));
    await source.close();
    await source.close();
    expect(() => source.getBuffer(1)).toThrow(refusal("ECLOSED"));
    expect(() => source.emit(buffer)).toThrow(refusal("ECLOSED"));
    await expect(source.ready()).rejects.toThrow(refusal("ECLOSED"));
  });

  it("knows who listens", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const events: number[] = [];
    source.on("matched", ({ consumers }) => events.push(consumers));
    const two = source.matched(2);
    const first = await bed.sink();
    await bed.sink();
    await two;
    await first.sink.close();
    await until(() => source.consumers === 1);
    expect(events).toEqual([1, 2, 1]);
    await expect(source.matched(5, { signal: AbortSignal.timeout(5) })).rejects.toMatchObject({ name: "TimeoutError" });
  });

  it("passes large messages without touching them", async () => {
    await using bed = new ClientBed({ largeSlots: 2 });
    const maxMessage = 32 * 1024 * 1024;
    const source = await bed.source(1, { maxMessage });
    const { sink } = await bed.sink(1, {}, undefined, { maxMessage });
    await source.reserve(maxMessage);
    const buffer = source.getBuffer(maxMessage);
    buffer.bytes[0] = 1;
    buffer.bytes[maxMessage - 1] = 2;
    source.emit(buffer);
    const message = sink.tryConsume() as Message;
    expect([message.length, message.bytes[0], message.bytes[maxMessage - 1]]).toEqual([maxMessage, 1, 2]);
    message.release();
  });
});

describe("a sink", () => {
  it("is consumed by polling, by waiting and by iteration", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { sink } = await bed.sink();
    expect(sink.tryConsume()).toBeNull();
    const waiting = sink.consume();
    send(source, 1);
    const message = await waiting;
    expect(wordOf(message)).toBe(1);
    message.release();
    await expect(sink.consume({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({ name: "TimeoutError" });
    const seen: number[] = [];
    const loop = (async () => {
      for await (const message of sink) {
        seen.push(wordOf(message));
        if (seen.length === 2) message.release();
        if (seen.length === 5) break;
      }
    })();
    for (let i = 0; i < 7; i++) {
      send(source, i);
      await turn();
    }
    await loop;
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    expect(sink.dataAvailable()).toBe(2);
    const rest: Message[] = [];
    const end = (async () => {
      for await (const message of sink) rest.push(message);
    })();
    await until(() => rest.length === 2);
    await sink.close();
    await end;
    expect(await source.settled()).toMatchObject({ emitted: 8, consumed: 8 });
    await expect(sink.consume()).rejects.toThrow(refusal("ECLOSED"));
    expect(() => sink.tryConsume()).toThrow(refusal("ECLOSED"));
  });

  it("keeps the last n, also for a callback", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const got: number[] = [];
    const policy = { kind: "keep-last", depth: 3 } as const;
    const { session, sink } = await bed.sink(1, { policy }, (message) => {
      got.push(wordOf(message));
      message.release();
    });
    for (let i = 0; i < 10; i++) send(source, i);
    session.poll();
    expect(got).toEqual([7, 8, 9]);
    expect(sink.stats).toEqual({ received: 10, consumed: 3, dropped: 7, lost: 0, held: 0, copied: 0 });
    expect((await source.settled()).dropped).toEqual({ overtaken: 7 });
  });

  it("gives back what nobody has read when it closes; what is held stays readable", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { session, sink } = await bed.sink();
    for (let i = 0; i < 5; i++) send(source, 100 + i);
    const held = sink.tryConsume() as Message;
    await sink.close();
    const closing = session.close();
    await closing;
    expect(wordOf(held)).toBe(100);
    expect(held.bytes.length).toBe(8);
    held.release();
    expect(() => held.release()).toThrow(refusal("ERELEASED"));
    expect(() => held.bytes).toThrow(refusal("ERELEASED"));
    const stats = await source.settled();
    expect(stats.dropped["closed"]).toBe(4);
    expect(stats.consumed + stats.abandoned).toBe(1);
  });

  it("has what was published to it even when the link is abandoned", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { session, sink } = await bed.sink();
    for (let i = 0; i < 3; i++) send(source, i);
    expect(sink.dataAvailable()).toBe(3);
    for (let i = 3; i < 6; i++) send(source, i);
    const link = bed.runtime.links[0];
    await bed.runtime.sessions
      .get(session.id)
      ?.request("link.close", { link: link?.consumerIndex, mode: "abandon", reason: "gone" });
    // The producer uses its memory again.
    for (let i = 0; i < 8; i++) source.getBuffer(8);
    (source as unknown as { pools: { classes: ReadonlyArray<{ memory: Uint8Array }> } }).pools.classes[0]?.memory.fill(
      0xff,
    );
    const got: number[][] = [];
    for (let message = sink.tryConsume(); message !== null; message = sink.tryConsume()) {
      got.push([wordOf(message), message.sequence, message.length]);
      message.release();
    }
    expect(got).toEqual([0, 1, 2, 3, 4, 5].map((i) => [i, i, 8]));
    expect(sink.stats).toEqual({ received: 6, consumed: 6, dropped: 0, lost: 0, held: 0, copied: 6 });
  });

  it("whose callback throws loses nothing, and the error is thrown where the turn began", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const got: number[] = [];
    const { session } = await bed.sink(1, {}, (message) => {
      if (wordOf(message) === 3) throw new Error("cannot take 3");
      got.push(wordOf(message));
      message.release();
    });
    for (let i = 0; i < 6; i++) send(source, i, true);
    source.flush();
    expect(() => session.poll()).toThrow("cannot take 3");
    expect(got).toEqual([0, 1, 2, 4, 5]);
    send(source, 6);
    await source.settled();
    expect(got).toEqual([0, 1, 2, 4, 5, 6]);
  });
});
