// The arithmetic of restarts: never more than the limit in any window, waits that grow and are capped, and policies
// that do escalate in the end.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  backoffMs,
  countWithin,
  DEFAULT_POLICY,
  decide,
  type Exit,
  escalates,
  type RestartHistory,
  type RestartKind,
  type RestartPolicy,
  restarts,
} from "../../models/policy.ts";

const kinds: readonly RestartKind[] = ["permanent", "transient", "temporary"];
const exits: readonly Exit[] = ["ordered", "normal", "failure", "quarantined"];

const policies: fc.Arbitrary<RestartPolicy> = fc.record({
  kind: fc.constantFrom(...kinds),
  backoff: fc.record({
    initialMs: fc.integer({ min: 0, max: 1000 }),
    factor: fc.double({ min: 1, max: 4, noNaN: true }),
    maxMs: fc.integer({ min: 0, max: 5000 }),
  }),
  intensity: fc.record({
    max: fc.integer({ min: 0, max: 8 }),
    withinMs: fc.integer({ min: 1, max: 20_000 }),
  }),
});

/** Lets a child fail again and again, each time after having been up for the next of `uptimes`; when restarts began. */
const live = (policy: RestartPolicy, uptimes: readonly number[]) => {
  const began: number[] = [];
  let history: RestartHistory = [];
  let now = 0;
  for (const uptime of uptimes) {
    now += uptime;
    const verdict = decide(policy, history, "failure", now);
    if (verdict.type !== "restart") return { began, last: verdict };
    began.push(verdict.atMs);
    history = verdict.history;
    now = verdict.atMs;
  }
  return { began, last: null };
};

const uptimes = fc.array(fc.integer({ min: 0, max: 6000 }), { maxLength: 60 });

describe("restart policies", () => {
  test("never begin more restarts in any window than the limit allows", () => {
    fc.assert(
      fc.property(policies, uptimes, (policy, ups) => {
        const { began } = live(policy, ups);
        for (const at of began) {
          expect(
            countWithin(
              began.filter((time) => time <= at),
              policy.intensity.withinMs,
              at,
            ),
          ).toBeLessThanOrEqual(policy.intensity.max);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("wait longer each time, and never longer than the cap", () => {
    fc.assert(
      fc.property(policies, fc.integer({ min: 0, max: 200 }), ({ backoff }, attempt) => {
        const wait = backoffMs(backoff, attempt);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(backoff.maxMs);
        expect(backoffMs(backoff, attempt + 1)).toBeGreaterThanOrEqual(wait);
      }),
    );
  });

  test("a child that stayed up for the whole window begins anew with the shortest wait", () => {
    fc.assert(
      fc.property(policies, uptimes, ({ backoff, intensity }, ups) => {
        fc.pre(intensity.max > 0);
        const policy: RestartPolicy = { kind: "permanent", backoff, intensity };
        const { began } = live(policy, ups);
        const calm = (began.at(-1) ?? 0) + intensity.withinMs;
        const verdict = decide(policy, began, "failure", calm);
        expect(verdict).toMatchObject({ type: "restart", attempt: 0, delayMs: backoffMs(backoff, 0) });
      }),
    );
  });

  test("restart by kind and exit as OTP does, and never on top of something quarantined", () => {
    const table = Object.fromEntries(kinds.map((kind) => [kind, exits.filter((exit) => restarts(kind, exit))]));
    expect(table).toEqual({ permanent: ["normal", "failure"], transient: ["failure"], temporary: [] });
    expect(decide(DEFAULT_POLICY, [], "quarantined", 0).type).toBe("escalate");
    expect(decide({ ...DEFAULT_POLICY, kind: "temporary" }, [], "quarantined", 0).type).toBe("stop");
    expect(decide({ ...DEFAULT_POLICY, kind: "permanent" }, [], "ordered", 0).type).toBe("stop");
  });

  test("the default gives up on a child that fails as soon as it starts", () => {
    expect(escalates(DEFAULT_POLICY)).toBe(true);
    const { began, last } = live(DEFAULT_POLICY, Array(20).fill(0));
    expect(began).toHaveLength(DEFAULT_POLICY.intensity.max);
    expect(last).toMatchObject({ type: "escalate" });
  });

  test("`escalates` agrees with what a long row of failures does", () => {
    fc.assert(
      fc.property(policies, (policy) => {
        const { last } = live({ ...policy, kind: "permanent" }, Array(100).fill(0));
        expect(escalates({ ...policy, kind: "permanent" })).toBe(last?.type === "escalate");
      }),
      { numRuns: 1000 },
    );
    // Waits of 4 s never let five restarts come together within 10 s.
    const stretched: RestartPolicy = {
      kind: "permanent",
      backoff: { initialMs: 4000, factor: 2, maxMs: 4000 },
      intensity: { max: 5, withinMs: 10_000 },
    };
    expect(escalates(stretched)).toBe(false);
  });
});
