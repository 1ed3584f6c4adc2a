// Who counts as alive: a runtime whose thread never comes back to its event loop, because its engine speaks for it; and
// what a silence in one direction or both leaves behind, in exact numbers.
import { describe, expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const SPIN_MS = 7000;
const QUIET_MS = 5000;

describe("an embedded runtime whose thread spins", () => {
  it.each([
    ["polls its engine", true],
    ["computes", false],
  ])(`and %s for ${SPIN_MS} ms is never silent to its peer, and messages go on`, async (_, poll) => {
    await using stage = new Stage();
    const network = { helloIntervalMs: 250, silentAfterMs: 3500 };
    await using here = await Runtime.embed({ name: "here", log: { level: "silent" }, network });
    const session = await here.connect();
    const stream = await session.createStream({ name: "spin" });
    const numbers: number[] = [];
    await stream.createSink(1, (message) => {
      numbers.push(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(0, true));
      message.release();
    });
    const source = await stream.createSource(2);
    const settings = {
      name: "there",
      engine: { mode: "inline" },
      network: { ...network, peers: [`127.0.0.1:${here.port}`] },
    };
    const spinner = stage.start("spinner.ts", "spinner", [JSON.stringify({ settings, out: 1, back: 2 })]);
    const up = await spinner.until((words) => words["up"] === true, "it is up");
    here.addPeer(`127.0.0.1:${up["port"]}`);
    await Promise.all([spinner.call("matched"), source.matched()]);

    const states = new Set<string>();
    let told = 0;
    const watching = setInterval(() => {
      for (const { state } of here.status().peers) states.add(state);
      const buffer = source.tryGetBuffer(4);
      if (buffer === null) return;
      new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset).setUint32(0, told, true);
      if (source.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
      else told++;
    }, 10);
    const done = spinner.call("spin", { ms: SPIN_MS, quietMs: QUIET_MS, poll }).finally(() => clearInterval(watching));
    const { sent, came, peers } = (await done)["result"] as Record<"sent", number> &
      Record<"came", number[]> &
      Record<"peers", string[]>;
    expect([...states]).toEqual(["alive"]);
    expect(peers).toEqual(["alive"]);
    expect(await source.settled()).toMatchObject({ unmatched: 0, dropped: {} });
    // What was said to it while it spun came while it spun, nearly to the end.
    expect(came).toEqual(Array.from({ length: came.length }, (_, i) => i));
    expect(came.length).toBeGreaterThan(told / 2);
    // And all that it said after having been quiet for longer than a silence may last.
    expect(sent).toBeGreaterThan((SPIN_MS - QUIET_MS) / 10);
    await eventually(
      () => numbers.length,
      (count) => count === sent,
    );
    expect(numbers).toEqual(Array.from({ length: sent }, (_, i) => i));
  });
});

const missing = noNamespaces();
const HELLO = 7500;

async function daemon(stage: Stage, host: NamespaceHost, other: NamespaceHost): Promise<TestProcess> {
  return await stage.daemon({
    network: networkTowards(host, other, HELLO, { dataPort: HELLO + 1, silentAfterMs: 400, xdp: { enabled: false } }),
  });
}

const peerIs = (of: TestProcess, state: string) =>
  eventually(
    async () => (await statusOf(of)).peers.map((peer) => peer.state),
    ([seen]) => seen === state,
  );
const lost = async (of: TestProcess): Promise<number> => (await statusOf(of)).engines[0]?.counters["rx_lost"] ?? -1;

/** From now on what `host` sends to `other` vanishes, without its noticing: nobody there has that hardware address. */
const drop = (host: NamespaceHost, other: NamespaceHost): void =>
  void host.ip("neigh", "replace", other.address, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "veth0");
const restore = (host: NamespaceHost, other: NamespaceHost): void =>
  void host.ip("neigh", "del", other.address, "dev", "veth0");

describe.skipIf(missing !== "")(`two hosts that stop hearing each other ${missing}`, () => {
  async function scene(use: (s: Awaited<ReturnType<typeof build>>) => Promise<void>): Promise<void> {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    await use(await build(hosts, near, far));
  }
  async function build({ a, b }: TwoHosts, near: Stage, far: Stage) {
    const [da, db] = await Promise.all([daemon(near, a, b), daemon(far, b, a)]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    await Promise.all([pa.call("sink", { channel: 2 }), pb.call("sink", { channel: 1 })]);
    await Promise.all([pa.call("source", { channel: 1 }), pb.call("source", { channel: 2 })]);
    await Promise.all([pa.call("matched", { index: 0 }), pb.call("matched", { index: 0 })]);
    return { a, b, da, db, pa, pb };
  }
  /** What a source handed to the network. */
  const sent = async (of: TestProcess): Promise<number> => {
    const settled = (await of.call("settled", { index: 0 }))["result"] as Words;
    expect(settled).toMatchObject({ outstanding: 0 });
    return Number(settled["consumed"]);
  };
  const got = async (of: TestProcess) =>
    (await of.call("received", { index: 0 }))["result"] as { readonly count: number; readonly faults: unknown[] };
  /** Everything sent is either here or counted as lost, by the engine and to the application, and stays so. */
  async function adds(from: TestProcess, to: TestProcess, at: TestProcess): Promise<number> {
    const total = await sent(from);
    const seen = await eventually(
      async () => ({ ...(await got(to)), lost: await lost(at) }),
      ({ count, lost }) => count + lost >= total,
    );
    expect(seen).toMatchObject({ count: total - seen.lost, faults: [] });
    await eventually(
      async () => Number(((await got(to)) as unknown as { stats: Words }).stats["lost"]),
      (told) => told === seen.lost,
    );
    return seen.lost;
  }

  it("in one direction, while both send: nothing is lost but what was dropped", async () => {
    await scene(async ({ a, b, da, db, pa, pb }) => {
      for (const one of [pa, pb]) await one.call("emit", { index: 0, pace: 2, burst: 4 });
      await eventually(
        async () => (await got(pb)).count,
        (count) => count > 100,
      );
      for (let round = 0; round < 2; round++) {
        drop(a, b);
        await peerIs(db, "silent");
        // It hears what it cannot answer, and goes on sending.
        await peerIs(da, "alive");
        restore(a, b);
        await peerIs(db, "alive");
        const before = [(await got(pa)).count, (await got(pb)).count];
        await eventually(
          async () => [(await got(pa)).count, (await got(pb)).count],
          (now) => now.every((count, i) => count > (before[i] ?? 0) + 50),
        );
      }
      for (const one of [pa, pb]) await one.call("stop", { index: 0 });
      expect(await adds(pa, pb, db)).toBeGreaterThan(50);
      expect(await adds(pb, pa, da)).toBe(0);
    });
  });

  it("in one direction, before the last messages: these are counted although nothing follows them", async () => {
    await scene(async ({ a, b, db, pa, pb }) => {
      await pa.call("emit", { index: 0, count: 100 });
      await pa.call("finished", { index: 0 });
      await eventually(
        async () => (await got(pb)).count,
        (count) => count === 100,
      );
      drop(a, b);
      await pa.call("emit", { index: 0, count: 130 });
      await pa.call("finished", { index: 0 });
      expect(await sent(pa)).toBe(130);
      await peerIs(db, "silent");
      expect(await lost(db)).toBe(0);
      restore(a, b);
      expect(await adds(pa, pb, db)).toBe(30);
    });
  });

  it("in both: what was sent before it was noticed is lost, what came after it was not sent", async () => {
    await scene(async ({ a, b, da, db, pa, pb }) => {
      for (const one of [pa, pb]) await one.call("emit", { index: 0, pace: 2, burst: 4 });
      await eventually(
        async () => (await got(pb)).count,
        (count) => count > 100,
      );
      drop(a, b);
      drop(b, a);
      await Promise.all([peerIs(da, "silent"), peerIs(db, "silent")]);
      restore(a, b);
      restore(b, a);
      await Promise.all([peerIs(da, "alive"), peerIs(db, "alive")]);
      for (const one of [pa, pb]) await one.call("stop", { index: 0 });
      expect(await adds(pa, pb, db)).toBeGreaterThan(0);
      expect(await adds(pb, pa, da)).toBeGreaterThan(0);
    });
  });
});
