// Two runtimes on loopback, exchanging over UDP: messages go where they are wanted and nowhere else, peers come and go,
// and nothing is left behind.
import { describe, expect, it } from "vitest";
import { InlineLease } from "../../src/actors/inline-lease.ts";
import { type EmbeddedRuntime, type EmbedOptions, Runtime, type Session } from "../../src/index.ts";
import { eventually, Stage } from "./runtime/processes.ts";

// Quick to greet, and patient: on a machine with other work no peer may be taken for silent.
const fast = { helloIntervalMs: 50, silentAfterMs: 5000 };
const start = (name: string, options: EmbedOptions = {}): Promise<EmbeddedRuntime> =>
  Runtime.embed({ name, log: { level: "silent" }, ...options, network: { ...fast, ...options.network } });

async function pair(options: EmbedOptions = {}): Promise<{ a: EmbeddedRuntime; b: EmbeddedRuntime } & AsyncDisposable> {
  const a = await start("A", options);
  const b = await start("B", { ...options, network: { ...options.network, peers: [`127.0.0.1:${a.port}`] } });
  a.addPeer(`127.0.0.1:${b.port}`);
  return {
    a,
    b,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const kinds = (runtime: EmbeddedRuntime): string[] => runtime.status().links.map(({ kind }) => kind);

async function emitter(session: Session, stream: string, channel: number) {
  const source = await (await session.createStream({ name: stream })).createSource(channel);
  return {
    source,
    async emit(what: string): Promise<void> {
      const bytes = new TextEncoder().encode(what);
      const buffer = source.getBuffer(bytes.length);
      buffer.bytes.set(bytes);
      while (source.tryEmit(buffer) === 0) await source.ready();
    },
  };
}

describe("two runtimes", () => {
  it.each(["thread", "inline"] as const)("exchange messages, in order, each once (engine mode %s)", async (mode) => {
    await using hosts = await pair({ engine: { mode } });
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    const sink = await (await sb.createStream({ name: "s" })).createSink(7);
    const { source, emit } = await emitter(sa, "s", 7);
    await source.matched();
    for (let i = 0; i < 500; i++) {
      await emit(`message ${i}`);
      const message = await sink.consume();
      expect(text(message.bytes)).toBe(`message ${i}`);
      expect(message.source).toBe(source.id);
      expect(message.sequence).toBe(i);
      message.release();
    }
    expect(await source.settled()).toMatchObject({ consumed: 500, outstanding: 0, dropped: {} });
    expect(hosts.a.explain("s")[0]).toMatchObject({
      decision: { datapath: "udp" },
      links: [{ kind: "egress", lane: "udp" }],
      peers: [{ name: "B", state: expect.stringMatching(/alive/) }],
    });
    await Promise.all([sa.close(), sb.close()]);
    await eventually(
      () => [hosts.a.status(), hosts.b.status()].map(({ links, slots }) => [links.length, slots.outstanding]),
      (left) => left.flat().every((count) => count === 0),
    );
    expect(hosts.a.status().quarantined + hosts.b.status().quarantined).toBe(0);
  });

  it("spinning in one thread, answer each other through the inline engines", async () => {
    await using hosts = await pair({ engine: { mode: "inline" } });
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    const there = await emitter(sa, "s", 1);
    const back = await emitter(sb, "s", 2);
    const atB = await (await sb.createStream({ name: "s" })).createSink(1);
    const atA = await (await sa.createStream({ name: "s" })).createSink(2);
    await Promise.all([there.source.matched(), back.source.matched()]);
    const bounce = (): void => {
      const buffer = there.source.getBuffer(64);
      there.source.emit(buffer);
      const until = performance.now() + 5000;
      for (;;) {
        sa.poll();
        sb.poll();
        const question = atB.tryConsume();
        if (question) {
          question.release();
          back.source.emit(back.source.getBuffer(64));
        }
        const answer = atA.tryConsume();
        if (answer) {
          answer.release();
          return;
        }
        if (performance.now() > until) throw new Error("no answer in 5 s");
      }
    };
    for (let i = 0; i < 1000; i++) bounce();
    expect(await there.source.settled()).toMatchObject({ consumed: 1000 });
  });

  it("serve all of several sessions that open at once over inline engines, whichever of them closes", async () => {
    await using hosts = await pair({ engine: { mode: "inline" } });
    const [first, second] = await Promise.all([hosts.a.connect(), hosts.a.connect()]);
    const there = await hosts.b.connect();
    const sinks = await Promise.all(
      [1, 2].map(async (n) => (await there.createStream({ name: `s${n}` })).createSink(n)),
    );
    const emitters = [await emitter(first, "s1", 1), await emitter(second, "s2", 2)];
    await Promise.all(emitters.map(({ source }) => source.matched()));
    const exchange = async (index: number, what: string): Promise<void> => {
      await emitters[index]?.emit(what);
      const message = await sinks[index]?.consume();
      expect(message && text(message.bytes)).toBe(what);
      message?.release();
    };
    for (let i = 0; i < 100; i++) {
      first.poll();
      second.poll();
      await exchange(i % 2, `message ${i}`);
    }
    // The second has no lease to give back.
    await second.close();
    await exchange(0, "goes on");
    await first.close();
    const third = await hosts.a.connect();
    emitters[0] = await emitter(third, "s1", 1);
    await emitters[0].source.matched();
    await exchange(0, "of the next");
  });

  it("have one lease for all sessions, from before the first is open until it is closed", () => {
    const lease = new InlineLease(() => []);
    expect([lease.reserve(), lease.reserve(), lease.taken]).toEqual([true, false, false]);
    lease.give(7, []);
    expect([lease.reserve(), lease.taken]).toEqual([false, true]);
    lease.give(null, []);
    expect([lease.taken, lease.reserve()]).toEqual([false, true]);
  });

  it("send only what somebody there wants", async () => {
    await using hosts = await pair();
    const [sa, sb] = await Promise.all([hosts.a.connect(), hosts.b.connect()]);
    const wanted = await emitter(sa, "s", 1);
    const unwanted = await emitter(sa, "s", 2);
    const elsewhere = await emitter(sa, "t", 1);
    const sink = await (await sb.createStream({ name: "s" })).createSink(1);
    await wanted.source.matched();
    for (const { emit } of [wanted, unwanted, elsewhere]) await emit("x");
    const message = await sink.consume();
    message.release();
    expect(await unwanted.source.settled()).toMatchObject({ unmatched: 1, pushed: 0 });
    expect(await elsewhere.source.settled()).toMatchObject({ unmatched: 1, pushed: 0 });
    await sink.close();
    // The subscription is withdrawn, and with it the link.
    await eventually(
      () => wanted.source.consumers,
      (count) => count === 0,
    );
    await eventually(
      () => kinds(hosts.a),
      (links) => links.length === 0,
    );
    expect(hosts.a.status().peers).toMatchObject([{ name: "B", subscriptions: 0 }]);
  });

  it("reach sinks here and there with one emit", async () => {
    await using hosts = await pair();
    const [sa, sa2, sb] = await Promise.all([hosts.a.connect(), hosts.a.connect(), hosts.b.connect()]);
    const sinks = await Promise.all(
      [sa, sa2, sb].map(async (session) => (await session.createStream({ name: "s" })).createSink(1)),
    );
    const { source, emit } = await emitter(sa, "s", 1);
    await source.matched(3);
    for (let i = 0; i < 100; i++) await emit(String(i));
    for (const sink of sinks) {
      for (let i = 0; i < 100; i++) {
        const message = await sink.consume();
        expect(text(message.bytes)).toBe(String(i));
        message.release();
      }
    }
    expect(await source.settled()).toMatchObject({ emitted: 100, pushed: 300, consumed: 300 });
  });

  it("notice that one falls silent, and use it again when it is back", async () => {
    const a = await start("A");
    let b = await start("B", { network: { peers: [`127.0.0.1:${a.port}`] } });
    const { port } = b;
    a.addPeer(`127.0.0.1:${port}`);
    const sa = await a.connect();
    const { source, emit } = await emitter(sa, "s", 1);
    for (let round = 0; round < 2; round++) {
      const sb = await b.connect();
      const sink = await (await sb.createStream({ name: "s" })).createSink(1);
      await source.matched();
      await emit(`round ${round}`);
      const message = await sink.consume();
      expect(text(message.bytes)).toBe(`round ${round}`);
      message.release();
      await b.close();
      await eventually(
        () => source.consumers,
        (count) => count === 0,
      );
      if (round === 0) b = await start("B", { network: { port, peers: [`127.0.0.1:${a.port}`] } });
    }
    await a.close();
  });

  it("warn the application that asked for more than this host has", async () => {
    await using hosts = await pair();
    const session = await hosts.a.connect();
    const stream = await session.createStream({ name: "s", acceleration: "fast" });
    expect(stream.binding.datapath).toBe("udp");
    expect(stream.warnings.map(({ code }) => code)).toContain("W_FALLBACK_UDP");
    const [report] = hosts.a.explain("s");
    expect(report?.decision.candidates.find(({ technology }) => technology === "xdp")).toMatchObject({
      verdict: "rejected",
      why: expect.stringMatching(/./),
    });
  });

  it("cannot share a data port, and the second says which", async () => {
    await using first = await start("A");
    const [udp] = first.status().datapaths;
    const dataPort = Number(udp?.endpoint.split(":")[1]);
    await expect(start("B", { network: { dataPort } })).rejects.toMatchObject({
      code: "EADDRINUSE",
      message: expect.stringContaining(`UDP 127.0.0.1:${dataPort}, for data over udp, is taken`),
    });
    expect(first.status().runtime.state).toBe("running.healthy");
  });
});

describe("applications in processes of their own, on two hosts", () => {
  it("exchange, and one that is killed takes nothing with it", async () => {
    await using near = new Stage();
    await using far = new Stage();
    const [dn, df] = await Promise.all(
      [near, far].map((stage) => stage.daemon({ network: { enabled: true, ...fast } })),
    );
    const portOf = (words: { readonly heard: ReadonlyArray<Record<string, unknown>> } | undefined): number =>
      Number(words?.heard.find(({ up }) => up === true)?.["port"]);
    await dn?.call("addPeer", { endpoint: `127.0.0.1:${portOf(df)}` });
    await df?.call("addPeer", { endpoint: `127.0.0.1:${portOf(dn)}` });
    const producer = await near.application("producer");
    const consumer = await far.application("consumer");
    const victim = await far.application("victim");
    for (const application of [consumer, victim]) await application.call("sink", { channel: 1 });
    await producer.call("source", { channel: 1 });
    await producer.call("matched", { index: 0 });
    // Slow enough for loopback: what is asked here is who gets what, not how much.
    for (let i = 0; i < 10; i++) {
      await producer.call("emit", { index: 0, count: (i + 1) * 100, size: 300 });
      await producer.call("finished", { index: 0 });
      await producer.call("settled", { index: 0 });
      if (i === 4) await victim.kill();
    }
    const seen = await eventually(
      async () => (await consumer.call("received", { index: 0 }))["result"] as Record<string, unknown>,
      ({ count }) => count === 1000,
    );
    expect(seen["faults"]).toEqual([]);
    // An engine that sleeps looks for slots that come back at most a second later (engine_idle.c).
    const home = await eventually(
      async () => (await df?.call("status"))?.["result"] as ReturnType<EmbeddedRuntime["status"]>,
      ({ sessions, links, slots, engines: [engine] }) =>
        sessions.length === 1 &&
        links.length === 1 &&
        slots.outstanding === 0 &&
        engine?.counters["links"] === 1 &&
        engine.counters["slots_out"] === 0,
    );
    expect(home.quarantined).toBe(0);
  });
});
