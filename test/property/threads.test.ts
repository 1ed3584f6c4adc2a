// Which thread serves which engine: the configuration is kept, and the advisor does not flap, whatever the load does.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Lane } from "../../src/protocol/lanes.ts";
import { NETWORK_TECHNOLOGIES } from "../../src/qos/strategy.ts";
import { ADVISOR, ADVISOR_START, type Advice, advise, place, THREAD_ORDER } from "../../src/qos/threads.ts";

const engines = fc.subarray([...THREAD_ORDER], { minLength: 1 });
const most = fc.option(fc.integer({ min: 1, max: THREAD_ORDER.length }));
const map = fc.option(
  fc
    .uniqueArray(fc.constantFrom(...NETWORK_TECHNOLOGIES))
    .chain((names) => fc.tuple(...names.map((name) => fc.tuple(fc.constant(name), fc.nat(2)))))
    .map((entries) => Object.fromEntries(entries)),
);

describe("where engines begin", () => {
  it("is on as many threads as there may be, each host on its own", () => {
    fc.assert(
      fc.property(engines, most, map, (there, most, map) => {
        const placement = place(there, { most, map });
        expect([...placement.keys()].sort()).toEqual([...there].sort());
        for (const host of placement.values()) expect(placement.get(host)).toBe(host);
        const threads = new Set(placement.values()).size;
        if (most !== null) expect(threads).toBeLessThanOrEqual(most);
        // A map names technologies: what else receives for one has a thread of its own.
        for (const a of there)
          for (const b of there)
            if (map?.[a] !== undefined && map[a] === map[b]) expect(placement.get(a)).toBe(placement.get(b));
        if (most === null && map === null) expect(threads).toBe(there.length);
      }),
    );
  });
});

interface World {
  readonly there: ReadonlyArray<Lane>;
  readonly most: number | null;
  readonly cores: number;
  readonly parks: boolean;
  readonly fixed: boolean;
}
const world = fc.record({
  there: engines,
  most,
  cores: fc.integer({ min: 1, max: 8 }),
  parks: fc.boolean(),
  fixed: fc.boolean(),
});

/** Runs the advisor over samples, doing what it says. */
function live(of: World, samples: ReadonlyArray<ReadonlyMap<Lane, number>>) {
  const placement = new Map(place(of.there, { most: of.most, map: null }));
  let state = ADVISOR_START;
  const moves: Array<{ readonly at: number; readonly advice: Advice & { kind: "move" } }> = [];
  const said: Array<{ readonly at: number; readonly thread: Lane }> = [];
  samples.forEach((loads, at) => {
    const input = {
      placement,
      loads: of.there.map((lane) => ({ lane, load: loads.get(lane) ?? 0, parks: of.parks })),
      most: of.most,
      cores: of.cores,
      fixed: of.fixed,
    };
    const done = advise(state, input);
    state = done.state;
    for (const advice of done.advice) {
      if (advice.kind === "overloaded") said.push({ at, thread: advice.thread });
      else {
        // What it asks for can be done: a host with guests goes nowhere, a guest has no guests.
        expect(advice.to === advice.engine || placement.get(advice.to) === advice.to).toBe(true);
        expect([...placement].some(([guest, host]) => host === advice.engine && guest !== advice.engine)).toBe(false);
        expect(placement.get(advice.engine)).not.toBe(advice.to);
        placement.set(advice.engine, advice.to);
        moves.push({ at, advice });
      }
    }
  });
  return { moves, said, placement };
}

const loadsOf = fc.tuple(...THREAD_ORDER.map(() => fc.double({ min: 0, max: 1, noNaN: true })));
const asMap = (loads: ReadonlyArray<number>): Map<Lane, number> =>
  new Map(THREAD_ORDER.map((lane, i) => [lane, loads[i] ?? 0]));

describe("the advisor", () => {
  it("comes to rest under a load that lasts, and undoes nothing", () => {
    fc.assert(
      fc.property(world, loadsOf, (of, loads) => {
        const samples = Array.from({ length: 600 }, () => asMap(loads));
        const { moves } = live(of, samples);
        expect(moves.length).toBeLessThanOrEqual(of.there.length);
        for (const { at } of moves) expect(at).toBeLessThan(400);
        const pairs = moves.map(({ advice }) => `${advice.engine} ${advice.to}`);
        expect(new Set(pairs).size).toBe(pairs.length);
      }),
    );
  });

  it("rests between two moves, whatever the load does, and moves nothing that the configuration has fixed", () => {
    fc.assert(
      fc.property(
        world,
        fc.array(loadsOf, { minLength: 5, maxLength: 60 }),
        fc.integer({ min: 1, max: 40 }),
        (of, steps, each) => {
          const samples = steps.flatMap((loads) => Array.from({ length: each }, () => asMap(loads)));
          const { moves } = live(of, samples);
          for (let i = 1; i < moves.length; i++)
            expect((moves[i]?.at ?? 0) - (moves[i - 1]?.at ?? 0)).toBeGreaterThanOrEqual(ADVISOR.REST_SAMPLES);
          if (of.fixed) expect(moves).toEqual([]);
        },
      ),
    );
  });

  it("does not follow a load that swings around one level", () => {
    fc.assert(
      fc.property(
        world,
        loadsOf,
        fc.array(fc.double({ min: -0.1, max: 0.1, noNaN: true }), { minLength: 300, maxLength: 300 }),
        (of, level, noise) => {
          const samples = noise.map((n) => asMap(level.map((load) => Math.min(1, Math.max(0, load + n)))));
          const { moves } = live(of, samples);
          const pairs = moves.map(({ advice }) => `${advice.engine} ${advice.to}`);
          expect(new Set(pairs).size).toBe(pairs.length);
        },
      ),
    );
  });

  it("gives a guest a thread of its own when there may be one, or tells who has too much to do", () => {
    const loads = asMap([0.6, 0.4, 0, 0]);
    const samples = Array.from({ length: 20 }, () => loads);
    const there = ["udp", "xdp"] as const;
    const base = { there, parks: true, fixed: false };
    // Both on one thread at first, and later there may be two.
    expect(live({ ...base, most: 1, cores: 4 }, samples)).toMatchObject({ moves: [], said: [{ thread: "udp" }] });
    const input = { placement: place(there, { most: 1, map: null }), most: 2, cores: 4, fixed: false };
    let state = ADVISOR_START;
    let advice: Advice[] = [];
    for (let i = 0; i < ADVISOR.OVER_SAMPLES; i++) {
      expect(advice).toEqual([]);
      const engineLoads = there.map((lane) => ({ lane, load: loads.get(lane) ?? 0, parks: true }));
      ({ state, advice } = advise(state, { ...input, loads: engineLoads }));
    }
    expect(advice).toEqual([expect.objectContaining({ kind: "move", engine: "xdp", to: "xdp" })]);
    expect((advice[0] as { why: string }).why).toMatch(/100 %.*udp and xdp/);
  });

  it("joins threads that spin and have little to do, never those that sleep", () => {
    const samples = Array.from({ length: 100 }, () => asMap([0.1, 0.1, 0, 0]));
    const of = { there: ["udp", "xdp"] as const, most: null, cores: 4, fixed: false };
    expect(live({ ...of, parks: false }, samples).moves).toMatchObject([{ advice: { engine: "xdp", to: "udp" } }]);
    expect(live({ ...of, parks: true }, samples).moves).toEqual([]);
  });

  it("tells an overload once, until it is over", () => {
    const busy = asMap([0.95, 0, 0, 0]);
    const calm = asMap([0.2, 0, 0, 0]);
    const of = { there: ["udp"] as const, most: null, cores: 4, parks: true, fixed: false };
    const phase = (loads: Map<Lane, number>) => Array.from({ length: 50 }, () => loads);
    expect(live(of, [...phase(busy), ...phase(calm), ...phase(busy)]).said).toHaveLength(2);
  });
});
