// The supervisor on a clock that the test turns: restarts on exits only, with the waits and the limit of the policy.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs, DEFAULT_POLICY, type RestartPolicy } from "../../models/policy.ts";
import { ManualClock } from "../../src/actors/clock.ts";
import { type Child, Supervisor } from "../../src/actors/supervisor.ts";

type Exit = "normal" | "failure" | "quarantined";

/** A child that exits when the test says so; closing only asks. */
class FakeChild implements Child {
  closeAsked = false;
  #exit: ((exit: Exit) => void) | null = null;
  close(): void {
    this.closeAsked = true;
  }
  onExit(f: (exit: Exit) => void): void {
    this.#exit = f;
  }
  exit(how: Exit): void {
    this.#exit?.(how);
  }
}

function stage(policy: Partial<RestartPolicy> = {}) {
  const clock = new ManualClock();
  const said: string[] = [];
  const children: FakeChild[] = [];
  const supervisor = new Supervisor(clock, {
    restarting: (_, attempt, delayMs) => said.push(`restarting ${attempt} in ${delayMs}`),
    restarted: () => said.push("restarted"),
    stopped: (_, why) => said.push(`stopped: ${why}`),
    escalated: (_, why) => said.push(`escalated: ${why}`),
  });
  const full: RestartPolicy = { ...DEFAULT_POLICY, ...policy };
  supervisor.supervise({
    name: "child",
    policy: full,
    start: () => {
      const child = new FakeChild();
      children.push(child);
      return child;
    },
  });
  return { clock, said, children, supervisor, policy: full };
}

describe("the supervisor", () => {
  it("starts a failed child again after its wait, longer each time", () => {
    const { clock, said, children } = stage({ kind: "permanent", backoff: { initialMs: 50, factor: 2, maxMs: 2000 } });
    children[0]?.exit("failure");
    expect(children.length).toBe(1);
    clock.advance(49);
    expect(children.length).toBe(1);
    clock.advance(1);
    expect(children.length).toBe(2);
    children[1]?.exit("failure");
    clock.advance(99);
    expect(children.length).toBe(2);
    clock.advance(1);
    expect(children.length).toBe(3);
    expect(said).toEqual(["restarting 0 in 50", "restarted", "restarting 1 in 100", "restarted"]);
  });

  it("does not restart on the wish to stop, only on the exit", async () => {
    const { clock, said, children, supervisor } = stage({ kind: "permanent" });
    let stopped = false;
    const stopping = supervisor.stop("child").then(() => {
      stopped = true;
    });
    expect(children[0]?.closeAsked).toBe(true);
    clock.advance(60_000);
    await Promise.resolve();
    expect(stopped).toBe(false);
    expect(children.length).toBe(1);
    children[0]?.exit("normal");
    await stopping;
    clock.advance(60_000);
    expect(children.length).toBe(1);
    expect(said).toEqual(["stopped: ordered"]);
  });

  it("stops a child that waits for its restart at once", async () => {
    const { clock, children, supervisor } = stage({ kind: "permanent" });
    children[0]?.exit("failure");
    await supervisor.stop("child");
    clock.advance(60_000);
    expect(children.length).toBe(1);
    expect(supervisor.names).toEqual([]);
  });

  it("leaves a temporary child and a transient one that finished", () => {
    const temporary = stage({ kind: "temporary" });
    temporary.children[0]?.exit("failure");
    temporary.clock.advance(60_000);
    expect(temporary.children.length).toBe(1);
    const transient = stage({ kind: "transient" });
    transient.children[0]?.exit("normal");
    transient.clock.advance(60_000);
    expect(transient.children.length).toBe(1);
    expect(transient.said[0]).toMatch(/^stopped/);
  });

  it("escalates what is quarantined, and what fails as it starts", () => {
    const kept = stage({ kind: "permanent" });
    kept.children[0]?.exit("quarantined");
    expect(kept.said[0]).toMatch(/^escalated/);
    const clock = new ManualClock();
    const said: string[] = [];
    let starts = 0;
    const supervisor = new Supervisor(clock, {
      restarting: () => {},
      restarted: () => said.push("restarted"),
      stopped: () => {},
      escalated: (_, why) => said.push(why),
    });
    supervisor.supervise({
      name: "hopeless",
      policy: { ...DEFAULT_POLICY, kind: "permanent" },
      start: () => {
        starts++;
        throw new Error("never");
      },
    });
    clock.advance(600_000);
    expect(starts).toBe(DEFAULT_POLICY.intensity.max + 1);
    expect(said).toEqual([`${DEFAULT_POLICY.intensity.max} restarts within ${DEFAULT_POLICY.intensity.withinMs} ms`]);
  });

  it("stops all, the youngest first, one after the other", async () => {
    const clock = new ManualClock();
    const order: string[] = [];
    const children = new Map<string, FakeChild>();
    const quiet = { restarting() {}, restarted() {}, stopped() {}, escalated() {} };
    const supervisor = new Supervisor(clock, quiet);
    for (const name of ["a", "b", "c"]) {
      supervisor.supervise({
        name,
        policy: DEFAULT_POLICY,
        start: () => {
          const child = new FakeChild();
          children.set(name, child);
          child.close = () => {
            order.push(name);
            queueMicrotask(() => child.exit("normal"));
          };
          return child;
        },
      });
    }
    await supervisor.stopAll();
    expect(order).toEqual(["c", "b", "a"]);
  });

  it("never begins more restarts in a window than its intensity, whatever fails when", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ waitMs: fc.integer({ min: 0, max: 4000 }), how: fc.constantFrom<Exit>("failure", "normal") }),
          {
            maxLength: 40,
          },
        ),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 100, max: 5000 }),
        (steps, max, withinMs) => {
          const intensity = { max, withinMs };
          const { clock, children, said, policy } = stage({ kind: "permanent", intensity });
          const starts: number[] = [];
          let seen = 1;
          for (const { waitMs, how } of steps) {
            for (let at = 0; at < waitMs; at += 10) {
              clock.advance(10);
              if (children.length > seen) starts.push(clock.now());
              seen = children.length;
            }
            children.at(-1)?.exit(how);
          }
          for (const at of starts) {
            // The test looks every 10 ms: a start may be up to that much older than it seems.
            const within = starts.filter((other) => other <= at && other > at - withinMs + 10);
            expect(within.length).toBeLessThanOrEqual(max);
          }
          expect(said.filter((what) => what.startsWith("escalated")).length).toBeLessThanOrEqual(1);
          expect(backoffMs(policy.backoff, 1000)).toBe(policy.backoff.maxMs);
        },
      ),
      { numRuns: 60 },
    );
  });
});
