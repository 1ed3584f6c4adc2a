// A DPDK device that is taken away under traffic, and given back: its streams go on over kernel UDP on another interface, the
// application sees events and no error, what was under way is counted to the message, and they return when it is back.
import { describe, expect, it } from "vitest";
import type { ReboundEvent } from "../../src/index.ts";
import { engines } from "../../src/native/engine.ts";
import { books, Side, traffic } from "../integration/runtime/moving.ts";
import { type NamespaceHost, noNamespaces, TwoHosts } from "../integration/runtime/namespaces.ts";
import { eventually, type Words } from "../integration/runtime/processes.ts";

const DEVICE = "fast0";
const PATIENCE_MS = 60_000;

function lacking(): string {
  const why = noNamespaces();
  if (why !== "") return why;
  const { evidence, reason } = engines().probe("dpdk");
  return evidence.some(({ finding }) => finding.startsWith("DPDK")) ? "" : reason;
}
const missing = lacking();

/** A second pair of interfaces, which DPDK has for itself. */
function plug(hosts: TwoHosts): void {
  hosts.a.ip("link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", hosts.b.namespace);
  for (const host of [hosts.a, hosts.b]) host.ip("link", "set", DEVICE, "up");
}

const settings = (host: NamespaceHost): Words => ({
  network: { dpdk: { interface: DEVICE, address: host.address.replace("10.84.", "10.85.") }, xdp: { enabled: false } },
});

const ways = (events: ReadonlyArray<ReboundEvent>) => events.map(({ from, to, why }) => ({ from, to, why }));
const AWAY = { from: "dpdk", to: "udp", why: "failed" };
const BACK = { from: "udp", to: "dpdk", why: "appeared" };

describe.skipIf(missing !== "")(`a DPDK device that goes and comes back ${missing}`, { timeout: 150_000 }, () => {
  it.each([
    {
      how: "is deleted",
      take: ({ a }: TwoHosts) => a.ip("link", "del", "dev", DEVICE),
      give: plug,
    },
    {
      how: "goes down",
      take: ({ a }: TwoHosts) => a.ip("link", "set", DEVICE, "down"),
      give: ({ a }: TwoHosts) => a.ip("link", "set", DEVICE, "up"),
    },
  ])("under traffic costs what was under way, when it $how, and that is counted", async ({ take, give }) => {
    using hosts = new TwoHosts();
    plug(hosts);
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    await Promise.all([
      near.start(hosts.a, hosts.b, settings(hosts.a)),
      far.start(hosts.b, hosts.a, settings(hosts.b)),
    ]);
    await traffic(near, far, "dpdk");
    const sides = [near, far];
    const goOn = async (): Promise<void> => {
      for (const side of sides) {
        const { count } = await side.received();
        await eventually(
          () => side.received(),
          (seen) => seen.count > count + 200,
        );
      }
    };
    await goOn();
    const before = await Promise.all(sides.map((side) => side.rebounds()));
    const moved = async (): Promise<ReboundEvent[][]> =>
      await Promise.all(sides.map(async (side, i) => (await side.rebounds()).slice(before[i]?.length)));

    take(hosts);
    await eventually(moved, (all) => all.every((events) => events.length >= 1));
    await goOn();
    expect((await moved()).map(ways)).toEqual([[AWAY], [AWAY]]);
    // Nobody is in its place while it is away.
    for (const side of sides) expect((await side.explain()).decision.datapath).toBe("udp");

    give(hosts);
    // One that was given up meanwhile is looked for ever more seldom.
    await eventually(moved, (all) => all.every((events) => events.length >= 2), PATIENCE_MS);
    await goOn();
    expect((await moved()).map(ways)).toEqual([
      [AWAY, BACK],
      [AWAY, BACK],
    ]);
    for (const { sent, got } of await books(near, far)) {
      expect(got.faults).toEqual([]);
      expect({ received: got.stats.received, lost: got.stats.lost }).toEqual({
        received: got.count,
        lost: sent - got.count,
      });
    }
    for (const side of sides) expect((await side.status()).quarantined).toBe(0);
  });
});
