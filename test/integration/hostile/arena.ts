// Where attacks happen: daemons started by `insane up`, innocent applications that exchange numbered messages all the
// while, and the questions that are asked after each attack: does the daemon live, is everything given back, has nobody
// else lost or waited, and was it told.
import { expect } from "vitest";
import { eventually, Stage, type TestProcess, type Words } from "../runtime/processes.ts";
import { RawClient } from "../runtime/raw-client.ts";
import { Daemon, type Footprint } from "./daemon.ts";
import type { MemoryInUse } from "./memory-probe.ts";

/** Longer silence than this means that an innocent application had to wait. The machine is shared with other tests. */
const SILENCE_MS = 1500;
/** Memory in use may grow by this during a file: code that is compiled (4 to 5 MB with all orders), tables that have grown. */
const GROWTH_BYTES = 10 * 2 ** 20;
/** What V8 and malloc may keep besides, when all garbage has been thrown away. */
const RESERVE_BYTES = 24 * 2 ** 20;

interface Seen {
  readonly count: number;
  readonly last: number;
  readonly gaps: number;
  readonly silence: number;
}

/** An innocent source and an innocent sink of its messages. */
export interface Pair {
  readonly name: string;
  readonly producer: TestProcess;
  readonly consumer: TestProcess;
  readonly daemons: ReadonlyArray<Daemon>;
}

export class Arena implements AsyncDisposable {
  readonly daemons: Daemon[] = [];
  readonly pairs: Pair[] = [];
  /** Innocent applications at the first daemon besides the pairs. */
  others = 0;
  /** The same at others. */
  readonly extra = new Map<Daemon, number>();
  readonly #stage = new Stage();
  readonly #silence: number;
  readonly #before = new Map<Daemon, Footprint>();
  readonly #memory = new Map<Daemon, MemoryInUse>();

  /** `silence`: longer than this nobody innocent may have to wait, ms. */
  constructor(silence = SILENCE_MS) {
    this.#silence = silence;
  }

  async daemon(settings: Words = {}, command?: ReadonlyArray<string>): Promise<Daemon> {
    const daemon = new Daemon({ network: { enabled: false }, ...settings }, command);
    this.daemons.push(daemon);
    await daemon.ready;
    return daemon;
  }

  /** A process of the folder runtime/ or of this one. */
  start(file: string, name: string, args: ReadonlyArray<string>): TestProcess {
    return this.#stage.start(file, name, args);
  }

  async application(daemon: Daemon, name: string): Promise<TestProcess> {
    const application = this.start("application.ts", name, [daemon.socket, name]);
    await application.until((words) => words["connected"] === true, "it is connected");
    return application;
  }

  /** Messages flow from an application at one daemon to one at another, or the same, until the end. */
  async pair(name: string, from: Daemon, to: Daemon, stream = "calm", channel = 1): Promise<Pair> {
    const [producer, consumer] = await Promise.all([
      this.application(from, `${name} producer`),
      this.application(to, `${name} consumer`),
    ]);
    await consumer.call("sink", { channel, stream });
    await producer.call("source", { channel, stream });
    await producer.call("matched", { index: 0 });
    // What a network without back-pressure carries without loss, even when a process does not run for half a second.
    const pace = from === to ? { pace: 2 } : { pace: 10, burst: 16 };
    await producer.call("emit", { index: 0, tag: 1, size: 200, ...pace });
    const pair = { name, producer, consumer, daemons: [from, to] };
    this.pairs.push(pair);
    return pair;
  }

  /** To be called when everybody innocent is there: this is how it should be after every attack. */
  async begin(): Promise<void> {
    for (const daemon of this.daemons) {
      await daemon.status();
      // The first of everything leaves traces of its own in a process: code, pools of threads.
      const client = new RawClient(daemon.socket);
      await client.hello();
      client.close();
      const others = this.extra.get(daemon) ?? (daemon === this.daemons[0] ? this.others : 0);
      const sessions = this.pairs.reduce((n, { daemons }) => n + daemons.filter((at) => at === daemon).length, others);
      await eventually(
        () => daemon.status(),
        (status) => status.sessions.length === sessions,
      );
      this.#before.set(daemon, await still(() => daemon.footprint()));
      this.#memory.set(daemon, await daemon.memory());
    }
    for (const { consumer } of this.pairs) await consumer.call("calm", { index: 0 });
  }

  /** The state before an attack. */
  async mark(): Promise<{ readonly log: ReadonlyMap<Daemon, number>; readonly counts: ReadonlyMap<Pair, Seen> }> {
    const counts = new Map<Pair, Seen>();
    for (const pair of this.pairs) {
      await pair.consumer.call("calm", { index: 0 });
      counts.set(pair, await seen(pair));
    }
    return { log: new Map(this.daemons.map((daemon) => [daemon, daemon.log.length])), counts };
  }

  /** Lets the innocent exchange some more messages. */
  async calm(messages = 500): Promise<void> {
    for (const pair of this.pairs) {
      const { count } = await seen(pair);
      await eventually(
        () => seen(pair),
        (now) => now.count > count + messages,
      );
    }
  }

  received(pair: Pair): Promise<Seen> {
    return seen(pair);
  }

  /**
   * Runs an attack, which lets go of what is its own before it ends, and sees that nobody else was hurt. `told`: what the
   * log of the first daemon must say of it; `expected`: what it may say of failures inside.
   */
  async attack(work: () => Promise<void>, told?: RegExp, expected = /^$/): Promise<void> {
    const mark = await this.mark();
    await work();
    await this.unharmed(mark.counts);
    const daemon = this.daemons[0];
    if (told && daemon) {
      await eventually(
        () => daemon.said(told, mark.log.get(daemon)),
        (lines) => lines.length > 0,
      ).catch(() => {
        throw new Error(`nothing like ${told} in ${JSON.stringify(daemon.log.slice(mark.log.get(daemon)), null, 1)}`);
      });
    }
    for (const each of this.daemons) {
      const inside = each.said(/EINTERNAL|W_QUARANTINED/, mark.log.get(each));
      expect(inside.filter((line) => !expected.test(line))).toEqual([]);
    }
  }

  /** Everything is as it was, and messages flow. */
  async unharmed(counts: ReadonlyMap<Pair, Seen>): Promise<void> {
    for (const daemon of this.daemons) {
      expect(daemon.exit, JSON.stringify(daemon.log.slice(-3))).toBeNull();
      await eventually(
        () => daemon.footprint(),
        (now) => JSON.stringify(now) === JSON.stringify(this.#before.get(daemon)),
      ).catch(async (cause) => {
        const { sessions, links, peers } = await daemon.status();
        throw new Error(
          `before ${JSON.stringify(this.#before.get(daemon))}, ${cause.message}; sessions ${sessions.map(({ name, state }) => `${name} ${state}`)}; links ${JSON.stringify(links)}; peers ${JSON.stringify(peers)}; machines ${(await daemon.machines()).map(({ actor, state }) => `${actor} ${state}`).join(", ")}; failed inside: ${daemon.said(/EINTERNAL|W_QUARANTINED/)}`,
        );
      });
    }
    for (const pair of this.pairs) {
      const before = counts.get(pair) ?? (await seen(pair));
      const now = await eventually(
        () => seen(pair),
        ({ count }) => count > before.count + 10,
      );
      expect(now.gaps - before.gaps, `${pair.name}: messages lost; ${await lossesOf(pair)}`).toBe(0);
      expect(now.silence, `${pair.name}: longest silence in ms`).toBeLessThan(this.#silence);
    }
  }

  /** The end: every message that was emitted has been received, no slot is out, daemons end in order. */
  async end(): Promise<void> {
    for (const { producer, consumer, name } of this.pairs) {
      await producer.call("stop", { index: 0 });
      const { emitted } = (await producer.call("finished", { index: 0 }))["result"] as { emitted: number };
      const received = async () => (await consumer.call("received", { index: 0 }))["result"] as { faults: unknown };
      const last = await eventually(
        async () => ({ flow: await seen({ consumer }), faults: (await received()).faults }),
        ({ flow }) => flow.last === emitted - 1,
      );
      expect(last.flow, name).toMatchObject({ count: emitted, gaps: 0 });
      expect(last.faults, name).toEqual([]);
      const settled = (await producer.call("settled", { index: 0 }))["result"] as Record<string, number>;
      expect(settled, name).toMatchObject({ emitted, outstanding: 0 });
    }
    for (const daemon of this.daemons) {
      const { quarantined, slots } = await eventually(
        () => daemon.status(),
        ({ slots }) => slots.outstanding === 0,
      );
      expect(quarantined).toBe(0);
      expect(slots.outstanding).toBe(0);
      grownBy(this.#memory.get(daemon), await daemon.memory(), GROWTH_BYTES);
    }
    for (const { producer, consumer } of this.pairs) await Promise.all([producer.kill(), consumer.kill()]);
    for (const daemon of this.daemons)
      expect(await daemon.stop(), JSON.stringify(daemon.log.slice(-3))).toMatchObject({ code: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stage[Symbol.asyncDispose]();
    for (const daemon of this.daemons) daemon.remove();
  }
}

/** Fails when a daemon uses more memory than before by `bytes`, in its heap or natively. */
export function grownBy(before: MemoryInUse | undefined, now: MemoryInUse, bytes: number): void {
  expect(now.heap - (before?.heap ?? 0), "growth of the heap").toBeLessThan(bytes);
  expect(now.native - (before?.native ?? 0), "growth of native memory").toBeLessThan(bytes);
  expect(now.resident - (before?.resident ?? 0), "growth of resident memory").toBeLessThan(bytes + RESERVE_BYTES);
}

async function seen({ consumer }: { readonly consumer: TestProcess }): Promise<Seen> {
  const { from } = (await consumer.call("received", { index: 0 }))["result"] as { from: Record<string, Seen> };
  return from["1"] ?? { count: 0, last: -1, gaps: 0, silence: 0 };
}

/** Where a network may have lost something. */
async function lossesOf({ daemons }: Pair): Promise<string> {
  const counters = await Promise.all(daemons.map(async (daemon) => (await daemon.status()).engines[0]?.counters ?? {}));
  return JSON.stringify(
    counters.map((of) =>
      Object.entries(of).filter(([name, n]) => n > 0 && /lost|no_|bad|late|again|refused|unknown/.test(name)),
    ),
  );
}

/** What is seen when it has not changed for a while. */
async function still<T>(look: () => T): Promise<T> {
  let last = look();
  for (let same = 0; same < 10; ) {
    await new Promise((resolve) => setTimeout(resolve, 30));
    const now = look();
    same = JSON.stringify(now) === JSON.stringify(last) ? same + 1 : 0;
    last = now;
  }
  return last;
}
