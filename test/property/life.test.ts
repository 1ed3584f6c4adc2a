// A machine made live, when what it runs or who watches it throws: that is told, its scope closes, and nobody waits for its
// end in vain.
import * as Effect from "effect/Effect";
import { beforeEach, describe, expect, it } from "vitest";
import { sinkMachine } from "../../models/sink.ts";
import { ManualClock } from "../../src/actors/clock.ts";
import { Inspection } from "../../src/actors/inspection.ts";
import { Life } from "../../src/actors/life.ts";

let defects: string[];
let released: number;
let inspection: Inspection;

function live(opened: () => void = () => {}): Life<typeof sinkMachine> {
  const clock = new ManualClock();
  const defect = (about: string, cause: unknown): void => void defects.push(`${about}: ${(cause as Error).message}`);
  inspection = new Inspection((cause) => defect("a listener", cause));
  const life = new Life<typeof sinkMachine>({ clock, inspection, warn: () => {}, defect }, "sink 1");
  const actions = { ...life.actions, publishOpen: opened, drain: () => life.send({ type: "drained" }) };
  life.start(sinkMachine.provide({ actions }), "sink", { name: "sink 1", channel: 1 });
  life.acquire(Effect.addFinalizer(() => Effect.sync(() => void released++)));
  return life;
}

beforeEach(() => {
  defects = [];
  released = 0;
});

describe("a machine made live", () => {
  it("whose action throws ends as failed, with its scope released and its last state shown", async () => {
    const life = live(() => {
      throw new Error("planted");
    });
    const states: string[] = [];
    inspection.watch(({ state }) => states.push(state));
    let ends = 0;
    life.onEnd(() => ends++);
    life.send({ type: "announced", sources: [] });
    expect(await life.ended).toEqual({
      how: "closed",
      cause: "failure",
      notice: { code: "EINTERNAL", message: "sink 1 failed inside" },
      quarantined: [],
    });
    expect({ ends, released, defects, states }).toEqual({
      ends: 1,
      released: 1,
      defects: ["sink 1: planted"],
      states: ["failed"],
    });
    expect(inspection.current).toEqual([]);
    life.send({ type: "close" });
    expect(ends).toBe(1);
  });

  it("tells everybody of its end, whoever throws", async () => {
    const life = live();
    life.onEnd(() => {
      throw new Error("first");
    });
    const told = new Promise((resolve) => life.onEnd(resolve));
    life.send({ type: "close" });
    expect(await told).toMatchObject({ how: "closed" });
    expect(defects).toEqual(["sink 1: first"]);
  });

  it("goes on when who watches it throws", async () => {
    const life = live();
    const seen: string[] = [];
    inspection.watch(() => {
      throw new Error("watcher");
    });
    inspection.subscribe(() => {
      throw new Error("subscriber");
    });
    inspection.watch(({ state }) => seen.push(state));
    life.send({ type: "announced", sources: [] });
    life.send({ type: "close" });
    expect((await life.ended).how).toBe("closed");
    expect(seen).toContain("open.confirmed");
    expect(released).toBe(1);
    expect(new Set(defects)).toEqual(new Set(["a listener: watcher", "a listener: subscriber"]));
  });
});
