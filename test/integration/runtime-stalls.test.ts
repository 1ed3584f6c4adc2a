// An engine that stands still for longer than a command may take, as on a machine that is busy: what it was told meanwhile
// counts all the same, and its memory stays as long as it may be touched.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import { describe, expect, it } from "vitest";
import { engineResource } from "../../src/effects/engine.ts";
import { Quarantine } from "../../src/effects/quarantine.ts";
import { type Message, Runtime } from "../../src/index.ts";
import { DEFAULT_ENGINE } from "../../src/native/engine-config.ts";
import type { InsaneError } from "../../src/protocol/codes.ts";
import { eventually } from "./runtime/processes.ts";

const PATIENCE_MS = 30_000;
/** Longer than a command may take (1 s), shorter than what an engine is given up after (2 s). */
const HANG_MS = 1500;

describe("an engine that stalls", () => {
  it("for good is not taken for one that has ended: what it may still touch is kept", async () => {
    const folder = mkdtempSync(join(tmpdir(), "insane-stall-"));
    const armed = join(folder, "armed");
    const scope = Scope.makeUnsafe();
    const kept: string[] = [];
    const events = { event: () => {}, overdue: () => {}, late: () => {}, died: () => {} };
    try {
      const engine = await Effect.runPromise(
        Scope.provide(engineResource("the engine", DEFAULT_ENGINE, events), scope).pipe(
          Effect.provideService(Quarantine, { keep: (what) => void kept.push(what) }),
        ),
      );
      const loopback = { address: "127.0.0.1", port: 0 };
      const datapath = await engine.open("faulty", `of=udp,hang_after=0,armed=${armed}`, loopback);
      await engine.command("the datapath", (api, handle) => api.addDatapath(handle, 1, datapath.handle));
      writeFileSync(armed, "");
      await eventually(
        () => datapath.counters()["faults_struck"],
        (struck) => struck === 1,
        PATIENCE_MS,
      );
      const asked = engine
        .command("a ping", (api, handle) => api.ping(handle))
        .catch((error: InsaneError) => error.code);
      await Effect.runPromise(Scope.close(scope, Exit.void));
      expect(await asked).toBe("ETIMEDOUT");
      await expect(engine.command("a ping", (api, handle) => api.ping(handle))).rejects.toMatchObject({
        code: "ETIMEDOUT",
      });
      expect(kept).toContain("the engine, whose thread does not end");
    } finally {
      // Its thread goes on with what was kept, and ends.
      rmSync(folder, { recursive: true });
    }
  });

  it("while it is told of a new listener reaches it when it goes on", { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "insane-stall-"));
    const armed = join(folder, "armed");
    const start = (name: string, network: object) =>
      Runtime.embed({
        name,
        log: { level: "silent" },
        network: { helloIntervalMs: 50, silentAfterMs: 10_000, ...network },
      });
    const faults = { udp: `hang_after=0,hang_ms=${HANG_MS},armed=${armed}` };
    const a = await start("A", { faults });
    const b = await start("B", { peers: [`127.0.0.1:${a.port}`] });
    a.addPeer(`127.0.0.1:${b.port}`);
    try {
      const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
      const here = await sa.createStream({ name: "s" });
      const there = await sb.createStream({ name: "s" });
      const got: number[] = [];
      const take = (message: Message): void => {
        got.push(message.bytes[0] ?? -1);
        message.release();
      };
      const [first, second] = [await here.createSource(1), await here.createSource(2)];
      await there.createSink(1, take);
      await first.matched(1, { signal: AbortSignal.timeout(PATIENCE_MS) });
      writeFileSync(armed, "");
      await eventually(
        () => a.status().datapaths.find(({ lane }) => lane === "udp")?.counters["faults_struck"],
        (struck) => struck === 1,
        PATIENCE_MS,
      );
      await there.createSink(2, take);
      await second.matched(1, { signal: AbortSignal.timeout(PATIENCE_MS) });
      for (const source of [first, second]) {
        const buffer = source.getBuffer(1);
        buffer.bytes[0] = source.channel;
        source.emit(buffer);
      }
      await expect.poll(() => got, { timeout: PATIENCE_MS }).toEqual([1, 2]);
    } finally {
      await Promise.all([a.close(), b.close()]);
      rmSync(folder, { recursive: true });
    }
  });
});
