// Many links of one session: whichever are lively, nothing is forgotten, and a look that finds nothing has been everywhere.
import fc from "fast-check";
import { expect, it } from "vitest";
import type { ConsumerEnd } from "../../src/client/consumer-end.ts";
import { Sweep } from "../../src/client/sweep.ts";

const BURST = 4;

function links(count: number) {
  const all = Array.from({ length: count }, () => ({
    inVain: 0,
    waiting: 0,
    drain(): number {
      const taken = Math.min(this.waiting, BURST);
      this.waiting -= taken;
      return taken;
    },
  }));
  const ends = [...all] as unknown as ConsumerEnd[];
  const waiting = (): number => all.reduce((sum, one) => sum + one.waiting, 0);
  return { all, ends, waiting };
}

it("takes all there is, once, and says nothing only when there is nothing", () => {
  const arrivals = fc.array(fc.array(fc.tuple(fc.nat(39), fc.integer({ min: 1, max: 9 })), { maxLength: 5 }));
  fc.assert(
    fc.property(fc.integer({ min: 9, max: 40 }), arrivals, fc.nat(600), (count, rounds, idle) => {
      const { all, ends, waiting } = links(count);
      const sweep = new Sweep();
      const take = (): void => {
        const before = waiting();
        const taken = sweep.take(ends);
        expect(waiting()).toBe(before - taken);
        if (taken === 0) expect(before).toBe(0);
      };
      for (const round of rounds) {
        for (const [at, messages] of round) (all[at % count] as (typeof all)[number]).waiting += messages;
        take();
      }
      for (let i = 0; i < idle; i++) take();
      while (waiting() > 0) take();
      expect(new Set(ends).size).toBe(count);
    }),
  );
});

it("comes to a still link in time, however much the others have", () => {
  const COUNT = 30;
  fc.assert(
    fc.property(
      fc.nat(COUNT - 1),
      fc.uniqueArray(fc.nat(COUNT - 1), { minLength: 1, maxLength: COUNT - 1 }),
      (still, busy) => {
        fc.pre(!busy.includes(still));
        const { all, ends } = links(COUNT);
        const sweep = new Sweep();
        const flood = (): void => {
          for (const at of busy) (all[at] as (typeof all)[number]).waiting = BURST;
          sweep.take(ends);
        };
        for (let i = 0; i < 600; i++) flood();
        const one = all[still] as (typeof all)[number];
        one.waiting = 1;
        for (let turns = 0; one.waiting > 0; turns++) {
          expect(turns).toBeLessThan(COUNT);
          flood();
        }
      },
    ),
  );
});

it("follows links that come and go", () => {
  const { all, ends } = links(12);
  const sweep = new Sweep();
  for (const one of all) one.waiting = 1;
  while (sweep.take(ends) > 0);
  ends.splice(3, 1);
  for (const one of all) one.waiting = 1;
  while (sweep.take(ends) > 0);
  expect(all.filter(({ waiting }) => waiting > 0)).toHaveLength(1);
});
