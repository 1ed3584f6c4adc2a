// The bytes of Lunar Streaming against docs/lunar-streaming.md, and its arithmetic: headers, records, pace, audience, pattern.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Audience } from "../../src/apps/lunar-streaming/audience.ts";
import {
  type Announcement,
  RECORD_BYTES,
  readAnnouncement,
  readReport,
  writeAnnouncement,
  writeReport,
} from "../../src/apps/lunar-streaming/control-records.ts";
import { STREAMING_CODES } from "../../src/apps/lunar-streaming/errors.ts";
import {
  checkFormat,
  ENCODINGS,
  FRAME,
  type FrameHeader,
  frameBytes,
  HEADER_BYTES,
  MOST_FRAME_BYTES,
  readHeader,
  writeHeader,
} from "../../src/apps/lunar-streaming/frame-header.ts";
import { Pace } from "../../src/apps/lunar-streaming/pace.ts";
import { TestPattern } from "../../src/apps/lunar-streaming/sources/pattern.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/lunar-streaming.md"), "utf8");
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const wide = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const side = fc.integer({ min: 1, max: 65_535 });
const pixels = fc.constantFrom("rgb8", "rgba8", "gray8" as const);
const encoding = fc.constantFrom(...ENCODINGS);

describe("the frame header", () => {
  const header = fc.record({
    epoch: u32,
    number: wide,
    skipped: wide,
    ageNs: wide,
    width: side,
    height: side,
    pixels,
    encoding: fc.constantFrom("jpeg", "webp", "avif", "png" as const),
    payloadBytes: fc.integer({ min: 0, max: MOST_FRAME_BYTES }),
  });

  it("comes back as it went, at any offset", () => {
    fc.assert(
      fc.property(header, fc.nat(200), (given, offset) => {
        const memory = new Uint8Array(offset + HEADER_BYTES + 7).fill(0xa5);
        writeHeader(memory, offset, given as FrameHeader);
        expect(readHeader(memory, offset, HEADER_BYTES + given.payloadBytes)).toEqual(given);
        expect(memory.slice(offset + HEADER_BYTES).every((byte) => byte === 0xa5)).toBe(true);
      }),
    );
  });

  it("refuses, in words, whatever is no frame", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(typeof readHeader(bytes, 0, bytes.length)).toBe("string");
      }),
    );
    const memory = new Uint8Array(HEADER_BYTES);
    const raw = {
      epoch: 1,
      number: 9,
      skipped: 0,
      ageNs: 5,
      width: 4,
      height: 2,
      pixels: "rgb8",
      encoding: "raw",
    } as const;
    writeHeader(memory, 0, { ...raw, payloadBytes: 24 });
    expect(readHeader(memory, 0, HEADER_BYTES + 24)).toMatchObject(raw);
    expect(readHeader(memory, 0, HEADER_BYTES + 23)).toBe("frame 9 announces 24 bytes and brings 23");
    writeHeader(memory, 0, { ...raw, payloadBytes: 25 });
    expect(readHeader(memory, 0, HEADER_BYTES + 25)).toBe("frame 9 is 4 x 2 rgb8, which is 24 bytes, and brings 25");
    for (const at of Object.values(FRAME).filter((at) => at < 12)) {
      writeHeader(memory, 0, { ...raw, payloadBytes: 24 });
      memory[at] = 0x77;
      expect(typeof readHeader(memory, 0, HEADER_BYTES + 24)).toBe("string");
    }
  });

  it("is laid out as the documentation says", () => {
    const rows = [...page.matchAll(/^\| (\d+) \| u(?:32|64) \| `(\w+)`/gm)].map(([, at, name]) => [name, Number(at)]);
    const named = Object.entries(FRAME).map(([name, at]) => [name.toLowerCase(), at]);
    expect(rows.slice(0, named.length)).toEqual(named);
    expect(named.every(([, at]) => Number(at) % 4 === 0)).toBe(true);
  });

  it("has every code of the errors in the documentation", () => {
    for (const code of STREAMING_CODES) expect(page).toContain(`| \`${code}\` |`);
  });

  it("knows which formats can be", () => {
    expect(frameBytes({ width: 7680, height: 4320, pixels: "rgb8" })).toBe(99_532_800);
    expect(() => checkFormat({ width: 7680, height: 4320, pixels: "rgb8" })).not.toThrow();
    for (const [width, height] of [
      [0, 1],
      [1, 0],
      [1.5, 1],
      [-1, 1],
      [65_536, 1],
      [Number.NaN, 1],
      [8192, 8192],
    ] as const) {
      expect(() => checkFormat({ width, height, pixels: "rgb8" })).toThrow(
        expect.objectContaining({ code: "EFORMAT" }),
      );
    }
    expect(() => checkFormat({ width: 1, height: 1, pixels: "yuv" as "rgb8" })).toThrow("rgb8, rgba8, gray8");
  });
});

describe("records", () => {
  it("come back as they went, and strangers' bytes are none", () => {
    const announcement = fc.record({
      epoch: u32,
      lossless: fc.boolean(),
      ended: fc.boolean(),
      maxFrame: fc.integer({ min: 1, max: MOST_FRAME_BYTES }),
      width: side,
      height: side,
      pixels,
      encoding,
      fps: fc.integer({ min: 0, max: 4_000_000 }).map((millihertz) => millihertz / 1000),
      intervalMs: u32,
      number: wide,
      quality: fc.record({
        acceleration: fc.constantFrom("none", "fast" as const),
        consumption: fc.constantFrom("low", "high" as const),
      }),
    });
    const report = fc.record({
      epoch: u32,
      client: u32,
      leaving: fc.boolean(),
      received: wide,
      lost: wide,
      number: wide,
      latencyUs: u32,
    });
    fc.assert(
      fc.property(announcement, report, fc.uint8Array({ maxLength: 100 }), (said, told, noise) => {
        const memory = new Uint8Array(RECORD_BYTES);
        writeAnnouncement(memory, 0, said as Announcement);
        expect(readAnnouncement(memory, 0, RECORD_BYTES)).toEqual(said);
        expect(readReport(memory, 0, RECORD_BYTES)).toBeUndefined();
        writeReport(memory, 0, told);
        expect(readReport(memory, 0, RECORD_BYTES)).toEqual(told);
        expect(readAnnouncement(memory, 0, RECORD_BYTES)).toBeUndefined();
        expect(readAnnouncement(noise, 0, noise.length) ?? readReport(noise, 0, noise.length)).toBeUndefined();
      }),
    );
  });
});

describe("the pace", () => {
  it("never hurries to catch up: what was due is either on time or missed", () => {
    const works = fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 100 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), works, (fps, work) => {
        const pace = new Pace(fps);
        const period = 1000 / fps;
        const start = 1000;
        let now = start;
        let due = 0;
        for (const ms of [0, ...work]) {
          now += ms;
          const { wait, missed } = pace.next(now);
          expect(Number.isInteger(missed) && missed >= 0 && wait >= 0 && wait <= period + 1e-6).toBe(true);
          now += wait;
          due += 1 + missed;
          // The one that is made now was due in this very period, and not before.
          const late = now - start - due * period;
          expect(late).toBeGreaterThanOrEqual(-1e-6);
          expect(late).toBeLessThanOrEqual(period + 1e-6);
        }
      }),
    );
  });

  it("falls with what the best client gets, never below the least, and rises again", () => {
    const pace = new Pace(60, 10);
    pace.heard(0.5);
    expect(pace.fps).toBe(30);
    for (let i = 0; i < 20; i++) pace.heard(0);
    expect(pace.fps).toBe(10);
    pace.heard(0.95);
    expect(pace.fps).toBe(10);
    for (let i = 0; i < 50; i++) pace.heard(1);
    expect(pace.fps).toBe(60);
  });
});

describe("the audience", () => {
  it("knows who came, how they fare and who fell silent, and does not grow without end", () => {
    const audience = new Audience();
    const report = { epoch: 1, client: 7, leaving: false, received: 10, lost: 0, number: 9, latencyUs: 100 };
    expect(audience.heard(report, 0)).toBe("joined");
    expect(audience.heard({ ...report, received: 15, lost: 15 }, 100)).toBeUndefined();
    expect(audience.bestShare).toBe(0.25);
    expect(audience.heard({ ...report, client: 8, received: 0 }, 200)).toBe("joined");
    expect(audience.bestShare).toBe(1);
    expect(audience.forget(150).map(({ id }) => id)).toEqual([7]);
    expect(audience.heard({ ...report, client: 8, leaving: true }, 300)).toBe("left");
    expect(audience.states).toEqual([]);
    for (let client = 1; client < 5000; client++) audience.heard({ ...report, client }, 400);
    expect(audience.states.length).toBe(1024);
  });
});

describe("the test pattern", () => {
  it.each(["rgb8", "rgba8", "gray8"] as const)(
    "is told apart frame by frame, and any byte that is wrong shows (%s)",
    (kind) => {
      const pattern = new TestPattern({ width: 67, height: 33, pixels: kind });
      const frame = new Uint8Array(frameBytes(pattern.format));
      fc.assert(
        fc.property(u32, fc.nat(frame.length - 1), (number, at) => {
          expect(pattern.getFrame(frame, number)).toEqual({ bytes: frame.length });
          expect(pattern.numberIn(frame)).toBe(number);
          expect(pattern.holds(frame, number)).toBe(true);
          expect(pattern.holds(frame, number ^ 1)).toBe(false);
          frame[at] = (frame[at] as number) ^ 1;
          expect(pattern.holds(frame, number)).toBe(false);
        }),
      );
    },
  );
});
