// What sessions are told of losses: nothing is left out of the sums, and no flood of them becomes a flood of frames.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LOSSES_AT_ONCE, LOSSES_EVERY_MS, type Loss, Losses } from "../../src/runtime/losses.ts";

/** A clock that a test moves, and what was told when. */
function stage() {
  let now = 0;
  let timers: Array<{ at: number; f: () => void }> = [];
  const told: Array<{ session: number; loss: Loss; at: number }> = [];
  const losses = new Losses({
    after: (ms, f) => {
      timers.push({ at: now + ms, f });
    },
    tell: (session, loss) => void told.push({ session, loss, at: now }),
  });
  const pass = (ms: number): void => {
    for (const until = now + ms; now < until; now++) {
      const due = timers.filter(({ at }) => at <= now);
      timers = timers.filter(({ at }) => at > now);
      for (const { f } of due) f();
    }
  };
  return { losses, told, pass, waiting: () => timers.length };
}

describe("losses", () => {
  it("are told at once when nothing was told before", () => {
    const { losses, told } = stage();
    losses.add(1, { sink: 2, source: 3, count: 4, reason: "wire" });
    expect(told).toEqual([{ session: 1, loss: { sink: 2, source: 3, count: 4, reason: "wire" }, at: 0 }]);
  });

  it("add up to what was lost, for every session, sink and reason, in a bounded number of frames", () => {
    const loss = fc.record({
      session: fc.integer({ min: 1, max: 2 }),
      sink: fc.integer({ min: 1, max: 2 }),
      source: fc.integer({ min: 1, max: 200 }),
      count: fc.integer({ min: 1, max: 1000 }),
      reason: fc.constantFrom("wire" as const, "no-credit" as const),
      wait: fc.constantFrom(0, 0, 0, 0, 1, 60),
    });
    fc.assert(
      fc.property(fc.array(loss, { maxLength: 600 }), (all) => {
        const { losses, told, pass, waiting } = stage();
        let ms = 0;
        for (const { session, wait, ...one } of all) {
          losses.add(session, one);
          pass(wait);
          ms += wait;
        }
        pass(3 * LOSSES_EVERY_MS);
        const sum = (of: ReadonlyArray<{ session: number; sink: number; reason: string; count: number }>) => {
          const sums: Record<string, number> = {};
          for (const { session, sink, reason, count } of of) {
            const key = `${session} ${sink} ${reason}`;
            sums[key] = (sums[key] ?? 0) + count;
          }
          return sums;
        };
        expect(sum(told.map(({ session, loss }) => ({ session, ...loss })))).toEqual(sum(all));
        // Those beyond the limit share a frame for each sink and reason.
        const rounds = Math.floor(ms / LOSSES_EVERY_MS) + 3;
        expect(told.length).toBeLessThanOrEqual(2 * rounds * (LOSSES_AT_ONCE + 4));
        // Whoever has nothing to hear costs no timer.
        expect(waiting()).toBe(0);
      }),
    );
  });
});
