// Receiving work of kernel UDP spread over threads (network.udp.threads): what each of them takes, that order is kept from source
// to sink, that streams move to XDP and back while messages flow, that nothing stays of a sender that is killed.
import { describe, expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";
import { laneOf, UDP_LANES } from "../../src/protocol/lanes.ts";
import { streamTag } from "../../src/protocol/qos.ts";
import { networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7560;
const CHANNELS = Array.from({ length: 16 }, (_, i) => i + 1);
const THREADS = 2;

interface Bed extends AsyncDisposable {
  readonly hosts: TwoHosts;
  /** Applications of the sending host, its runtime and the receiving one. */
  readonly senders: TestProcess[];
  readonly receiver: TestProcess;
  readonly from: TestProcess;
  readonly to: TestProcess;
}

/** Two hosts; `there`: how many threads of the sending host receive. */
async function bed(there: number, more: Words = {}): Promise<Bed> {
  const hosts = new TwoHosts();
  const [near, far] = [new Stage(hosts.a.prefix), new Stage(hosts.b.prefix)];
  const down = async (): Promise<void> => {
    await Promise.all([near, far].map((stage) => stage[Symbol.asyncDispose]()));
    hosts[Symbol.dispose]();
  };
  try {
    const settings = (host: typeof hosts.a, other: typeof hosts.b, threads: number): Words => ({
      rebind: { holdSeconds: 1, patienceMs: 5000 },
      link: { entries: 8192 },
      network: networkTowards(host, other, HELLO, { udp: { threads }, ...more }),
    });
    const [from, to] = await Promise.all([
      near.daemon(settings(hosts.a, hosts.b, there)),
      far.daemon(settings(hosts.b, hosts.a, THREADS)),
    ]);
    const [one, two, receiver] = await Promise.all([
      near.application("one"),
      near.application("two"),
      far.application("receiver"),
    ]);
    return { hosts, senders: [one, two], receiver, from, to, [Symbol.asyncDispose]: down };
  } catch (cause) {
    await down();
    throw cause;
  }
}

/** A sink on each channel, and a source of each sender; resolves when they are matched. */
async function open({ senders, receiver }: Bed, stream: Words): Promise<void> {
  for (const channel of CHANNELS) await receiver.call("sink", { ...stream, channel });
  for (const sender of senders) {
    for (const channel of CHANNELS) await sender.call("source", { ...stream, channel });
  }
  for (const sender of senders) {
    for (const index of CHANNELS.keys()) await sender.call("matched", { index });
  }
}

/** Each sink has had `count` messages of each sender, in order. */
async function complete({ receiver }: Bed, counts: ReadonlyArray<ReadonlyArray<number>>): Promise<void> {
  for (const index of CHANNELS.keys()) {
    const wanted = counts.map((of) => of[index] ?? 0);
    const sum = wanted.reduce((a, b) => a + b, 0);
    const seen = await eventually(
      async () => (await receiver.call("received", { index }))["result"] as Words,
      (received) => Number(received["count"]) >= sum,
    );
    expect(seen).toMatchObject({ count: sum, faults: [] });
    const from = Object.values(seen["from"] as Record<string, { readonly count: number; readonly gaps: number }>);
    expect(from.map(({ gaps }) => gaps)).toEqual(wanted.map(() => 0));
    expect(from.map(({ count }) => count).sort((a, b) => a - b)).toEqual(wanted.toSorted((a, b) => a - b));
  }
}

const NAMES = { udp: "engine network", "udp-2": "engine udp-2" } as const;

async function receivedBy(daemon: TestProcess): Promise<Record<keyof typeof NAMES, number>> {
  const { engines } = await statusOf(daemon);
  const of = (name: string): number => Number(engines.find((one) => one.name === name)?.counters["rx_messages"]);
  return { udp: of(NAMES.udp), "udp-2": of(NAMES["udp-2"]) };
}

describe.skipIf(missing !== "")(`receiving work of kernel UDP on ${THREADS} threads ${missing}`, () => {
  it.each([
    ["one that receives with one thread", 1, 64, 500],
    ["one that receives with more", 3, 64, 500],
    ["one that sends messages in fragments", 1, 200_000, 4],
  ])("takes each message of %s once, in order, by the lane of its channel", { timeout: 90_000 }, async (...which) => {
    const [, there, size, count] = which;
    await using all = await bed(there);
    const stream = { stream: "s", maxMessage: 2 ** 18 };
    await open(all, stream);
    const before = await receivedBy(all.to);
    for (const sender of all.senders) {
      for (const index of CHANNELS.keys()) await sender.call("emit", { index, size, count, burst: 16, pace: 2 });
    }
    for (const sender of all.senders) {
      for (const index of CHANNELS.keys()) {
        await sender.call("finished", { index });
        expect((await sender.call("settled", { index }))["result"]).toMatchObject({ consumed: count, dropped: {} });
      }
    }
    await complete(
      all,
      all.senders.map(() => CHANNELS.map(() => count)),
    );
    const lanes = CHANNELS.map((channel) => laneOf("udp", streamTag("s"), channel, THREADS));
    const after = await receivedBy(all.to);
    for (const lane of ["udp", "udp-2"] as const) {
      const mine = lanes.filter((one) => one === lane).length;
      expect(mine).toBeGreaterThan(0);
      expect(after[lane] - before[lane]).toBe(mine * all.senders.length * count);
    }
    const { threads, datapaths } = await statusOf(all.to);
    expect(threads.map(({ engines }) => engines)).toEqual([["udp"], ["udp-2"]]);
    expect(datapaths.map(({ lane }) => lane)).toEqual(["udp", "udp-2"]);
    const explained = (await all.to.call("explain"))["result"] as ReadonlyArray<Words>;
    expect(explained).toMatchObject([{ thread: { name: "udp" }, receivers: [{ name: "udp-2" }] }]);
    const links = explained[0]?.["links"] as ReadonlyArray<{ readonly lane: string }>;
    expect(links.map(({ lane }) => lane).sort()).toEqual(["udp", "udp-2"]);
    const peers = ((await all.from.call("explain"))["result"] as ReadonlyArray<Words>)[0]?.["peers"];
    expect((peers as ReadonlyArray<Words>).map((peer) => peer["thereLane"]).sort()).toEqual(["udp", "udp-2"]);
  });

  it("loses, doubles and reorders nothing where streams move to XDP and back, at either end", {
    timeout: 120_000,
  }, async () => {
    await using all = await bed(2, { xdp: { slots: 4096 } });
    const fast = { stream: "s", acceleration: "fast" };
    await open(all, fast);
    for (const one of [...all.senders, all.receiver]) {
      await eventually(
        () => decisionOf(one, fast),
        ({ datapath }) => datapath === "xdp",
      );
    }
    for (const sender of all.senders) {
      for (const index of CHANNELS.keys()) await sender.call("emit", { index, size: 64, burst: 1, pace: 5 });
    }
    const told: Words[] = [];
    const move = async (one: TestProcess, times: number): Promise<void> => {
      told.push(...((await one.call("moves", { ...fast, times, pace: 20 }))["result"] as Words[]));
    };
    await move(all.receiver, 4);
    for (const sender of all.senders) await move(sender, 2);
    await move(all.receiver, 4);
    // It stays where it is received by both lanes.
    await move(all.receiver, 1);
    const before = await receivedBy(all.to);
    await eventually(
      () => receivedBy(all.to),
      (now) => now.udp > before.udp + 200 && now["udp-2"] > before["udp-2"] + 200,
    );
    expect(told.length).toBe(13);
    for (const move of told) expect(move).toMatchObject({ lost: 0, duplicated: 0, reordered: 0 });
    const counts: number[][] = [];
    for (const sender of all.senders) {
      const of: number[] = [];
      for (const index of CHANNELS.keys()) {
        of.push(Number(((await sender.call("stop", { index }))["result"] as Words)["emitted"]));
        const settled = (await sender.call("settled", { index }))["result"];
        expect(settled).toMatchObject({ consumed: of.at(-1), dropped: {} });
      }
      counts.push(of);
    }
    await complete(all, counts);
  });

  it("leaves nothing behind of a sender that is killed, and takes nothing from the other", {
    timeout: 90_000,
  }, async () => {
    await using all = await bed(2);
    await open(all, { stream: "s" });
    const [killed, other] = all.senders as [TestProcess, TestProcess];
    for (const sender of all.senders) {
      for (const index of CHANNELS.keys()) await sender.call("emit", { index, size: 64, burst: 4, pace: 2 });
    }
    const before = await receivedBy(all.to);
    await eventually(
      () => receivedBy(all.to),
      (now) => now.udp > before.udp + 500 && now["udp-2"] > before["udp-2"] + 500,
    );
    await killed.kill();
    for (const index of CHANNELS.keys()) {
      const emitted = Number(((await other.call("stop", { index }))["result"] as Words)["emitted"]);
      expect((await other.call("settled", { index }))["result"]).toMatchObject({ consumed: emitted, dropped: {} });
      const seen = await eventually(
        async () => (await all.receiver.call("received", { index }))["result"] as Words,
        ({ from }) => Object.values(from as Record<string, Words>).some(({ count }) => count === emitted),
      );
      expect(seen["faults"]).toEqual([]);
    }
    await all.receiver.call("close").catch(() => {});
    await other.call("close").catch(() => {});
    for (const one of [all.from, all.to]) {
      await eventually(
        () => statusOf(one),
        ({ links, slots, quarantined, sessions }) =>
          sessions.length === 0 && links.length === 0 && slots.outstanding === 0 && quarantined === 0,
      );
    }
  });
});

describe("several receiving threads", () => {
  const refusal = (settings: object): Promise<unknown> =>
    Runtime.embed({ log: { level: "silent" }, ...settings }).then(
      async (runtime) => void (await runtime.close()),
      (cause) => (cause as Error).message,
    );

  it("are refused where they cannot be, and named", async () => {
    const udp = { threads: 2 };
    const cases: ReadonlyArray<readonly [object, RegExp]> = [
      [{ network: { udp: { threads: 5 } } }, /network\.udp\.threads is 5; allowed: .*from 1 to 4/],
      [{ network: { udp: { threads: 0 } } }, /network\.udp\.threads is 0/],
      [{ network: { udp }, engine: { mode: "inline" } }, /network\.udp\.threads is 2; .*engine\.mode is thread/],
      [
        { network: { udp }, engines: { process: { udp: true } } },
        /network\.udp\.threads is 2; .*engines\.process\.udp/,
      ],
      [{ network: { udp }, threads: { most: 1 } }, /network\.udp\.threads is 2; allowed: at most threads\.most \(1\)/],
      [{ network: { udp, dataPort: 65535 } }, /network\.udp\.threads is 2; .*network\.dataPort 65535/],
    ];
    for (const [settings, expected] of cases) expect(await refusal(settings)).toMatch(expected);
  });

  it("have ports that follow each other where one is named", async () => {
    await using runtime = await Runtime.embed({
      log: { level: "silent" },
      network: { udp: { threads: UDP_LANES.length }, dataPort: 7564 },
    });
    expect(runtime.status().datapaths.map(({ endpoint }) => endpoint)).toEqual(
      UDP_LANES.map((_, i) => `127.0.0.1:${7564 + i}`),
    );
  });
});
