// The framing of the control socket: what one side encodes the other understands, and what nobody should send is refused
// with what was wrong and where.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InsaneError } from "../../src/protocol/codes.ts";
import { areaOf, encodeInto } from "../../src/protocol/msgpack-encode.ts";
import {
  decodeFrame,
  encodeFailure,
  encodeNotification,
  encodeRequest,
  encodeResponse,
  MAX_FRAME,
  toFailure,
  toInsaneError,
} from "../../src/protocol/rpc.ts";

const raw = (value: unknown): Uint8Array => {
  const area = areaOf(new Uint8Array(2 * MAX_FRAME));
  return new Uint8Array(area.bytes.subarray(0, encodeInto(value, area, 0, area.bytes.length)));
};

describe("control frames", () => {
  it("arrive as they were sent", () => {
    const id = fc.nat(0xffffffff);
    const method = fc.string({ minLength: 1, maxLength: 200 });
    const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));
    fc.assert(
      fc.property(id, method, json, (id, method, params) => {
        // JSON values have no negative zero and no undefined.
        const value = JSON.parse(JSON.stringify(params)) as unknown;
        expect(decodeFrame(encodeRequest(id, method, value))).toEqual({ type: "request", id, method, params: value });
        expect(decodeFrame(encodeResponse(id, value))).toEqual({ type: "response", id, error: null, result: value });
        expect(decodeFrame(encodeNotification(method, value))).toEqual({ type: "notification", method, params: value });
      }),
    );
  });

  it("carry errors with code and details, and hide those that are not ours", () => {
    const error = new InsaneError("EMSGSIZE", "Too large.", { limit: 5 });
    const frame = decodeFrame(encodeFailure(7, toFailure(error)));
    expect(frame).toEqual({
      type: "response",
      id: 7,
      error: { code: "EMSGSIZE", message: "Too large.", details: { limit: 5 } },
      result: null,
    });
    expect(toInsaneError({ code: "EMSGSIZE", message: "Too large.", details: { limit: 5 } })).toEqual(error);
    expect(toInsaneError({ code: "ENEW", message: "x" })).toMatchObject({ code: "EINTERNAL", message: "ENEW: x" });
    expect(toFailure(new TypeError("x"))).toEqual({ code: "EINTERNAL", message: "x" });
    // Details that do not fit or cannot be encoded are left out: the error itself must arrive.
    const huge = encodeFailure(8, {
      code: "EMSGSIZE",
      message: "m".repeat(9000),
      details: { text: "x".repeat(MAX_FRAME) },
    });
    expect(decodeFrame(huge)).toMatchObject({ error: { code: "EMSGSIZE" } });
  });

  it("are limited in size both ways", () => {
    const text = "x".repeat(MAX_FRAME);
    expect(() => encodeRequest(1, "hello", { text })).toThrow(expect.objectContaining({ code: "EFRAME" }));
    expect(() => decodeFrame(raw([2, "a", text]))).toThrow(expect.objectContaining({ code: "EFRAME" }));
  });

  it.each([
    ["no array", { a: 1 }, "expected an array, got a object"],
    ["an unknown type", [3, 1], "at /0: expected the type"],
    ["too few elements", [0, 1, "hello"], "expected 4 elements, got 3"],
    ["an id that is none", [0, -1, "hello", {}], "at /1: expected an id"],
    ["a method that is none", [0, 1, "", {}], 'at /2: expected a method name of 1 to 200 characters, got ""'],
    ["an error without code", [1, 1, { message: "x" }, null], "at /2/code: expected a string, got nothing"],
    ["an error of the wrong kind", [1, 1, "bad", null], 'at /2: expected null or an error, got "bad"'],
  ])("are refused when they are %s", (_, frame, message) => {
    expect(() => decodeFrame(raw(frame))).toThrow(
      expect.objectContaining({ code: "ESCHEMA", message: expect.stringContaining(message) }),
    );
  });

  it("are refused or understood, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          decodeFrame(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: "ESCHEMA" });
        }
      }),
      { numRuns: 1000 },
    );
  });
});
