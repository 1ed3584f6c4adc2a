// Attacks through the control socket: frames that are no frames, orders that make no sense, things that belong to others,
// more of everything than is allowed, and silence where an answer is owed.
import { closeSync, openSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeNotification, encodeRequest, type RpcFailure } from "../../../src/protocol/rpc.ts";
import { eventually } from "../runtime/processes.ts";
import { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { FRAMES } from "./frames.ts";
import { HostileClient, QOS } from "./hostile-client.ts";

const CALM = "calm";
const EVICTED = /W_EVICTED/;

let arena: Arena;
let daemon: Daemon;

beforeAll(async () => {
  arena = new Arena();
  daemon = await arena.daemon({
    limits: { sessions: 24, streamsPerSession: 8, endpointsPerSession: 40, bytesPerSession: 64 * 1024 * 1024 },
  });
  await arena.pair("local", daemon, daemon, CALM, 1);
  await arena.begin();
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
});

describe("a frame", () => {
  it.each(FRAMES)("%s is answered readably, and the session goes on", async (_, bytes) => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      client.raw(bytes);
      const error = await client.until((seen) => {
        for (const frame of seen) {
          if (frame.type === "response" && frame.error) return frame.error;
          if (frame.type === "notification" && frame.method === "protocol.error") return frame.params as RpcFailure;
        }
        return undefined;
      }, "an error");
      expect(["ESCHEMA", "EMETHOD", "EFRAME"]).toContain(error.code);
      expect(error.message.length).toBeLessThan(2000);
      await client.stream("mine");
    });
  });

  it("with 32 descriptors is read as if it had none", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const mine = Array.from({ length: 32 }, () => openSync("/dev/null", "r"));
      try {
        const frame = encodeRequest(900, "stream.open", { name: "mine", qos: QOS });
        for (let i = 0; i < 20; i++) client.withFds(frame, mine);
        for (let i = 0; i < 20; i++) client.withFds(Uint8Array.of(0xc1), mine);
        await client.stream("mine");
      } finally {
        for (const fd of mine) closeSync(fd);
      }
    });
  });

  it("of garbage thirty-two times evicts its sender", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (let i = 0; i < 40; i++) client.raw(Uint8Array.of(0xc1));
      await client.untilEnded();
    }, EVICTED);
  });
});

describe("a flood", () => {
  const flood = async (client: HostileClient, ms: number, send: (i: number) => number): Promise<number> => {
    const until = performance.now() + ms;
    let sent = 0;
    while (performance.now() < until && !client.ended) {
      for (let i = 0; i < 32; i++) if (send(sent) >= 0) sent++;
      client.look();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return sent;
  };

  it("of requests, all answered, does not keep others waiting", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      using other = await HostileClient.attach(daemon.socket, "other");
      const flooding = flood(client, 600, (i) => client.fling("stream.open", { name: "mine", qos: QOS }, i));
      const waits: number[] = [];
      for (let i = 0; i < 10; i++) {
        const before = performance.now();
        await other.must("doctor", {});
        waits.push(performance.now() - before);
      }
      expect(await flooding).toBeGreaterThan(500);
      expect(Math.max(...waits)).toBeLessThan(500);
    });
  });

  it("of expensive questions does not keep others waiting", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      using other = await HostileClient.attach(daemon.socket, "other");
      const flooding = flood(client, 600, (i) => client.fling(["status", "explain", "doctor"][i % 3] ?? "", {}, i));
      const before = performance.now();
      await other.stream("mine");
      expect(performance.now() - before).toBeLessThan(1000);
      await flooding;
    });
  });

  it("of watches leaves one watch", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (let i = 0; i < 200; i++) await client.must("watch", { session: 0 });
      const before = client.frames.length;
      using other = await HostileClient.attach(daemon.socket, "other");
      await other.stream("mine");
      await client.must("doctor", {});
      // A handful of changes of state, each told once.
      expect(client.frames.length - before).toBeLessThan(100);
    });
  });

  it("of watchers that go while what they watch ends leaves nothing", async () => {
    await arena.attack(async () => {
      for (let round = 0; round < 24; round++) {
        const others = await Promise.all([1, 2, 3].map((i) => HostileClient.attach(daemon.socket, `other ${i}`)));
        const watcher = await HostileClient.attach(daemon.socket, "watcher");
        for (const client of [...others, watcher]) {
          const stream = await client.stream("theirs");
          await client.sink(stream, 1);
          await client.source(stream, 1);
        }
        await watcher.must("watch", { session: 0 });
        const going = [...others, watcher];
        // It is found gone by telling it of a step of the others; at each round at another one.
        for (const client of going.slice(0, round % 4)) client.fling("session.close", {}, 1);
        if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        for (const client of round % 3 === 0 ? going.reverse() : going) client[Symbol.dispose]();
      }
    });
  });

  it("of accusations is heard once", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream(CALM);
      await client.sink(stream, 1);
      const { info } = await client.link(stream, "consumer");
      for (let i = 0; i < 500; i++) client.raw(encodeNotification("link.fault", { link: info.link, what: "lies\n" }));
      for (let i = 0; i < 500; i++) client.raw(encodeNotification("link.fault", { link: i, what: "x".repeat(5000) }));
      await client.until(
        (seen) => seen.find((frame) => frame.type === "request" && frame.method === "link.close"),
        "the end of the link",
      );
    }, /W_EVICTED.*closed for good/);
    // The accused is as innocent as before: it still sends, and a sink of somebody else still gets it.
    expect(daemon.said(/"msg":"link fault reported"/).length).toBe(1);
  });
});

describe("an accusation", () => {
  it("is remembered as long as its stream is open, and no longer", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (let round = 0; round < 3; round++) {
        const stream = await client.stream(CALM);
        await client.sink(stream, 1);
        const { info } = await client.link(stream, "consumer");
        client.raw(encodeNotification("link.fault", { link: info.link, what: "lies" }));
        await client.until(
          (seen) => seen.find((frame) => frame.type === "request" && frame.method === "link.close"),
          "the end of the link",
        );
        client.frames.splice(0);
        const again = await client.sink(stream, 1);
        await client.must("sink.close", { sink: again });
        expect(client.frames.filter((frame) => frame.type === "request" && frame.method === "link.open")).toEqual([]);
        await client.must("stream.close", { stream });
      }
    }, /W_EVICTED.*closed for good/);
  });
});

describe("what belongs to others", () => {
  it("can neither be closed nor used", async () => {
    await arena.attack(async () => {
      const { sessions } = await daemon.status();
      using client = await HostileClient.attach(daemon.socket);
      await client.stream("mine");
      const ids = sessions.flatMap(({ streams }) => streams.flatMap(({ sources, sinks }) => [...sources, ...sinks]));
      expect(ids.length).toBeGreaterThan(1);
      for (const { id } of ids) {
        for (const [method, params] of [
          ["source.close", { source: id }],
          ["sink.close", { sink: id }],
        ] as const) {
          expect((await client.ask(method, params)).error, method).toMatchObject({ code: "ENOENT" });
        }
      }
      for (const stream of [0, 2, 3, 0xffffffff]) {
        for (const method of ["pool.open", "pool.mapped", "stream.close"]) {
          expect((await client.ask(method, { stream })).error, `${method} ${stream}`).toMatchObject({ code: "ENOENT" });
        }
      }
    });
  });

  it("is not there twice", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream(CALM);
      const sink = await client.sink(stream, 1);
      const { source } = await client.source(stream, 7);
      await client.must("sink.close", { sink });
      expect((await client.ask("sink.close", { sink })).error).toMatchObject({ code: "ENOENT" });
      await client.must("source.close", { source });
      expect((await client.ask("source.close", { source })).error).toMatchObject({ code: "ENOENT" });
      await client.must("stream.close", { stream });
      expect((await client.ask("stream.close", { stream })).error).toMatchObject({ code: "ENOENT" });
      // At once, so that the second finds the first under way.
      const again = await client.stream(CALM);
      const other = await client.sink(again, 1);
      client.fling("sink.close", { sink: other }, 801);
      client.fling("sink.close", { sink: other }, 802);
      client.fling("stream.close", { stream: again }, 803);
      client.fling("stream.close", { stream: again }, 804);
      client.fling("session.close", {}, 805);
      client.fling("session.close", {}, 806);
      await client.untilEnded();
    });
  });
});

describe("an order that makes no sense", () => {
  it("for a stream whose namesake closes, from one that goes meanwhile, leaves no session behind", async () => {
    await arena.attack(async () => {
      const client = await HostileClient.attach(daemon.socket);
      client.instead.set("link.close", null);
      const { session } = client;
      const stream = await client.stream(CALM);
      await client.sink(stream, 1);
      client.fling("stream.close", { stream }, 900);
      client.fling("stream.open", { name: CALM, qos: QOS }, 901);
      await client.until(
        (seen) => seen.find((frame) => frame.type === "request" && frame.method === "link.close"),
        "the end of the link",
      );
      client.close();
      await eventually(
        () => daemon.machines(),
        (machines) => !machines.some(({ actor }) => actor === `session ${session}`),
      );
    });
  });

  it("for another quality of a stream that closes at that moment is answered", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (let i = 0; i < 20; i++) {
        const stream = await client.stream(`mine ${i}`);
        // Both are read in one turn, as a rule.
        client.fling("stream.setQos", { stream, qos: { ...QOS, consumption: "high" } }, 1000 + i);
        client.fling("stream.close", { stream }, 2000 + i);
        for (const id of [1000 + i, 2000 + i]) {
          await client.until(
            (seen) => seen.find((frame) => frame.type === "response" && frame.id === id),
            `the answer to ${id}`,
          );
        }
      }
    });
  });

  it("for what cannot be opened costs nothing that was reserved for it", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream(CALM);
      await client.source(stream, 5);
      await client.must("sink.open", { stream, channel: 1, policy: { kind: "drop-newest" }, name: "taken" });
      const large = await client.stream("large", { maxMessage: 128 * 1024 * 1024 });
      const held = async (): Promise<unknown> =>
        (await client.ask("pool.open", { stream: large })).error?.details?.["held"];
      const before = await held();
      expect(before).toBeGreaterThan(0);
      for (let i = 0; i < 10; i++) {
        // It would bring about a link to the innocent sink.
        const { error } = await client.ask("source.open", { stream, channel: 1, name: `another ${i}` });
        expect(error).toMatchObject({ code: "ECOLLISION" });
      }
      expect(await held()).toBe(before);
    });
  });

  it("is refused, whatever it is", async () => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      const refused = async (method: string, params: unknown, code: string): Promise<void> =>
        expect((await client.ask(method, params)).error, method).toMatchObject({ code });
      await refused("session.mapped", {}, "ESCHEMA");
      await refused("status", {}, "ESCHEMA");
      await client.hello();
      await refused("stream.open", { qos: QOS }, "ESCHEMA");
      await refused("hello", { protocol: 1, layout: 0, role: "application", name: "x", version: "" }, "ESCHEMA");
      await client.must("session.mapped", {});
      await client.must("session.mapped", {});
      const stream = await client.stream("mine");
      await refused("pool.mapped", { stream }, "ESCHEMA");
      await refused("source.open", { stream, channel: 1 }, "ESCHEMA");
      await client.must("pool.open", { stream });
      await refused("source.open", { stream, channel: 1 }, "ESCHEMA");
      await client.must("pool.open", { stream });
      await client.must("pool.mapped", { stream });
      await client.must("pool.mapped", { stream });
      await client.must("source.open", { stream, channel: 1 });
      await refused("link.open", {}, "EMETHOD");
      await refused("watch", { session: 4_000_000 }, "ENOENT");
      await refused("status", { part: 9 }, "ENOENT");
    });
  });
});

describe("more than is allowed", () => {
  it("of streams is refused", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (let i = 0; i < 8; i++) await client.stream(`mine ${i}`);
      expect((await client.ask("stream.open", { name: "one more", qos: QOS })).error).toMatchObject({ code: "ELIMIT" });
      // One that is open already is not another one.
      await client.stream("mine 3");
    });
  });

  it("of sources and sinks is refused", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream("mine");
      await client.source(stream, 0);
      for (let i = 1; i < 40; i++) {
        if (i % 2 === 0) await client.must("source.open", { stream, channel: i });
        else await client.sink(stream, i + 1000);
      }
      for (const method of ["source.open", "sink.open"]) {
        const params = { stream, channel: 1, ...(method === "sink.open" ? { policy: { kind: "block" } } : {}) };
        expect((await client.ask(method, params)).error).toMatchObject({ code: "ELIMIT" });
      }
    });
  });

  it("of memory is refused", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const large = await client.stream("large", { maxMessage: 128 * 1024 * 1024 });
      expect((await client.ask("pool.open", { stream: large })).error).toMatchObject({ code: "ELIMIT" });
      let granted = 0;
      for (let i = 0; i < 7; i++) {
        const { error } = await client.ask("pool.open", { stream: await client.stream(`mine ${i}`) });
        if (!error) granted++;
        else expect(error.code).toBe("ELIMIT");
      }
      expect(granted).toBe(5);
    });
  });

  it("of a message's size is refused", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      for (const maxMessage of [0, -1, 1.5, 2 ** 27 + 1, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, "1", null]) {
        const { error } = await client.ask("stream.open", { name: "mine", qos: { ...QOS, maxMessage } });
        expect(error, String(maxMessage)).toMatchObject({ code: "ESCHEMA" });
      }
    });
  });

  it("of sessions is refused, and who came first is served", async () => {
    await arena.attack(async () => {
      using first = await HostileClient.attach(daemon.socket, "first");
      const more: HostileClient[] = [];
      try {
        for (let i = 0; i < 60; i++) {
          const client = new HostileClient(daemon.socket);
          more.push(client);
          const { error } = await client
            .hello()
            .catch((error: Error) => ({ error: { code: "closed", message: error.message } }));
          if (error) expect(["ELIMIT", "closed"]).toContain(error.code);
        }
        await first.stream("mine");
      } finally {
        for (const client of more) client.close();
      }
    });
  });
});

describe("silence", () => {
  /** A sink on the innocent source's channel whose session does not answer this method. */
  const silentSink = async (method: string): Promise<HostileClient> => {
    const client = await HostileClient.attach(daemon.socket);
    client.instead.set(method, null);
    const stream = await client.stream(CALM);
    client.fling("sink.open", { stream, channel: 1, policy: { kind: "drop-newest" } }, 700);
    return client;
  };

  it.each(["link.open", "link.update", "link.close"])("where %s is asked stops nobody else", async (method) => {
    await arena.attack(async () => {
      using client = await silentSink(method);
      await client.until(
        (seen) => seen.find((frame) => frame.type === "request" && frame.method === "link.open"),
        "the link",
      );
      // Others open and close sources and sinks on the same channel meanwhile.
      using other = await HostileClient.attach(daemon.socket, "other");
      const stream = await other.stream(CALM);
      const before = performance.now();
      const sink = await other.sink(stream, 1);
      const { source } = await other.source(stream, 1);
      await other.must("sink.close", { sink });
      await other.must("source.close", { source });
      expect(performance.now() - before).toBeLessThan(6000);
    });
  });

  it("after the hello keeps nothing but its own session", async () => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      await client.hello();
      await arena.calm();
    });
  });

  it("of one that does not read ends with its eviction", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      client.deaf = true;
      const from = daemon.log.length;
      const until = performance.now() + 10_000;
      for (let i = 0; daemon.said(/not read/, from).length === 0 && performance.now() < until; i++) {
        client.fling("session.mapped", {}, i);
        if (i % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await eventually(
        () => daemon.said(/W_EVICTED.*not read/, from),
        (lines) => lines.length > 0,
      );
    }, EVICTED);
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await arena.end();
});
