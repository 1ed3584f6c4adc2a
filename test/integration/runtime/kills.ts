// Kills applications at random moments under traffic and holds the runtime to what it promises: nothing of the dead
// stays, nobody else loses anything. Used by a short test and by a long one.
import { expect } from "vitest";
import type { StatusReport } from "../../../src/runtime/api.ts";
import { eventually, fdsOf, Stage, segmentsOf, type TestProcess } from "./processes.ts";

interface Flow {
  readonly count: number;
  readonly last: number;
  readonly gaps: number;
}

/** Numbers that look random and are the same for the same seed. */
export function mulberry(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Footprint {
  readonly fds: number;
  readonly segments: number;
  readonly bytes: number;
}

export async function killAtRandom(kills: number, seed: number, settings = {}): Promise<void> {
  const random = mulberry(seed);
  await using stage = new Stage();
  const daemon = await stage.daemon(settings);
  const status = async (): Promise<StatusReport> => (await daemon.call("status"))["result"] as StatusReport;
  const [producer, consumer] = await Promise.all(["producer", "consumer"].map((name) => stage.application(name)));
  if (!producer || !consumer) throw new Error("no applications");
  await consumer.call("sink", { channel: 1, hold: 2 });
  await producer.call("source", { channel: 1 });
  await producer.call("matched", { index: 0 });
  await producer.call("emit", { index: 0, tag: 1 });

  /** What the daemon holds when only the two survivors are there. */
  const footprint = async (): Promise<Footprint> => {
    await eventually(status, ({ sessions, links }) => sessions.length === 2 && links.length === survivors);
    const { count, bytes } = segmentsOf(daemon.pid);
    return { fds: fdsOf(daemon.pid).length, segments: count, bytes };
  };
  const survivors = (await status()).links.length;

  const round = async (): Promise<void> => {
    const victim = stage.start("application.ts", "victim", [stage.socket, "victim"]);
    const when = random();
    if (when < 0.25) {
      // Somewhere between its start and its first words, the handshake included.
      await new Promise((resolve) => setTimeout(resolve, 60 + random() * 200));
    } else {
      await victim.until((words) => words["connected"] === true, "it is connected");
      const orders: Array<[string, Record<string, unknown>]> = [
        ["sink", { channel: 1, hold: Math.floor(random() * 100) }],
        ["source", { channel: 1 }],
        ["emit", { index: 0, tag: 100 + Math.floor(random() * 1e6), size: 12 + Math.floor(random() * 3000) }],
        ["sink", { channel: 1, stream: "other" }],
        ["source", { channel: 2, stream: "other" }],
        ["closeSink", { index: 0 }],
      ];
      // Not waited for: the end may come in the midst of any of them.
      const upTo = 1 + Math.floor(random() * orders.length);
      for (const [method, params] of orders.slice(0, upTo)) {
        // What an order needs may not be there yet; what is answered at all is checked by the other tests.
        const answered = victim.call(method, params).catch(() => {});
        if (random() < 0.5) await answered;
      }
      await new Promise((resolve) => setTimeout(resolve, random() * 60));
    }
    await victim.kill();
  };

  await round();
  // What the first of the dead had is let go of when its death has been seen through.
  let before = await footprint();
  for (let same = 0; same < 20; same++) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    const now = await footprint();
    if (JSON.stringify(now) !== JSON.stringify(before)) same = 0;
    before = now;
  }
  const memory = async (): Promise<NodeJS.MemoryUsage> => (await daemon.call("memory"))["result"] as NodeJS.MemoryUsage;
  const memoryBefore = await memory();
  for (let i = 0; i < kills; i++) await round();
  await eventually(footprint, (now) => JSON.stringify(now) === JSON.stringify(before));
  // After collection. Code that is compiled for the first time stays; what leaks with each kill would be more.
  const memoryAfter = await memory();
  expect(memoryAfter.heapUsed - memoryBefore.heapUsed).toBeLessThan(4_000_000);
  expect(memoryAfter.external - memoryBefore.external).toBeLessThan(1_000_000);

  // The survivors have lost nothing that was theirs.
  await producer.call("stop", { index: 0 });
  const flow = await survivorsFlow(producer, consumer);
  expect(flow.seen).toMatchObject({ count: flow.emitted, last: flow.emitted - 1, gaps: 0 });
  expect(flow.faults).toEqual([]);
  await consumer.call("closeSink", { index: 0 });
  const after = await eventually(status, ({ slots }) => slots.outstanding === 0);
  expect(after.quarantined).toBe(0);
  expect(after.runtime.state).toMatch(/^running/);
  const settled = (await producer.call("settled", { index: 0 }))["result"] as Record<string, number>;
  expect(settled["outstanding"]).toBe(0);
}

async function survivorsFlow(
  producer: TestProcess,
  consumer: TestProcess,
): Promise<{ emitted: number; seen: Flow | undefined; faults: ReadonlyArray<string> }> {
  const { emitted } = (await producer.call("finished", { index: 0 }))["result"] as { emitted: number };
  const { from, faults } = await eventually(
    async () =>
      (await consumer.call("received", { index: 0 }))["result"] as {
        from: Record<string, Flow>;
        faults: ReadonlyArray<string>;
      },
    (seen) => seen.from["1"]?.last === emitted - 1,
  );
  return { emitted, seen: from["1"], faults };
}
