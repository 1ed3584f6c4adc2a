// Lunar Streaming at the five sizes of the paper's table 4, on one host and between two over each datapath, chosen by configuration
// alone: every byte of every frame.
import { describe, expect, it } from "vitest";
import { DATAPATHS, hostsOf } from "../integration/lunar-streaming/datapaths.ts";
import { StreamingStage, seen } from "../integration/lunar-streaming/stage.ts";
import { TwoHosts } from "../integration/runtime/namespaces.ts";
import { eventually, type Words } from "../integration/runtime/processes.ts";

const SIZES = [
  ["hd", 1280, 720],
  ["fullhd", 1920, 1080],
  ["2k", 2560, 1510],
  ["4k", 3840, 2160],
  ["8k", 7680, 4320],
] as const;
const PATIENCE_MS = 240_000;

async function stream(
  from: StreamingStage,
  to: StreamingStage,
  [width, height, frames]: readonly [number, number, number],
  quality: Words = {},
): Promise<string> {
  const server = await from.peer("server");
  await server.call("serve", { late: "wait", patienceMs: PATIENCE_MS, frames, width, height, quality });
  const viewer = await to.viewer("viewer", { timeoutMs: 60_000, silenceMs: 60_000 });
  await server.call("loop");
  const now = await eventually(
    () => seen(viewer),
    ({ last }) => last === frames - 1,
    PATIENCE_MS,
  );
  expect(now).toMatchObject({ frames, intact: frames, missing: 0, invalid: [] });
  expect(now.stats.bytes).toBe(frames * width * height * 3);
  return String(((await server.call("serverStats"))["result"] as Words)["datapath"]);
}

describe.each(SIZES)("frames of %s, %i x %i", (_, width, height) => {
  it("arrive whole on one host", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    await stream(stage, stage, [width, height, 12]);
  });

  for (const [datapath, lacks, settings, quality] of DATAPATHS) {
    it.skipIf(lacks !== "")(`arrive whole over ${datapath} ${lacks}`, async () => {
      // XDP and DPDK have one page for a packet.
      using two = new TwoHosts(datapath === "xdp" || datapath === "dpdk" ? 3000 : 9000);
      await using hosts = await hostsOf(two, settings);
      expect(await stream(hosts.a, hosts.b, [width, height, datapath === "udp" ? 12 : 4], quality)).toBe(datapath);
    });
  }
});
