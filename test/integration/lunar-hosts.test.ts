// Lunar MoM between real processes, on one host and on two (namespaces joined by veth): the same application over shared memory,
// UDP, XDP, DPDK and RDMA, by the daemons' configuration alone.
import { describe, expect, it } from "vitest";
import { engines } from "../../src/native/engine.ts";
import { probeOf } from "../../src/qos/capabilities.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const HELLO = 7580;
const APPLICATION = "../lunar/application.ts";
const root = noNamespaces();

/** Why it cannot be had here, and what the daemons are told. */
const OVER: Readonly<Record<string, { missing: string; network(host: NamespaceHost): Words; settings?: Words }>> = {
  udp: { missing: root, network: () => ({ xdp: { enabled: false } }) },
  xdp: { missing: root, network: () => ({}) },
  dpdk: {
    missing:
      root ||
      (engines()
        .probe("dpdk")
        .evidence.some(({ finding }) => finding.startsWith("DPDK"))
        ? ""
        : "needs DPDK"),
    network: (host) => ({
      xdp: { enabled: false },
      dpdk: { interface: host.interface, address: host.address.replace(/\.(\d)$/, ".1$1") },
    }),
  },
  rdma: {
    missing: root || (probeOf("rdma", "net").available ? "" : "needs libfabric"),
    network: () => ({ xdp: { enabled: false }, rdma: { provider: "net" } }),
    settings: {
      strategy: {
        name: "test",
        rules: [{ when: { acceleration: "fast" }, use: ["rdma", "udp"], emulated: true }, { use: ["udp"] }],
      },
    },
  },
};

const application = async (stage: Stage, name: string): Promise<TestProcess> => {
  const started = stage.start(APPLICATION, name, [stage.socket, name]);
  await started.until((words) => words["connected"] === true, "it is connected", 45_000);
  return started;
};

/** Topics in both directions, found by a pattern, and a question; each message once and in order. */
async function exchange(a: TestProcess, b: TestProcess): Promise<void> {
  const count = 200;
  await Promise.all([a, b].map((one) => one.call("subscribe", { pattern: "plant/#" })));
  const ways = [
    [a, b, "plant/a"],
    [b, a, "plant/b"],
  ] as const;
  for (const [from, , topic] of ways) await from.call("publisher", { topic });
  for (const [, to, topic] of ways) {
    await eventually(
      async () => (await to.call("topics"))["result"] as string[],
      (topics) => topics.includes(topic),
    );
  }
  await Promise.all(ways.map(([from, , topic]) => from.call("send", { topic, count, size: 64 })));
  for (const [, to, topic] of ways) {
    const seen = await eventually(
      async () => (await to.call("received", { topic }))["result"] as Words,
      (received) => Number(received["count"]) >= count,
    );
    expect(seen).toEqual({ count, ordered: true });
  }
  await b.call("respond", { topic: "who" });
  expect((await a.call("request", { topic: "who" }))["result"]).toBe("b: who?");
}

async function gone(daemons: ReadonlyArray<TestProcess>): Promise<void> {
  await eventually(
    async () =>
      (await Promise.all(daemons.map(statusOf))).flatMap(({ links, slots }) => [links.length, slots.outstanding]),
    (left) => left.every((count) => count === 0),
  );
}

describe("topics", { timeout: 150_000 }, () => {
  it("go between two processes of one host, and nothing is left when one of them is killed", async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon();
    const [a, b] = await Promise.all([application(stage, "a"), application(stage, "b")]);
    await exchange(a, b);
    await b.kill();
    await eventually(
      async () => (await a.call("topics"))["result"] as string[],
      (topics) => !topics.includes("plant/b"),
    );
    await a.call("close");
    await gone([daemon]);
  });

  for (const [technology, { missing, network, settings = {} }] of Object.entries(OVER)) {
    it.skipIf(missing !== "")(`go between two hosts over ${technology} ${missing}`, async () => {
      using hosts = new TwoHosts();
      await using near = new Stage(hosts.a.prefix);
      await using far = new Stage(hosts.b.prefix);
      const daemons = await Promise.all(
        (
          [
            [near, hosts.a, hosts.b],
            [far, hosts.b, hosts.a],
          ] as const
        ).map(([stage, host, other]) =>
          stage.daemon({ ...settings, network: networkTowards(host, other, HELLO, network(host)) }),
        ),
      );
      const [a, b] = await Promise.all([application(near, "a"), application(far, "b")]);
      await exchange(a, b);
      const bound = (await daemons[0]!.call("explain"))["result"] as ReadonlyArray<{
        readonly stream: string;
        readonly decision: { readonly datapath: string };
      }>;
      const fast = bound.filter(({ stream }) => stream.includes("/fast/"));
      expect(fast.length).toBeGreaterThan(0);
      expect(fast.map(({ decision }) => decision.datapath)).toEqual(fast.map(() => technology));
      await Promise.all([a, b].map((one) => one.call("close")));
      await gone(daemons);
    });
  }
});
