// Two hosts between which a stream moves while messages flow in both directions, and the books of both at the end: what
// tests of re-binding have in common, whichever datapaths it moves between.
import { expect } from "vitest";
import type { EmbeddedRuntime, ReboundEvent, SourceStats } from "../../../src/index.ts";
import type { DecisionRecord } from "../../../src/protocol/control.ts";
import type { MoveCosts } from "../../../src/protocol/rebound.ts";
import type { ExplainReport } from "../../../src/runtime/api.ts";
import type { NamespaceHost } from "./namespaces.ts";
import { eventually, Stage, type TestProcess, type Words } from "./processes.ts";

const HELLO = 7600;
/** The stream that moves: bound to what is fastest, or to kernel UDP, as its acceleration says. */
export const fast = { stream: "s", acceleration: "fast", consumption: "high" };

interface Received {
  readonly count: number;
  readonly faults: ReadonlyArray<string>;
  readonly from: Readonly<Record<string, { readonly count: number; readonly gaps: number }>>;
  readonly stats: { readonly received: number; readonly lost: number };
}

export class Side implements AsyncDisposable {
  readonly stage: Stage;
  daemon!: TestProcess;
  app!: TestProcess;

  constructor(host: NamespaceHost) {
    this.stage = new Stage(host.prefix);
  }

  /** `settings`: more of its runtime. `embedded`: the runtime is in the application, whose thread polls its engines. */
  async start(host: NamespaceHost, other: NamespaceHost, settings: Words = {}, embedded = false): Promise<void> {
    const network = {
      enabled: true,
      address: host.address,
      port: HELLO,
      peers: [`${other.address}:${HELLO}`],
      helloIntervalMs: 50,
      silentAfterMs: 5000,
      // An application that does not run for a while, as on a busy machine, is no reason to lose anything.
      xdp: { slots: 4096 },
      ...(settings["network"] as object),
    };
    const link = { entries: 8192 };
    const runtime = { rebind: { holdSeconds: 1, patienceMs: 5000 }, link, ...settings, network };
    if (embedded) {
      this.app = await this.stage.embedding(host.namespace, { ...runtime, engine: { mode: "inline" } });
      return;
    }
    this.daemon = await this.stage.daemon(runtime);
    this.app = await this.stage.application(host.namespace);
  }

  async status(): Promise<ReturnType<EmbeddedRuntime["status"]>> {
    return (await this.daemon.call("status"))["result"] as ReturnType<EmbeddedRuntime["status"]>;
  }

  async received(): Promise<Received> {
    return (await this.app.call("received", { index: 0 }))["result"] as Received;
  }

  async datapath(): Promise<unknown> {
    return ((await this.app.call("binding", fast))["result"] as DecisionRecord).datapath;
  }

  async moves(times: number, pace: number): Promise<ReboundEvent[]> {
    const events: ReboundEvent[] = [];
    // A few at a time: an answer has to come soon, also on a busy machine.
    for (let left = times; left > 0; left -= 4) {
      const some = await this.app.call("moves", { ...fast, times: Math.min(left, 4), pace });
      events.push(...(some["result"] as ReboundEvent[]));
    }
    return events;
  }

  /** Moves while the other side's application looks only now and then: so it finds what came over both datapaths at once. */
  async movesUnseen(other: Side, times: number, pace: number): Promise<ReboundEvent[]> {
    let moving = true;
    const moves = this.moves(times, pace).finally(() => {
      moving = false;
    });
    while (moving) {
      await other.app.call("block", { ms: 80 });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return await moves;
  }

  async explain(stream = fast.stream): Promise<ExplainReport> {
    const reports = (await this.daemon.call("explain"))["result"] as ExplainReport[];
    return reports.find((report) => report.stream === stream) as ExplainReport;
  }

  async rebounds(): Promise<ReboundEvent[]> {
    return (await this.app.call("rebounds"))["result"] as ReboundEvent[];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stage[Symbol.asyncDispose]();
  }
}

/** Messages in both directions, two each millisecond, over `fastest` as soon as both have that and know of it. */
export async function traffic(near: Side, far: Side, fastest = "xdp"): Promise<void> {
  await Promise.all([near, far].map(({ app }, i) => app.call("sink", { ...fast, channel: 2 - i })));
  await Promise.all([near, far].map(({ app }, i) => app.call("source", { ...fast, channel: 1 + i })));
  await Promise.all([near, far].map(({ app }) => app.call("matched", { index: 0 })));
  for (const side of [near, far]) {
    // On a busy machine it may have come up later than a new stream waits for it.
    await eventually(
      () => side.datapath(),
      (datapath) => datapath === fastest,
    );
  }
  await Promise.all([near, far].map(({ app }) => app.call("emit", { index: 0, size: 64, burst: 2, pace: 1 })));
}

export interface Book {
  readonly sent: number;
  readonly dropped: object;
  /** What the source cannot know the fate of. */
  readonly abandoned: number;
  readonly got: Received;
}

/** Stops, and says what each side sent and the other got. */
export async function books(near: Side, far: Side): Promise<Book[]> {
  const emitted = await Promise.all([near, far].map(({ app }) => app.call("stop", { index: 0 })));
  const sent = await Promise.all([near, far].map(({ app }) => app.call("settled", { index: 0 })));
  return await Promise.all(
    [far, near].map(async (side, i) => {
      const { consumed, dropped, unmatched, abandoned } = (sent[i] as Words)["result"] as SourceStats;
      expect(consumed + unmatched + abandoned + Object.values(dropped).reduce((sum, n) => sum + n, 0)).toBe(
        ((emitted[i] as Words)["result"] as Words)["emitted"],
      );
      const got = await eventually(
        () => side.received(),
        ({ stats }) => stats.received + stats.lost >= consumed,
      );
      return { sent: consumed, dropped, abandoned, got };
    }),
  );
}

export const sum = (moves: ExplainReport["moves"], cost: keyof MoveCosts): number =>
  moves.reduce((total, move) => total + move[cost], 0);

/** Both directions go on: so many more messages have come to each. */
export async function goesOn(near: Side, far: Side, more: number): Promise<void> {
  for (const side of [near, far]) {
    const { count } = await side.received();
    await eventually(
      () => side.received(),
      (seen) => seen.count > count + more,
    );
  }
}

/** What an engine can have in its driver's hands, messages. */
export const IN_HANDS = 256;

/**
 * What left came, or is counted as lost, message by message. `unknown`: of so many nobody can tell the source whether they
 * left, as a driver had them in its hands when its process was killed: it counts them as abandoned, and some may have come.
 */
export function accounts({ sent, dropped, abandoned, got }: Book, unknown = 0): void {
  expect(got.faults).toEqual([]);
  expect(got.stats.received).toBe(got.count);
  const beyond = got.count + got.stats.lost - sent;
  const exact = beyond >= 0 && beyond <= Math.min(abandoned, unknown);
  expect({ sent, dropped, abandoned, got, exact }).toMatchObject({ exact: true });
}
