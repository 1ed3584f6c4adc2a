// What must hold for every lifecycle: no state that cannot be reached or left, stopping by event from anywhere, an end
// only by the exit of the scope, no wait without a deadline that was armed, and random events that never break it.
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type AnyMachineSnapshot, createActor, type EventObject } from "xstate";
import { getAdjacencyMap } from "xstate/graph";
import { machines } from "../../models/all.ts";
import { describe as describeMachine } from "../../models/describe.ts";
import type { Lifecycle, Outcome } from "../../models/lifecycle.ts";
import { ERROR_CODES, WARNING_CODES } from "../../src/protocol/codes.ts";
import { type Fixture, fixtures } from "./models-events.ts";

/** Paths of all states that a snapshot is in, outermost first. */
const pathsOf = (snapshot: AnyMachineSnapshot): string[] =>
  snapshot._nodes.map((node) => node.path.join(".")).filter((path) => path !== "");

const isIn = (snapshot: AnyMachineSnapshot, path: string): boolean => pathsOf(snapshot).includes(path);
const isDone = (snapshot: AnyMachineSnapshot): boolean => snapshot.status === "done";

/** Counters beyond two and restart times make no difference to what a machine can do next. */
const clip = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (key, part) =>
    key === "history" || key === "ending" ? part?.length > 0 : typeof part === "number" ? Math.min(part, 2) : part,
  );

const keyOf = (snapshot: AnyMachineSnapshot): string => JSON.stringify([snapshot.value, clip(snapshot.context)]);

interface Explored {
  readonly state: AnyMachineSnapshot;
  readonly transitions: Record<string, { readonly event: EventObject; readonly state: AnyMachineSnapshot }>;
}

const explore = (f: Fixture) => {
  const map = getAdjacencyMap(f.machine, {
    events: f.events as never,
    input: f.input as never,
    limit: 200_000,
    serializeState: (state) => keyOf(state as unknown as AnyMachineSnapshot) as never,
    stopWhen: (state) => isDone(state as unknown as AnyMachineSnapshot),
  });
  const nodes = Object.entries(map as unknown as Record<string, Explored>);
  return nodes.map(([key, node]) => ({
    key,
    snapshot: node.state,
    edges: Object.values(node.transitions).map(({ event, state }) => ({ event, to: keyOf(state), snapshot: state })),
  }));
};

/** A machine that runs, with its deadline as whoever runs it would keep it, and the actions that it asked for. */
const run = (f: Fixture) => {
  const state = { armed: false, actions: [] as string[] };
  const names = describeMachine(f.machine).actions;
  const actions = Object.fromEntries(
    names.map((name) => [
      name,
      (_: unknown, params: unknown) => {
        state.actions.push(name);
        if (name === "armDeadline") {
          expect((params as { ms: number }).ms).toBeGreaterThanOrEqual(0);
          state.armed = true;
        }
        if (name === "disarmDeadline") state.armed = false;
        if (name === "warn") {
          expect(codes).toContain((params as { code: string }).code);
          expect((params as { message: string }).message).not.toBe("");
        }
      },
    ]),
  );
  const actor = createActor(f.machine.provide({ actions }), { input: f.input as never });
  actor.subscribe({ error: () => {} });
  actor.start();
  return { actor, state };
};

const codes: readonly string[] = [...Object.values(ERROR_CODES), ...Object.values(WARNING_CODES)];

test("every machine is tested", () => {
  expect([...new Set(fixtures.map((f) => f.machine))]).toHaveLength(machines.length);
  expect(new Set(fixtures.map((f) => f.machine))).toEqual(new Set(machines.map((m) => m.machine)));
});

describe.each(fixtures.map((f) => ({ ...f, title: `${f.name} ${(f.input as { mode?: string }).mode ?? ""}`.trim() })))(
  "$title",
  (f) => {
    const description = describeMachine(f.machine);
    const reached = explore(f);
    const byKey = new Map(reached.map((node) => [node.key, node]));

    test("is sent every event that it knows", () => {
      expect(description.events.filter((event) => !f.events.some(({ type }) => type === event))).toEqual([]);
    });

    test("says of every state what it means, unless its name says all", () => {
      const bare = description.states.filter((state) => state.description === "" && state.kind === "atomic");
      expect(bare.map((state) => state.key).filter((key) => key !== "told")).toEqual([]);
    });

    test("ends in closed or quarantined and nowhere else", () => {
      const finals = description.states.filter((state) => state.final && state.parent === "");
      expect(finals.map((state) => state.path)).toEqual(["closed", "quarantined"]);
    });

    test("has no state that cannot be reached", () => {
      const paths = new Set(reached.flatMap((node) => pathsOf(node.snapshot)));
      // Only an inline engine has an owner other than its thread, and only a process can be killed.
      const { mode, process } = f.input as { mode?: string; process?: boolean };
      const excepted = [
        ...(f.name === "engine" && mode !== "inline" ? ["running.lease.owner"] : []),
        ...(f.name === "engine" && !process ? ["killing"] : []),
      ];
      expect(description.states.map((state) => state.path).filter((path) => !paths.has(path))).toEqual(excepted);
    });

    test("can reach an end from every state", () => {
      const ending = new Set(reached.filter((node) => isDone(node.snapshot)).map((node) => node.key));
      let grew = true;
      while (grew) {
        grew = false;
        for (const node of reached) {
          if (ending.has(node.key) || !node.edges.some((edge) => ending.has(edge.to))) continue;
          ending.add(node.key);
          grew = true;
        }
      }
      expect(reached.filter((node) => !ending.has(node.key)).map((node) => node.key)).toEqual([]);
      expect(reached.every((node) => node.edges.every((edge) => byKey.has(edge.to)))).toBe(true);
    });

    test("starts to stop on `close` in every state that is not already stopping", () => {
      for (const { snapshot } of reached) {
        if (isDone(snapshot)) continue;
        expect(snapshot.can({ type: "close" } as never)).toBe(!isIn(snapshot, "closing"));
      }
      for (const { snapshot, edges } of reached) {
        const close = edges.find((edge) => edge.event.type === "close");
        if (isDone(snapshot) || isIn(snapshot, "closing") || close === undefined) continue;
        expect(isIn(close.snapshot, "closing")).toBe(true);
      }
    });

    test("ends only while its scope is being released, by the exit of the scope or a deadline missed", () => {
      for (const { snapshot, edges } of reached) {
        for (const edge of edges) {
          if (!isDone(edge.snapshot) || isDone(snapshot)) continue;
          expect(isIn(snapshot, "closing.releasing")).toBe(true);
          expect(["released", "quarantine", "deadline"]).toContain(edge.event.type);
        }
      }
    });

    test("ends `closed` if and only if nothing is quarantined and no child is left, and says so in its output", () => {
      for (const { snapshot } of reached) {
        if (!isDone(snapshot)) continue;
        const { quarantined, ending } = snapshot.context as Lifecycle;
        const how = quarantined.length === 0 ? "closed" : "quarantined";
        expect(snapshot.value).toBe(how);
        expect(ending).not.toBeNull();
        expect(snapshot.output as Outcome).toMatchObject({ how, cause: ending?.cause, quarantined });
        const children = (snapshot.context as { children?: Record<string, number> }).children ?? {};
        expect(Object.values(children).every((count) => count === 0)).toBe(true);
      }
    });

    test("holds nothing in its context that could not be written to a file", () => {
      for (const { snapshot } of reached) {
        expect(JSON.parse(JSON.stringify(snapshot.context))).toEqual(snapshot.context);
      }
    });

    test("comes home from anywhere when the world does as it is asked", () => {
      for (const { snapshot } of reached) {
        if (isDone(snapshot)) continue;
        const actor = createActor(f.machine, { snapshot, input: f.input as never }).start();
        actor.send({ type: "close" });
        for (let round = 0; round < 12 && actor.getSnapshot().status === "active"; round++) {
          for (const event of f.polite) actor.send(event);
        }
        const kept = (snapshot.context as Lifecycle).quarantined.length > 0;
        expect(actor.getSnapshot().value).toBe(kept ? "quarantined" : "closed");
      }
    });

    test("ends by its deadlines alone when the world is silent and its children have ended", () => {
      for (const { snapshot } of reached) {
        if (isDone(snapshot)) continue;
        const actor = createActor(f.machine, { snapshot, input: f.input as never }).start();
        actor.send({ type: "close" });
        for (let round = 0; round < 12 && actor.getSnapshot().status === "active"; round++) {
          for (const event of f.polite.filter(({ type }) => type === "childEnded")) actor.send(event);
          actor.send({ type: "deadline" });
        }
        expect(actor.getSnapshot().status).toBe("done");
      }
    });

    test("takes any events in any order: it never throws, never waits without a deadline, never leaves its end", () => {
      // Nothing that ends it comes too early, or few runs would see what lies behind.
      const any = fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...f.events.filter(({ type }) => !isStop(type))) },
        { weight: 1, arbitrary: fc.constantFrom(...f.events) },
      );
      // XState says on the console that a final actor takes no event, which is what is wanted.
      const silenced = vi.spyOn(console, "warn").mockImplementation(() => {});
      onTestFinished(() => silenced.mockRestore());
      fc.assert(
        fc.property(fc.array(any, { maxLength: 80 }), (events) => {
          const { actor, state } = run(f);
          for (const event of events) {
            const before = actor.getSnapshot();
            if (before.status === "done") {
              expect(state.armed).toBe(false);
              actor.send(event);
              expect(actor.getSnapshot()).toBe(before);
              continue;
            }
            actor.send(event);
            const snapshot = actor.getSnapshot();
            expect(snapshot.status).not.toBe("error");
            if (snapshot.can({ type: "deadline" } as never)) expect(state.armed).toBe(true);
            if (isIn(snapshot, "closing.releasing")) expect(state.actions).toContain("releaseScope");
          }
        }),
        { numRuns: 150 },
      );
    });
  },
);

function isStop(type: string): boolean {
  return ["close", "failed", "quarantine", "released", "died"].includes(type);
}
