// The advisor made live: what a thread's counters say leads to a move that is done and told, and to a warning where none can be.
import { expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import type { Serving } from "../../src/actors/serving.ts";
import { Threads } from "../../src/actors/threads.ts";
import type { Warning } from "../../src/protocol/codes.ts";
import type { NetworkTechnology } from "../../src/protocol/qos.ts";
import type { EmbedOptions } from "../../src/runtime/api.ts";
import { completeConfig } from "../../src/runtime/config.ts";

function stage(settings: EmbedOptions) {
  const clock = new ManualClock();
  const config = completeConfig(settings);
  const served: string[] = [];
  const warnings: Warning[] = [];
  const told: string[] = [];
  const load: Partial<Record<NetworkTechnology, number>> = {};
  const busy: Partial<Record<NetworkTechnology, number>> = {};
  const names = ["udp", "xdp"] as const;
  const servings = names.map((lane, i) => ({
    lane,
    runs: true,
    plan: { engine: config.engine },
    engine: {
      mode: "thread",
      resource: {
        handle: BigInt(i + 1),
        serveBy: (host: bigint | null) => served.push(`${lane} by ${host === null ? lane : names[Number(host) - 1]}`),
        counters: () => ({ busy_ns: busy[lane] ?? 0 }),
        pinned: () => 0,
      },
    },
  }));
  const threads = new Threads({
    clock,
    config,
    servings: () => servings as unknown as Serving[],
    warn: (warning) => warnings.push(warning),
    info: (message) => told.push(message),
  });
  threads.changed();
  const seconds = (count: number): void => {
    for (let i = 0; i < count; i++) {
      for (const name of names) busy[name] = (busy[name] ?? 0) + 1e9 * (load[name] ?? 0);
      clock.advance(1000);
    }
  };
  return { threads, served, warnings, told, load, seconds };
}

it("joins two threads that spin for nothing, and parts them again when there is much to do", () => {
  const { threads, served, told, load, seconds } = stage({ engine: { idle: "yield" } });
  expect(threads.report.map(({ engines }) => engines)).toEqual([["udp"], ["xdp"]]);
  load.udp = load.xdp = 0.05;
  seconds(40);
  expect(threads.report).toMatchObject([{ name: "udp", engines: ["udp", "xdp"], duty: expect.closeTo(0.1) }]);
  expect(served.at(-1)).toBe("xdp by udp");
  expect(told).toEqual([expect.stringMatching(/engine of xdp has moved.* to the thread of udp.*10 %/)]);
  load.udp = load.xdp = 0.48;
  seconds(40);
  expect(threads.report.map(({ engines }) => engines)).toEqual([["udp"], ["xdp"]]);
  expect(threads.moves).toMatchObject([
    { engine: "xdp", from: "xdp", to: "udp" },
    { engine: "xdp", from: "udp", to: "xdp" },
  ]);
  threads.stop();
});

it("tells of a thread that nobody can relieve, once", () => {
  const { threads, warnings, load, seconds } = stage({ threads: { most: 1 } });
  expect(threads.report.map(({ engines }) => engines)).toEqual([["udp", "xdp"]]);
  load.udp = 0.6;
  load.xdp = 0.4;
  seconds(60);
  expect(warnings).toMatchObject([
    { code: "W_THREAD_OVERLOADED", message: expect.stringMatching(/100 %.*udp and xdp/) },
  ]);
  expect(threads.moves).toEqual([]);
  threads.stop();
});

it("only tells where the operator has said who is served where", () => {
  const { threads, warnings, load, seconds } = stage({ threads: { map: { udp: 1, xdp: 1 } } });
  load.udp = load.xdp = 0.5;
  seconds(60);
  expect(warnings).toHaveLength(1);
  expect(threads.moves).toEqual([]);
  threads.stop();
});
