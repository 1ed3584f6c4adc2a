// Streams move between kernel UDP and each of the other datapaths again and again while messages flow both ways: by request,
// also while applications look only now and then, and because the datapath fails. Nothing is reordered; by request nothing is
// lost or doubled; of a failure each message that is missing is counted.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ReboundEvent, SourceStats } from "../../src/index.ts";
import { DPDK, RDMA, XDP } from "../integration/runtime/media.ts";
import { accounts, books, goesOn, IN_HANDS, Side, traffic } from "../integration/runtime/moving.ts";
import { TwoHosts } from "../integration/runtime/namespaces.ts";
import { eventually } from "../integration/runtime/processes.ts";

/** On request, for each technology; INSANE_MOVES asks for more. */
const MOVES = Number(process.env["INSANE_MOVES"] ?? 60);
/** Failures of each technology: one that fails more often in a minute is given up. */
const FAILURES = 2;

describe.each([XDP, DPDK, RDMA])("$technology and kernel UDP $missing", ({ technology, missing, settings }) => {
  /** A thread breaks when the file is there; a process is killed. */
  async function fail(near: Side, armed: string, moved: () => Promise<ReboundEvent[]>): Promise<void> {
    const over = async (): Promise<boolean> => (await moved()).length > 0;
    if (technology === "xdp") {
      writeFileSync(armed, "");
      await eventually(over, Boolean);
      rmSync(armed);
      return;
    }
    const engine = (await near.status()).engines.find(({ name }) => name === `engine ${technology}`);
    expect(engine?.pid).toBeGreaterThan(1);
    process.kill(Number(engine?.pid), "SIGKILL");
    await eventually(over, Boolean);
  }

  it.skipIf(missing !== "")(
    "change places under traffic, and the books are right",
    {
      timeout: 120_000 + 5000 * MOVES,
    },
    async () => {
      using hosts = new TwoHosts();
      await using near = new Side(hosts.a);
      await using far = new Side(hosts.b);
      const armed = join(near.stage.folder, "armed");
      const faults = technology === "xdp" ? { faults: { xdp: `fail_after=0,armed=${armed}` } } : {};
      await Promise.all([
        near.start(hosts.a, hosts.b, settings(hosts.a, faults)),
        far.start(hosts.b, hosts.a, settings(hosts.b)),
      ]);
      await traffic(near, far, technology);

      const each = 2 * Math.ceil(MOVES / 12);
      const told = [
        await near.moves(each, 1),
        await far.moves(each, 1),
        ...(await Promise.all([near.moves(each, 1), far.moves(each, 1)])),
        await near.movesUnseen(far, each, 1),
        await far.movesUnseen(near, each, 1),
      ].flat();
      expect(told.length).toBe(6 * each);
      for (const { why, lost, duplicated, reordered } of told) {
        expect({ why, lost, duplicated, reordered }).toEqual({ why: "qos", lost: 0, duplicated: 0, reordered: 0 });
      }
      for (const [side, other] of [
        [near, far],
        [far, near],
      ] as const) {
        const { faults, from, stats } = await side.received();
        // A number that is missing never left: its source says so.
        const { dropped, unmatched } = (await other.app.call("sourceStats", { index: 0 }))["result"] as SourceStats;
        const unsent = unmatched + Object.values(dropped).reduce((sum, n) => sum + n, 0);
        const gaps = Object.values(from).reduce((sum, one) => sum + one.gaps, 0);
        expect({ faults, lost: stats.lost, dropped, unmatched, gaps, told: gaps <= unsent }).toMatchObject({
          faults: [],
          lost: 0,
          told: true,
        });
      }

      for (let round = 0; round < FAILURES; round++) {
        const before = (await near.rebounds()).length;
        const moved = async (): Promise<ReboundEvent[]> => (await near.rebounds()).slice(before);
        await goesOn(near, far, 100);
        await fail(near, armed, moved);
        await goesOn(near, far, 100);
        const events = await eventually(moved, (all) => all.length >= 2);
        expect(events.map(({ from, to, why }) => ({ from, to, why }))).toEqual([
          { from: technology, to: "udp", why: "failed" },
          { from: "udp", to: technology, why: "appeared" },
        ]);
        await goesOn(near, far, 100);
      }
      for (const book of await books(near, far)) accounts(book, IN_HANDS);
    },
  );
});
