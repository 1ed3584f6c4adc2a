// Answers larger than a frame: whatever is cut into parts comes back, and each part fits.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inParts, isPart, joinParts, type Part } from "../../src/protocol/parts.ts";
import { decodeFrame, encodeResponse, MAX_FRAME } from "../../src/protocol/rpc.ts";

describe("an answer in parts", () => {
  it("comes back as it was, over frames", () => {
    // MessagePack maps are refused when a key is __proto__; no report has one.
    const json = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("__proto__"));
    const anyReport = fc.record({
      list: fc.array(fc.record({ name: fc.string({ maxLength: 200 }), value: fc.double({ noNaN: true }), at: json })),
      times: fc.integer({ min: 1, max: 400 }),
    });
    fc.assert(
      fc.property(anyReport, ({ list, times }) => {
        const report = Array.from({ length: times }, () => list);
        const parts = inParts(report).map((part) => {
          const frame = encodeResponse(1, part);
          expect(frame.length).toBeLessThanOrEqual(MAX_FRAME);
          const back = decodeFrame(frame);
          return back.type === "response" ? back.result : null;
        });
        if (parts.length === 1) expect(parts[0]).toEqual(report);
        else {
          expect(parts.every(isPart)).toBe(true);
          expect(joinParts(parts as Part[])).toEqual(report);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("is whole when it fits, and refused when nothing could take it", () => {
    expect(inParts({ small: true })).toEqual([{ small: true }]);
    const large = inParts("x".repeat(200_000));
    expect(large.length).toBe(4);
    const huge = Array.from({ length: 70 }, () => "x".repeat(2 ** 20));
    expect(() => inParts(huge)).toThrow(expect.objectContaining({ code: "EFRAME" }));
  });
});
