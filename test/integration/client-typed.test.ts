// Typed channels: what the schema takes arrives as it was, straight from slot to slot; what it does not is refused at the
// source and counted at the sink.
import { Schema } from "effect";
import { describe, expect, it } from "vitest";
import { defineChannel, type StandardSchema, type Typed } from "../../src/index.ts";
import { ClientBed, turn } from "../doubles/client-bed.ts";

const Reading = Schema.Struct({
  at: Schema.String,
  value: Schema.Finite,
  tags: Schema.Array(Schema.String),
  raw: Schema.optionalKey(Schema.Uint8Array),
});
const readings = defineChannel({ channel: 5, schema: Schema.toStandardSchemaV1(Reading) });
const anything = <T>(): StandardSchema<T> => ({
  "~standard": { version: 1, vendor: "test", validate: (value) => ({ value: value as T }) },
});
const reading = (value: number) => ({ at: "now", value, tags: ["a", "b"] });

async function pair(bed: ClientBed, maxMessage = 65536) {
  const from = await (await bed.session("from")).createStream({ maxMessage });
  const to = await (await bed.session("to")).createStream({ maxMessage });
  return { from, to };
}

describe("a typed channel", () => {
  it("delivers values in all three ways, with what is known of their messages", async () => {
    await using bed = new ClientBed();
    const { from, to } = await pair(bed);
    const source = await readings.createSource(from);
    const called: unknown[] = [];
    await readings.createSink(to, (value, message) => called.push([value, message.sequence]));
    const sink = await readings.createSink(to);
    source.emit(reading(1));
    expect(sink.tryConsume()).toMatchObject({ value: reading(1), source: source.source.id, sequence: 0 });
    const next = sink.consume();
    source.emit({ ...reading(2), raw: new Uint8Array([1, 2, 3]) });
    expect((await next).value.raw).toEqual(new Uint8Array([1, 2, 3]));
    const seen: Typed<unknown>[] = [];
    const loop = (async () => {
      for await (const typed of sink) {
        seen.push(typed);
        if (seen.length === 3) break;
      }
    })();
    for (let i = 3; i < 6; i++) source.emit(reading(i));
    await loop;
    expect(seen.map(({ value }) => value)).toEqual([3, 4, 5].map(reading));
    expect(called.length).toBe(5);
    expect(await source.source.settled()).toMatchObject({ pushed: 5, consumed: 5, outstanding: 0 });
  });

  it("refuses at the source what does not fit, with the path, and loses no slot over it", async () => {
    await using bed = new ClientBed({ slots: 2 });
    const { from } = await pair(bed);
    const source = await readings.createSource(from);
    for (let i = 0; i < 5; i++) {
      expect(() => source.emit({ ...reading(1), tags: ["a", 7 as never] })).toThrow(
        expect.objectContaining({ code: "EVALUE", message: expect.stringContaining("at /tags/1") }),
      );
    }
    const free = await defineChannel({ channel: 6, schema: anything<unknown>() }).createSource(from);
    for (let i = 0; i < 5; i++) {
      expect(() => free.emit({ a: [() => 1] })).toThrow(
        expect.objectContaining({ code: "EVALUE", details: { path: "/a/0" } }),
      );
      expect(() => free.emit("x".repeat(70_000))).toThrow(expect.objectContaining({ code: "EMSGSIZE" }));
    }
    expect(source.tryEmit(reading(1))).toBeGreaterThan(0);
  });

  it("counts what is no value, tells who sent it, and goes on", async () => {
    await using bed = new ClientBed();
    const { from, to } = await pair(bed);
    const wild = await from.createSource(5);
    const free = await defineChannel({ channel: 5, schema: anything<unknown>() }).createSource(from);
    const good = await readings.createSource(from);
    const sink = await readings.createSink(to);
    const reasons: string[] = [];
    sink.on("invalid", ({ source, reason }) => {
      expect([wild.id, free.source.id]).toContain(source);
      reasons.push(reason);
    });
    const buffer = wild.getBuffer(3);
    buffer.bytes.fill(0xc1);
    wild.emit(buffer);
    free.emit({ at: "now", value: "much", tags: [] });
    free.emit([1, 2]);
    good.emit(reading(9));
    expect((await sink.consume()).value).toEqual(reading(9));
    expect(sink.tryConsume()).toBeNull();
    expect(sink.invalid).toBe(3);
    expect(reasons[0]).toMatch(/type 0xc1 is not supported at byte 0/);
    expect(reasons[1]).toMatch(/^at \/value: /);
    await turn();
    expect(wild.stats.outstanding + free.source.stats.outstanding).toBe(0);
  });

  it("carries values of every size, in the smallest slots that hold them", async () => {
    await using bed = new ClientBed();
    const { from, to } = await pair(bed, 1 << 20);
    const channel = defineChannel({ channel: 1, schema: anything<{ text: string; bytes: Uint8Array }>() });
    const source = await channel.createSource(from);
    const sink = await channel.createSink(to);
    for (const size of [0, 100, 1900, 2040, 15_000, 60_000, 500_000, 10, 1_040_000, 3]) {
      const value = { text: "é".repeat(size / 4), bytes: new Uint8Array(size / 2).fill(size) };
      source.emit(value);
      expect(sink.tryConsume()?.value).toEqual(value);
    }
  });

  it("says EAGAIN like any source, and refuses asynchronous schemas", async () => {
    await using bed = new ClientBed({ entries: 16 });
    const { from, to } = await pair(bed);
    const source = await readings.createSource(from);
    const sink = await readings.createSink(to);
    for (let i = 0; i < 16; i++) source.emit(reading(i));
    expect(source.tryEmit(reading(16))).toBe(0);
    expect(() => source.emit(reading(16))).toThrow(expect.objectContaining({ code: "EAGAIN" }));
    for (let i = 0; i < 16; i++) expect(sink.tryConsume()?.value.value).toBe(i);
    await source.source.ready();
    expect(source.tryEmit(reading(16))).toBeGreaterThan(0);
    const slow: StandardSchema<number> = {
      "~standard": { version: 1, vendor: "test", validate: async (value) => ({ value: value as number }) },
    };
    const asynchronous = await defineChannel({ channel: 9, schema: slow }).createSource(from);
    expect(() => asynchronous.emit(1)).toThrow(expect.objectContaining({ code: "EVALUE" }));
  });
});
