// What a stranger on a kept topic can make its publishers and subscribers remember: numbers it invents, messages out of the
// blue. Both have a bound, and who is honest is served.
import { describe, expect, it } from "vitest";
import type { TopicMessage } from "../../src/apps/lunar-mom/api.ts";
import { FRAME, HEADER, STATE_BYTES, writeFrame } from "../../src/apps/lunar-mom/kept-format.ts";
import { KeptReader } from "../../src/apps/lunar-mom/kept-reader.ts";
import { ReplayWindow } from "../../src/apps/lunar-mom/replay-window.ts";
import type { Message, Stream } from "../../src/index.ts";

describe("a replay window", () => {
  it("does not wait for more subscribers than a bound, however many names are invented", () => {
    const window = new ReplayWindow(16);
    window.join(1, false, 0);
    for (let invented = 2; invented < 20_000; invented++) {
      if (invented % 2) window.join(invented, true, 0);
      else
        window.acknowledged({ kind: 2, flags: 0, subscriber: invented, publisher: 0, expected: 0, low: 0, high: 0 }, 0);
    }
    expect(window.subscribers).toBe(1024);
    window.keep(new Uint8Array(1), 0, 1);
    window.sent(0);
    expect(window.awaited).toBe(0);
    expect(window.expel(10, 5).length).toBe(1024);
    expect(window.awaited).toBe(1);
  });

  it("has the messages that may be asked for as they were sent, whatever came after or could not be sent", () => {
    const window = new ReplayWindow(3);
    const lengths = [10, 5000, 1, 0, 70_000, 64, 65, 20, 3];
    for (const [sequence, length] of lengths.entries()) {
      // One that was refused leaves nothing behind.
      window.keep(new Uint8Array(9000).fill(99), 0, 9000);
      window.keep(new Uint8Array(length + 2).fill(sequence + 1), 1, length);
      window.sent(0);
      for (let at = window.oldest; at <= sequence; at++)
        expect(window.message(at)).toEqual(new Uint8Array(lengths[at]!).fill(at + 1));
      expect(window.message(window.oldest - 1)).toBeUndefined();
      expect(window.message(window.next)).toBeUndefined();
    }
  });

  it("waits for the slowest of its subscribers, and asks for acknowledgements before it is full", () => {
    const window = new ReplayWindow(8);
    const heard = (subscriber: number, expected: number): void =>
      void window.acknowledged({ kind: 2, flags: 0, subscriber, publisher: 0, expected, low: 0, high: 0 }, 0);
    window.join(1, false, 0);
    window.join(2, false, 0);
    const asked: number[] = [];
    const send = (count: number): void => {
      for (let i = 0; i < count; i++) {
        if (window.asks) asked.push(window.next);
        window.keep(new Uint8Array(1), 0, 1);
        window.sent(0);
      }
    };
    send(5);
    heard(1, 5);
    expect([window.awaited, window.full]).toEqual([0, false]);
    send(3);
    expect([window.full, asked]).toEqual([true, [1, 3, 5, 7]]);
    heard(2, 3);
    expect([window.awaited, window.full]).toEqual([3, false]);
    heard(1, 8);
    window.leave(2);
    expect(window.awaited).toBe(8);
    window.leave(1);
    send(1);
    expect(window.awaited).toBe(9);
  });

  it("has patience with a subscriber from the message on that it lacks, however long there was none before", () => {
    const window = new ReplayWindow(8);
    const send = (now: number): void => {
      window.keep(new Uint8Array(1), 0, 1);
      window.sent(now);
    };
    const heard = (subscriber: number, expected: number, now: number): void =>
      void window.acknowledged({ kind: 2, flags: 0, subscriber, publisher: 0, expected, low: 0, high: 0 }, now);
    window.join(1, false, 0);
    window.join(2, false, 0);
    send(1000);
    heard(1, 1, 1000);
    // One waits for the first message, the other for the second.
    send(1004);
    expect(window.expel(1008, 5)).toEqual([2]);
    expect(window.expel(1008, 4)).toEqual([1]);
    window.join(3, false, 1008);
    send(9000);
    expect(window.expel(9004, 5)).toEqual([]);
    expect(window.expel(9005, 5)).toEqual([3]);
  });
});

describe("a reader of a kept topic", () => {
  const PAYLOAD = 4096;
  /** Its identity is told by what it says when it joins. */
  async function reader() {
    const got: number[] = [];
    const said = new Uint8Array(64);
    const back = {
      consumers: 1,
      on: () => back,
      close: async () => {},
      tryGetBuffer: () => ({ memory: said, offset: 0, [Symbol.dispose]: () => {} }),
      tryEmit: () => 1,
    };
    const deliver = (message: TopicMessage): void => void got.push(message.sequence);
    const kept = new KeptReader("t", false, deliver, () => {});
    await kept.open({ createSource: async () => back } as unknown as Stream);
    const memory = new Uint8Array(HEADER + PAYLOAD);
    const message = (publisher: number, sequence: number, subscriber = 0): Message => {
      const kind = subscriber === 0 ? FRAME.DATA : FRAME.STATE;
      writeFrame(memory, 0, { kind, flags: 0, publisher, sequence, subscriber, from: 0 });
      const length = subscriber === 0 ? memory.length : STATE_BYTES;
      return { memory, offset: 0, length, bytes: memory, source: 1, sequence, emitTime: 0, receiveTime: 0 } as Message;
    };
    const identity = (): number => new DataView(said.buffer).getUint32(4, true);
    return { kept, got, message, identity };
  }

  it("keeps what comes before its publisher has answered, in order, up to a bound of bytes", async () => {
    const { kept, got, message, identity } = await reader();
    // Backwards, so that each has to wait.
    for (let sequence = 39_999; sequence >= 0; sequence--) kept.take(message(7, sequence));
    kept.take(message(7, 40_000, identity()));
    expect(got.length).toBe(Math.floor((64 * 2 ** 20) / PAYLOAD));
    expect(got).toEqual([...got].sort((a, b) => a - b));
    await kept.close();
  });

  it("forgets publishers that a stranger invents, and takes an honest one that comes later", async () => {
    const { kept, got, message, identity } = await reader();
    for (let publisher = 1000; publisher < 40_000; publisher++) kept.take(message(publisher, 5));
    kept.take(message(7, 0));
    kept.take(message(7, 1, identity()));
    kept.take(message(7, 1));
    expect(got).toEqual([0, 1]);
    await kept.close();
  });
});
