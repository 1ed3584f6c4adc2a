// Streams move between kernel UDP and the datapaths whose engines are processes of their own (DPDK, and RDMA emulated) while
// messages flow both ways: on request nothing is lost, doubled or reordered; when an engine's process is killed or its
// device is gone, what is lost is counted to the message.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DPDK, RDMA } from "./runtime/media.ts";
import { accounts, books, goesOn, IN_HANDS, Side, sum, traffic } from "./runtime/moving.ts";
import { TwoHosts } from "./runtime/namespaces.ts";
import { eventually, type Words } from "./runtime/processes.ts";

/** So many moves on request for each technology; INSANE_MOVES asks for more. */
const MOVES = Number(process.env["INSANE_MOVES"] ?? 12);
const TEST_MS = 60_000 + 10_000 * MOVES;

describe.each([DPDK, RDMA])(
  "streams that move between kernel UDP and $technology $missing",
  ({ technology, missing, settings }) => {
    /** Both sides run, and messages flow both ways; `nearNetwork`: more of the near one's configuration. */
    async function flow(hosts: TwoHosts, near: Side, far: Side, nearNetwork?: Words): Promise<void> {
      await Promise.all([
        near.start(hosts.a, hosts.b, settings(hosts.a, nearNetwork)),
        far.start(hosts.b, hosts.a, settings(hosts.b)),
      ]);
      await traffic(near, far, technology);
    }

    it.skipIf(missing !== "")(
      "on request lose, double and reorder nothing, whichever side moves",
      { timeout: TEST_MS },
      async () => {
        using hosts = new TwoHosts();
        await using near = new Side(hosts.a);
        await using far = new Side(hosts.b);
        await flow(hosts, near, far);
        const each = Math.ceil(MOVES / 6) * 2;
        const told = [await near.moves(each, 20), await far.moves(each, 20)];
        told.push(...(await Promise.all([near.moves(each, 5), far.moves(each, 5)])));
        told.push(await near.movesUnseen(far, 8, 5), await far.movesUnseen(near, 8, 5));
        for (const events of told) {
          expect(events.map(({ from, to, why }) => ({ from, to, why }))).toEqual(
            events.map((_, i) =>
              i % 2 === 0 ? { from: technology, to: "udp", why: "qos" } : { from: "udp", to: technology, why: "qos" },
            ),
          );
          for (const { lost, duplicated, reordered } of events) {
            expect({ lost, duplicated, reordered }).toEqual({ lost: 0, duplicated: 0, reordered: 0 });
          }
        }
        for (const { sent, dropped, got } of await books(near, far)) {
          expect(dropped).toEqual({});
          expect(sent).toBeGreaterThan(500);
          expect(got).toMatchObject({ count: sent, faults: [], stats: { received: sent, lost: 0 } });
        }
      },
    );

    it.skipIf(missing !== "")(
      "go on over UDP when its engine's process is killed, count what is lost, and return",
      { timeout: 120_000 },
      async () => {
        using hosts = new TwoHosts();
        await using near = new Side(hosts.a);
        await using far = new Side(hosts.b);
        await flow(hosts, near, far);
        await goesOn(near, far, 200);
        const moved = (await near.rebounds()).length;
        const engine = (await near.status()).engines.find(({ name }) => name === `engine ${technology}`);
        expect(engine?.pid).toBeGreaterThan(1);
        process.kill(Number(engine?.pid), "SIGKILL");
        const events = await eventually(
          async () => (await near.rebounds()).slice(moved),
          (seen) => seen.length >= 2,
        );
        expect(events.map(({ from, to, why }) => ({ from, to, why }))).toEqual([
          { from: technology, to: "udp", why: "failed" },
          { from: "udp", to: technology, why: "appeared" },
        ]);
        await goesOn(near, far, 100);
        for (const book of await books(near, far)) accounts(book, IN_HANDS);
        // What this host missed is told of the move.
        const { moved: costs, moves } = await near.explain();
        const { lost } = (await near.received()).stats;
        expect([costs[0]?.lost, sum(moves, "lost")]).toEqual([lost, lost]);
      },
    );

    it.skipIf(missing !== "")(
      "go on over UDP when its engine hangs, which is killed, and count what is lost",
      { timeout: 120_000 },
      async () => {
        using hosts = new TwoHosts();
        await using near = new Side(hosts.a);
        await using far = new Side(hosts.b);
        const armed = join(near.stage.folder, "armed");
        const hang = { faults: { [technology]: `hang_after=0,armed=${armed}` } };
        await flow(hosts, near, far, hang);
        await goesOn(near, far, 200);
        const moved = (await near.rebounds()).length;
        writeFileSync(armed, "");
        await eventually(
          async () => (await near.rebounds()).slice(moved).map(({ to }) => to),
          (to) => to.includes("udp"),
        );
        rmSync(armed);
        expect((await near.status()).quarantined).toBe(0);
        await goesOn(near, far, 100);
        for (const book of await books(near, far)) accounts(book);
      },
    );
  },
);
