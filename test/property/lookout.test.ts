// Looking at the host again: only while somebody goes without, and less and less often while nothing comes of it.
import { expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import { LOOK_FIRST_MS, LOOK_LAST_MS, Lookout } from "../../src/actors/lookout.ts";

it("a look is taken only while it is wanted, seldom, and soon again when something has changed", () => {
  const clock = new ManualClock();
  const at: number[] = [];
  const host = { wanted: false, changed: false };
  const lookout = new Lookout({
    clock,
    wanted: () => host.wanted,
    look: () => {
      at.push(clock.now());
      return host.changed;
    },
  });
  const pass = (ms: number): void => clock.advance(ms);
  lookout.start();
  pass(10 * LOOK_LAST_MS);
  expect(at).toEqual([]);

  host.wanted = true;
  const began = clock.now();
  pass(31 * LOOK_FIRST_MS);
  expect(at.map((ms) => (ms - began) / LOOK_FIRST_MS)).toEqual([1, 3, 7, 15, 31]);
  pass(20 * LOOK_LAST_MS);
  expect((at.at(-1) ?? 0) - (at.at(-2) ?? 0)).toBe(LOOK_LAST_MS);

  at.length = 0;
  lookout.soon();
  pass(LOOK_FIRST_MS);
  expect(at).toHaveLength(1);
  host.changed = true;
  pass(10 * LOOK_FIRST_MS);
  expect(at.length).toBeGreaterThanOrEqual(9);

  at.length = 0;
  lookout.stop();
  lookout.soon();
  pass(10 * LOOK_LAST_MS);
  expect(at).toEqual([]);
});
