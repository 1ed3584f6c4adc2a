// A driver or library that crashes or hangs, when it is opened and later: with its engine in a process of its own that process
// dies or is killed and is replaced, the stream that wanted it goes on over kernel UDP and says why, other streams and the other
// host notice nothing. Planted in each technology that has a driver, by the files that call this. As root.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { engines } from "../../../src/native/engine.ts";
import type { CapabilityRecord } from "../../../src/protocol/control.ts";
import { probeOf } from "../../../src/qos/capabilities.ts";
import { fast, Side } from "./moving.ts";
import { type NamespaceHost, noNamespaces, TwoHosts } from "./namespaces.ts";
import { decisionOf, eventually, type Words } from "./processes.ts";

const PATIENCE_MS = 60_000;
const plain = { stream: "p", acceleration: "none" };

interface Driver {
  readonly technology: "xdp" | "dpdk" | "rdma";
  /** Why it cannot be tested here, or empty. */
  readonly missing: string;
  readonly network: (host: NamespaceHost) => Words;
  readonly strategy?: Words;
}

/** Stand-ins are taken by no strategy but one that says so. */
const EMULATED = {
  name: "test",
  rules: [{ when: { acceleration: "fast" }, use: ["rdma", "udp"], emulated: true }, { use: ["udp"] }],
};
const dpdkIsThere = engines()
  .probe("dpdk")
  .evidence.some(({ finding }) => finding.startsWith("DPDK"));
export const DRIVERS: ReadonlyArray<Driver> = [
  { technology: "xdp", missing: noNamespaces(), network: () => ({}) },
  {
    technology: "dpdk",
    missing: noNamespaces() || (dpdkIsThere ? "" : "needs DPDK"),
    network: (host) => ({
      dpdk: { interface: host.interface, address: host.address.replace(/\.(\d)$/, ".1$1") },
      xdp: { enabled: false },
    }),
  },
  {
    technology: "rdma",
    missing: noNamespaces() || (probeOf("rdma", "net").available ? "" : "needs libfabric"),
    network: () => ({ rdma: { provider: "net" }, xdp: { enabled: false } }),
    strategy: EMULATED,
  },
];

/** Crashes are told at once; what hangs is given seconds, so that it is for the deep tests. */
export function drivers(fault: "crash" | "hang"): void {
  describe.each(DRIVERS)(`a driver of $technology that is planted a ${fault} $missing`, (driver) => {
    const { technology, missing, network, strategy } = driver;
    it.skipIf(missing !== "")(
      "at its opening, and again under traffic, hurts nobody else, and is used when it is well",
      { timeout: 180_000 },
      async () => {
        using hosts = new TwoHosts();
        await using near = new Side(hosts.a);
        await using far = new Side(hosts.b);
        const armed = join(near.stage.folder, "armed");
        writeFileSync(armed, "");
        const settings = (host: NamespaceHost, more: Words = {}): Words => ({
          ...(strategy === undefined ? {} : { strategy }),
          engines: { process: { [technology]: true } },
          network: { ...network(host), ...more },
        });
        const faults = { [technology]: `open_${fault}=1,${fault}_after=0,armed=${armed}` };
        await Promise.all([
          near.start(hosts.a, hosts.b, settings(hosts.a, { faults })),
          far.start(hosts.b, hosts.a, settings(hosts.b)),
        ]);
        // At its opening: the stream is bound all the same, and says why.
        for (const stream of [plain, fast]) {
          await Promise.all([
            near.app.call("sink", { ...stream, channel: 2 }),
            far.app.call("sink", { ...stream, channel: 1 }),
          ]);
          await Promise.all([
            near.app.call("source", { ...stream, channel: 1 }),
            far.app.call("source", { ...stream, channel: 2 }),
          ]);
        }
        const fallen = await decisionOf(near.app, fast);
        expect([fallen.datapath, fallen.warnings[0]?.code]).toEqual(["udp", "W_FALLBACK_UDP"]);
        // A stream does not wait for what hangs until that is killed; who asks is told then.
        const why = new RegExp(`${technology} \\(it (could not be opened|is being opened)`);
        expect(fallen.warnings[0]?.message).toMatch(why);
        expect(fallen.warnings[0]?.cure).toContain("insane doctor");
        for (const index of [0, 1]) {
          for (const { app } of [near, far]) {
            await app.call("matched", { index });
            await app.call("emit", { index, size: 64, burst: 2, pace: 2 });
          }
        }
        const said = async () =>
          ((await near.daemon.call("doctor"))["result"] as CapabilityRecord[])
            .find((record) => record.technology === technology)
            ?.evidence.at(-1);
        // Why it is killed, and then that it is.
        const became =
          fault === "crash" ? /^this runtime: .*SIGABRT/ : /^this runtime: .*(its process is killed|SIGKILL)/;
        await eventually(said, (line) => became.test(line ?? ""), PATIENCE_MS);
        rmSync(armed);
        const isBound = (to: string) =>
          eventually(
            () => near.datapath(),
            (datapath) => datapath === to,
            PATIENCE_MS,
          );
        const count = async ({ app }: Side, index: number): Promise<number> =>
          Number(((await app.call("received", { index }))["result"] as Words)["count"]);
        const goOn = async (): Promise<void> => {
          for (const index of [0, 1]) {
            for (const side of [near, far]) {
              const before = await count(side, index);
              await eventually(
                () => count(side, index),
                (now) => now > before + 50,
                PATIENCE_MS,
              );
            }
          }
        };
        await goOn();
        await isBound(technology);
        await goOn();
        // And later, under traffic.
        const pid = async (): Promise<number | null | undefined> =>
          (await near.status()).engines.find(({ name }) => name === `engine ${technology}`)?.pid;
        const was = await pid();
        writeFileSync(armed, "");
        await eventually(pid, (now) => now !== was, PATIENCE_MS);
        rmSync(armed);
        await goOn();
        await isBound(technology);
        await goOn();
        // The other stream has lost nothing, and nothing came twice or out of order.
        for (const side of [near, far]) {
          for (const index of [0, 1]) {
            const seen = (await side.app.call("received", { index }))["result"] as { faults: unknown; stats: Words };
            expect(seen.faults).toEqual([]);
            if (index === 0) expect(seen.stats["lost"]).toBe(0);
          }
        }
        for (const side of [near, far]) {
          const { runtime, quarantined } = await side.status();
          expect(runtime.state).toMatch(/^running/);
          expect(quarantined).toBe(0);
        }
      },
    );
  });
}
