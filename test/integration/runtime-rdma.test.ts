// Streams on RDMA between two hosts (namespaces joined by veth), emulated by a software provider that the configuration names:
// they run on it when both ends have it, and on kernel UDP as long as one has not.
import { describe, expect, it } from "vitest";
import { probeOf } from "../../src/qos/capabilities.ts";
import type { ExplainReport } from "../../src/runtime/api.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

/** Here and not at the top of a file: a test process must not load libfabric unless it is root and has it. */
const missing = noNamespaces() || (probeOf("rdma", "net").available ? "" : "needs libfabric");
const HELLO = 7540;
const LARGEST = 65_459;

/** A strategy that takes stand-ins: no other does. */
const EMULATED = {
  name: "test",
  rules: [{ when: { acceleration: "fast" }, use: ["rdma", "udp"], emulated: true }, { use: ["udp"] }],
};

async function daemon(
  stage: Stage,
  host: NamespaceHost,
  other: NamespaceHost,
  provider: string | null,
  settings: Words = {},
): Promise<TestProcess> {
  const more = { xdp: { enabled: false }, rdma: { provider } };
  const network = networkTowards(host, other, HELLO, more);
  return await stage.daemon({ strategy: EMULATED, ...settings, network });
}

const fast = { stream: "s", acceleration: "fast", maxMessage: LARGEST };

const datapathOf = async (application: TestProcess, stream: Words = fast): Promise<unknown> =>
  (await decisionOf(application, stream)).datapath;

const sent = async (of: TestProcess, engine: string): Promise<number> =>
  (await statusOf(of)).engines.find(({ name }) => name === `engine ${engine}`)?.counters["tx_messages"] ?? 0;

/** Resolves when the stream of a host with that daemon goes to its peer over RDMA: where libfabric takes long, UDP comes first. */
async function reached(daemon: TestProcess): Promise<void> {
  await eventually(
    async () => (await daemon.call("explain"))["result"] as ReadonlyArray<ExplainReport>,
    ([stream]) => stream?.decision.datapath === "rdma" && stream.peers.some(({ technology }) => technology === "rdma"),
  );
}

/** Emits so many from the first source of one, and waits until they are at the first sink of the other. */
async function exchange(from: TestProcess, to: TestProcess, size: number, count: number): Promise<void> {
  await from.call("matched", { index: 0 });
  await from.call("emit", { index: 0, size, count, burst: 16, pace: 1 });
  await from.call("finished", { index: 0 });
  const seen = await eventually(
    async () => (await to.call("received", { index: 0 }))["result"] as Words,
    (received) => Number(received["count"]) >= count,
  );
  expect(seen).toMatchObject({ count, faults: [] });
}

describe.skipIf(missing !== "")(`RDMA between two hosts ${missing}`, () => {
  it.each([
    ["net", true],
    ["tcp;ofi_rxm", true],
    ["net", false],
  ] as const)("carries messages in both directions, by %s, in a process of its own: %s", async (provider, apart) => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const settings = { engines: { process: { rdma: apart } } };
    const [da, db] = await Promise.all([
      daemon(near, hosts.a, hosts.b, provider, settings),
      daemon(far, hosts.b, hosts.a, provider, settings),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    await Promise.all([pa.call("sink", { ...fast, channel: 2 }), pb.call("sink", { ...fast, channel: 1 })]);
    await Promise.all([pa.call("source", { ...fast, channel: 1 }), pb.call("source", { ...fast, channel: 2 })]);
    await Promise.all([reached(da), reached(db)]);
    for (const one of [pa, pb]) {
      const { datapath, candidates, warnings } = await decisionOf(one, fast);
      expect({ datapath, warnings }).toEqual({ datapath: "rdma", warnings: [] });
      expect(candidates.find(({ technology }) => technology === "rdma")?.why).toContain("emulated");
    }
    await exchange(pa, pb, 64, 500);
    await exchange(pb, pa, LARGEST, 100);
    expect([await sent(da, "rdma"), await sent(db, "rdma")]).toEqual([500, 100]);
    const { datapaths, engines } = await statusOf(da);
    expect(datapaths.find(({ lane }) => lane === "rdma")).toMatchObject({
      emulated: true,
      counters: { emulated: 1 },
    });
    expect(engines.find(({ name }) => name === "engine rdma")?.mode).toBe(apart ? "process" : "thread");
    expect((await da.call("explain"))["result"]).toMatchObject([
      { decision: { datapath: "rdma" }, peers: [{ technology: "rdma", thereLane: "rdma" }] },
    ]);
    await Promise.all([pa.call("close"), pb.call("close")].map((closing) => closing.catch(() => {})));
    for (const one of [da, db]) {
      await eventually(
        () => statusOf(one),
        ({ links, slots, quarantined }) => links.length === 0 && slots.outstanding === 0 && quarantined === 0,
      );
    }
    await Promise.all([da.call("close").catch(() => {}), db.call("close").catch(() => {})]);
    await Promise.all([da.gone(), db.gone()]);
  });

  it("is never taken by the default strategy when it is emulated", async () => {
    using hosts = new TwoHosts();
    await using stage = new Stage(hosts.a.prefix);
    await daemon(stage, hosts.a, hosts.b, "net", { strategy: null });
    const { datapath, candidates, warnings } = await decisionOf(await stage.application("a"), fast);
    expect(datapath).toBe("udp");
    expect(warnings.map(({ code }) => code)).toEqual(["W_FALLBACK_UDP"]);
    expect(candidates.find(({ technology }) => technology === "rdma")).toMatchObject({ rule: "emulated" });
  });

  it.each([
    ["none", null],
    ["another provider", "tcp;ofi_rxm"],
  ])("is left while a host that wants the messages has %s, and taken again", async (_, provider) => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const da = await daemon(near, hosts.a, hosts.b, "net");
    const db = await daemon(far, hosts.b, hosts.a, provider);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    await pa.call("source", { ...fast, channel: 1 });
    // Nobody else has a part in it yet.
    await eventually(
      () => datapathOf(pa),
      (datapath) => datapath === "rdma",
    );
    await pb.call("sink", { ...fast, channel: 1 });
    await eventually(
      () => datapathOf(pa),
      (datapath) => datapath === "udp",
    );
    const rdma = (await decisionOf(pa, fast)).candidates.find(({ technology }) => technology === "rdma");
    expect(rdma?.why).toMatch(provider === null ? /has no RDMA/ : /has RDMA by tcp;ofi_rxm/);
    await exchange(pa, pb, 64, 200);
    expect([await sent(da, "network"), await sent(da, "rdma")]).toEqual([200, 0]);
    await pb.call("close").catch(() => {});
    await db.call("close").catch(() => {});
    await eventually(
      () => datapathOf(pa),
      (datapath) => datapath === "rdma",
    );
  });

  it("is the sender's choice: a sink takes from it whatever its own stream asks for, and from UDP as well", async () => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const [da, db] = await Promise.all([daemon(near, hosts.a, hosts.b, "net"), daemon(far, hosts.b, hosts.a, "net")]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const slow = { ...fast, acceleration: "none" };
    await Promise.all([pa.call("sink", { ...fast, channel: 2 }), pb.call("sink", { ...slow, channel: 1 })]);
    await Promise.all([pa.call("source", { ...fast, channel: 1 }), pb.call("source", { ...slow, channel: 2 })]);
    await reached(da);
    expect([await datapathOf(pa), await datapathOf(pb, slow)]).toEqual(["rdma", "udp"]);
    await exchange(pa, pb, 64, 100);
    await exchange(pb, pa, 64, 100);
    expect([await sent(da, "rdma"), await sent(db, "rdma"), await sent(db, "network")]).toEqual([100, 0, 100]);
  });
});
