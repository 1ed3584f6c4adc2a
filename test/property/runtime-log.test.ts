// The log under pressure: lines that nobody reads are kept up to a bound, dropped beyond it and counted; what is said again
// and again is said once with a count. Whatever its reader does, what it gets is whole lines in order.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import { createLog } from "../../src/runtime/log.ts";
import { LogDestination } from "../../src/runtime/log-destination.ts";
import { REPEATS_MS, REPEATS_SAID } from "../../src/runtime/repeats.ts";

/** A reader that takes as many bytes at a time as it is told, and keeps them. */
function reader() {
  const got: number[] = [];
  const is = { takes: 0, gone: false };
  const tryWrite = (bytes: Uint8Array): number => {
    if (is.gone) throw new Error("EPIPE");
    const taken = Math.min(is.takes, bytes.length);
    got.push(...bytes.subarray(0, taken));
    is.takes -= taken;
    return taken;
  };
  return { is, tryWrite, text: (): string => new TextDecoder().decode(Uint8Array.from(got)) };
}

describe("a destination", () => {
  it("gives its reader whole lines in order, and counts exactly those that it did not", () => {
    const step = fc.oneof(
      fc.record({ write: fc.integer({ min: 0, max: 40 }) }),
      fc.record({ read: fc.integer({ min: 1, max: 120 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const clock = new ManualClock();
        const { is, tryWrite, text } = reader();
        const destination = new LogDestination(tryWrite, clock, 100);
        let missing = 0;
        destination.onDropped = (lines) => {
          missing += lines;
        };
        let number = 0;
        for (const one of steps) {
          if ("write" in one) destination.write(`${number++} ${"x".repeat(one.write)}\n`);
          else {
            is.takes = one.read;
            clock.advance(1000);
          }
        }
        is.takes = Number.POSITIVE_INFINITY;
        clock.advance(1000);
        const lines = text().split("\n");
        expect(lines.pop()).toBe("");
        const numbers = lines.map((line) => Number(/^(\d+) x*$/.exec(line)?.[1] ?? Number.NaN));
        expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => a - b));
        expect(numbers.length + destination.dropped).toBe(number);
        expect(missing).toBe(destination.dropped);
      }),
    );
  });

  it("tells how many are missing as soon as there is room, once", () => {
    const clock = new ManualClock();
    const { is, tryWrite } = reader();
    const destination = new LogDestination(tryWrite, clock, 10);
    const told: number[] = [];
    destination.onDropped = (lines) => told.push(lines);
    for (let i = 0; i < 5; i++) destination.write("123456789\n");
    clock.advance(10_000);
    expect(told).toEqual([]);
    is.takes = 1000;
    clock.advance(100);
    destination.write("more\n");
    clock.advance(10_000);
    expect(told).toEqual([4]);
  });

  it("whose reader is gone writes nothing more and fails nobody", () => {
    const clock = new ManualClock();
    const { is, tryWrite } = reader();
    const destination = new LogDestination(tryWrite, clock);
    is.gone = true;
    for (let i = 0; i < 3; i++) destination.write("line\n");
    clock.advance(1000);
    destination.finish();
    expect(destination.dropped).toBe(3);
  });

  it("waits at the end of a process, but not for long", () => {
    const { tryWrite } = reader();
    const destination = new LogDestination(tryWrite, new ManualClock());
    destination.write("line\n");
    const before = performance.now();
    destination.finish();
    expect(performance.now() - before).toBeLessThan(5000);
  });
});

describe("a log", () => {
  const stage = () => {
    const clock = new ManualClock();
    const lines: Array<Record<string, unknown>> = [];
    const log = createLog(
      { level: "info", pretty: false },
      { runtime: "r" },
      { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
      clock,
    );
    return { clock, lines, log };
  };
  const evicted = (who: number) => ({ code: "W_EVICTED", message: `${who} was put out`, cure: "" }) as const;

  it("says the same code so many times a second, and then how many more there were", () => {
    const { clock, lines, log } = stage();
    for (let i = 0; i < 1000; i++) log.warn(evicted(i));
    log.warn({ code: "W_MEMLOCK", message: "another thing", cure: "" });
    expect(lines.map(({ msg }) => msg)).toEqual([
      ...Array.from({ length: REPEATS_SAID }, (_, i) => `${i} was put out`),
      "another thing",
    ]);
    clock.advance(REPEATS_MS);
    expect(lines.at(-1)).toMatchObject({
      level: "warn",
      code: "W_EVICTED",
      repeated: 1000 - REPEATS_SAID,
      msg: expect.stringContaining("999 was put out"),
    });
    expect(lines.length).toBe(REPEATS_SAID + 2);
    // And begins anew.
    log.warn(evicted(1000));
    expect(lines.at(-1)).toMatchObject({ msg: "1000 was put out" });
    clock.advance(REPEATS_MS);
    expect(lines.length).toBe(REPEATS_SAID + 3);
  });

  it("tells lines without a code apart by their message, and levels too", () => {
    const { lines, log } = stage();
    for (let i = 0; i < REPEATS_SAID; i++) log.info("session attached", { session: i });
    log.info("session ended", { session: 1 });
    log.error("EINTERNAL", "failed");
    expect(lines.length).toBe(REPEATS_SAID + 2);
    for (let i = 0; i < 10; i++) log.debug("not at this level");
    expect(lines.length).toBe(REPEATS_SAID + 2);
  });

  it("keeps no more kinds apart than so many, and loses none of their number", () => {
    const { clock, lines, log } = stage();
    for (let i = 0; i < 5000; i++) log.info(`message ${i}`);
    clock.advance(REPEATS_MS);
    const repeated = lines.reduce((sum, line) => sum + Number(line["repeated"] ?? 0), 0);
    const said = lines.filter((line) => line["repeated"] === undefined).length;
    expect(said + repeated).toBe(5000);
    expect(lines.length).toBeLessThan(400);
  });
});
