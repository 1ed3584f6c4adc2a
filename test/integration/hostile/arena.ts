// Where attacks happen: daemons started by `insane up`, innocent applications that exchange numbered messages all the
// while, and the questions that are asked after each attack: does the daemon live, is everything given back, has nobody
// else lost or waited, and was it told.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "vitest";
import { isPart, joinParts, type Part } from "../../../src/protocol/parts.ts";
import type { StatusReport } from "../../../src/runtime/api.ts";
import { eventually, fdsOf, Stage, segmentsOf, type TestProcess, type Words } from "../runtime/processes.ts";
import { RawClient } from "../runtime/raw-client.ts";

/** Longer silence than this means that an innocent application had to wait. The machine is shared with other tests. */
const SILENCE_MS = 1500;
/** With little memory of its own, so that garbage is not taken for a leak; and a leak would end it. */
const FRUGAL = [process.execPath, "--max-old-space-size=96"];
/** Resident memory may grow by this during a file: the whole of that little memory, and code that is compiled. */
const GROWTH_BYTES = 160 * 1024 * 1024;

export interface Footprint {
  readonly fds: number;
  readonly segments: number;
  readonly bytes: number;
}

/** A daemon, `insane up`, in a process of its own. */
export class Daemon {
  readonly folder = mkdtempSync(join(tmpdir(), "insane-hostile-"));
  readonly socket = join(this.folder, "insane.sock");
  /** Address and port of its hello frames. */
  hello = "";
  /** Of its udp datapath. */
  data = "";
  readonly child: ChildProcess;
  exit: { readonly code: number | null; readonly signal: string | null } | null = null;
  #operator: RawClient | null = null;
  readonly #logFile: string;
  readonly #ready: Promise<void>;

  constructor(settings: Words, command: ReadonlyArray<string> = FRUGAL) {
    const config = join(this.folder, "config.json");
    writeFileSync(config, JSON.stringify({ log: { level: "info" }, ...settings }));
    const main = join(import.meta.dirname, "../../../src/apps/cli/main.ts");
    const [program = process.execPath, ...args] = [
      ...command,
      main,
      "up",
      "--json",
      "--config",
      config,
      "--socket",
      this.socket,
    ];
    // To a file: a pipe that nobody reads for a while would stop a daemon that has much to say.
    this.#logFile = join(this.folder, "log");
    const errors = openSync(this.#logFile, "w");
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", errors], env: { ...process.env, NODE_OPTIONS: "" } });
    closeSync(errors);
    this.child.on("exit", (code, signal) => {
      this.exit = { code, signal };
    });
    const { stdout } = this.child;
    if (!stdout) throw new Error("no pipe");
    this.#ready = new Promise((resolve, reject) => {
      createInterface(stdout).once("line", (line) => {
        const words = parsed(line);
        this.hello = String(words["hello"] ?? "");
        this.data = String((words["datapaths"] as Array<{ endpoint: string }>)[0]?.endpoint ?? "");
        resolve();
      });
      this.child.once("exit", () => reject(new Error(`the daemon ended: ${JSON.stringify(this.log)}`)));
    });
  }

  /** What it has logged so far, a line an object. */
  get log(): ReadonlyArray<Record<string, unknown>> {
    // Afterwards its folder is gone.
    if (!existsSync(this.#logFile)) return [];
    return readFileSync(this.#logFile, "utf8").split("\n").filter(Boolean).map(parsed);
  }

  get ready(): Promise<void> {
    return this.#ready;
  }
  get pid(): number {
    return this.child.pid ?? 0;
  }

  async #ask(): Promise<RawClient> {
    if (this.#operator) return this.#operator;
    const operator = new RawClient(this.socket);
    const { error } = await operator.hello({ role: "operator", name: "watch" });
    if (error) throw new Error(error.message);
    this.#operator = operator;
    return operator;
  }

  /** By a socket that stays, so that asking does not change what is asked about. */
  async status(): Promise<StatusReport> {
    if (this.exit)
      throw new Error(`the daemon is dead: ${JSON.stringify(this.exit)} ${JSON.stringify(this.log.slice(-3))}`);
    const operator = await this.#ask();
    const first = (await operator.ask("status", {})).result;
    if (!isPart(first)) return first as StatusReport;
    const parts: Part[] = [first];
    while (parts.length < first.parts) {
      parts.push((await operator.ask("status", { part: parts.length })).result as Part);
    }
    return joinParts(parts) as StatusReport;
  }

  async counter(name: string): Promise<number> {
    return (await this.status()).engines[0]?.counters[name] ?? 0;
  }

  /** What machines run, and their states. */
  async machines(): Promise<ReadonlyArray<{ readonly actor: string; readonly state: string }>> {
    const { result } = await (await this.#ask()).ask("watch", { session: 0 });
    return (result as { machines: Array<{ actor: string; state: string }> }).machines;
  }

  footprint(): Footprint {
    const { count, bytes } = segmentsOf(this.pid);
    return { fds: fdsOf(this.pid).length, segments: count, bytes };
  }
  /** Resident memory of its own, without what it shares with applications. */
  get resident(): number {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, "utf8"))?.[1]) * 1024;
  }

  /** Lines of the log from `from` on that match. */
  said(pattern: RegExp, from = 0): ReadonlyArray<string> {
    return this.log
      .slice(from)
      .map((line) => JSON.stringify(line))
      .filter((line) => pattern.test(line));
  }

  /** Asks it to end, and waits. */
  async stop(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    this.#operator?.close();
    if (!this.exit) this.child.kill("SIGTERM");
    return await eventually(
      () => this.exit,
      (exit) => exit !== null,
      15_000,
    )
      .catch((cause: Error) => {
        throw new Error(`${cause.message}; it says ${JSON.stringify(this.log.slice(-6))}`);
      })
      .then((exit) => exit ?? { code: null, signal: null });
  }

  remove(): void {
    this.#operator?.close();
    if (!this.exit) this.child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const parsed = (line: string): Record<string, unknown> => {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
};

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
  readonly #resident = new Map<Daemon, number>();

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
      this.#resident.set(daemon, daemon.resident);
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
          `before ${JSON.stringify(this.#before.get(daemon))}, ${cause.message}; sessions ${sessions.map(({ name, state }) => `${name} ${state}`)}; links ${JSON.stringify(links)}; peers ${JSON.stringify(peers)}; machines ${(await daemon.machines()).map(({ actor, state }) => `${actor} ${state}`).join(", ")}`,
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
      expect(daemon.resident - (this.#resident.get(daemon) ?? 0)).toBeLessThan(GROWTH_BYTES);
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
