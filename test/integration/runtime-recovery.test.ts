// What breaks inside a runtime and is brought back: datapaths, engines, peers' tags; and that it can be watched.
import { afterEach, describe, expect, it } from "vitest";
import { RuntimeActor } from "../../src/actors/runtime.ts";
import type { Session } from "../../src/client/api.ts";
import { openSession } from "../../src/client/session.ts";
import type { Warning } from "../../src/protocol/codes.ts";
import { streamTag } from "../../src/protocol/qos.ts";
import { probeAll } from "../../src/qos/capabilities.ts";
import type { EmbedOptions } from "../../src/runtime/api.ts";
import { completeConfig } from "../../src/runtime/config.ts";
import type { Directory, DirectoryEvents, PeerInfo, Subscription } from "../../src/runtime/directory.ts";
import { type Log, SILENT } from "../../src/runtime/log.ts";
import { eventually } from "./runtime/processes.ts";

/** A directory that the test speaks for. */
class PlayedDirectory implements Directory {
  events: DirectoryEvents | null = null;
  readonly inForce = true;
  announced: ReadonlyArray<Subscription> = [];
  endpoints: PeerInfo["endpoints"] = [];
  async start(events: DirectoryEvents): Promise<{ port: number }> {
    this.events = events;
    return { port: 1 };
  }
  announce({ subscriptions, endpoints }: Parameters<Directory["announce"]>[0]): void {
    this.announced = subscriptions;
    this.endpoints = endpoints;
  }
  addPeer(): void {}
  peers() {
    return [];
  }
  async stop(): Promise<void> {}
}

interface Played {
  readonly runtime: RuntimeActor;
  readonly directory: PlayedDirectory;
  readonly warnings: string[];
  connect(): Promise<Session>;
}
const running: RuntimeActor[] = [];
async function start(options: EmbedOptions = {}): Promise<Played> {
  const directory = new PlayedDirectory();
  const warnings: string[] = [];
  const log: Log = { ...SILENT, warn: ({ code }: Warning) => void warnings.push(code) };
  const runtime = new RuntimeActor({
    config: completeConfig(options),
    strategy: null,
    log,
    probe: () => probeAll(),
    directory: () => directory,
  });
  running.push(runtime);
  await runtime.start();
  return { runtime, directory, warnings, connect: () => openSession({ fd: runtime.connectHere() }) };
}
afterEach(async () => {
  await Promise.all(running.splice(0).map((runtime) => runtime.close()));
});

const peerOf = (peer: number, from: PlayedDirectory, subscriptions: ReadonlyArray<Subscription>): PeerInfo => ({
  peer,
  id: `peer ${peer}`,
  name: `peer ${peer}`,
  endpoint: "127.0.0.1:1",
  endpoints: from.endpoints,
  technologies: ["udp"],
  knows: ["udp"],
  subscriptions,
});

/** Two runtimes, the second wanting channel 1 of stream s, which the first emits. */
async function connected() {
  const [a, b] = await Promise.all([start(), start()]);
  const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
  const sink = await (await sb.createStream({ name: "s" })).createSink(1);
  const source = await (await sa.createStream({ name: "s" })).createSource(1);
  const introduce = (): void => {
    b.directory.events?.alive(peerOf(1, a.directory, []));
    a.directory.events?.alive(peerOf(1, b.directory, b.directory.announced));
  };
  /** As hello frames would: each is told of the other's present endpoint and wishes. */
  const reintroduce = async (): Promise<void> => {
    for (const { runtime, directory } of [a, b]) {
      const port = (): number => runtime.network.engine?.datapaths.get("udp")?.endpoint?.port ?? -1;
      await eventually(
        () => directory.endpoints[0]?.port,
        (announced) => announced === port(),
      );
    }
    await eventually(
      () => b.directory.announced.length,
      (count) => count === 1,
    );
    introduce();
    await eventually(
      () => source.consumers,
      (count) => count === 1,
    );
  };
  // What is announced follows the sink, not at once.
  await reintroduce();
  await source.matched();
  /** Emits until one arrives: what was sent to an endpoint that is gone is lost, as it may be. */
  const exchange = async (): Promise<void> => {
    await eventually(
      () => {
        source.emit(source.getBuffer(16));
        return new Promise<boolean>((resolve) => {
          sink.consume({ signal: AbortSignal.timeout(100) }).then(
            (message) => {
              message.release();
              resolve(true);
            },
            () => resolve(false),
          );
        });
      },
      (arrived) => arrived,
    );
  };
  await exchange();
  return { a, b, sa, sb, source, sink, reintroduce, exchange };
}

describe("a runtime", () => {
  it("opens a datapath that breaks again, and says so; streams lose nothing but what was under way", async () => {
    const { a, reintroduce, exchange, sa, sb } = await connected();
    const { engine } = a.runtime.network;
    const before = engine?.datapathUp ?? -1;
    const [streamOfA] = [await sa.createStream({ name: "s" })];
    const told: string[] = [];
    streamOfA?.on("warning", ({ code }) => void told.push(code));
    streamOfA?.on("binding", ({ datapath }) => void told.push(`binding ${datapath}`));
    engine?.datapaths.get("udp")?.broke(before, "the test broke it");
    await eventually(
      () => engine?.datapathUp ?? null,
      (now) => now !== null && now !== before,
    );
    expect(a.warnings).toContain("W_DATAPATH_DOWN");
    await eventually(
      () => a.runtime.status().runtime.state,
      (state) => state === "running.healthy",
    );
    await reintroduce();
    await exchange();
    const [stream] = a.runtime.status().sessions[0]?.streams ?? [];
    await eventually(
      () => a.runtime.explain("s")[0]?.decision.datapath,
      (datapath) => datapath === "udp",
    );
    expect(stream?.name).toBe("s");
    // The application was told of each step: the loss, what is left, and the way back.
    await eventually(
      () => told,
      (steps) => steps.at(-1) === "binding udp",
    );
    expect(told).toContain("W_DATAPATH_DOWN");
    expect(told).toContain("W_NO_NETWORK");
    expect(told).toContain("binding null");
    await Promise.all([sa.close(), sb.close()]);
    expect(a.runtime.status().quarantined).toBe(0);
  });

  it("starts an engine that fails again, and everything that hung on it", async () => {
    const { a, b, reintroduce, exchange, sa, sb } = await connected();
    for (const { runtime, warnings } of [a, b]) {
      const before = runtime.network.engine;
      before?.life.send({ type: "failed", notice: { code: "EINTERNAL", message: "the test made it fail" } });
      await eventually(
        () => runtime.network.engine?.datapathUp ?? null,
        (up) => up !== null && runtime.network.engine !== before,
      );
      expect(warnings).toContain("W_RESTARTED");
      expect(before?.life.outcome?.how).toBe("closed");
    }
    // Its endpoint is another one now, and its sink has another link.
    await reintroduce();
    await exchange();
    await Promise.all([sa.close(), sb.close()]);
  });

  it("sends nothing to a peer whose stream only has the same tag", async () => {
    const { directory, connect, warnings, runtime } = await start();
    const session = await connect();
    const source = await (await session.createStream({ name: "mine" })).createSource(1);
    const tag = streamTag("mine");
    const alive = (peer: number, wanted: Subscription) =>
      directory.events?.alive({
        ...peerOf(peer, directory, [wanted]),
        endpoints: [{ lane: "udp", address: "127.0.0.1", port: 9 + peer, mtu: 1500 }],
      });
    alive(1, { tag, stream: "theirs", channel: 1, lane: "udp" });
    await eventually(
      () => warnings,
      (codes) => codes.includes("W_TAG_COLLISION"),
    );
    alive(2, { tag, stream: "mine", channel: 1, lane: "udp" });
    await source.matched();
    // And a name that collides with what a peer uses is refused.
    const unused = streamTag("another");
    alive(3, { tag: unused, stream: "elsewhere", channel: 1, lane: "udp" });
    await eventually(
      () => runtime.network.foreign(unused, "another"),
      (name) => name === "elsewhere",
    );
    await expect(session.createStream({ name: "another" })).rejects.toMatchObject({ code: "ECOLLISION" });
    await session.close();
  });

  it("announces what its engine delivers, and takes it back with the sink", async () => {
    const { directory, connect } = await start();
    const session = await connect();
    const stream = await session.createStream({ name: "s" });
    const sinks = [await stream.createSink(1), await stream.createSink(2)];
    const announced = (): string =>
      directory.announced
        .map(({ channel }) => channel)
        .sort()
        .join();
    await eventually(announced, (channels) => channels === "1,2");
    await sinks[0]?.close();
    await eventually(announced, (channels) => channels === "2");
    await session.close();
    await eventually(
      () => directory.announced.length,
      (count) => count === 0,
    );
  });

  it("can be watched: a session's machines and their states as they change", async () => {
    const { runtime, connect } = await start({ network: { enabled: false } });
    const seen: string[] = [];
    const stop = runtime.world.inspection.watch(({ actor, state, sessions }) => {
      if (sessions.includes(1)) seen.push(`${actor} ${state}`);
    });
    let raw = 0;
    const unsubscribe = runtime.world.inspection.subscribe(() => void raw++);
    const session = await connect();
    const stream = await session.createStream({ name: "s" });
    await stream.createSink(1);
    const source = await stream.createSource(1);
    await source.matched();
    await session.close();
    const told = [
      "session 1 attached",
      "stream 1.1 closed",
      "sink 1 open.confirmed",
      "source 2 open.matched",
      "link 1 open",
      "link 1 closed",
      "session 1 closed",
    ];
    await eventually(
      () => told.filter((line) => !seen.includes(line)),
      (missing) => missing.length === 0,
    );
    await eventually(
      () => runtime.world.inspection.current.map(({ actor }) => actor),
      (left) => left.join() === "runtime",
    );
    stop();
    unsubscribe();
    expect(raw).toBeGreaterThan(seen.length);
  });
});
