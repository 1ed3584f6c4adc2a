// Processes that are not given the processor at an unlucky moment: daemons, applications and engines are stopped for up to a
// fifth of a second, again and again, while sources and sinks come and go. Below every deadline of the runtime: nobody is
// evicted, no link breaks, and what is emitted to those who block arrives, once and in order.
import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { SinkStats, SourceStats } from "../../src/index.ts";
import { mulberry } from "../integration/runtime/kills.ts";
import {
  eventually,
  Stage,
  type Status,
  statusOf,
  type TestProcess,
  type Words,
} from "../integration/runtime/processes.ts";

const seed = Number(process.env["INSANE_SEED"] ?? Date.now() % 1_000_000);
/** The longest pause, ms: an eighth of what a link or a command may take, and some may follow each other. */
const LONGEST_MS = 120;
const ROUNDS = 100;

/** A process and what it has started, engines for instance. */
function withChildren(pid: number): number[] {
  let children: number[] = [];
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    children = tasks.flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    // It has ended meanwhile.
  }
  return [pid, ...children.flatMap(withChildren)];
}

/** Stops some of these processes now and then until it is disposed of; all run then. */
class Pauses implements AsyncDisposable {
  count = 0;
  #over = false;
  readonly #done: Promise<void>;

  constructor(pids: () => ReadonlyArray<number>, random: () => number) {
    this.#done = this.#run(pids, random);
  }

  async #run(pids: () => ReadonlyArray<number>, random: () => number): Promise<void> {
    const signal = (pid: number, name: "SIGSTOP" | "SIGCONT"): void => {
      try {
        process.kill(pid, name);
      } catch {
        // It has ended.
      }
    };
    while (!this.#over) {
      const all = pids().flatMap(withChildren);
      const some = all.filter(() => random() < 1.5 / Math.max(1, all.length));
      for (const pid of some) signal(pid, "SIGSTOP");
      this.count += some.length;
      await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_MS));
      for (const pid of some) signal(pid, "SIGCONT");
      await new Promise((resolve) => setTimeout(resolve, random() * 30));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.#done;
  }
}

interface Received {
  readonly faults: ReadonlyArray<string>;
  readonly count: number;
  readonly stats: SinkStats;
}
const result = async <T>(of: TestProcess, method: string, words: Words = {}): Promise<T> =>
  (await of.call(method, words))["result"] as T;

it(`pauses of processes break nothing (INSANE_SEED=${seed})`, { timeout: 280_000 }, async () => {
  const random = mulberry(seed);
  await using stage = new Stage();
  await using far = new Stage();
  const network = { enabled: true, helloIntervalMs: 50, silentAfterMs: 10_000 };
  const near = await stage.daemon({ network });
  const there = await far.daemon({
    network: { ...network, peers: [`127.0.0.1:${await result<number>(near, "port")}`] },
  });
  await near.call("addPeer", { endpoint: `127.0.0.1:${await result<number>(there, "port")}` });
  const applications = [
    await stage.application("a"),
    await stage.application("b"),
    await far.application("c"),
  ] as const;
  const daemons = [near, there];
  const [producer] = applications;
  // Of whom the links carry several channels that come and go, beside one that stays.
  const stays = 1;
  for (const one of applications.slice(1)) await one.call("sink", { channel: stays });
  await producer.call("source", { channel: stays });
  await producer.call("matched", { index: 0, count: 2 });
  await producer.call("emit", { index: 0, size: 64, burst: 2, pace: 2 });
  let sources = 1;
  const sinks = [0, 1, 1];
  {
    await using pauses = new Pauses(() => [...daemons, ...applications].map(({ pid }) => pid), random);
    for (let round = 0; round < ROUNDS; round++) {
      const channel = 2 + Math.floor(random() * 3);
      await producer.call("source", { channel });
      const source = sources++;
      await producer.call("emit", { index: source, size: 64, burst: 4, pace: 1 });
      const takers = [1, 2].filter(() => random() < 0.7);
      // Gone and there again before everybody knows that it was gone.
      for (let again = 0; again < 2; again++) {
        await Promise.all(
          takers.map(async (who) => {
            const taker = applications[who] as TestProcess;
            await taker.call("sink", { channel });
            const index = sinks[who] as number;
            sinks[who] = index + 1;
            await new Promise((resolve) => setTimeout(resolve, random() * 40));
            const { faults } = await result<Received>(taker, "received", { index });
            expect(faults).toEqual([]);
            await taker.call("closeSink", { index });
          }),
        );
      }
      await producer.call("closeSource", { index: source });
    }
    console.error(`${pauses.count} pauses in ${ROUNDS} rounds`);
  }
  // The one that stayed has lost nothing on its host, and all that it lost elsewhere is counted.
  await producer.call("stop", { index: 0 });
  const sent = await result<SourceStats>(producer, "settled", { index: 0 });
  expect(sent).toMatchObject({ dropped: {}, abandoned: 0, outstanding: 0 });
  const got = async (who: number): Promise<Received> =>
    result(applications[who] as TestProcess, "received", { index: 0 });
  const here = await eventually(
    () => got(1),
    ({ stats }) => stats.received >= sent.emitted,
  );
  // What was lost last is found out by what comes after it.
  let total = sent.emitted;
  const away = await eventually(
    async () => {
      await producer.call("emit", { index: 0, size: 64, count: ++total });
      return await got(2);
    },
    ({ stats }) => stats.received + stats.lost >= sent.emitted,
  );
  expect(away.stats.received + away.stats.lost).toBeLessThanOrEqual(total);
  for (const { faults } of [here, away]) expect(faults).toEqual([]);
  // Nobody was evicted, no engine restarted, no link taken for a lie.
  for (const one of applications) expect(one.heard.filter((words) => "closed" in words)).toEqual([]);
  for (const daemon of daemons) {
    const { engines, sessions, quarantined }: Status = await statusOf(daemon);
    expect(quarantined).toBe(0);
    expect(sessions.length).toBe(daemon === near ? 2 : 1);
    for (const { counters } of engines) {
      expect({ bad: counters["bad_descriptor"], faults: counters["link_faults"] }).toEqual({ bad: 0, faults: 0 });
    }
  }
});
