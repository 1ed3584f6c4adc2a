// Lunar Streaming at the five sizes of the paper's table 4, on one host and over UDP between two: every byte of every frame.
import { describe, expect, it } from "vitest";
import { StreamingStage, seen } from "../integration/lunar-streaming/stage.ts";
import { networkTowards, noNamespaces, TwoHosts } from "../integration/runtime/namespaces.ts";
import { eventually } from "../integration/runtime/processes.ts";

const SIZES = [
  ["hd", 1280, 720],
  ["fullhd", 1920, 1080],
  ["2k", 2560, 1510],
  ["4k", 3840, 2160],
  ["8k", 7680, 4320],
] as const;
const FRAMES = 12;
const HELLO = 7590;
const PATIENCE_MS = 240_000;
const missing = noNamespaces();

async function stream(from: StreamingStage, to: StreamingStage, width: number, height: number): Promise<void> {
  const server = await from.peer("server");
  await server.call("serve", { late: "wait", patienceMs: PATIENCE_MS, frames: FRAMES, width, height });
  const viewer = await to.viewer("viewer", { timeoutMs: 60_000, silenceMs: 60_000 });
  await server.call("loop");
  const now = await eventually(
    () => seen(viewer),
    ({ last }) => last === FRAMES - 1,
    PATIENCE_MS,
  );
  expect(now).toMatchObject({ frames: FRAMES, intact: FRAMES, missing: 0, invalid: [] });
  expect(now.stats.bytes).toBe(FRAMES * width * height * 3);
}

describe.each(SIZES)("frames of %s, %i x %i", (_, width, height) => {
  it("arrive whole on one host", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    await stream(stage, stage, width, height);
  });

  it.skipIf(missing !== "")("arrive whole over UDP", async () => {
    using two = new TwoHosts(9000);
    await using a = new StreamingStage(two.a.prefix);
    await using b = new StreamingStage(two.b.prefix);
    const more = { xdp: { enabled: false } };
    await Promise.all([
      a.daemon({ network: networkTowards(two.a, two.b, HELLO, more) }),
      b.daemon({ network: networkTowards(two.b, two.a, HELLO, more) }),
    ]);
    await stream(a, b, width, height);
  });
});
