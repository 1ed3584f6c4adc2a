// XDP on an interface that goes away and comes back, as cards and containers do: the probe says what is true now, streams go
// on over kernel UDP, what went with the device is counted, and they return. As root.
import { describe, expect, it } from "vitest";
import { books, Side, sum, traffic } from "./runtime/moving.ts";
import { type NamespaceHost, networkTowards, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { decisionOf, eventually, Stage, statusOf, type TestProcess, type Words } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7560;
const fast = { stream: "s", acceleration: "fast" };

interface Found {
  readonly available: boolean;
  readonly reason: string;
  readonly evidence: ReadonlyArray<string>;
  readonly cure: string;
}

/** What a daemon says of XDP when the host is looked at. */
async function found(daemon: TestProcess): Promise<Found> {
  const records = (await daemon.call("doctor"))["result"] as ReadonlyArray<Words>;
  return records.find(({ technology }) => technology === "xdp") as unknown as Found;
}

describe.skipIf(missing !== "")(`XDP on a device that goes and comes back ${missing}`, { timeout: 120_000 }, () => {
  it.each([
    ["a thread", false, "which is us"],
    ["a process of its own", true, "an engine of ours"],
  ])("is what the probe says now, its engine being %s", async (_, apart, holder) => {
    using hosts = new TwoHosts();
    await using stage = new Stage(hosts.a.prefix);
    const daemon = await stage.daemon({
      network: networkTowards(hosts.a, hosts.b, HELLO),
      engines: { process: { xdp: apart } },
      rebind: { holdSeconds: 0 },
    });
    const application = await stage.application("a");
    expect((await found(daemon)).evidence.filter((line) => line.startsWith("this runtime"))).toEqual([]);
    const bound = (to: string) =>
      eventually(
        () => decisionOf(application, fast),
        ({ datapath }) => datapath === to,
      );
    await bound("xdp");
    const served = await found(daemon);
    expect(served).toMatchObject({ available: true });
    expect(served.evidence.find((line) => line.startsWith("XDP program attached"))).toContain(holder);
    expect(served.evidence.at(-1)).toMatch(/^this runtime: serves it at 10\.84\.0\.1:\d+$/);
    // Looking has disturbed nobody.
    expect((await decisionOf(application, { ...fast, stream: "next" })).datapath).toBe("xdp");

    hosts.a.ip("link", "del", "dev", hosts.a.interface);
    expect(await found(daemon)).toMatchObject({ available: false, reason: expect.stringMatching(/no interface/) });
    expect((await found(daemon)).cure).not.toBe("");
    const { warnings } = await bound("udp");
    expect(warnings.map(({ code }) => code)).toEqual(["W_FALLBACK_UDP"]);
    await eventually(
      () => found(daemon),
      ({ evidence }) => evidence.at(-1)?.startsWith("this runtime: does not serve it now") === true,
    );

    // It was given up; that the device is there again is seen all the same, without anybody asking.
    const state = async () => (await statusOf(daemon)).datapaths.find(({ lane }) => lane === "xdp")?.state;
    if (!apart) await eventually(state, (seen) => seen === "gaveUp");
    hosts.join();
    await bound("xdp");
    expect(await found(daemon)).toMatchObject({ available: true });
  });

  it("moves its streams under traffic, counts what went with it, and returns", async () => {
    using hosts = new TwoHosts();
    // Messages over kernel UDP go another way.
    const second = (host: NamespaceHost, address: string): void => {
      host.ip("addr", "add", address, "dev", "veth1");
      host.ip("link", "set", "veth1", "up");
    };
    const join = (): void => {
      hosts.a.ip("link", "add", "veth1", "type", "veth", "peer", "name", "veth1", "netns", hosts.b.namespace);
      second(hosts.a, "10.85.0.1/24");
      second(hosts.b, "10.85.0.2/24");
    };
    join();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    const settings = { network: { xdp: { interface: "veth1", slots: 4096 } } };
    await Promise.all([near.start(hosts.a, hosts.b, settings), far.start(hosts.b, hosts.a, settings)]);
    await traffic(near, far);
    const goOn = async (): Promise<void> => {
      const before = await Promise.all([near.received(), far.received()]);
      for (const [i, side] of [near, far].entries()) {
        await eventually(side.received.bind(side), ({ count }) => count > (before[i]?.count ?? 0) + 200);
      }
    };
    await goOn();
    const moved = async (side: Side) => (await side.rebounds()).map(({ from, to, why }) => ({ from, to, why }));
    const already = [(await moved(near)).length, (await moved(far)).length];
    hosts.a.ip("link", "del", "dev", "veth1");
    for (const [i, side] of [near, far].entries()) {
      const events = await eventually(
        () => moved(side),
        (seen) => seen.length > (already[i] ?? 0),
      );
      expect(events.at(-1)).toEqual({ from: "xdp", to: "udp", why: "failed" });
    }
    await goOn();
    join();
    for (const side of [near, far]) {
      await eventually(
        () => moved(side),
        (seen) => seen.at(-1)?.to === "xdp",
      );
    }
    await goOn();
    for (const { sent, dropped, got } of await books(near, far)) {
      expect(got.faults).toEqual([]);
      expect(got.stats.received).toBe(got.count);
      // What was refused on its way out has a number as well, or has not yet.
      const refused = Object.values(dropped).reduce((total: number, n: number) => total + n, 0);
      expect(got.stats.lost).toBeGreaterThanOrEqual(sent - got.count);
      expect(got.stats.lost).toBeLessThanOrEqual(sent + refused - got.count);
    }
    for (const side of [near, far]) {
      const { moves } = await side.explain();
      const { lost } = (await side.received()).stats;
      expect(sum(moves, "lost")).toBe(lost);
    }
  });
});
