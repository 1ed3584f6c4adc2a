// Lunar Streaming with real processes over shared memory: frames arrive whole and are accounted for, and whoever misbehaves,
// dies or vanishes harms nobody else and leaves nothing behind.
import { describe, expect, it } from "vitest";
import { type Seen, StreamingStage, seen } from "./lunar-streaming/stage.ts";
import { eventually, type TestProcess } from "./runtime/processes.ts";

type Stats = {
  readonly frames: number;
  readonly sent: number;
  readonly skipped: Record<"late" | "full" | "refused" | "unheard", number>;
  readonly clients: ReadonlyArray<unknown>;
  readonly refusals: ReadonlyArray<{ number: number; code: string }>;
  readonly stalls: string[];
  readonly gone: string[];
};
const statsOf = async (server: TestProcess): Promise<Stats> => (await server.call("serverStats"))["result"] as Stats;
const until = (viewer: TestProcess, good: (now: Seen) => boolean): Promise<Seen> =>
  eventually(() => seen(viewer), good);
/** Every number up to the last one is received or accounted for. */
const accounted = ({ frames, missing, last, stats }: Seen, first: number): void => {
  expect(frames + missing).toBe(last - first + 1);
  expect(stats.skipped + stats.overtaken + stats.lost).toBe(missing);
};
const status = async (
  daemon: TestProcess,
): Promise<{ slots: { outstanding: number }; sessions: unknown[]; links: unknown[] }> =>
  (await daemon.call("status"))["result"] as never;

describe("lunar streaming on one host", () => {
  it("brings every frame of a server that waits to several clients, byte by byte, then says that it has ended", async () => {
    await using stage = new StreamingStage();
    const daemon = await stage.daemon();
    const server = await stage.peer("server");
    await server.call("serve", { late: "wait", frames: 60, patienceMs: 20_000 });
    const viewers = [await stage.viewer("one"), await stage.viewer("two"), await stage.viewer("three")];
    await server.call("loop");
    await server.until((words) => "looped" in words, "the end of the loop");
    await server.call("closeServer");
    for (const viewer of viewers) {
      await viewer.until((words) => words["read"] === "ended", "the end");
      const now = await seen(viewer);
      expect(now).toMatchObject({ intact: now.frames, end: "ended", invalid: [], last: 59 });
      accounted(now, now.last - now.frames - now.missing + 1);
    }
    // The last one was there from the first frame on, or the loop had begun: whoever was first has all.
    expect((await seen(viewers[0]!)).frames).toBe(60);
    for (const one of [server, ...viewers]) await one.call("close");
    await eventually(
      () => status(daemon),
      ({ sessions, links, slots }) => sessions.length + links.length + slots.outstanding === 0,
    );
  });

  it("passes frames over for a client that is slow, at no cost to others, and says which", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    const server = await stage.server({ fps: 100 });
    const quick = await stage.viewer("quick");
    const slow = await stage.viewer("slow", { read: 120 });
    const late = await until(slow, ({ frames, stats }) => frames > 8 && stats.overtaken > 20);
    expect(late.intact).toBe(late.frames);
    const good = await until(quick, ({ frames }) => frames > 100);
    expect(good.intact).toBe(good.frames);
    accounted(late, late.last - late.frames - late.missing + 1);
    const { frames, sent, skipped, clients } = await statsOf(server);
    expect(frames).toBe(sent + skipped.late + skipped.full + skipped.refused + skipped.unheard);
    expect(clients.length).toBe(2);
  });

  it.each([
    ["short", "EFRAMESIZE"],
    ["long", "EFRAMESIZE"],
    ["kind", "EFORMAT"],
    ["throw", "ESOURCE"],
  ])("a frame that comes out %s costs that frame, by name (%s)", async (spoil, code) => {
    await using stage = new StreamingStage();
    await stage.daemon();
    const server = await stage.server({ spoil, fps: 200 });
    const viewer = await stage.viewer("viewer");
    const now = await until(viewer, ({ frames }) => frames > 30);
    expect(now).toMatchObject({ intact: now.frames, invalid: [] });
    expect(now.stats.skipped).toBeGreaterThan(4);
    accounted(now, now.last - now.frames - now.missing + 1);
    const { refusals } = await statsOf(server);
    expect(refusals.every((refusal) => refusal.code === code && refusal.number % 5 === 4)).toBe(true);
  });

  it("a client that keeps frames and never reads on costs the others nothing but room", async () => {
    await using stage = new StreamingStage();
    const daemon = await stage.daemon();
    // 8 slots: few enough that one client could hold them all.
    const server = await stage.server({ fps: 60, width: 6000, height: 3600 });
    const hoarder = await stage.viewer("hoarder", { read: "none", keep: 100 });
    const viewer = await stage.viewer("viewer", { verify: false });
    await hoarder.call("hoard", { count: 2 });
    const before = await seen(viewer);
    const now = await until(viewer, ({ frames }) => frames > before.frames + 30);
    expect(now.intact).toBe(now.frames);
    hoarder.child.kill("SIGSTOP");
    await until(viewer, ({ frames }) => frames > now.frames + 30);
    await hoarder.kill();
    await until(viewer, ({ frames }) => frames > now.frames + 60);
    await eventually(
      () => statsOf(server),
      ({ gone }) => gone.includes("silent"),
    );
    await viewer.call("close");
    await server.call("close");
    await eventually(
      () => status(daemon),
      ({ sessions, links, slots }) => sessions.length + links.length + slots.outstanding === 0,
    );
  });

  it("a client that waits for every frame and then stops is passed over after the server's patience, by name", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    const server = await stage.server({ late: "wait", patienceMs: 100, fps: 50, width: 4000, height: 3000 });
    const viewer = await stage.viewer("viewer", { verify: false });
    const stuck = await stage.viewer("stuck", { read: "none" });
    const { stalls } = await eventually(
      () => statsOf(server),
      (now) => now.stalls.length > 0,
    );
    expect(stalls[0]).toBe("ESTALLED");
    await stuck.kill();
    const before = await seen(viewer);
    await until(viewer, ({ frames }) => frames > before.frames + 20);
  });

  it("a server that is killed is gone by name, and its successor is found", async () => {
    await using stage = new StreamingStage();
    const daemon = await stage.daemon();
    const server = await stage.server({ fps: 100 });
    const viewer = await stage.viewer("viewer", { silenceMs: 2000 });
    await until(viewer, ({ frames }) => frames > 10);
    await server.kill();
    await viewer.until((words) => words["read"] === "ESERVERGONE", "that the server is gone");
    await viewer.call("close");
    await eventually(
      () => status(daemon),
      ({ sessions, slots }) => sessions.length + slots.outstanding === 0,
    );
    await stage.server({ fps: 100 });
    const next = await stage.viewer("next");
    await until(next, ({ frames, intact }) => frames > 10 && frames === intact);
  });

  it("no server is said so in time", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    const viewer = await stage.peer("viewer");
    const { result } = await viewer.call("view", { timeoutMs: 300 });
    expect(result).toMatchObject({ code: "ENOSERVER", message: expect.stringContaining('"line"') });
  });

  it("goes on when the runtime is killed under it, and ends when the server does", async () => {
    await using stage = new StreamingStage();
    const daemon = await stage.daemon();
    const server = await stage.server({ fps: 100 });
    const viewer = await stage.viewer("viewer", { silenceMs: 4000 });
    const before = await until(viewer, ({ frames }) => frames > 10);
    await daemon.kill();
    await until(viewer, ({ frames }) => frames > before.frames + 30);
    await server.kill();
    await viewer.until((words) => words["read"] === "ESERVERGONE", "that the server is gone");
  });
});
