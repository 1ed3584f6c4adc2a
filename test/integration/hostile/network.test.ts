// Attacks on what reaches other hosts: an application that lies to the engine, and a listed host that keeps to nothing.
// Two daemons exchange innocent messages over UDP, in both directions, all the while.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DESCRIPTOR, POOL } from "../../../src/protocol/layout.ts";
import { streamTag } from "../../../src/protocol/qos.ts";
import { WIRE_TYPE } from "../../../src/protocol/wire.ts";
import { eventually, type TestProcess } from "../runtime/processes.ts";
import { Arena, type Daemon } from "./arena.ts";
import { HostileClient, type HostileLink, type Pool, word0 } from "./hostile-client.ts";
import { bound, datagram, freePorts, HostilePeer, heartbeat } from "./hostile-peer.ts";

const CALM = "calm";
const VICTIM_CHANNEL = 66;
const TAG = streamTag(CALM);
const EVICTED = /W_EVICTED/;

let arena: Arena;
let here: Daemon;
let there: Daemon;
let victim: TestProcess;
let mallorys = 0;

beforeAll(async () => {
  arena = new Arena();
  const [a = 0, b = 0, m = 0] = await freePorts(3);
  mallorys = m;
  const network = { enabled: true, address: "127.0.0.1", helloIntervalMs: 100, silentAfterMs: 1000 };
  const listed = (...ports: number[]): string[] => ports.map((port) => `127.0.0.1:${port}`);
  here = await arena.daemon({ name: "here", network: { ...network, port: a, dataPort: 0, peers: listed(b, m) } });
  there = await arena.daemon({ name: "there", network: { ...network, port: b, dataPort: 0, peers: listed(a) } });
  victim = arena.start("../hostile/victim.ts", "victim", [here.socket, CALM, String(VICTIM_CHANNEL)]);
  await victim.until((words) => words["connected"] === true, "it is connected");
  arena.others = 1;
  await arena.pair("out", here, there, CALM, 1);
  await arena.pair("back", there, here, CALM, 2);
  // Somebody there wants what the attacker here will offer.
  const wanting = await arena.application(there, "wanting");
  await wanting.call("sink", { channel: 9, stream: CALM, policy: { kind: "drop-newest" } });
  arena.extra.set(there, 1);
  await arena.begin();
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
});

describe("an application that feeds the engine", () => {
  type Lie = (link: HostileLink, pool: Pool, route: number) => void;
  const emit = async (
    lie: Lie,
    then: (client: HostileClient, link: HostileLink) => Promise<unknown>,
  ): Promise<void> => {
    using client = await HostileClient.attach(here.socket);
    const stream = await client.stream(CALM);
    const { pools, index } = await client.source(stream, 9);
    const link = await client.link(stream, "producer", "egress");
    const channel = link.info.channels.find((row) => row.channel === 9)?.index ?? 0;
    const [pool] = pools;
    if (!pool) throw new Error("no pool");
    lie(link, pool, channel | (index << DESCRIPTOR.SOURCE_SHIFT));
    link.ring();
    await then(client, link);
  };
  const room = POOL.HEADER_ROOM;
  const one =
    (over: (pool: Pool, route: number) => { word?: number; offset?: number; length?: number; route?: number }): Lie =>
    (link, pool, route) => {
      const lie = { word: word0(0), offset: room, length: 64, route, ...over(pool, route) };
      link.push(lie.word, lie.offset, lie.length, lie.route);
    };
  const lies: ReadonlyArray<readonly [string, Lie]> = [
    ["in a pool that it does not have", one(() => ({ word: word0(0, 9) }))],
    ["in pool 255", one(() => ({ word: word0(0, 255) }))],
    ["at offset 0", one(() => ({ offset: 0 }))],
    ["one byte before a payload", one(() => ({ offset: room - 1 }))],
    ["at the end of the pool", one((pool) => ({ offset: pool.bytes, length: 1 }))],
    ["over the end of the pool", one((pool) => ({ offset: pool.bytes - 63, length: 64 }))],
    ["at offset 2^32 - 1", one(() => ({ offset: -1 }))],
    ["at offset 2^31", one(() => ({ offset: 0x80000000 | 0 }))],
    ["of 2^32 - 1 bytes", one(() => ({ length: -1 }))],
    ["one byte longer than a slot", one((pool) => ({ length: pool.payload + 1 }))],
    ["whose end overflows", one(() => ({ offset: 0xfffffff0 | 0, length: 0x20 }))],
    ["with an entry beyond the link's", one(() => ({ word: word0(1024) }))],
    ["on another channel's index", one((_, route) => ({ route: route ^ 1 }))],
    ["of a source index that it does not have", one((_, route) => ({ route: route | (0x8000 << 16) }))],
    ["of the last source index there can be", one((_, route) => ({ route: route | (0xffff << 16) }))],
    ["with the flag of a marker", one(() => ({ word: word0(0, 0, 1) }))],
    ["with all flags", one(() => ({ word: word0(0, 0, 0xff) }))],
    [
      "by a tail that is too far ahead",
      (link) => {
        link.forwardTail = link.info.entries + 1;
      },
    ],
    [
      "by a tail that is behind",
      (link) => {
        link.forwardTail = -1;
      },
    ],
  ];
  it(`with a message that lies in any of ${lies.length} ways is evicted, and nobody else is hurt`, async () => {
    const faults = await here.counter("link_faults");
    await arena.attack(async () => {
      const alive: string[] = [];
      await Promise.all(
        lies.map(([name, lie]) => emit(lie, (client) => client.untilEnded().catch(() => alive.push(name)))),
      );
      expect(alive).toEqual([]);
    }, EVICTED);
    expect(await here.counter("link_faults")).toBe(faults + lies.length);
  });

  it("with one entry again and again harms its own messages at most", async () => {
    await arena.attack(() =>
      emit(
        (link, _, route) => {
          for (let i = 0; i < 500; i++) link.push(word0(7), room, 64, route);
        },
        (client, link) => client.until(() => (link.returnTail >= 500 ? true : undefined), "their return"),
      ),
    );
  });

  it("while it changes descriptors and payloads is evicted at worst", async () => {
    await arena.attack(() =>
      emit(
        (link, pool, route) => {
          for (let i = 0; i < 512; i++) link.push(word0(i), room + (i % 64) * pool.stride, 64, route);
          const until = performance.now() + 200;
          while (performance.now() < until) {
            const at = link.descriptorAt(Math.floor(Math.random() * 512));
            link.words[at + Math.floor(Math.random() * 4)] =
              [0, 64, -1, 0x80000000 | 0, route][Math.floor(Math.random() * 5)] ?? 0;
            link.forwardTail = link.returnTail + Math.floor(Math.random() * 1024);
          }
        },
        async () => {},
      ),
    );
  });
});

describe("an application that is fed by the engine", () => {
  const lies: ReadonlyArray<readonly [string, (link: HostileLink) => void]> = [
    ["an entry that it does not hold", (link) => link.giveBack(link.info.entries - 1)],
    ["an entry beyond the link's", (link) => link.giveBack(0xffff)],
    [
      "more than was pushed",
      (link) => {
        link.returnTail = link.forwardTail + 5;
      },
    ],
    [
      "nothing, with a tail behind",
      (link) => {
        link.returnTail = -1;
      },
    ],
  ];
  const consume = async (use: (link: HostileLink, client: HostileClient) => Promise<unknown>): Promise<void> => {
    using client = await HostileClient.attach(here.socket);
    const stream = await client.stream(CALM);
    await client.sink(stream, 2);
    const link = await client.link(stream, "consumer", "ingress");
    await client.until(() => (link.forwardTail > 8 ? true : undefined), "a message");
    await use(link, client);
  };
  it.each(lies)("that returns %s is evicted, and nobody else is hurt", async (_, lie) => {
    await arena.attack(
      () =>
        consume((link, client) => {
          lie(link);
          link.ring();
          return client.untilEnded();
        }),
      EVICTED,
    );
  });

  it("that returns nothing starves itself alone", async () => {
    await arena.attack(() => consume(() => arena.calm(1500)));
  });

  it("may write where it may not: the receive pool is read-only for it", async () => {
    await arena.attack(() =>
      consume(async (link) => {
        const { platform } = await import("../../../src/native/platform.ts");
        for (const [i, fd] of link.fds.slice(3).entries()) {
          const bytes = link.info.pools[i]?.bytes ?? 0;
          expect(platform().raw.segmentMap(fd, bytes, 1, new BigUint64Array(1))).toBeLessThan(0);
        }
      }),
    );
  });
});

describe("a host", () => {
  const port = (endpoint: string): number => Number(endpoint.split(":")[1]);
  const mallory = async (work: (peer: HostilePeer) => Promise<void>): Promise<void> => {
    await using peer = await HostilePeer.start(mallorys, { hello: port(here.hello), data: port(here.data) });
    await work(peer);
  };
  /** Known to the target as a peer that is alive. */
  const known = async (peer: HostilePeer, streams: Parameters<HostilePeer["announce"]>[0] = []): Promise<void> => {
    await peer.announce(streams);
    await eventually(
      () => here.status(),
      ({ peers }) => peers.some(({ name, state }) => name === "mallory" && /^alive/.test(state)),
    );
    await eventually(
      () => here.counter("peers"),
      (count) => count === 2,
    );
  };
  const seen = async (): Promise<{ messages: number; thrown: string }> =>
    (await victim.call("seen"))["result"] as { messages: number; thrown: string };

  /** Whoever comes now is still found, from the other host as well. */
  const latecomersMeet = async (): Promise<void> => {
    const late = await arena.application(there, "late");
    const source = await arena.application(here, "late source");
    try {
      await late.call("sink", { channel: 4, stream: CALM });
      await source.call("source", { channel: 4, stream: CALM });
      await Promise.race([
        source.call("matched", { index: 0 }),
        new Promise((_, reject) => setTimeout(() => reject(new Error("nobody was found in 8 s")), 8000)),
      ]);
      await source.call("emit", { index: 0, tag: 4, count: 20 });
      await eventually(
        async () => (await late.call("received", { index: 0 }))["result"] as { count: number },
        ({ count }) => count === 20,
      );
    } finally {
      await Promise.all([late.kill(), source.kill()]);
    }
  };

  const garbage: ReadonlyArray<readonly [string, (i: number) => Uint8Array, string]> = [
    ["shorter than a header", (i) => new Uint8Array(i % 48), "rx_bad_short"],
    ["with another magic", (i) => new Uint8Array(48 + (i % 100)).fill(i), "rx_bad_magic"],
    ["of a type that is none", () => datagram({ type: 77 }), "rx_bad_type"],
    ["of a type that is reserved", () => datagram({ type: WIRE_TYPE.STATUS }), "rx_bad_type"],
    ["longer in the header than on the wire", () => datagram({ length: 5000 }), "rx_bad_length"],
    ["of 2^32 - 1 bytes by its header", () => datagram({ length: 0xffffffff }), "rx_bad_length"],
    [
      "that is half a heartbeat",
      () => datagram({ type: WIRE_TYPE.HEARTBEAT, body: new Uint8Array(30) }),
      "rx_bad_length",
    ],
    ["for channels that nobody wants", (i) => datagram({ tag: i, channel: i, flow: i }), "rx_no_subscriber"],
  ];
  it.each(garbage)("that sends datagrams %s is counted", async (_, make, counter) => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const before = await here.counter(counter);
        for (let i = 1; i <= 200; i++) await peer.data(make(i));
        await eventually(
          () => here.counter(counter),
          (count) => count >= before + 190,
        );
      }),
    );
  });

  it("that is not known is counted, and its messages go nowhere", async () => {
    await arena.attack(async () => {
      const stranger = await bound(0);
      const before = await here.counter("rx_unknown_peer");
      const { messages } = await seen();
      for (let i = 0; i < 200; i++) {
        stranger.send(
          datagram({ tag: TAG, channel: VICTIM_CHANNEL, sequence: BigInt(i) }),
          port(here.data),
          "127.0.0.1",
        );
      }
      await eventually(
        () => here.counter("rx_unknown_peer"),
        (count) => count >= before + 190,
      );
      expect((await seen()).messages).toBe(messages);
      await new Promise<void>((done) => stranger.close(done));
    });
  });

  it("that sends hello frames of garbage is counted and dropped", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        for (let i = 0; i < 3000; i++) {
          const bytes = datagram({ type: i % 2 ? WIRE_TYPE.HELLO : i & 255, body: new Uint8Array(i % 900).fill(i) });
          peer.raw(i % 3 === 0 ? bytes.subarray(0, i % 60) : bytes);
          if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
      }),
    );
  });

  it("that floods with hellos of ever new incarnations is one peer", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        const until = performance.now() + 700;
        for (let i = 0; performance.now() < until; i++) {
          peer.id = `m${i}`;
          peer.version = 1;
          peer.hello({ index: 0, endpoints: [], technologies: [], streams: [[TAG, CALM, [i]]] });
          if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        expect((await here.status()).peers.length).toBe(2);
      }),
    );
  });

  it("that nobody listed, and many such, are told of and not answered", async () => {
    await arena.attack(async () => {
      const sockets = await Promise.all(Array.from({ length: 150 }, () => bound(0)));
      let answers = 0;
      for (const socket of sockets) socket.on("message", () => answers++);
      await mallory(async (peer) => {
        peer.version = 1;
        for (const socket of sockets) {
          const frame = datagram({ type: WIRE_TYPE.HELLO, body: Uint8Array.of(0x80) });
          for (let i = 0; i < 5; i++) socket.send(frame, port(here.hello), "127.0.0.1");
        }
        await arena.calm(200);
      });
      expect(answers).toBe(0);
      await Promise.all(sockets.map((socket) => new Promise<void>((done) => socket.close(done))));
    });
  });

  it("that comes, wants everything and goes, again and again, leaves no link behind", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        for (let i = 0; i < 60; i++) {
          peer.id = `brief-${i}`;
          await peer.announce([[TAG, CALM, [1, 2, 9, i % 5]]]);
          if (i % 3 !== 0) await new Promise((resolve) => setTimeout(resolve, i % 7));
          peer.bye();
        }
      }),
    );
  });

  it("that lies about its pages is never believed to be complete", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        peer.version = 5;
        const page = { index: 0, endpoints: [], technologies: [], streams: [] };
        for (let i = 0; i < 50; i++) {
          peer.hello({ ...page, index: i % 3 }, { pages: 1024 });
          peer.hello(page, { pages: 7 + i });
          peer.hello(null, { pages: 1024, seen: { id: "nobody", version: 9, missing: [1023, 0, 5] } });
        }
        await arena.calm(200);
        const { peers } = await here.status();
        expect(peers.find(({ name }) => name === "mallory")?.state ?? "").not.toMatch(/^alive/);
      }),
    );
  });

  it("that asks for pages again and again gets no more than it sends", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        await arena.calm(100);
        const { id, version } = peer.heard.at(-1) ?? { id: "", version: 0 };
        const before = peer.heard.length;
        for (let i = 0; i < 1000; i++) {
          peer.hello(null, { seen: { id, version: version - (i % 2), missing: [0] } });
          if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await arena.calm(200);
        expect(peer.heard.length - before).toBeLessThan(1200);
      }),
    );
  });

  it("that takes the name and incarnation of another is itself alone", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const { peers, runtime } = await here.status();
        const other = peers.find(({ name }) => name === "there");
        for (const id of [other?.id ?? "", runtime.id]) {
          peer.hello(null, { id, name: "there", bye: false });
          peer.hello(
            { index: 0, endpoints: [], technologies: [], streams: [] },
            { id, name: "there", version: 1, pages: 1 },
          );
          peer.hello(null, { id, name: "there", bye: true });
        }
        await arena.calm(500);
        expect((await here.status()).peers.find(({ id }) => id === other?.id)?.state).toMatch(/^alive/);
      }),
    );
  });

  it("that claims the tag of a stream for another name is refused", async () => {
    await arena.attack(
      () =>
        mallory(async (peer) => {
          await known(peer, [[TAG, "another name", [1, 2, VICTIM_CHANNEL]]]);
          await arena.calm(200);
          // It gets nothing of what is sent on that tag.
          expect(peer.received.length).toBe(0);
        }),
      /W_TAG_COLLISION/,
    );
  });

  it.each([
    ["of another peer", (): number => port(there.data), /W_PEER_REFUSED/],
    ["of its target", (): number => port(here.data), undefined],
    ["that is nobody's", (): number => 9, undefined],
  ] as const)("that names the endpoint %s as its own takes nothing from anybody", async (_, at, told) => {
    await arena.attack(
      () =>
        mallory(async (peer) => {
          await peer.announce([[TAG, CALM, [1, 2, VICTIM_CHANNEL]]], { address: "127.0.0.1", port: at() });
          await arena.calm(500);
          await latecomersMeet();
        }),
      told,
    );
  });

  it("that sends on ever new flows fills its own share of the trackers", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        for (let i = 0; i < 9000; i++) {
          await peer.data(datagram({ tag: TAG, channel: VICTIM_CHANNEL, flow: i, source: i, body: new Uint8Array(8) }));
        }
        await victim.call("release");
        expect(await here.counter("trackers")).toBeLessThan(4200);
        expect(await here.counter("trackers_evicted")).toBeGreaterThan(4000);
      }),
    );
  });

  it("that replays what it has sent is heard once", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const { messages } = await seen();
        const late = await here.counter("rx_late");
        const send = (sequence: bigint): Promise<void> =>
          peer.data(
            datagram({
              tag: TAG,
              channel: VICTIM_CHANNEL,
              flow: 123_456,
              source: 9,
              sequence,
              body: new Uint8Array(8),
            }),
          );
        for (let round = 0; round < 20; round++) for (const sequence of [0n, 1n, 2n]) await send(sequence);
        await eventually(
          () => here.counter("rx_late"),
          (count) => count === late + 57,
        );
        await eventually(seen, (now) => now.messages === messages + 3);
      }),
    );
  });

  it("that changes what a flow is, or leaps absurdly, is not believed", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        const bad = await here.counter("rx_bad_flow");
        const lost = await here.counter("rx_lost");
        const flow = { tag: TAG, channel: VICTIM_CHANNEL, flow: 777, source: 9, body: new Uint8Array(8) };
        await peer.data(datagram({ ...flow, sequence: 0n }));
        await peer.data(datagram({ ...flow, channel: 2, sequence: 1n }));
        await peer.data(datagram({ ...flow, source: 10, sequence: 1n }));
        await peer.data(datagram({ ...flow, sequence: 2n ** 63n }));
        await peer.data(datagram({ ...flow, sequence: 2n ** 64n - 1n }));
        const beat = { flow: 777, tag: TAG, channel: VICTIM_CHANNEL, source: 9 };
        await peer.data(heartbeat([{ ...beat, next: 2n ** 64n - 1n }]));
        await peer.data(heartbeat([{ ...beat, next: 2n ** 41n }]));
        await eventually(
          () => here.counter("rx_bad_flow"),
          (count) => count === bad + 6,
        );
        expect(await here.counter("rx_lost")).toBe(lost);
      }),
    );
  });

  it("that tells of losses on thousands of flows does not drown who is told", async () => {
    await arena.attack(() =>
      mallory(async (peer) => {
        await known(peer);
        for (let round = 1; round <= 4; round++) {
          for (let first = 0; first < 3840; first += 48) {
            await peer.data(
              heartbeat(
                Array.from({ length: 48 }, (_, i) => ({
                  flow: 500_000 + first + i,
                  tag: TAG,
                  channel: VICTIM_CHANNEL,
                  source: first + i,
                  next: BigInt(round * 10),
                })),
              ),
            );
          }
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
        await arena.calm(500);
        expect(victim.exited).toBeNull();
        expect(victim.heard.some((words) => words["closed"] !== undefined)).toBe(false);
      }),
    );
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await victim.call("release");
  await arena.end();
});
