// Streams that ask for acceleration on two hosts (namespaces joined by veth): they run on XDP where it can be had, speak
// with hosts that have none, and leave nothing behind.
import { describe, expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";
import type { DecisionRecord } from "../../src/protocol/control.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7500;

async function daemon(
  stage: Stage,
  host: NamespaceHost,
  other: NamespaceHost,
  settings: Words = {},
): Promise<TestProcess> {
  const network = networkTowards(host, other, HELLO, { silentAfterMs: 2000, ...(settings["network"] as object) });
  return await stage.daemon({ ...settings, network });
}

const ENGINE = { udp: "engine network", xdp: "engine xdp" } as const;

/** What a stream is bound to, and what it was warned of, in words where that was a surprise. */
async function boundTo(application: TestProcess, stream: Words): Promise<[unknown, unknown[]]> {
  const decision = await decisionOf(application, stream);
  return [decision.datapath, decision.warnings.map(({ code }) => code)];
}

describe.skipIf(missing !== "")(`XDP between two hosts ${missing}`, () => {
  const SIZES = { small: 64, jumbo: 3600 } as const;
  const PAIRS = [
    ["xdp", "xdp", "native"],
    ["xdp", "udp", "native"],
    ["udp", "xdp", "native"],
    ["udp", "xdp", "skb"],
  ] as const;
  describe.each(PAIRS)("a stream on %s here and on %s there, XDP in %s mode", (from, to, mode) => {
    it.each(["small", "jumbo"] as const)(
      "carries %s messages in both directions, each once and in order",
      async (size) => {
        using hosts = new TwoHosts(size === "jumbo" ? 9000 : 1500);
        await using near = new Stage(hosts.a.prefix);
        await using far = new Stage(hosts.b.prefix);
        const over = (technology: string): Words => ({
          network: { xdp: { enabled: technology === "xdp" ? "auto" : false, mode } },
        });
        const [da, db] = await Promise.all([
          daemon(near, hosts.a, hosts.b, over(from)),
          daemon(far, hosts.b, hosts.a, over(to)),
        ]);
        const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
        const fast = { stream: "s", acceleration: "fast" };
        await Promise.all([pa.call("sink", { ...fast, channel: 2 }), pb.call("sink", { ...fast, channel: 1 })]);
        await Promise.all([pa.call("source", { ...fast, channel: 1 }), pb.call("source", { ...fast, channel: 2 })]);
        expect(await boundTo(pa, fast)).toEqual([from, from === "udp" ? ["W_FALLBACK_UDP"] : []]);
        expect(await boundTo(pb, fast)).toEqual([to, to === "udp" ? ["W_FALLBACK_UDP"] : []]);
        await Promise.all([pa.call("matched", { index: 0 }), pb.call("matched", { index: 0 })]);
        expect([hosts.a.filtered, hosts.b.filtered]).toEqual([from === "xdp", to === "xdp"]);
        const engineOf = async (one: TestProcess, technology: "udp" | "xdp") =>
          (await statusOf(one)).engines.find(({ name }) => name === ENGINE[technology])?.counters ?? {};
        const sides = [
          [da, from],
          [db, to],
        ] as const;
        // A heartbeat may have come from a host that had heard of this one before this one heard of it.
        const unknown = await Promise.all(
          sides.map(async ([one, technology]) => (await engineOf(one, technology))["rx_unknown_peer"]),
        );
        const count = 1000;
        for (const one of [pa, pb]) await one.call("emit", { index: 0, size: SIZES[size], count, burst: 32, pace: 1 });
        for (const one of [pa, pb]) {
          await one.call("finished", { index: 0 });
          expect((await one.call("settled", { index: 0 }))["result"]).toMatchObject({ consumed: count, dropped: {} });
          const seen = await eventually(
            async () => (await one.call("received", { index: 0 }))["result"] as Words,
            (received) => Number(received["count"]) >= count,
          );
          expect(seen).toMatchObject({ count, faults: [] });
        }
        for (const [i, [one, technology]] of sides.entries()) {
          const counters = await engineOf(one, technology);
          expect(counters["tx_messages"]).toBe(count);
          expect(counters["rx_messages"]).toBe(count);
          expect(counters["rx_unknown_peer"]).toBe(unknown[i]);
        }
        expect((await da.call("explain"))["result"]).toMatchObject([
          {
            decision: { datapath: from },
            peers: [{ technology: from, thereLane: to, trains: mode === "native" }],
          },
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
        expect([hosts.a.filtered, hosts.b.filtered]).toEqual([false, false]);
      },
    );
  });

  const fast = { stream: "s", acceleration: "fast" };

  it.each(["xdp", "udp"])(
    "takes what arrives on any of several queues, with priority tags as well, from %s",
    async (from) => {
      using hosts = new TwoHosts(1500, 2);
      await using near = new Stage(hosts.a.prefix);
      await using far = new Stage(hosts.b.prefix);
      const xdp = { priorityTags: true };
      const [, db] = await Promise.all([
        daemon(near, hosts.a, hosts.b, { network: { xdp: from === "xdp" ? xdp : { enabled: false } } }),
        daemon(far, hosts.b, hosts.a, { network: { xdp } }),
      ]);
      const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
      const urgent = { ...fast, trafficClass: 5 };
      const plain = { ...fast, stream: "p" };
      for (const [i, stream] of [urgent, plain].entries()) {
        await Promise.all([pa.call("sink", { ...stream, channel: 2 }), pb.call("sink", { ...stream, channel: 1 })]);
        await Promise.all([pa.call("source", { ...stream, channel: 1 }), pb.call("source", { ...stream, channel: 2 })]);
        expect([(await decisionOf(pa, stream)).datapath, (await decisionOf(pb, stream)).datapath]).toEqual([
          from,
          "xdp",
        ]);
        for (const one of [pa, pb]) {
          await one.call("matched", { index: i });
          await one.call("emit", { index: i, size: 64, count: 500, burst: 16, pace: 1 });
        }
      }
      for (const one of [pa, pb]) {
        for (const index of [0, 1]) {
          const seen = await eventually(
            async () => (await one.call("received", { index }))["result"] as Words,
            (received) => Number(received["count"]) >= 500,
          );
          expect(seen).toMatchObject({ count: 500, faults: [] });
        }
      }
      const { datapaths } = await statusOf(db);
      expect(datapaths.find(({ lane }) => lane === "xdp")?.counters).toMatchObject({ queues_bound: 2 });
    },
  );

  it("leaves no program on the interface when its daemon is killed", async () => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    const one = await daemon(near, hosts.a, hosts.b);
    const application = await near.application("a");
    expect(hosts.a.filtered).toBe(false); // nobody has asked for it yet
    expect(await boundTo(application, fast)).toEqual(["xdp", []]);
    expect(hosts.a.filtered).toBe(true);
    await one.kill();
    await eventually(
      () => hosts.a.filtered,
      (filtered) => !filtered,
    );
  });

  it("tells the second runtime on an interface who has it, and takes it when it is free", async () => {
    using hosts = new TwoHosts();
    await using first = new Stage(hosts.a.prefix);
    await using second = new Stage(hosts.a.prefix);
    const holder = await daemon(first, hosts.a, hosts.b);
    await daemon(second, hosts.a, hosts.b, { network: { port: HELLO + 1 } });
    const [one, two] = [await first.application("one"), await second.application("two")];
    expect(await boundTo(one, fast)).toEqual(["xdp", []]);
    expect(await boundTo(two, fast)).toEqual(["udp", ["W_FALLBACK_UDP"]]);
    const decision = (await two.call("binding", fast))["result"] as DecisionRecord;
    expect(decision.warnings[0]?.message).toContain(`${holder.pid}`);
    await holder.kill();
    await eventually(
      () => hosts.a.filtered,
      (filtered) => !filtered,
    );
    // The next one that asks finds it, and the stream that had fallen back moves.
    expect(await boundTo(two, { ...fast, stream: "t" })).toEqual(["xdp", []]);
    await eventually(
      () => boundTo(two, fast),
      ([datapath]) => datapath === "xdp",
    );
  });

  it("tells who has the interface where that is an application that polls inline", async () => {
    using hosts = new TwoHosts();
    await using first = new Stage(hosts.a.prefix);
    await using second = new Stage(hosts.a.prefix);
    const inline = { network: networkTowards(hosts.a, hosts.b, HELLO), engine: { mode: "inline" } };
    const holder = await first.embedding("one", inline);
    expect(await boundTo(holder, fast)).toEqual(["xdp", []]);
    await daemon(second, hosts.a, hosts.b, { network: { port: HELLO + 1 } });
    const { datapath, warnings } = await decisionOf(await second.application("two"), fast);
    expect(datapath).toBe("udp");
    expect(warnings[0]?.message).toContain(`process ${holder.pid} (node)`);
    expect(warnings[0]?.cure).toContain("stop that program, or use another interface");
  });

  it("falls back where it is not permitted, and says what is missing", async () => {
    using hosts = new TwoHosts();
    const drop = ["setpriv", "--bounding-set", "-net_admin,-net_raw,-bpf,-sys_admin"];
    await using stage = new Stage([...hosts.a.prefix, ...drop]);
    const runtime = await daemon(stage, hosts.a, hosts.b);
    const application = await stage.application("a");
    expect(await boundTo(application, fast)).toEqual(["udp", ["W_FALLBACK_UDP"]]);
    const decision = (await application.call("binding", fast))["result"] as DecisionRecord;
    expect(decision.warnings[0]?.cure).toMatch(/CAP_NET_RAW/);
    const xdp = (await statusOf(runtime)).datapaths.map(({ lane }) => lane);
    expect(xdp).toEqual(["udp"]);
    expect(hosts.a.filtered).toBe(false);
  });

  it("opens no link to a peer on the same host whose XDP nothing reaches", async () => {
    using hosts = new TwoHosts();
    await using first = new Stage(hosts.a.prefix);
    await using second = new Stage(hosts.a.prefix);
    const peers = (port: number): Words => ({ peers: [`${hosts.a.address}:${port}`] });
    await daemon(first, hosts.a, hosts.b, { network: peers(HELLO + 1) });
    const other = await daemon(second, hosts.a, hosts.b, { network: { port: HELLO + 1, ...peers(HELLO) } });
    await (await first.application("one")).call("sink", fast);
    await eventually(
      async () => (await statusOf(other)).peers,
      ([peer]) => peer?.subscriptions === 1,
    );
    const application = await second.application("two");
    await application.call("source", { ...fast, acceleration: "none" });
    expect((await statusOf(other)).links).toEqual([]);
  });

  it("gets large messages and bursts from kernel UDP in generic mode too, one datagram at a time", async () => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const [da] = await Promise.all([
      daemon(near, hosts.a, hosts.b, { network: { xdp: { enabled: false } } }),
      daemon(far, hosts.b, hosts.a, { network: { xdp: { mode: "skb" } } }),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const large = { ...fast, maxMessage: 1 << 20 };
    await Promise.all([pb.call("sink", large), pa.call("source", large)]);
    await pa.call("matched", { index: 0 });
    // As many as there are in all by then.
    for (const [size, count, burst] of [
      [500_000, 20, 1],
      [1200, 420, 16],
    ] as const) {
      await pa.call("emit", { index: 0, size, count, burst, pace: 2 });
      await pa.call("finished", { index: 0 });
    }
    const seen = await eventually(
      async () => (await pb.call("received", { index: 0 }))["result"] as Words,
      ({ count }) => Number(count) >= 420,
    );
    expect(seen).toMatchObject({ count: 420, faults: [] });
    const { datapaths } = await statusOf(da);
    expect(datapaths.find(({ lane }) => lane === "udp")?.counters).toMatchObject({ tx_trains: 0 });
  });

  it("takes a message that does not fit the other end's frame in fragments", async () => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    await Promise.all([
      daemon(near, hosts.a, hosts.b, { network: { xdp: { enabled: false } } }),
      daemon(far, hosts.b, hosts.a),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    await Promise.all([pb.call("sink", fast), pa.call("source", fast)]);
    await pa.call("matched", { index: 0 });
    await pa.call("emit", { index: 0, size: 4000, count: 3 });
    await pa.call("finished", { index: 0 });
    await eventually(
      async () => (await pb.call("received", { index: 0 }))["result"] as Words,
      ({ count }) => count === 3,
    );
    expect((await pa.call("settled", { index: 0 }))["result"]).toMatchObject({ dropped: {} });
  });
});

describe("XDP that is asked for by the configuration", () => {
  it("keeps a runtime from starting where there is none", async () => {
    const embedded = Runtime.embed({ log: { level: "silent" }, network: { xdp: { enabled: true } } });
    await expect(embedded).rejects.toMatchObject({ code: "ESYSTEM", message: expect.stringContaining("127.0.0.1") });
  });
});
