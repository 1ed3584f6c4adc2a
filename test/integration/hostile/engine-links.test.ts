// Attacks through the rings of links to and from an engine: an application that feeds it or is fed by it, and lies.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { platform } from "../../../src/native/platform.ts";
import { DESCRIPTOR, POOL } from "../../../src/protocol/layout.ts";
import { eventually } from "../runtime/processes.ts";
import type { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { HostileClient, type HostileLink, type Pool, word0 } from "./hostile-client.ts";
import { CALM, endOf, type TwoHosts, twoHosts, WANTED_CHANNEL } from "./two-hosts.ts";

const EVICTED = /W_EVICTED/;

let hosts: TwoHosts;
let arena: Arena;
let here: Daemon;

beforeAll(async () => {
  hosts = await twoHosts();
  ({ arena, here } = hosts);
});
afterAll(async () => {
  await arena?.[Symbol.asyncDispose]();
});

describe("an application that feeds the engine", () => {
  type Lie = (link: HostileLink, pool: Pool, route: number) => void;
  const emit = async (
    lie: Lie,
    then: (client: HostileClient, link: HostileLink) => Promise<unknown>,
  ): Promise<void> => {
    using client = await HostileClient.attach(here.socket);
    const stream = await client.stream(CALM);
    const { pools, index } = await client.source(stream, WANTED_CHANNEL);
    const link = await client.link(stream, "producer", "egress");
    const channel = link.info.channels.find((row) => row.channel === WANTED_CHANNEL)?.index ?? 0;
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
    await eventually(
      () => here.counter("link_faults"),
      (count) => count === faults + lies.length,
    );
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

  it("cannot write into the receive pool", async () => {
    await arena.attack(() =>
      consume(async (link) => {
        for (const [i, fd] of link.fds.slice(3).entries()) {
          const bytes = link.info.pools[i]?.bytes ?? 0;
          expect(platform().raw.segmentMap(fd, bytes, 1, new BigUint64Array(1))).toBeLessThan(0);
        }
      }),
    );
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await endOf(hosts);
});
