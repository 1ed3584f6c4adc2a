// Messages larger than a datagram between two runtimes: they arrive whole and in order, also over a network that loses,
// doubles and reorders; what does not arrive is counted, and all memory comes home.
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type EmbeddedRuntime, type EmbedOptions, type Qos, Runtime, type Source } from "../../src/index.ts";
import { type NamespaceHost, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually, Stage, type TestProcess, type Words } from "./runtime/processes.ts";

const MiB = 2 ** 20;
const PATIENCE_MS = 30_000;
// Quick to greet, and patient: on a machine with other work no peer may be taken for silent.
const fast = { helloIntervalMs: 50, silentAfterMs: 5000 };
const start = (name: string, options: EmbedOptions = {}): Promise<EmbeddedRuntime> =>
  Runtime.embed({ name, log: { level: "silent" }, ...options, network: { ...fast, ...options.network } });

async function pair(options: EmbedOptions = {}): Promise<{ a: EmbeddedRuntime; b: EmbeddedRuntime } & AsyncDisposable> {
  const a = await start("A", options);
  const b = await start("B", { ...options, network: { ...options.network, peers: [`127.0.0.1:${a.port}`] } });
  a.addPeer(`127.0.0.1:${b.port}`);
  return {
    a,
    b,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Bytes that depend on `mark`, cheap to make and never the same at another place of the message. */
function fill(bytes: Uint8Array, mark: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i ^ mark, 0x9e3779b1);
}

/** Emits it when there is a slot; the hash of what was emitted. */
async function emit(source: Source, size: number, mark: number): Promise<string> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const buffer = source.tryGetBuffer(size);
    if (buffer) {
      fill(buffer.bytes, mark);
      const hash = sha(buffer.bytes);
      while (source.tryEmit(buffer) === 0) await source.ready();
      return hash;
    }
    if (performance.now() > until) throw new Error("no slot came back");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const network = (runtime: EmbeddedRuntime): Record<string, number> =>
  runtime.status().engines.find(({ name }) => name === "engine network")?.counters ?? {};

const home = (hosts: { a: EmbeddedRuntime; b: EmbeddedRuntime }): Promise<unknown> =>
  eventually(
    () => [hosts.a.status(), hosts.b.status()].map(({ slots }) => slots.outstanding),
    (left) => left.every((count) => count === 0),
    PATIENCE_MS,
  );

async function exchange(options: EmbedOptions, qos: Partial<Qos>, sizes: ReadonlyArray<number>) {
  await using hosts = await pair(options);
  const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
  const sink = await (await sb.createStream({ name: "large", ...qos })).createSink(7);
  const source = await (await sa.createStream({ name: "large", ...qos })).createSource(7);
  await source.matched();
  const received = (async () => {
    const hashes: string[] = [];
    for (let i = 0; i < sizes.length; i++) {
      const message = await sink.consume({ signal: AbortSignal.timeout(PATIENCE_MS) });
      expect(message.sequence).toBe(i);
      hashes.push(sha(message.bytes));
      message.release();
    }
    return hashes;
  })();
  const sent: string[] = [];
  for (const [i, size] of sizes.entries()) sent.push(await emit(source, size, i));
  expect(await received).toEqual(sent);
  expect(await source.settled()).toMatchObject({ consumed: sizes.length, outstanding: 0, dropped: {} });
  await home(hosts);
  const counters = { a: network(hosts.a), b: network(hosts.b) };
  await Promise.all([sa.close(), sb.close()]);
  expect(hosts.a.status().quarantined + hosts.b.status().quarantined).toBe(0);
  return counters;
}

describe("messages larger than a datagram", { timeout: 120_000 }, () => {
  it.each([
    ["a thread", {}],
    ["inline", { engine: { mode: "inline" } }],
    ["a process of its own", { engines: { process: { udp: true } } }],
  ] as const)("arrive on a stream of the usual size, whole, up to that size (engine: %s)", async (_, options) => {
    const sizes = [65_459, 65_460, 65_461, 65_535, 65_536, 8, 65_536, 0, 65_500];
    const { b } = await exchange(options, {}, sizes);
    expect(b["rx_large"]).toBe(sizes.filter((size) => size > 65_459).length);
  });

  it.each([
    ["a thread", {}],
    ["inline", { engine: { mode: "inline" } }],
    ["a process of its own", { engines: { process: { udp: true } } }],
  ] as const)("arrive whole and in order, small ones between them (engine: %s)", async (_, options) => {
    const sizes = [4 * MiB, 64, 1, 100_000, 65_460, 65_459, 4 * MiB - 1, 10, 0, 1_000_001];
    const { a, b } = await exchange(options, { maxMessage: 4 * MiB }, sizes);
    expect(b["rx_large"]).toBe(sizes.filter((size) => size > 65_459).length);
    expect(b["rx_fragment_lies"]).toBe(0);
    expect(a["tx_unconfirmed"]).toBe(0);
  });

  it("arrive over a network that loses, doubles and reorders", async () => {
    const faults = { udp: "loss=0.05,duplicate=0.05,reorder=0.1,seed=11" };
    const sizes = Array.from({ length: 12 }, (_, i) => (i % 3 === 2 ? 70_000 + i : 3 * MiB + i));
    const { a, b } = await exchange({ network: { faults } }, { maxMessage: 4 * MiB }, sizes);
    expect(b["rx_large"]).toBe(sizes.length);
    expect(a["tx_fragments_again"]).toBeGreaterThan(0);
    expect(b["rx_fragment_twice"]).toBeGreaterThan(0);
    expect(b["rx_fragment_lies"]).toBe(0);
    expect(b["rx_incomplete"]).toBe(0);
  });
});

const missing = noNamespaces();
const HELLO = 7500;

async function daemon(stage: Stage, host: NamespaceHost, other: NamespaceHost, network: Words): Promise<TestProcess> {
  return await stage.daemon({
    network: {
      ...{ enabled: true, address: host.address, port: HELLO, peers: [`${other.address}:${HELLO}`] },
      ...{ ...fast, xdp: { enabled: false }, ...network },
    },
  });
}

const status = async (of: TestProcess): Promise<ReturnType<EmbeddedRuntime["status"]>> =>
  (await of.call("status"))["result"] as ReturnType<EmbeddedRuntime["status"]>;

describe.skipIf(missing !== "")(`large messages between two hosts ${missing}`, { timeout: 120_000 }, () => {
  const lossy = { udp: "loss=0.01,reorder=0.01,seed=5", xdp: "loss=0.01,reorder=0.01,seed=5" };
  const xdp = { xdp: { enabled: "auto" } };
  it.each([
    ["MTU 1500", 1500, "udp", "udp", {}],
    ["MTU 9000", 9000, "udp", "udp", {}],
    ["MTU 1500, one datagram of a hundred lost", 1500, "udp", "udp", { faults: lossy }],
    ["XDP", 1500, "xdp", "xdp", {}],
    ["XDP here and UDP there", 1500, "xdp", "udp", {}],
    ["UDP here and XDP there, one datagram of a hundred lost", 1500, "udp", "xdp", { faults: lossy }],
  ] as const)("arrive whole and in order over %s", async (_, mtu, from, to, settings) => {
    using hosts = new TwoHosts(mtu);
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const [da, db] = await Promise.all([
      daemon(near, hosts.a, hosts.b, { ...settings, ...(from === "xdp" ? xdp : {}) }),
      daemon(far, hosts.b, hosts.a, { ...settings, ...(to === "xdp" ? xdp : {}) }),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const stream = { stream: "s", acceleration: from === to && from === "udp" ? "none" : "fast", maxMessage: 8 * MiB };
    await pb.call("sink", { ...stream, channel: 1 });
    await pa.call("source", { ...stream, channel: 1 });
    await pa.call("source", { ...stream, channel: 1 });
    await Promise.all([0, 1].map((index) => pa.call("matched", { index })));
    const count = 8;
    await pa.call("emit", { index: 0, size: 4 * MiB, count, burst: 2 });
    await pa.call("emit", { index: 1, size: 100_000, count: 4 * count, burst: 3 });
    await Promise.all([0, 1].map((index) => pa.call("finished", { index })));
    const seen = await eventually(
      async () => (await pb.call("received", { index: 0 }))["result"] as Words,
      (received) => Number(received["count"]) >= 5 * count,
      PATIENCE_MS,
    );
    expect(seen).toMatchObject({ count: 5 * count, faults: [] });
    for (const index of [0, 1]) {
      expect((await pa.call("settled", { index }))["result"]).toMatchObject({ dropped: {}, outstanding: 0 });
    }
    for (const one of [da, db]) {
      await eventually(
        () => status(one),
        ({ slots }) => slots.outstanding === 0,
        PATIENCE_MS,
      );
    }
    const engine = (await status(db)).engines.find(
      ({ name }) => name === (to === "xdp" ? "engine xdp" : "engine network"),
    );
    expect(engine?.counters).toMatchObject({ rx_large: 5 * count, rx_incomplete: 0, rx_fragment_lies: 0 });
  });

  it.each([
    ["UDP", "udp", "udp"],
    ["XDP", "xdp", "xdp"],
    ["XDP here and UDP there", "xdp", "udp"],
    ["UDP here and XDP there", "udp", "xdp"],
  ] as const)("arrive on a stream of the usual size over MTU 1500 and %s", async (_, from, to) => {
    using hosts = new TwoHosts(1500);
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    await Promise.all([
      daemon(near, hosts.a, hosts.b, from === "xdp" ? xdp : {}),
      daemon(far, hosts.b, hosts.a, to === "xdp" ? xdp : {}),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const stream = { stream: "s", acceleration: from === to && from === "udp" ? "none" : "fast" };
    await pb.call("sink", { ...stream, channel: 1 });
    const sizes = [1424, 1425, 1472, 4000, 65_459, 65_460, 65_536];
    for (const [index, size] of sizes.entries()) {
      await pa.call("source", { ...stream, channel: 1 });
      await pa.call("matched", { index });
      await pa.call("emit", { index, size, count: 3 });
      await pa.call("finished", { index });
    }
    const seen = await eventually(
      async () => (await pb.call("received", { index: 0 }))["result"] as Words,
      (received) => Number(received["count"]) >= 3 * sizes.length,
      PATIENCE_MS,
    );
    expect(seen).toMatchObject({ count: 3 * sizes.length, faults: [] });
    for (const index of sizes.keys())
      expect((await pa.call("settled", { index }))["result"]).toMatchObject({ dropped: {}, outstanding: 0 });
  });
});
