// Engines of two datapaths on one thread of a daemon, and on two: both carry messages, and `status` and `explain` say who serves what
// and how much it works.
import { describe, expect, it } from "vitest";
import { Runtime } from "../../src/index.ts";
import { networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7580;

async function exchange(from: TestProcess, to: TestProcess, index: number, count: number): Promise<void> {
  await from.call("matched", { index });
  await from.call("emit", { index, size: 64, count, burst: 16, pace: 1 });
  await from.call("finished", { index });
  const seen = await eventually(
    async () => (await to.call("received", { index }))["result"] as Words,
    (received) => Number(received["count"]) >= count,
  );
  expect(seen).toMatchObject({ count, faults: [] });
}

describe.skipIf(missing !== "")(`the threads of a runtime ${missing}`, () => {
  it.each([
    ["one for both", { most: 1 }, [["udp", "xdp"]]],
    ["one by the map", { map: { udp: 2, xdp: 2 } }, [["udp", "xdp"]]],
    ["one each", {}, [["udp"], ["xdp"]]],
  ] as const)("serve kernel UDP and XDP: %s", async (_, threads, expected) => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const settings = (host: typeof hosts.a, other: typeof hosts.b) => ({
      threads,
      network: networkTowards(host, other, HELLO, {}),
    });
    const [da, db] = await Promise.all([
      near.daemon(settings(hosts.a, hosts.b)),
      far.daemon(settings(hosts.b, hosts.a)),
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const streams = [{ stream: "plain" }, { stream: "quick", acceleration: "fast" }];
    for (const [i, stream] of streams.entries()) {
      await pb.call("sink", { ...stream, channel: i + 1 });
      await pa.call("source", { ...stream, channel: i + 1 });
    }
    expect((await decisionOf(pa, streams[1] as Words)).datapath).toBe("xdp");
    await exchange(pa, pb, 0, 500);
    await exchange(pa, pb, 1, 500);
    for (const one of [da, db]) {
      const { threads: report } = await eventually(
        () => statusOf(one),
        ({ threads, engines }) =>
          threads.length === expected.length && engines.every(({ counters }) => Number(counters["busy_ns"]) > 0),
      );
      expect(report.map(({ engines }) => engines)).toEqual(expected);
      for (const { duty, idle, mode } of report) {
        expect({ idle, mode }).toEqual({ idle: "park", mode: "thread" });
        expect(duty).toBeGreaterThanOrEqual(0);
        expect(duty).toBeLessThanOrEqual(1);
      }
    }
    const explained = (await da.call("explain"))["result"] as ReadonlyArray<{ stream: string; thread: Words }>;
    expect(explained.find(({ stream }) => stream === "quick")?.thread).toMatchObject({ engines: expected.at(-1) });
  });
});

describe("a core that is not there", () => {
  it("is refused, and named", async () => {
    const refused = {
      code: "ECONFIG",
      message: expect.stringMatching(/engine\.cpu is 900; allowed: a core that is there: 0/),
    };
    await expect(Runtime.embed({ engine: { cpu: 900 }, log: { level: "silent" } })).rejects.toMatchObject(refused);
    const map = { threads: { map: { dpdk: 1 } } };
    await expect(Runtime.embed(map)).rejects.toThrow(
      /threads\.map\.dpdk is 1; allowed: left out, unless engines\.process\.dpdk is false/,
    );
    await expect(Runtime.embed({ engine: { mode: "inline" }, threads: { most: 1 } })).rejects.toThrow(/threads\.most/);
  });
});
