// The codec that encodes into slots, held against @msgpack/msgpack as an oracle, and against bytes nobody encoded.
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFrom, MalformedError } from "../../src/protocol/msgpack-decode.ts";
import { areaOf, encodeInto, MAX_DEPTH, TOO_LONG } from "../../src/protocol/msgpack-encode.ts";

const area = areaOf(new Uint8Array(1 << 20));
const START = 13;
const written = (value: unknown): Uint8Array => {
  const end = encodeInto(value, area, START, area.bytes.length);
  return new Uint8Array(area.bytes.subarray(START, end));
};
const read = (bytes: Uint8Array): unknown => decodeFrom(areaOf(bytes), 0, bytes.length);

const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.string({ maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.date({ noInvalidDate: true, min: new Date(-1e14), max: new Date(1e14) }),
);
const { value: anything } = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie("value"), { maxLength: 20 }), tie("map")),
  map: fc.dictionary(
    fc.string().filter((key) => key !== "__proto__"),
    tie("value"),
    { maxKeys: 20, noNullPrototype: true },
  ),
}));

describe("MessagePack in place", () => {
  it("gives back what it was given", () => {
    fc.assert(
      fc.property(anything, (value) => {
        expect(read(written(value))).toEqual(value);
      }),
    );
  });

  it("is understood by another implementation, and understands it", () => {
    fc.assert(
      fc.property(anything, (value) => {
        // The other implementation has no negative zero.
        const other = decode(written(value));
        expect(other).toEqual(value);
        expect(read(encode(value))).toEqual(decode(encode(value)));
      }),
    );
  });

  it("says that a value does not fit at every size but its own", () => {
    fc.assert(
      fc.property(anything, (value) => {
        const size = written(value).length;
        expect(encodeInto(value, area, START, START + size)).toBe(START + size);
        expect(encodeInto(value, area, START, START + size - 1)).toBe(TOO_LONG);
      }),
    );
  });

  it("refuses any bytes readably or returns a value, and never takes more memory than they could fill", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        try {
          read(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError);
          expect((error as Error).message).toMatch(/ at byte \d+$/);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["an array that claims four thousand million members", [0xdd, 0xff, 0xff, 0xff, 0xff, 1], /count is larger/],
    ["nested claims", Array.from({ length: 3000 }, () => [0xdc, 0x00, 0xff]).flat(), /nested more than/],
    ["bytes too many", [1, 2], /1 bytes too many/],
    ["a cut string", [0xa5, 65], /ends too early/],
    ["a number as key", [0x81, 1, 1], /no string/],
    ["a key that reaches the prototype", [0x81, 0xa9, ...Buffer.from("__proto__"), 0x80], /__proto__/],
    ["an unknown extension", [0xd4, 5, 5], /0xd4/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => read(Uint8Array.from(bytes))).toThrow(message);
  });

  it.each([
    ["a function", { a: [() => 1] }, "/a/0"],
    ["a symbol", { a: { b: Symbol("x") } }, "/a"],
    ["a bigint of 65 bits", [1n << 64n], "/0"],
    ["an invalid date", { at: new Date(Number.NaN) }, "/at"],
  ])("refuses %s with its path", (_, value, path) => {
    expect(() => written(value)).toThrow(expect.objectContaining({ code: "EVALUE", details: { path } }));
  });

  it("refuses a cycle, and keeps 64-bit integers", () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    expect(() => written(cycle)).toThrow(`more than ${MAX_DEPTH} deep`);
    expect(read(written([-(2n ** 63n), 2n ** 64n - 1n, 5n]))).toEqual([-(2n ** 63n), 2n ** 64n - 1n, 5]);
    expect(read(written({ a: undefined, b: -0 }))).toEqual({ b: -0 });
  });
});
