// What the runtime looks at from outside after it is gone, and what it learns while it sends: neither may throw into, or begin,
// a step of a machine that is in the middle of another.
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import { describe, expect, it } from "vitest";
import { connection } from "../../src/effects/connection.ts";
import { linkMemory } from "../../src/effects/link-memory.ts";
import * as native from "../../src/effects/native.ts";
import { ownConnection } from "../../src/effects/own-connection.ts";
import { Quarantine } from "../../src/effects/quarantine.ts";
import { LINK } from "../../src/protocol/layout.ts";

const scoped = () => {
  const scope = Scope.makeUnsafe();
  return {
    acquire: <A, E>(effect: Effect.Effect<A, E, Scope.Scope | Quarantine>): A =>
      Effect.runSync(
        effect.pipe(
          Effect.provideService(Quarantine, { keep: (what) => expect.unreachable(what) }),
          Scope.provide(scope),
        ),
      ),
    close: () => Effect.runSync(Scope.close(scope, Exit.void)),
  };
};

describe("the memory of a link", () => {
  it("says that nothing is under way once it is gone", () => {
    const { acquire, close } = scoped();
    const memory = acquire(linkMemory("link", 16));
    Atomics.store(memory.mapping.u32, LINK.FORWARD_TAIL / 4, 3);
    Atomics.store(memory.mapping.u32, LINK.RETURN_TAIL / 4, 1);
    const look = () => [memory.forwardTail(), memory.outstanding(), memory.returnedUpTo(1), memory.returnedUpTo(3)];
    expect(look()).toEqual([3, 2, true, false]);
    close();
    expect(look()).toEqual([0, 0, false, false]);
  });
});

describe("a control connection", () => {
  const told: string[] = [];
  const open = (queue: number) => {
    told.length = 0;
    const { acquire, close } = scoped();
    const { client: there, server: here } = Effect.runSync(ownConnection);
    const made = acquire(
      connection(
        here,
        { maxFrame: 1024, queue, patienceMs: 60_000 },
        {
          frame: () => {},
          oversized: () => {},
          sent: () => {},
          ended: (how) => told.push(`ended ${how}`),
          stuck: (why) => told.push(`stuck ${why}`),
        },
      ),
    );
    return { made, close, there };
  };

  it("tells of a peer that is gone after the send that finds it out, not within it", async () => {
    const { made, close, there } = open(8);
    native.close(there);
    made.send(new Uint8Array(8));
    made.send(new Uint8Array(8));
    expect(told).toEqual([]);
    await Promise.resolve();
    expect(told).toEqual(["ended eof"]);
    close();
  });

  it("whose peer is gone does not keep the event loop busy until its owner lets go of it", async () => {
    const { close, there } = open(8);
    native.close(there);
    const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
    while (told.length === 0) await soon();
    const before = performance.eventLoopUtilization();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(told).toEqual(["ended eof"]);
    expect(performance.eventLoopUtilization(before).utilization).toBeLessThan(0.8);
    close();
  });

  it("tells of a peer that does not read after the send that finds it out, not within it", async () => {
    const { made, close, there } = open(8);
    while (made.queued < 8) made.send(new Uint8Array(512));
    made.send(new Uint8Array(512));
    expect(told).toEqual([]);
    await Promise.resolve();
    expect(told).toEqual(["stuck has 8 control frames waiting and does not read them"]);
    close();
    native.close(there);
  });
});
