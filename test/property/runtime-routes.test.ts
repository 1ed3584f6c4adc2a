// What an engine is told of peers and routes: in the end exactly what peers want, whatever changes while commands are
// under way, in few commands, and nobody's flood before somebody else's few.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Command } from "../../src/effects/engine.ts";
import { type Endpoint, ROUTES_AT_ONCE } from "../../src/native/engine.ts";
import { PEER_ENDPOINTS } from "../../src/native/engine-events.ts";
import { InsaneError } from "../../src/protocol/codes.ts";
import type { PeerInfo } from "../../src/runtime/directory.ts";
import { Routes } from "../../src/runtime/routes.ts";
import { ROUTES_A_PEER } from "../../src/runtime/wishes.ts";

const ENOENT = -2;
const EEXIST = -17;
const EMLINK = -31;
const EADDRINUSE = -98;

/** An engine's peers and routes as core/engine.h has them, with room for `perChannel` peers on each channel. */
class PlayedEngine {
  /** Peers that get no trains. */
  readonly singly = new Set<number>();
  readonly peers = new Map<number, string>();
  readonly muted = new Set<number>();
  /** "tag:channel" -> peers. */
  readonly routes = new Map<string, Set<number>>();
  /** What was done, in order: the engine's number of the peer. */
  readonly done: number[] = [];
  readonly #perChannel: number;
  readonly #queue: Array<() => void> = [];
  #last: { status: number; value: number } = { status: 0, value: 0 };

  constructor(perChannel = 256) {
    this.#perChannel = perChannel;
  }

  command(what: string, send: Command): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#queue.push(() => {
        send(this.#api as never, 0n);
        const { status: errno, value } = this.#last;
        if (errno === 0) resolve(value);
        else reject(new InsaneError("ESYSTEM", `${what}: ${errno}`, { errno, value }));
      });
    });
  }

  /** Does the next command; false when none waits. */
  step(): boolean {
    const next = this.#queue.shift();
    next?.();
    return next !== undefined;
  }

  routesOf(peer: number): string[] {
    return [...this.routes].flatMap(([key, peers]) => (peers.has(peer) ? [key] : [])).sort();
  }

  set(_: bigint, peer: number, __: number, { address, port, trains }: Endpoint): number {
    const at = `${address}:${port}`;
    if (trains === false) this.singly.add(peer);
    else this.singly.delete(peer);
    const held = [...this.peers].some(([other, there]) => there === at && other !== peer);
    if (!held) this.peers.set(peer, at);
    return this.#ack(peer, held ? EADDRINUSE : 0, 0);
  }

  readonly #api = {
    setPeer: (...of: Parameters<PlayedEngine["set"]>): number => this.set(...of),
    resumePeer: (...of: Parameters<PlayedEngine["set"]>): number => this.set(...of),
    mutePeer: (_: bigint, peer: number, muted: number): number => {
      if (muted === 1 && this.peers.has(peer)) this.muted.add(peer);
      else this.muted.delete(peer);
      return this.#ack(peer, this.peers.has(peer) ? 0 : ENOENT, 0);
    },
    removePeer: (_: bigint, peer: number): number => {
      this.muted.delete(peer);
      const known = this.peers.delete(peer);
      for (const peers of this.routes.values()) peers.delete(peer);
      return this.#ack(peer, known ? 0 : ENOENT, 0);
    },
    addRoutes: (_: bigint, peer: number, pairs: Uint32Array, count: number): number =>
      this.#each(peer, pairs, count, (peers) => {
        if (peers.has(peer)) return EEXIST;
        if (peers.size >= this.#perChannel) return EMLINK;
        peers.add(peer);
        return 0;
      }),
    removeRoutes: (_: bigint, peer: number, pairs: Uint32Array, count: number): number =>
      this.#each(peer, pairs, count, (peers) => (peers.delete(peer) ? 0 : ENOENT)),
  };

  #each(peer: number, pairs: Uint32Array, count: number, change: (peers: Set<number>) => number): number {
    expect(count).toBeLessThanOrEqual(ROUTES_AT_ONCE);
    let status = this.peers.has(peer) ? 0 : ENOENT;
    let i = 0;
    for (; status === 0 && i < count; i++) {
      const key = `${pairs[2 * i]}:${pairs[2 * i + 1]}`;
      const peers = this.routes.get(key) ?? new Set();
      this.routes.set(key, peers);
      status = change(peers);
      if (status !== 0) break;
    }
    return this.#ack(peer, status, i);
  }

  #ack(peer: number, status: number, value: number): number {
    this.done.push(peer);
    this.#last = { status, value };
    return 1;
  }
}

const TAGS: Readonly<Record<string, number>> = { a: 1, b: 2 };
const HERE: Endpoint = { address: "127.0.0.1", port: 1, mtu: 65535 };

function peerOf(
  peer: number,
  at: number,
  channels: ReadonlyArray<readonly [stream: string, channel: number]>,
): PeerInfo {
  return {
    peer,
    id: `${peer}`,
    name: `peer ${peer}`,
    endpoint: `127.0.0.1:${peer}`,
    endpoints: [{ lane: "udp", address: "127.0.0.1", port: at, mtu: 1500 }],
    technologies: ["udp"],
    knows: ["udp"],
    subscriptions: channels.map(([stream, channel]) => ({
      tag: TAGS[stream] ?? 0,
      stream,
      channel,
      lane: "udp",
    })),
  };
}

class Bed {
  readonly faults: unknown[] = [];
  readonly refused: string[] = [];
  instance: number | null = 1;
  engine: PlayedEngine;
  readonly routes: Routes;

  constructor(perChannel?: number) {
    this.engine = new PlayedEngine(perChannel);
    this.routes = new Routes({
      lane: "udp",
      command: (what, send) => this.engine.command(what, send),
      patienceMs: 100,
      moving: async (_, __, order) => void (await order()),
      datapath: () => (this.instance === null ? null : { instance: this.instance, endpoint: HERE }),
      owner: () => undefined,
      collision: () => {},
      refused: (code) => void this.refused.push(code),
      applied: () => {},
      failed: (cause) => void this.faults.push(cause),
    });
  }

  /** Until nothing is under way any more. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.engine.step()) quiet = 0;
    }
  }
}

/** Peers are known to the engine by a number for each technology. */
const NUMBERS = PEER_ENDPOINTS;

const change = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("set" as const),
      peer: fc.integer({ min: 1, max: 4 }),
      at: fc.integer({ min: 100, max: 104 }),
      channels: fc.uniqueArray(fc.tuple(fc.constantFrom("a", "b"), fc.integer({ min: 0, max: 700 })), {
        selector: ([stream, channel]) => `${stream}${channel}`,
        maxLength: 600,
      }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("silence" as const), peer: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), peer: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("datapath" as const), up: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 4 }) }) },
);

describe("an engine", () => {
  it("has in the end what peers want, whatever changes while it is being told", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 25 }), async (changes) => {
        const bed = new Bed();
        const wanted = new Map<number, PeerInfo>();
        const silent = new Set<number>();
        let instance = 1;
        for (const one of changes) {
          if (one.do === "set") {
            const info = peerOf(one.peer, one.at, one.channels);
            wanted.set(one.peer, info);
            silent.delete(one.peer);
            void bed.routes.set(info);
          } else if (one.do === "silence") {
            if (wanted.has(one.peer)) silent.add(one.peer);
            bed.routes.silence(one.peer);
          } else if (one.do === "remove") {
            wanted.delete(one.peer);
            silent.delete(one.peer);
            bed.routes.remove(one.peer);
          } else if (one.do === "datapath") {
            bed.instance = one.up ? ++instance : null;
            void bed.routes.sync();
          } else {
            for (let i = 0; i < one.count; i++) {
              bed.engine.step();
              await new Promise((resolve) => setImmediate(resolve));
            }
          }
        }
        if (bed.instance === null) {
          bed.instance = ++instance;
          void bed.routes.sync();
        }
        await bed.settle();
        // Of several peers that claim one endpoint one has it; which, depends on who came first.
        const heard = [...wanted.values()].filter(({ peer }) => !silent.has(peer));
        const claims = heard.map(({ endpoints: [at] }) => at?.port);
        const contested = new Set(claims.filter((port, i) => claims.indexOf(port) !== i));
        const reached = new Set<string>();
        for (const { peer, endpoints, subscriptions } of heard) {
          const at = endpoints[0]?.port ?? 0;
          const number = peer * NUMBERS;
          if (contested.has(at) && !bed.engine.peers.has(number)) continue;
          expect(bed.engine.peers.get(number)).toBe(`127.0.0.1:${at}`);
          const keys = subscriptions.map(({ tag, channel }) => `${tag}:${channel}`).sort();
          expect(bed.engine.routesOf(number)).toEqual(keys);
          for (const { stream, channel } of subscriptions) reached.add(`${stream}:${channel}`);
        }
        const there = [...bed.engine.peers].filter(([number]) => !silent.has(number / NUMBERS)).map(([, at]) => at);
        expect(there.sort()).toEqual([...new Set(claims.map((at) => `127.0.0.1:${at}`))].sort());
        // The silent are those that get nothing, if the engine still knows them.
        const known = [...bed.engine.peers.keys()].filter((number) => silent.has(number / NUMBERS));
        expect([...bed.engine.muted].sort()).toEqual(known.sort());
        expect([...bed.routes.reached].map(({ stream, channel }) => `${stream}:${channel}`).sort()).toEqual(
          [...reached].sort(),
        );
        expect(bed.faults).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it("is told of thousands of channels in few commands, and of somebody else's one between them", async () => {
    const bed = new Bed();
    const many = Array.from({ length: 70_000 }, (_, channel) => ["a", channel] as const);
    void bed.routes.set(peerOf(1, 100, many));
    for (let i = 0; i < 5; i++) {
      bed.engine.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const before = bed.engine.done.length;
    let late = false;
    void bed.routes.set(peerOf(2, 101, [["b", 1]])).then(() => {
      late = true;
    });
    while (!late) {
      bed.engine.step();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(bed.engine.done.length - before).toBeLessThan(8);
    expect(bed.routes.reached.has("b", 1)).toBe(true);
    await bed.settle();
    expect(bed.engine.routesOf(1 * NUMBERS).length).toBe(ROUTES_A_PEER);
    expect(bed.engine.done.length).toBeLessThan(ROUTES_A_PEER / ROUTES_AT_ONCE + 8);
    expect(bed.refused).toEqual(["W_ANNOUNCEMENT_CUT"]);
  });

  it("that has no room on one channel takes the others, and that one when there is room", async () => {
    const bed = new Bed(1);
    void bed.routes.set(peerOf(1, 100, [["a", 5]]));
    void bed.routes.set(
      peerOf(2, 101, [
        ["a", 4],
        ["a", 5],
        ["a", 6],
      ]),
    );
    await bed.settle();
    expect(bed.engine.routesOf(2 * NUMBERS)).toEqual(["1:4", "1:6"]);
    expect(bed.refused).toEqual(["W_PEER_REFUSED"]);
    bed.routes.remove(1);
    await bed.settle();
    expect(bed.engine.routesOf(2 * NUMBERS)).toEqual(["1:4", "1:5", "1:6"]);
  });

  it("is told which endpoints take no trains, also when that changes", async () => {
    const bed = new Bed();
    const peer = peerOf(1, 100, [["a", 5]]);
    const number = NUMBERS * 1;
    for (const trains of [false, true, false] as const) {
      void bed.routes.set({ ...peer, endpoints: peer.endpoints.map((at) => ({ ...at, trains })) });
      await bed.settle();
      expect(bed.engine.singly.has(number)).toBe(!trains);
      expect(bed.engine.routesOf(number)).toHaveLength(1);
    }
    expect([...bed.faults, ...bed.refused]).toEqual([]);
  });

  it("that is replaced is told everything anew", async () => {
    const bed = new Bed();
    void bed.routes.set(peerOf(1, 100, [["a", 5]]));
    bed.engine = new PlayedEngine();
    bed.routes.forget();
    expect([...bed.routes.reached]).toEqual([]);
    bed.instance = 2;
    void bed.routes.sync();
    await bed.settle();
    expect(bed.engine.routesOf(1 * NUMBERS)).toEqual(["1:5"]);
    expect(bed.routes.reached.has("a", 5)).toBe(true);
  });
});
