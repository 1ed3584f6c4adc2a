// What bad input gets in both Lunar applications where no other test says so: a clear, typed outcome, and everybody else goes on.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Lunar, openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { Requester, respond } from "../../src/apps/lunar-mom/request.ts";
import {
  connect,
  encode,
  type FrameFormat,
  openServer,
  savePng,
  TestPattern,
} from "../../src/apps/lunar-streaming/index.ts";
import { type EmbeddedRuntime, Runtime, type Session } from "../../src/index.ts";
import { eventually } from "./runtime/processes.ts";

let runtime: EmbeddedRuntime;
let session: Session;
beforeAll(async () => {
  runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "silent" } });
  session = await runtime.connect({ name: "here" });
});
afterAll(() => runtime.close());

describe("Lunar MoM", { timeout: 60_000 }, () => {
  let lunar: Lunar;
  beforeAll(async () => {
    lunar = await openLunar(session);
  });

  it("refuses a message that its header makes too large, and takes one that just fits", async () => {
    const most = 65536 - 16;
    const got: number[] = [];
    await using _ = await lunar.subscribe("kept/size", { delivery: "at-least-once" }, (m) => void got.push(m.length));
    await using publisher = await lunar.publisher("kept/size", { delivery: "at-least-once" });
    await publisher.matched();
    expect(() => publisher.publish(most + 1, () => {})).toThrow(
      expect.objectContaining({ code: "EMSGSIZE", details: { topic: "kept/size", bytes: most + 1, limit: most } }),
    );
    await publisher.send(new Uint8Array(most));
    await publisher.settled({ signal: AbortSignal.timeout(20_000) });
    expect(got).toEqual([most]);
  });

  it("says EAGAIN when the window is full, and goes on when it is not", async () => {
    await using publisher = await lunar.publisher("kept/full", { delivery: "at-least-once", window: 4 });
    const robber = await runtime.connect({ name: "never acknowledges" });
    const mute = await openLunar(robber);
    let taken = 0;
    await mute.subscribe("kept/full", { delivery: "at-least-once" }, () => void taken++);
    await publisher.matched();
    // In one turn of the event loop: nobody has a chance to acknowledge.
    for (let i = 0; i < 4; i++) expect(publisher.publish(8, () => {})).toBeGreaterThan(0);
    expect(() => publisher.publish(8, () => {})).toThrow(
      expect.objectContaining({ code: "EAGAIN", message: expect.stringContaining("not acknowledged") }),
    );
    await publisher.ready({ signal: AbortSignal.timeout(20_000) });
    await publisher.send("on");
    await publisher.settled({ signal: AbortSignal.timeout(20_000) });
    expect(taken).toBe(5);
    await robber.close();
  });

  it.each([0, 1.5, 65537])("a window of %d is none", async (window) => {
    const opening = lunar.publisher("kept/none", { delivery: "at-least-once", window });
    await expect(opening).rejects.toMatchObject({ code: "EVALUE", details: { window } });
    await eventually(
      () => lunar.topics("kept/none"),
      (left) => left.length === 0,
    );
  });

  it("does not iterate a subscription that has a handler", async () => {
    await using subscription = await lunar.subscribe("twice", () => {});
    await expect(subscription[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "ECONFIG" });
  });

  it("tells who asked what the one who answers threw, and goes on; a closed requester says so", async () => {
    await using _ = await respond(lunar, "fragile", (question) => {
      if (question.text() === "bad") throw new Error("not that");
      return "fine";
    });
    const asks = await Requester.open(lunar, "fragile");
    const bad = asks.request("bad", { timeoutMs: 20_000 });
    await expect(bad).rejects.toMatchObject({ code: "EINTERNAL", message: expect.stringContaining("not that") });
    const answer = await asks.request("good", { timeoutMs: 20_000 });
    expect(Buffer.from(answer).toString()).toBe("fine");
    await asks.close();
    await expect(asks.request("more")).rejects.toMatchObject({ code: "ECLOSED" });
  });
});

describe("Lunar Streaming", { timeout: 60_000 }, () => {
  const format: FrameFormat = { width: 64, height: 48, pixels: "rgb8" };

  it("a frame may shrink midway with its format; one that grows beyond what the server was opened for costs itself", async () => {
    const sizes = [48, 24, 96, 48];
    const source = {
      format,
      getFrame(into: Uint8Array, number: number) {
        if (number >= sizes.length) return null;
        const own = { ...format, height: sizes[number]! };
        into.fill(number);
        return { bytes: own.width * own.height * 3, format: own };
      },
    };
    await using server = await openServer(session, { name: "resized", source, late: "wait" });
    const refused: unknown[] = [];
    server.on("refused", ({ number, error }) => refused.push([number, error.code, error.details]));
    await using client = await connect(session, { name: "resized" });
    server.loop().then(
      () => server.close(),
      () => {},
    );
    const got: unknown[] = [];
    for await (const frame of client) got.push([frame.number, frame.height, frame.bytes.length, frame.bytes[0]]);
    expect(got).toEqual([
      [0, 48, 9216, 0],
      [1, 24, 4608, 1],
      [3, 48, 9216, 3],
    ]);
    expect(refused).toEqual([[2, "EFRAMESIZE", { number: 2, bytes: 18432, expected: 18432, maxFrame: 9216 }]]);
    expect(client.stats).toMatchObject({ received: 3, skipped: 1, lost: 0 });
  });

  it("what somebody else sends on the stream is no frame, and told; frames go on", async () => {
    const pattern = new TestPattern(format);
    await using server = await openServer(session, { name: "crowded", source: pattern, fps: 100 });
    await using client = await connect(session, { name: "crowded" });
    const invalid: string[] = [];
    client.on("invalid", ({ code, message }) => invalid.push(`${code} ${message}`));
    const stranger = await runtime.connect({ name: "stranger" });
    const stream = await stranger.createStream({ name: "lunar-stream/crowded", maxMessage: 64 + server.maxFrame });
    const source = await stream.createSource(1);
    await source.matched();
    server.loop().catch(() => {});
    for (let seen = 0; seen < 10 || invalid.length < 3; seen++) {
      const slot = source.tryGetBuffer(100);
      slot?.bytes.fill(seen);
      if (slot !== null) source.tryEmit(slot);
      slot?.[Symbol.dispose]();
      const frame = await client.next();
      expect(pattern.holds(frame!.bytes, frame!.number)).toBe(true);
      frame!.release();
    }
    for (const said of invalid) expect(said).toMatch(/^EHEADER A message on "crowded" is no frame: it begins with 0x/);
    expect(client.stats.invalid).toBe(invalid.length);
    await stranger.close();
  });

  it("a closed client says so, and a viewer that may hold nothing is none", async () => {
    await using server = await openServer(session, { name: "closed", source: new TestPattern(format) });
    const client = await connect(session, { name: "closed" });
    const waiting = client.next();
    await client.close();
    await expect(waiting).rejects.toMatchObject({ code: "ECLOSED" });
    await expect(client.next()).rejects.toMatchObject({ code: "ECLOSED" });
    expect(() => client.tryNext()).toThrow(expect.objectContaining({ code: "ECLOSED" }));
    await expect(connect(session, { name: "closed", hold: 0 })).rejects.toMatchObject({ code: "EVALUE" });
    expect(server.stats.sent).toBe(0);
  });

  it("pictures that cannot be encoded, and files that cannot be written, say so and leave nothing behind", async () => {
    const short = encode({ format, bytes: new Uint8Array(10) }, { encoding: "jpeg" });
    await expect(short).rejects.toMatchObject({ code: "EENCODE" });
    const folder = mkdtempSync(join(tmpdir(), "insane-bad-"));
    try {
      const file = join(folder, "file");
      writeFileSync(file, "no folder");
      await using server = await openServer(session, { name: "unwritten", source: new TestPattern(format), fps: 50 });
      await using client = await connect(session, { name: "unwritten" });
      server.loop().catch(() => {});
      const frame = await client.next();
      await expect(savePng(frame!, file)).rejects.toMatchObject({ code: "EENCODE" });
      frame!.release();
      await eventually(
        () => server.stats.sent,
        (sent) => sent > 2,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
