// Streams for which resources are no concern, on two hosts (namespaces joined by veth) that have DPDK: over its af_packet
// device, with an address of its own, its engine in a process of its own or in the runtime's.
import { describe, expect, it } from "vitest";
import { engines } from "../../src/native/engine.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const HELLO = 7520;
const PATIENCE_MS = 60_000;
const FAST = { stream: "s", acceleration: "fast", consumption: "high" };

/** Without libdpdk-dev the rest is built, and this is skipped. */
function missing(): string {
  const why = noNamespaces();
  if (why !== "") return why;
  const { evidence, reason } = engines().probe("dpdk");
  return evidence.some(({ finding }) => finding.startsWith("DPDK")) ? "" : reason;
}
const lacks = missing();

const dpdkOf = (host: NamespaceHost, more: Words = {}): Words => ({
  interface: host.interface,
  address: host.address.replace(/\.(\d)$/, ".1$1"),
  ...more,
});

interface Settings {
  readonly dpdk: Words;
  readonly process?: boolean;
  readonly port?: number;
}

async function daemon(stage: Stage, host: NamespaceHost, other: NamespaceHost, settings: Settings) {
  const { dpdk, process: apart = true, port = HELLO } = settings;
  return await stage.daemon({
    network: networkTowards(host, other, HELLO, { port, xdp: { enabled: false }, dpdk }),
    engines: { process: { dpdk: apart } },
  });
}

/** Messages both ways between two applications, bound as expected, each once and in order; then nothing is left outstanding. */
async function exchange(
  daemons: readonly [TestProcess, TestProcess],
  stages: readonly [Stage, Stage],
  size: number,
  expected: readonly string[],
  fast: Words = FAST,
) {
  const [a, b] = stages;
  const [pa, pb] = await Promise.all([a.application("a"), b.application("b")]);
  await Promise.all([pa.call("sink", { ...fast, channel: 2 }), pb.call("sink", { ...fast, channel: 1 })]);
  await Promise.all([pa.call("source", { ...fast, channel: 1 }), pb.call("source", { ...fast, channel: 2 })]);
  // An engine in a process of its own may take a while to come; until then its streams are on UDP.
  await eventually(
    async () => [(await decisionOf(pa, fast)).datapath, (await decisionOf(pb, fast)).datapath],
    (bound) => bound.join() === expected.join(),
  );
  await Promise.all([pa.call("matched", { index: 0 }), pb.call("matched", { index: 0 })]);
  // Never more under way than the device's rings hold: nothing makes a sender wait for a receiver that has no core.
  const [rounds, each] = [10, 50];
  const received = async (one: TestProcess) => (await one.call("received", { index: 0 }))["result"] as Words;
  for (let count = each; count <= rounds * each; count += each) {
    for (const one of [pa, pb]) await one.call("emit", { index: 0, size, count, burst: 32, pace: 1 });
    for (const one of [pa, pb]) {
      await one.call("finished", { index: 0 });
      expect((await one.call("settled", { index: 0 }))["result"]).toMatchObject({ consumed: count, dropped: {} });
    }
    for (const one of [pa, pb]) {
      const seen = await eventually(
        () => received(one),
        (words) => Number(words["count"]) >= count,
      );
      expect(seen).toMatchObject({ count, faults: [] });
    }
  }
  await Promise.all([pa.call("close"), pb.call("close")].map((closing) => closing.catch(() => {})));
  for (const one of daemons) {
    await eventually(
      () => statusOf(one),
      ({ links, slots, quarantined }) => links.length === 0 && slots.outstanding === 0 && quarantined === 0,
    );
  }
  await Promise.all(daemons.map((one) => one.call("close").catch(() => {})));
  await Promise.all(daemons.map((one) => one.gone()));
}

describe.skipIf(lacks !== "")(`DPDK between two hosts ${lacks}`, { timeout: PATIENCE_MS }, () => {
  it.each([
    { process: true, size: 64, mtu: 1500 },
    { process: true, size: 8000, mtu: 9000 },
    { process: false, size: 64, mtu: 1500 },
  ])("carries $size bytes both ways (engine in a process of its own: $process)", async ({ process, size, mtu }) => {
    using hosts = new TwoHosts(mtu);
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const daemons = await Promise.all([
      daemon(near, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a), process }),
      daemon(far, hosts.b, hosts.a, { dpdk: dpdkOf(hosts.b), process }),
    ]);
    await exchange(daemons, [near, far], size, ["dpdk", "dpdk"]);
  });

  it.each([1400, 8000])("understands a host that has kernel UDP only (%i bytes)", async (size) => {
    using hosts = new TwoHosts(size > 1500 ? 9000 : 1500);
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const daemons = await Promise.all([
      daemon(near, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a) }),
      daemon(far, hosts.b, hosts.a, { dpdk: {} }),
    ]);
    await exchange(daemons, [near, far], size, ["dpdk", "udp"]);
  });

  it.each([64, 1420])("tells a host that has kernel UDP only its messages' class in tags (%i bytes)", async (size) => {
    using hosts = new TwoHosts();
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    const daemons = await Promise.all([
      daemon(near, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a, { priorityTags: true }) }),
      daemon(far, hosts.b, hosts.a, { dpdk: {} }),
    ]);
    await exchange(daemons, [near, far], size, ["dpdk", "udp"], { ...FAST, trafficClass: 5 });
  });

  it("falls back and says why when its address is the kernel's, and when another process serves it", async () => {
    using hosts = new TwoHosts();
    await using first = new Stage(hosts.a.prefix);
    await using second = new Stage(hosts.a.prefix);
    await using third = new Stage(hosts.a.prefix);
    hosts.a.ip("addr", "add", "10.84.0.77/24", "dev", hosts.a.interface);
    await daemon(first, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a, { address: "10.84.0.77" }) });
    const kernels = await decisionOf(await first.application("one"), FAST);
    expect([kernels.datapath, kernels.warnings[0]?.code]).toEqual(["udp", "W_FALLBACK_UDP"]);
    expect(kernels.warnings[0]?.message).toContain("the kernel owns the address");

    const dpdk = dpdkOf(hosts.a, { port: 7777 });
    const holder = await daemon(second, hosts.a, hosts.b, { dpdk, port: HELLO + 1, process: false });
    const application = await second.application("two");
    expect((await decisionOf(application, FAST)).datapath).toBe("dpdk");
    await daemon(third, hosts.a, hosts.b, { dpdk, port: HELLO + 2 });
    const late = await decisionOf(await third.application("three"), FAST);
    expect(late.datapath).toBe("udp");
    expect(late.warnings[0]?.message).toContain(`process ${holder.pid} (node) serves`);
  });

  it("serves the next stream as the first, though its own engine is what has address and port now", async () => {
    using hosts = new TwoHosts();
    await using stage = new Stage(hosts.a.prefix);
    await daemon(stage, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a, { port: 7777 }) });
    const application = await stage.application("a");
    for (const stream of ["one", "two", "one"]) {
      await eventually(
        async () => (await decisionOf(application, { ...FAST, stream })).datapath,
        (datapath) => datapath === "dpdk",
      );
    }
  });

  it("moves its streams to kernel UDP when its device is gone", async () => {
    using hosts = new TwoHosts();
    await using stage = new Stage(hosts.a.prefix);
    await daemon(stage, hosts.a, hosts.b, { dpdk: dpdkOf(hosts.a) });
    const application = await stage.application("a");
    expect((await decisionOf(application, FAST)).datapath).toBe("dpdk");
    await application.call("sink", FAST);
    hosts.a.ip("link", "del", "dev", hosts.a.interface);
    await eventually(
      () => decisionOf(application, FAST),
      ({ datapath }) => datapath === "udp",
    );
  });
});
