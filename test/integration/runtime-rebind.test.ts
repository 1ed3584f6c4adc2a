// Streams move between datapaths while messages flow, on two hosts (namespaces joined by veth): on request nothing is lost,
// doubled or reordered; when a datapath fails, what is lost is counted, to the message.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ReboundEvent } from "../../src/index.ts";
import type { MoveCosts } from "../../src/protocol/rebound.ts";
import { type Book, books, fast, Side, sum, traffic } from "./runtime/moving.ts";
import { noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually } from "./runtime/processes.ts";

const missing = noNamespaces();

describe.skipIf(missing !== "")(`streams that move between datapaths ${missing}`, () => {
  it("on request lose, double and reorder nothing in a hundred moves, whichever side moves, and when", {
    timeout: 120_000,
  }, async () => {
    using hosts = new TwoHosts();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    await Promise.all([near.start(hosts.a, hosts.b), far.start(hosts.b, hosts.a)]);
    await traffic(near, far);
    // Each side alone, then both at once.
    const told = [await near.moves(26, 20), await far.moves(26, 20)];
    told.push(...(await Promise.all([near.moves(24, 5), far.moves(24, 5)])));
    expect(told.flat().length).toBe(100);
    // Its application answers nothing for a while: longer than a link that nobody moves to waits for it.
    await far.app.call("stop", { index: 0 });
    await far.app.call("emit", { index: 0, size: 64, burst: 1, pace: 5 });
    const busy = near.moves(2, 0);
    await near.app.call("block", { ms: 1500 });
    told.push(await busy);
    for (const events of told) {
      expect(events.map(({ from, to, why }) => ({ from, to, why }))).toEqual(
        events.map((_, i) =>
          i % 2 === 0 ? { from: "xdp", to: "udp", why: "qos" } : { from: "udp", to: "xdp", why: "qos" },
        ),
      );
      for (const { lost, duplicated, reordered, pauseMicroseconds } of events) {
        expect({ lost, duplicated, reordered }).toEqual({ lost: 0, duplicated: 0, reordered: 0 });
        expect(pauseMicroseconds).toBeGreaterThan(0);
      }
    }
    for (const side of [near, far]) {
      const { moved, moves } = await side.explain();
      const times = (await side.rebounds()).length;
      expect(moved).toMatchObject([{ times, lost: 0, duplicated: 0, reordered: 0 }]);
      expect(moved[0]?.pauseMicroseconds).toBeGreaterThan(sum(moves, "pauseMicroseconds") - 1);
      expect(moves.length).toBe(16);
    }
    for (const { sent, dropped, got } of await books(near, far)) {
      expect(dropped).toEqual({});
      expect(sent).toBeGreaterThan(1000);
      expect(got).toMatchObject({ count: sent, faults: [], stats: { received: sent, lost: 0 } });
      for (const { gaps } of Object.values(got.from)) expect(gaps).toBe(0);
    }
  });

  it("on request lose nothing either where the application's thread polls the engines", {
    timeout: 120_000,
  }, async () => {
    using hosts = new TwoHosts();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    await Promise.all([near.start(hosts.a, hosts.b, {}, true), far.start(hosts.b, hosts.a, {}, true)]);
    await traffic(near, far);
    const told = [...(await near.moves(8, 10)), ...(await far.moves(8, 10))];
    expect(told.length).toBe(16);
    for (const { lost, duplicated, reordered } of told) {
      expect({ lost, duplicated, reordered }).toEqual({ lost: 0, duplicated: 0, reordered: 0 });
    }
    for (const { sent, dropped, got } of await books(near, far)) {
      expect(dropped).toEqual({});
      expect(got).toMatchObject({ count: sent, faults: [], stats: { received: sent, lost: 0 } });
    }
  });

  it("count what came twice or late to them while they moved, and not what came so to others", {
    timeout: 120_000,
  }, async () => {
    using hosts = new TwoHosts();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    // What the far host sends over XDP comes twice or out of order every third time.
    await Promise.all([
      near.start(hosts.a, hosts.b),
      far.start(hosts.b, hosts.a, { network: { faults: { xdp: "duplicate=0.3,reorder=0.3,seed=3" } } }),
    ]);
    await traffic(near, far);
    // Of this one there are only sources on the host that moves it.
    const other = { ...fast, stream: "other", channel: 5 };
    await far.app.call("sink", other);
    await near.app.call("source", other);
    await near.app.call("matched", { index: 1 });
    const counted = async (stream: string): Promise<MoveCosts | undefined> => (await near.explain(stream)).moved[0];
    for (let round = 0; round < 4; round++) {
      await near.app.call("moves", { ...fast, stream: "other", times: 2, pace: 30 });
      await near.moves(2, 30);
    }
    await eventually(
      () => counted(fast.stream),
      (costs) => costs !== undefined && costs.duplicated > 0 && costs.reordered > 0,
    );
    expect(await counted("other")).toMatchObject({ times: 8, lost: 0, duplicated: 0, reordered: 0 });
  });

  it("move at once when a datapath fails, count what is lost to the message, and come back when it holds", {
    timeout: 120_000,
  }, async () => {
    using hosts = new TwoHosts();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    const armed = join(near.stage.folder, "armed");
    await Promise.all([
      near.start(hosts.a, hosts.b, { network: { faults: { xdp: `fail_after=0,armed=${armed}` } } }),
      far.start(hosts.b, hosts.a),
    ]);
    await traffic(near, far);
    const [before, ours] = [(await near.rebounds()).length, (await far.rebounds()).length];
    const moved = async (): Promise<ReboundEvent[]> => (await near.rebounds()).slice(before);
    for (let round = 0; round < 2; round++) {
      const [here, there] = [await near.received(), await far.received()];
      await eventually(near.received.bind(near), ({ count }) => count > here.count + 200);
      await eventually(far.received.bind(far), ({ count }) => count > there.count + 200);
      writeFileSync(armed, "");
      // Not for longer than it takes to strike: a datapath that fails too often in a row is given up.
      await eventually(
        async () => ({ datapaths: (await near.status()).datapaths, rebounds: await moved() }),
        ({ datapaths, rebounds }) =>
          rebounds.length > 2 * round || datapaths.find(({ lane }) => lane === "xdp")?.state !== "up",
      );
      rmSync(armed);
      await eventually(moved, (events) => events.length >= 2 * round + 1);
      // Both directions go on over what is left, and then over what came back.
      const [after, beyond] = [await near.received(), await far.received()];
      await eventually(near.received.bind(near), ({ count }) => count > after.count + 100);
      await eventually(far.received.bind(far), ({ count }) => count > beyond.count + 100);
      await eventually(moved, (events) => events.length === 2 * round + 2);
    }
    expect((await moved()).map(({ from, to, why }) => ({ from, to, why }))).toEqual(
      [0, 1].flatMap(() => [
        { from: "xdp", to: "udp", why: "failed" },
        { from: "udp", to: "xdp", why: "appeared" },
      ]),
    );
    expect((await far.rebounds()).slice(ours)).toEqual([]);
    const all = await books(near, far);
    // All that this host missed went with a datapath that had failed, and is told of these moves.
    const { moved: costs, moves } = await near.explain();
    const lost = all[1]?.got.stats.lost;
    expect([costs[0]?.lost, sum(moves, "lost")]).toEqual([lost, lost]);
    expect((await near.status()).sessions[0]?.streams[0]?.moveCosts).toMatchObject({ lost });
    for (const { sent, got } of all) {
      expect(got.faults).toEqual([]);
      expect({ ...got.stats, sum: got.stats.received + got.stats.lost }).toMatchObject({
        received: got.count,
        sum: sent,
      });
    }
  });

  it("move away from an engine that hangs, and count what is lost to the message, in both directions", {
    timeout: 120_000,
  }, async () => {
    using hosts = new TwoHosts();
    await using near = new Side(hosts.a);
    await using far = new Side(hosts.b);
    const armed = join(near.stage.folder, "armed");
    await Promise.all([
      near.start(hosts.a, hosts.b, { network: { faults: { xdp: `hang_after=0,armed=${armed}` } } }),
      far.start(hosts.b, hosts.a),
    ]);
    await traffic(near, far);
    await eventually(near.received.bind(near), ({ count }) => count > 200);
    await eventually(far.received.bind(far), ({ count }) => count > 200);
    // It is there until the end: a thread that came back would send what is counted as lost.
    writeFileSync(armed, "");
    await eventually(
      () => near.status(),
      ({ quarantined }) => quarantined > 0,
    );
    await eventually(
      () => near.rebounds(),
      (events) => events.at(-1)?.to === "udp",
    );
    const [after, beyond] = [await near.received(), await far.received()];
    await eventually(near.received.bind(near), ({ count }) => count > after.count + 100);
    await eventually(far.received.bind(far), ({ count }) => count > beyond.count + 100);
    const [there, here] = (await books(near, far)) as [Book, Book];
    for (const { sent, got } of [there, here]) {
      expect(got.faults).toEqual([]);
      expect({ received: got.stats.received, lost: got.stats.lost }).toEqual({
        received: got.count,
        lost: sent - got.count,
      });
    }
    // Nobody took for seconds what came to that host.
    expect(here.got.stats.lost).toBeGreaterThan(500);
  });
});
