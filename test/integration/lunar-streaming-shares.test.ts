// What servers and viewers of Lunar Streaming owe each other: a name has one server, and nobody who watches has the slots that
// others need, whether it uses the library or goes round it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, openServer, type StreamingError, TestPattern } from "../../src/apps/lunar-streaming/index.ts";
import { type EmbeddedRuntime, type Message, Runtime, type Session } from "../../src/index.ts";
import { StreamingStage, seen } from "./lunar-streaming/stage.ts";
import { eventually } from "./runtime/processes.ts";

const pattern = () => new TestPattern({ width: 64, height: 48, pixels: "rgb8" });
/** Frames may be so large that a server has 8 slots: few enough that one viewer could hold them all. */
const FEW_SLOTS = 60_000_000;
const refusal = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no error",
    ({ code, message }: StreamingError) => `${code} ${message}`,
  );

describe("the name of a server", () => {
  it("is taken while somebody serves it; who comes second is refused, and the first goes on", async () => {
    const start = (name: string) =>
      Runtime.embed({ name, log: { level: "silent" }, network: { helloIntervalMs: 50, silentAfterMs: 10_000 } });
    await using a = await start("A");
    await using b = await start("B");
    const [here, too, there] = [await a.connect(), await a.connect(), await b.connect()];
    const server = await openServer(here, { name: "line", source: pattern(), fps: 100 });
    expect(await refusal(openServer(too, { name: "line", source: pattern() }))).toMatch(/^ETAKEN "line" is served/);
    a.addPeer(`127.0.0.1:${b.port}`);
    b.addPeer(`127.0.0.1:${a.port}`);
    // As soon as that host knows.
    await eventually(
      () => refusal(openServer(there, { name: "line", source: pattern() }).then((second) => second.close())),
      (why) => why.startsWith("ETAKEN"),
    );
    await using client = await connect(there, { name: "line" });
    server.loop().catch(() => {});
    (await client.next())?.release();
    const other = await openServer(too, { name: "line-2", source: pattern() });
    await server.close();
    const successor = await openServer(too, { name: "line", source: pattern() });
    await Promise.all([other.close(), successor.close()]);
  });

  it("that two hosts gave at one time is told to both servers when they meet, and each client keeps its own", async () => {
    const start = (name: string) =>
      Runtime.embed({ name, log: { level: "silent" }, network: { helloIntervalMs: 50, silentAfterMs: 10_000 } });
    await using a = await start("A");
    await using b = await start("B");
    const told: string[] = [];
    const servers = [];
    const clients = [];
    for (const [at, runtime] of [a, b].entries()) {
      const server = await openServer(await runtime.connect(), { name: "line", source: pattern(), fps: 50 });
      server.on("rivals", ({ code, details }) => told.push(`${"AB"[at]} ${code} ${details["servers"]}`));
      servers.push(server);
      clients.push(await connect(await runtime.connect(), { name: "line" }));
      server.loop().catch(() => {});
    }
    a.addPeer(`127.0.0.1:${b.port}`);
    b.addPeer(`127.0.0.1:${a.port}`);
    await eventually(
      () => told.toSorted(),
      (all) => all.length >= 2,
    );
    expect(new Set(told)).toEqual(new Set(["A ETAKEN 2", "B ETAKEN 2"]));
    const epochs = servers.map(({ epoch }) => epoch);
    expect(clients.map(({ server }) => server.epoch)).toEqual(epochs);
    for (const client of clients) (await client.next())?.release();
    await Promise.all([...clients, ...servers].map((one) => one.close()));
  });
});

describe("frames that a viewer does not give back", () => {
  it("are taken back, the oldest first, told and counted; the server and others go on", async () => {
    await using stage = new StreamingStage();
    await stage.daemon();
    await stage.server({ fps: 60, maxFrame: FEW_SLOTS });
    const hoarder = await stage.viewer("hoarder", { read: "none" });
    const viewer = await stage.viewer("viewer", { verify: false });
    const { result } = await hoarder.call("hoard", { count: 12 });
    const { got, held, readable, takenBack } = result as Record<string, number[]>;
    expect(got).toHaveLength(12);
    expect([held, readable, takenBack]).toEqual([got!.slice(10), got!.slice(10), got!.slice(0, 10)]);
    expect((await seen(hoarder)).stats).toMatchObject({ received: 12, takenBack: 10 });
    const before = await seen(viewer);
    const now = await eventually(
      () => seen(viewer),
      ({ frames }) => frames > before.frames + 20,
    );
    expect(now.intact).toBe(now.frames);
  });

  describe("by going round the library", () => {
    let runtime: EmbeddedRuntime;
    let session: Session;
    beforeAll(async () => {
      runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "silent" } });
      session = await runtime.connect({ name: "server" });
    });
    afterAll(() => runtime.close());

    it("are half of the slots at most, and whoever comes later sees every frame that fits", async () => {
      const source = Object.assign(pattern(), { maxFrame: FEW_SLOTS });
      await using server = await openServer(session, { name: "hoarded", source, fps: 100 });
      server.loop().catch(() => {});
      const robber = await runtime.connect({ name: "robber" });
      const stream = await robber.createStream({ name: "lunar-stream/hoarded", maxMessage: 64 + server.maxFrame });
      const kept: Message[] = [];
      await stream.createSink(1, { policy: { kind: "keep-last", depth: 64 } }, (message) => void kept.push(message));
      await eventually(
        () => server.stats.sent - kept.length,
        (passedOver) => passedOver > 10,
      );
      expect(kept).toHaveLength(4);
      await using viewer = await connect(await runtime.connect({ name: "viewer" }), { name: "hoarded" });
      for (let seen = 0; seen < 20; seen++) {
        const frame = await viewer.next();
        expect(source.numberIn(frame!.bytes)).toBe(frame!.number);
        frame!.release();
      }
      expect(kept).toHaveLength(4);
    });
  });
});
