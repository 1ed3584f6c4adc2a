// Applications of other users than the daemon's: they receive what is theirs as copies, and never get hold of the memory
// in which everybody's messages arrive. As root, to be somebody else.
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ExplainReport } from "../../src/runtime/api.ts";
import { trustDomain } from "../../src/runtime/trust.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const PATIENCE_MS = 30_000;
const NOBODY = 65_534;
const SOMEBODY = 65_533;
const missing = process.getuid?.() === 0 ? "" : "needs root (to be another user)";

const received = async (of: TestProcess): Promise<Words> =>
  (await of.call("received", { index: 0 }))["result"] as Words;

const nameOf = (descriptor: string): string => {
  try {
    return readlinkSync(descriptor);
  } catch {
    return ""; // closed meanwhile
  }
};

/** Names of all shared memory that a process has mapped or open. */
function memoryOf(pid: number): string[] {
  const mapped = readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(/memfd:([^\n]*)/g);
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => nameOf(`/proc/${pid}/fd/${fd}`));
  const names = [...[...mapped].map(([, name = ""]) => name), ...open.filter((name) => name.includes("memfd:"))];
  return [...new Set(names.map((name) => name.replace(/^.*memfd:/, "").replace(" (deleted)", "")))];
}
const RECEIVE_POOL = /receive pool/;
const COPIES = /copies for/;

/** Two runtimes on loopback; the far one is open to all users. */
async function twoRuntimes(far: Words = {}) {
  const near = new Stage();
  const there = new Stage();
  const network = { enabled: true, helloIntervalMs: 50, silentAfterMs: 5000 };
  const [dn, df] = await Promise.all([near.daemon({ network }), there.daemon({ network, socketMode: 0o666, ...far })]);
  const portOf = (daemon: TestProcess): number => Number(daemon.heard.find(({ up }) => up === true)?.["port"]);
  await dn.call("addPeer", { endpoint: `127.0.0.1:${portOf(df)}` });
  await df.call("addPeer", { endpoint: `127.0.0.1:${portOf(dn)}` });
  return {
    ...{ near, there, dn, df },
    [Symbol.asyncDispose]: async () => {
      await near[Symbol.asyncDispose]();
      await there[Symbol.asyncDispose]();
    },
  };
}

async function emitTo(
  stages: { readonly near: Stage },
  sinks: ReadonlyArray<TestProcess>,
  count: number,
): Promise<void> {
  const producer = await stages.near.application("producer");
  await producer.call("source", { channel: 1 });
  await producer.call("matched", { index: 0 });
  for (let done = 0; done < count; ) {
    done += 100;
    await producer.call("emit", { index: 0, size: 300, count: done, burst: 20, pace: 1 });
    await producer.call("finished", { index: 0 });
    for (const sink of sinks) {
      await eventually(
        () => received(sink),
        (seen) => seen["count"] === done,
        PATIENCE_MS,
      );
    }
  }
  for (const sink of sinks) expect((await received(sink))["faults"]).toEqual([]);
}

describe.skipIf(missing !== "")(`an application of another user ${missing}`, { timeout: 180_000 }, () => {
  it.each([
    ["a thread", false],
    ["a process of its own", true],
  ])("receives copies, one for its whole domain, from an engine that is %s", async (_, udp) => {
    await using stages = await twoRuntimes({ engines: { process: { udp } } });
    const { there, df } = stages;
    const own = await there.application("own");
    const [one, two] = [await there.application("one", NOBODY), await there.application("two", NOBODY)];
    const other = await there.application("other", SOMEBODY);
    const sinks = [own, one, two, other];
    for (const sink of sinks) await sink.call("sink", { channel: 1 });
    await emitTo(stages, sinks, 500);

    const { engines } = await statusOf(df);
    const counters = engines.find(({ name }) => name === "engine network")?.counters ?? {};
    expect(counters["rx_messages"]).toBe(2000);
    expect(counters["rx_copied_domain"]).toBe(1000);
    expect(counters["rx_domain_full"]).toBe(0);

    expect(memoryOf(own.pid).filter((name) => RECEIVE_POOL.test(name))).toHaveLength(1);
    expect(memoryOf(own.pid).filter((name) => COPIES.test(name))).toEqual([]);
    expect((await decisionOf(own, {})).trustDomain).toBe(`user 0, group ${process.getgid?.()}`);
    for (const [application, user] of [
      [one, NOBODY],
      [two, NOBODY],
      [other, SOMEBODY],
    ] as const) {
      const memory = memoryOf(application.pid);
      expect(memory.filter((name) => RECEIVE_POOL.test(name))).toEqual([]);
      expect(memory.filter((name) => COPIES.test(name))).toEqual([`the copies for user ${user}, group ${user}`]);
      expect((await decisionOf(application, {})).trustDomain).toBe(`user ${user}, group ${user}`);
    }

    // What the engine writes nobody else can, not even root.
    const pools = readdirSync(`/proc/${df.pid}/fd`)
      .map((fd) => `/proc/${df.pid}/fd/${fd}`)
      .filter((path) => COPIES.test(nameOf(path)));
    expect(pools).toHaveLength(2);
    for (const path of pools) {
      const opened = openSync(path, "r+");
      expect(() => writeSync(opened, new Uint8Array(8), 0, 8, 0)).toThrow(/EPERM/);
      closeSync(opened);
    }

    const [report] = (await df.call("explain"))["result"] as ExplainReport[];
    expect(report?.sessions.map(({ name, domain, copies }) => [name, domain, copies])).toEqual([
      ["own", `user 0, group ${process.getgid?.()}`, false],
      ["one", `user ${NOBODY}, group ${NOBODY}`, true],
      ["two", `user ${NOBODY}, group ${NOBODY}`, true],
      ["other", `user ${SOMEBODY}, group ${SOMEBODY}`, true],
    ]);
  });

  it("leaves nothing behind when it is killed, and its successor receives again", async () => {
    await using stages = await twoRuntimes();
    const { there, df } = stages;
    const own = await there.application("own");
    await own.call("sink", { channel: 1 });
    const victim = await there.application("victim", NOBODY);
    await victim.call("sink", { channel: 1, hold: 50 });
    await emitTo(stages, [own, victim], 200);
    await victim.kill();
    await eventually(
      () => statusOf(df),
      ({ links }) => links.length === 1,
      PATIENCE_MS,
    );
    // The pool of its domain is gone with the last of its links.
    await eventually(
      () => memoryOf(df.pid).filter((name) => COPIES.test(name)),
      (left) => left.length === 0,
      PATIENCE_MS,
    );
    const next = await there.application("next", NOBODY);
    await next.call("sink", { channel: 1 });
    const before = Number((await received(own))["count"]);
    const producer = await stages.near.application("producer again");
    await producer.call("source", { channel: 1 });
    await producer.call("matched", { index: 0 });
    await producer.call("emit", { index: 0, size: 300, count: 100, burst: 20, pace: 1 });
    for (const [sink, count] of [
      [own, before + 100],
      [next, 100],
    ] as const) {
      await eventually(
        () => received(sink),
        (seen) => seen["count"] === count,
        PATIENCE_MS,
      );
    }
    await eventually(
      () => statusOf(df),
      ({ slots, quarantined, engines }) =>
        slots.outstanding === 0 && quarantined === 0 && engines[0]?.counters["slots_out"] === 0,
      PATIENCE_MS,
    );
  });

  it("reads in place when the configuration trusts its user", async () => {
    await using stages = await twoRuntimes({ trust: { uids: [NOBODY], gids: [] } });
    const trusted = await stages.there.application("trusted", NOBODY);
    await trusted.call("sink", { channel: 1 });
    await emitTo(stages, [trusted], 100);
    expect(memoryOf(trusted.pid).filter((name) => RECEIVE_POOL.test(name))).toHaveLength(1);
    const { engines } = await statusOf(stages.df);
    expect(engines[0]?.counters["rx_copied_domain"]).toBe(0);
  });
});

describe("trust", () => {
  const own = { uid: 1000, gid: 1000 };
  it("needs the same user and the same group, or the word of the configuration", () => {
    const nobody = { uids: [], gids: [] };
    expect(trustDomain(own, own, nobody)).toBe(null);
    expect(trustDomain({ uid: 0, gid: 0 }, own, nobody)).toMatchObject({ key: "0:0", label: "user 0, group 0" });
    expect(trustDomain({ uid: 1000, gid: 5 }, own, nobody)).toMatchObject({ key: "1000:5" });
    expect(trustDomain({ uid: 7, gid: 5 }, own, { uids: [7], gids: [] })).toBe(null);
    expect(trustDomain({ uid: 7, gid: 5 }, own, { uids: [], gids: [5] })).toBe(null);
  });
});
