// Runtimes that find each other by hello frames, over real sockets on loopback. Time is turned by hand; frames are waited
// for by the events they cause.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readlinkSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../src/actors/clock.ts";
import { Inspection } from "../../src/actors/inspection.ts";
import { decodeHello, encodeHello, type Hello } from "../../src/protocol/hello.ts";
import { streamTag } from "../../src/protocol/qos.ts";
import { WIRE } from "../../src/protocol/wire.ts";
import type { Announcement, PeerInfo, Subscription } from "../../src/runtime/directory.ts";
import { HelloDirectory } from "../../src/runtime/hello-directory.ts";

type Told =
  | { readonly what: "alive"; readonly info: PeerInfo }
  | { readonly what: "silent" | "removed"; readonly peer: number }
  | { readonly what: "warning"; readonly code: string; readonly message: string; readonly cure: string };

/** The sockets this process holds, as the kernel sees them. */
const sockets = (): string[] =>
  readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith("socket:") ? [target] : [];
    } catch {
      return [];
    }
  });

const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const f of undo.splice(0).reverse()) await f();
});

/** A directory, what it told, and a way to wait for what it will tell. */
class Host {
  readonly clock = new ManualClock();
  readonly told: Told[] = [];
  readonly defects: unknown[] = [];
  readonly directory: HelloDirectory;
  port = 0;
  /** What its engines would say of every peer. */
  heardMs = Number.POSITIVE_INFINITY;
  #waiters: Array<() => void> = [];

  constructor(id: string, network: Partial<{ peers: string[]; port: number; address: string }> = {}) {
    this.directory = new HelloDirectory({
      id,
      name: `host ${id}`,
      network: { address: "127.0.0.1", port: 0, peers: [], helloIntervalMs: 1000, silentAfterMs: 3000, ...network },
      world: {
        clock: this.clock,
        inspection: new Inspection((cause) => void this.defects.push(cause)),
        warn: () => {},
        defect: (_, cause) => void this.defects.push(cause),
      },
    });
  }

  async start(): Promise<this> {
    const tell = (told: Told) => {
      this.told.push(told);
      for (const wake of this.#waiters.splice(0)) wake();
    };
    const { port } = await this.directory.start({
      alive: (info) => tell({ what: "alive", info }),
      silent: (peer) => tell({ what: "silent", peer }),
      removed: (peer) => tell({ what: "removed", peer }),
      heardMs: () => this.heardMs,
      warning: (warning) => tell({ what: "warning", ...warning }),
    });
    this.port = port;
    undo.push(async () => {
      await this.directory.stop();
      expect(this.defects).toEqual([]);
    });
    return this;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Resolves with the first thing told, from `from` on, that `test` accepts. */
  async until<T extends Told["what"]>(
    what: T,
    test: (told: Extract<Told, { what: T }>) => boolean = () => true,
    from = 0,
  ): Promise<Extract<Told, { what: T }>> {
    for (;;) {
      const found = this.told.slice(from).find((told) => told.what === what && test(told as never));
      if (found !== undefined) return found as Extract<Told, { what: T }>;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  /** Resolves when its peers are known to have what it announced. */
  async settled(): Promise<void> {
    while (!this.directory.settled) await new Promise((resolve) => setImmediate(resolve));
  }

  whats(): string[] {
    return this.told.map((told) =>
      told.what === "warning" ? told.code : `${told.what} ${told.what === "alive" ? told.info.peer : told.peer}`,
    );
  }
}

const wanting = (...subscriptions: Subscription[]): Announcement => ({
  endpoints: [{ lane: "udp", address: "127.0.0.1", port: 4000, mtu: 1500 }],
  technologies: ["udp"],
  subscriptions,
});
const sub = (stream: string, channel: number): Subscription => ({
  tag: streamTag(stream),
  stream,
  channel,
  lane: "udp",
});

/** A peer made by hand: a socket that says what the test wants. */
class Stub {
  readonly socket: Socket = createSocket("udp4");
  readonly heard: Hello[] = [];
  async start(): Promise<this> {
    this.socket.bind(0, "127.0.0.1");
    await once(this.socket, "listening");
    this.socket.on("message", (frame) => {
      const { hello } = decodeHello(frame);
      if (hello) this.heard.push(hello);
    });
    undo.push(() => new Promise<void>((resolve) => this.socket.close(() => resolve())));
    return this;
  }
  get endpoint(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }
  hello(id: string, more: Partial<Hello> = {}): Hello {
    const page = { index: 0, endpoints: [], technologies: [], streams: [] };
    return { id, name: `stub ${id}`, version: 1, pages: 1, seen: null, page, bye: false, ...more };
  }
  send(to: Host, frame: Hello | Uint8Array): Promise<unknown> {
    const bytes = frame instanceof Uint8Array ? frame : encodeHello(frame, 0n, 0n);
    return new Promise((resolve) => this.socket.send(bytes, to.port, "127.0.0.1", resolve));
  }
}

/** Two hosts that list each other, alive on both sides. */
async function pair(): Promise<[Host, Host]> {
  const a = await new Host("a").start();
  const b = await new Host("b", { peers: [a.endpoint] }).start();
  a.directory.addPeer(b.endpoint);
  await Promise.all([a.until("alive"), b.until("alive")]);
  await Promise.all([a.settled(), b.settled()]);
  return [a, b];
}

describe("runtimes that list each other", () => {
  it("learn endpoints, technologies and subscriptions, without a turn of the clock", async () => {
    const a = await new Host("a").start();
    a.directory.announce(wanting(sub("telemetry", 7), sub("telemetry", 9), sub("video", 1)));
    const b = await new Host("b", { peers: [a.endpoint] }).start();
    a.directory.addPeer(b.endpoint);
    const { info } = await b.until("alive", ({ info }) => info.subscriptions.length === 3);
    expect(info).toMatchObject({ id: "a", name: "host a", endpoint: a.endpoint, technologies: ["udp"] });
    expect(info.endpoints).toEqual([{ lane: "udp", address: "127.0.0.1", port: 4000, mtu: 1500 }]);
    expect(info.subscriptions).toEqual([sub("telemetry", 7), sub("telemetry", 9), sub("video", 1)]);
    expect(b.directory.peers()).toMatchObject([{ name: "host a", state: "alive", subscriptions: 3 }]);
  });

  it("tell of changes at once, those of one moment in one frame", async () => {
    const [a, b] = await pair();
    const sent = b.directory.counters["sent"] ?? 0;
    const news = a.told.length;
    b.clock.advance(10);
    for (let channel = 0; channel < 100; channel++) b.directory.announce(wanting(sub("s", channel)));
    const { info } = await a.until("alive", () => true, news);
    expect(info.subscriptions).toEqual([sub("s", 99)]);
    await b.settled();
    expect((b.directory.counters["sent"] ?? 0) - sent).toBe(1);
    expect(a.told.length).toBe(news + 1);
  });

  it("carry announcements of thousands of channels, page by page", async () => {
    const [a, b] = await pair();
    const many = Array.from({ length: 20_000 }, (_, channel) => sub(`stream ${channel % 7}`, channel));
    b.directory.announce(wanting(...many));
    const { info } = await a.until("alive", ({ info }) => info.subscriptions.length > 0);
    expect(info.subscriptions.length).toBe(20_000);
    expect(new Set(info.subscriptions.map(({ channel }) => channel)).size).toBe(20_000);
    await b.settled();
    const sent = b.directory.counters["sent"] ?? 0;
    b.clock.advance(2000);
    // What was acknowledged is not sent again: bare hellos only.
    expect((b.directory.counters["sent"] ?? 0) - sent).toBe(2);
  });

  it("find each other on one host, many at once", async () => {
    const hosts = await Promise.all(Array.from({ length: 12 }, (_, i) => new Host(`h${i}`).start()));
    for (const host of hosts) host.directory.announce(wanting(sub("shared", host.port)));
    for (const host of hosts) for (const other of hosts) host.directory.addPeer(other.endpoint);
    for (const host of hosts) {
      for (const other of hosts) {
        if (other === host) continue;
        await host.until("alive", ({ info }) => info.subscriptions[0]?.channel === other.port);
      }
    }
    for (const host of hosts) expect(host.directory.peers().map(({ state }) => state)).toEqual(Array(11).fill("alive"));
  });
});

describe("a peer", () => {
  it("that is not heard of is silent, with a warning, and used again when it is back", async () => {
    const [a, b] = await pair();
    const number = (await a.until("alive")).info.peer;
    a.clock.advance(2999);
    expect(a.whats()).not.toContain(`silent ${number}`);
    a.clock.advance(1);
    expect(a.told.slice(-2)).toMatchObject([
      { what: "silent", peer: number },
      { what: "warning", code: "W_PEER_SILENT" },
    ]);
    expect(a.told.at(-1)).toMatchObject({ cure: expect.stringContaining("UDP") });
    expect(a.directory.peers()[0]?.state).toBe("silent");
    const news = a.told.length;
    b.clock.advance(1000);
    expect((await a.until("alive", () => true, news)).info.peer).toBe(number);
  });

  it("that engines hear of is alive though no hello comes, and silent when neither does", async () => {
    const [a] = await pair();
    const number = (await a.until("alive")).info.peer;
    a.heardMs = 2999;
    a.clock.advance(60_000);
    expect(a.directory.peers()).toMatchObject([{ state: "alive", lastHeardMs: 2999 }]);
    expect(a.whats()).not.toContain(`silent ${number}`);
    a.heardMs = 3000;
    a.clock.advance(3000);
    expect(a.directory.peers()[0]?.state).toBe("silent");
    const news = a.told.length;
    a.heardMs = 10;
    a.clock.advance(1000);
    expect((await a.until("alive", () => true, news)).info.peer).toBe(number);
  });

  it("that stops says so, and is gone at once", async () => {
    const [a, b] = await pair();
    const number = (await a.until("alive")).info.peer;
    await b.directory.stop();
    await a.until("removed", ({ peer }) => peer === number);
    expect(a.whats().slice(-2)).toEqual([`silent ${number}`, `removed ${number}`]);
    expect(a.directory.peers()[0]?.state).toBe("greeting");
  });

  it("that restarts is another one: removed, then alive with another number; late frames of the old are ignored", async () => {
    const stub = await new Stub().start();
    const a = await new Host("a", { peers: [stub.endpoint] }).start();
    await stub.send(a, stub.hello("one"));
    await a.until("alive");
    await stub.send(a, stub.hello("two"));
    await a.until("alive", ({ info }) => info.id === "two");
    expect(a.whats()).toEqual(["alive 1", "silent 1", "removed 1", "alive 2"]);
    await stub.send(a, stub.hello("one", { version: 9 }));
    await stub.send(
      a,
      stub.hello("two", { version: 2, page: { index: 0, endpoints: [], technologies: ["udp"], streams: [] } }),
    );
    await a.until("alive", ({ info }) => info.technologies.length === 1);
    expect(a.directory.counters["ignored"]).toBe(1);
    expect(a.whats().slice(4)).toEqual(["alive 2"]);
  });

  it("that lost pages gets those again, and no others", async () => {
    const stub = await new Stub().start();
    const a = new Host("a", { peers: [stub.endpoint] });
    a.directory.announce(wanting(...Array.from({ length: 900 }, (_, channel) => sub("s", 0x10000 + channel))));
    await a.start();
    await stub.send(a, stub.hello("stub"));
    await a.until("alive");
    const pages = () => stub.heard.flatMap(({ page }) => (page === null ? [] : [page.index]));
    const arrive = async (count: number) => {
      while (pages().length < count) await once(stub.socket, "message");
    };
    await arrive(1);
    const total = stub.heard.at(-1)!.pages;
    const version = stub.heard.at(-1)!.version;
    expect(total).toBeGreaterThan(3);
    await arrive(total);
    const seen = { id: "a", version, missing: [1, 3] };
    const page = { index: 0, endpoints: [], technologies: ["udp"], streams: [] };
    await stub.send(a, stub.hello("stub", { version: 2, page, seen }));
    await a.until("alive", ({ info }) => info.technologies.length === 1);
    a.clock.advance(60);
    await arrive(total + 2);
    expect(pages().slice(total)).toEqual([1, 3]);
  });

  it("whose stream name has the tag of another name is refused that subscription, with a warning, once", async () => {
    const stub = await new Stub().start();
    const a = await new Host("a", { peers: [stub.endpoint] }).start();
    a.directory.announce(wanting(sub("mine", 1)));
    const streams = [
      [streamTag("mine"), "theirs", [1, 2]],
      [streamTag("other"), "other", [3]],
    ] as const;
    await stub.send(a, stub.hello("stub", { page: { index: 0, endpoints: [], technologies: [], streams } }));
    const { info } = await a.until("alive");
    expect(info.subscriptions).toEqual([sub("other", 3)]);
    expect(a.whats().filter((what) => what === "W_TAG_COLLISION").length).toBe(1);
    // The name is free again when nobody here uses it.
    const news = a.told.length;
    a.clock.advance(10);
    a.directory.announce(wanting());
    expect((await a.until("alive", () => true, news)).info.subscriptions.length).toBe(3);
  });

  it("that speaks another wire version is refused, and says why", async () => {
    const stub = await new Stub().start();
    const a = await new Host("a", { peers: [stub.endpoint] }).start();
    const frame = encodeHello(stub.hello("stub"), 0n, 0n);
    frame[WIRE.VERSION] = 2;
    await stub.send(a, frame);
    const { message } = await a.until("warning");
    expect(message).toContain("wire version 2");
    expect(a.directory.peers()[0]?.state).toBe("refused");
  });
});

describe("what comes from elsewhere", () => {
  it("is counted and told once, and changes nothing", async () => {
    const a = await new Host("a").start();
    const stranger = await new Stub().start();
    for (let i = 0; i < 3; i++) await stranger.send(a, stranger.hello("x"));
    const warning = await a.until("warning");
    expect(warning).toMatchObject({ code: "W_PEER_UNLISTED", cure: expect.stringContaining(stranger.endpoint) });
    while ((a.directory.counters["strangers"] ?? 0) < 3) await new Promise((resolve) => setImmediate(resolve));
    expect(a.told.length).toBe(1);
    expect(stranger.heard).toEqual([]);
  });

  it("and is no hello is counted by its fault", async () => {
    const stub = await new Stub().start();
    const a = await new Host("a", { peers: [stub.endpoint] }).start();
    await stub.send(a, new Uint8Array(10));
    await stub.send(a, new Uint8Array(60));
    await stub.send(a, encodeHello(stub.hello("stub"), 0n, 0n).subarray(0, 60));
    await stub.send(a, stub.hello("stub"));
    await a.until("alive");
    expect(a.directory.counters).toMatchObject({ "malformed-short": 1, "malformed-magic": 1, "malformed-length": 1 });
  });
});

describe("starting", () => {
  it("names the port that is taken, and the address that nobody has", async () => {
    const a = await new Host("a").start();
    await expect(new Host("b", { port: a.port }).start()).rejects.toMatchObject({
      code: "EADDRINUSE",
      message: expect.stringContaining(a.endpoint),
    });
    await expect(new Host("c", { address: "192.0.2.1" }).start()).rejects.toMatchObject({ code: "ECONFIG" });
  });

  it("does not greet itself, though the same list is used on all hosts", async () => {
    const a = await new Host("a").start();
    a.directory.addPeer(a.endpoint);
    expect(a.directory.peers()).toEqual([]);
    expect(() => a.directory.addPeer("nonsense")).toThrow(/ADDRESS:PORT/);
    expect(() => a.directory.addPeer("[2001:db8::7]:6174")).toThrow(/only IPv4 is spoken/);
  });

  it("leaves nothing open", async () => {
    const handles = () => sockets().length;
    const before = handles();
    const [a, b] = await pair();
    expect(handles()).toBe(before + 2);
    await Promise.all([a.directory.stop(), b.directory.stop()]);
    expect(handles()).toBe(before);
  });
});
