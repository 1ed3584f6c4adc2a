// Lunar Streaming between two hosts (namespaces joined by veth): the same server and viewers over every datapath, chosen by
// configuration alone; frames lost on the way are accounted for, and a host that vanishes has a name.
import { describe, expect, it } from "vitest";
import { DATAPATHS, hostsOf, plain } from "./lunar-streaming/datapaths.ts";
import { type Seen, seen } from "./lunar-streaming/stage.ts";
import { noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually, type TestProcess } from "./runtime/processes.ts";

const PATIENCE_MS = 60_000;
const missing = noNamespaces();

const statsOf = async (server: TestProcess) =>
  (await server.call("serverStats"))["result"] as { datapath: string; listeners: number; gone: string[] };
const until = (viewer: TestProcess, good: (now: Seen) => boolean): Promise<Seen> =>
  eventually(() => seen(viewer), good, PATIENCE_MS);

describe.each(DATAPATHS)("lunar streaming over %s %s", (datapath, lacks, settings, quality) => {
  it.skipIf(lacks !== "")("brings every frame to a viewer there and one here, byte by byte", async () => {
    using two = new TwoHosts(datapath === "udp" ? 1500 : 3000);
    await using hosts = await hostsOf(two, settings);
    const server = await hosts.a.peer("server");
    await server.call("serve", { late: "wait", patienceMs: 30_000, frames: 25, width: 1280, height: 720, quality });
    const here = await hosts.a.viewer("here");
    const there = await hosts.b.viewer("there", { timeoutMs: 40_000, silenceMs: 15_000 });
    // Frames go to both: what was sent before is not missing.
    await eventually(
      () => statsOf(server),
      ({ listeners }) => listeners === 2,
      PATIENCE_MS,
    );
    await server.call("loop");
    const far = await until(there, ({ last }) => last === 24);
    expect(far).toMatchObject({ frames: 25, intact: 25, missing: 0, invalid: [] });
    expect(await until(here, ({ last }) => last === 24)).toMatchObject({ frames: 25, intact: 25 });
    expect((await statsOf(server)).datapath).toBe(datapath);
    await server.call("closeServer");
    for (const viewer of [here, there])
      await viewer.until((words) => words["read"] === "ended", "the end", PATIENCE_MS);
  });
});

describe.skipIf(missing !== "")(`lunar streaming between two hosts ${missing}`, () => {
  it("accounts for every frame on a network that loses datagrams; a server that is killed is gone by name", async () => {
    using two = new TwoHosts();
    await using hosts = await hostsOf(two, plain, { faults: { udp: "loss=0.02,seed=11" } });
    const server = await hosts.a.server({ fps: 30, width: 640, height: 360 });
    const viewer = await hosts.b.viewer("viewer", { timeoutMs: 40_000, silenceMs: 6000 });
    const now = await until(viewer, ({ frames }) => frames > 40);
    expect(now).toMatchObject({ intact: now.frames, invalid: [] });
    expect(now.stats.skipped + now.stats.overtaken + now.stats.lost).toBe(now.missing);
    await server.kill();
    await viewer.until((words) => words["read"] === "ESERVERGONE", "that the server is gone", PATIENCE_MS);
  });

  it("goes on for others when the viewer on the other host is killed, and tells the server of its silence", async () => {
    using two = new TwoHosts();
    await using hosts = await hostsOf(two, plain);
    const server = await hosts.a.server({ fps: 30, width: 640, height: 360 });
    const here = await hosts.a.viewer("here");
    const there = await hosts.b.viewer("there", { timeoutMs: 40_000 });
    await until(there, ({ frames }) => frames > 10);
    await there.kill();
    const before = await seen(here);
    await until(here, ({ frames }) => frames > before.frames + 30);
    await eventually(
      () => statsOf(server),
      ({ gone }) => gone.includes("silent"),
      PATIENCE_MS,
    );
  });
});
