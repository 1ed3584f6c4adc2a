// Attacks through the rings of a direct link, from either end: returns and descriptors that lie. The link between the
// liar and its victim is closed for good, and that is all that happens.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DESCRIPTOR, POOL } from "../../../src/protocol/layout.ts";
import type { TestProcess } from "../runtime/processes.ts";
import { eventually } from "../runtime/processes.ts";
import { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { HostileClient, type HostileLink, type Pool, slotOffset, word0 } from "./hostile-client.ts";

const CALM = "calm";
const VICTIM_CHANNEL = 66;
const CLOSED = /W_EVICTED.*closed for good/;

let arena: Arena;
let daemon: Daemon;
let victim: TestProcess;

beforeAll(async () => {
  arena = new Arena();
  daemon = await arena.daemon();
  victim = arena.start("../hostile/victim.ts", "victim", [daemon.socket, CALM, String(VICTIM_CHANNEL)]);
  await victim.until((words) => words["connected"] === true, "it is connected");
  arena.others = 1;
  await arena.pair("direct", daemon, daemon, CALM, 1);
  await arena.begin();
});
afterAll(async () => {
  await arena[Symbol.asyncDispose]();
});

const closed = (client: HostileClient): Promise<unknown> =>
  client.until(
    (frames) => frames.find((frame) => frame.type === "request" && frame.method === "link.close"),
    "the end of the link",
  );

describe("a consumer on an innocent source's link", () => {
  /** Opens a sink on the innocent source's channel and waits until something has been pushed. */
  const consume = async (use: (link: HostileLink, client: HostileClient) => Promise<void> | void): Promise<void> => {
    using client = await HostileClient.attach(daemon.socket);
    const stream = await client.stream(CALM);
    await client.sink(stream, 1);
    const link = await client.link(stream, "consumer");
    await client.until(() => (link.forwardTail > 8 ? true : undefined), "a message");
    await use(link, client);
  };

  const lies: ReadonlyArray<readonly [string, (link: HostileLink) => void]> = [
    ["an entry that it does not hold", (link) => link.giveBack(link.info.entries - 1)],
    [
      "an entry twice",
      (link) => {
        const [first = 0] = link.pushed(0);
        link.giveBack(first, first);
      },
    ],
    ["an entry beyond the link's", (link) => link.giveBack(link.info.entries)],
    ["an entry far beyond the link's", (link) => link.giveBack(0xffff)],
    [
      "nothing, with a tail far ahead",
      (link) => {
        link.returnTail = 0x7fffffff;
      },
    ],
    [
      "nothing, with a tail behind",
      (link) => {
        link.returnTail = -1;
      },
    ],
    [
      "more than was pushed",
      (link) => {
        link.returnTail = link.forwardTail + 1;
      },
    ],
    [
      "what it has returned already, by a tail that goes back",
      (link) => {
        for (const entry of link.pushed(0).slice(0, 4)) link.giveBack(entry);
        setTimeout(() => {
          link.returnTail = 0;
        }, 50);
      },
    ],
  ];
  it.each(lies)("that returns %s loses the link, and nobody else anything", async (_, lie) => {
    await arena.attack(
      () =>
        consume(async (link, client) => {
          lie(link);
          link.ring();
          await closed(client);
        }),
      CLOSED,
    );
  });

  it("that returns statuses nobody knows is taken for one that drops", async () => {
    await arena.attack(() =>
      consume(async (link, client) => {
        // Bits that no status has are written as well.
        await client.until(() => {
          for (const [i, entry] of link.pushed(link.tail).entries())
            link.giveBack(entry | ((10 + (i % 246)) << 16) | 0xff000000);
          return link.forwardTail > 3 * link.info.entries ? true : undefined;
        }, "more messages");
        expect(client.frames.some((frame) => frame.type === "request" && frame.method === "link.close")).toBe(false);
      }),
    );
  });

  it("that never returns anything stops only its own messages", async () => {
    await arena.attack(() =>
      consume(async (link, client) => {
        await client.until(() => (link.forwardTail >= link.info.entries ? true : undefined), "the last credit", 15_000);
        // From here on every message for it is dropped at the source, and the innocent sink gets them all.
        const before = arena.pairs[0];
        if (before) {
          await eventually(
            () => arena.received(before),
            ({ count }) => count > link.info.entries + 200,
            15_000,
          );
        }
      }),
    );
  });

  it("that dies holding everything gives everything back", async () => {
    await arena.attack(() =>
      consume(async (link, client) => {
        await client.until(() => (link.forwardTail >= 300 ? true : undefined), "many messages", 15_000);
      }),
    );
  });
});

describe("a producer on an innocent sink's link", () => {
  const produce = async (
    use: (link: HostileLink, pools: ReadonlyArray<Pool>, client: HostileClient) => Promise<void> | void,
  ): Promise<void> => {
    using client = await HostileClient.attach(daemon.socket);
    const stream = await client.stream(CALM);
    const { pools } = await client.source(stream, VICTIM_CHANNEL);
    await use(await client.link(stream, "producer"), pools, client);
  };
  const seen = async () =>
    (await victim.call("seen"))["result"] as { messages: number; thrown: string; largest: number; sources: number[] };

  const room = POOL.HEADER_ROOM;
  const at = (link: HostileLink): number =>
    ((link.info.channels[0]?.index ?? 0) | ((link.info.sources[0]?.index ?? 0) << DESCRIPTOR.SOURCE_SHIFT)) >>> 0;
  type Lie = (link: HostileLink, pools: ReadonlyArray<Pool>) => void;
  const one =
    (over: (pool: Pool) => { word?: number; offset?: number; length?: number; route?: number }): Lie =>
    (link, pools) => {
      const [pool] = pools;
      if (!pool) throw new Error("no pool");
      const { word = word0(0), offset = room, length = 64, route = at(link) } = over(pool);
      link.push(word, offset, length, route);
    };

  const lies: ReadonlyArray<readonly [string, Lie]> = [
    ["in a pool that it does not have", one(() => ({ word: word0(0, 9) }))],
    ["in the last pool there can be", one(() => ({ word: word0(0, 255) }))],
    ["at offset 0, where no metadata fits", one(() => ({ offset: 0 }))],
    ["one byte before a slot's payload", one(() => ({ offset: room - 1 }))],
    ["at the end of the pool", one((pool) => ({ offset: pool.bytes }))],
    ["over the end of the pool", one((pool) => ({ offset: pool.bytes - 63, length: 64 }))],
    ["beyond the pool", one((pool) => ({ offset: pool.bytes + 4096 }))],
    ["at offset 2^31", one(() => ({ offset: 0x80000000 | 0 }))],
    ["at offset 2^32 - 1", one(() => ({ offset: -1 }))],
    ["longer than the pool", one((pool) => ({ length: pool.bytes }))],
    ["of 2^31 bytes", one(() => ({ length: 0x80000000 | 0 }))],
    ["of 2^32 - 1 bytes", one(() => ({ length: -1 }))],
    ["whose end overflows", one(() => ({ offset: 0xfffffff0 | 0, length: 0x20 }))],
    ["whose end overflows to a good place", one(() => ({ offset: room, length: -room | 0 }))],
    ["with an entry beyond the link's", one(() => ({ word: word0(1024) }))],
    ["with the last entry there can be", one(() => ({ word: word0(0xffff) }))],
    [
      "with an entry that is still held",
      (link, pools) => {
        for (let i = 0; i < 3; i++) one(() => ({ word: word0(5) }))(link, pools);
      },
    ],
    [
      "by a tail that is more than all credits ahead",
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
    [
      "by a tail far away",
      (link) => {
        link.forwardTail = 0x80000000 | 0;
      },
    ],
  ];
  it.each(lies)("that publishes a message %s loses the link, and nobody else anything", async (_, lie) => {
    await arena.attack(
      () =>
        produce(async (link, pools, client) => {
          lie(link, pools);
          link.ring();
          await closed(client);
        }),
      CLOSED,
    );
    expect((await seen()).thrown).toBe("");
  });

  const odd: ReadonlyArray<readonly [string, Lie]> = [
    ["unaligned, with metadata across words", one(() => ({ offset: room + 1, length: 3 }))],
    ["at the last byte of the pool", one((pool) => ({ offset: pool.bytes - 1, length: 1 }))],
    ["of no bytes at the very end", one((pool) => ({ offset: pool.bytes - 64, length: 0 }))],
    ["over the whole pool", one((pool) => ({ offset: room, length: pool.bytes - room }))],
    ["on a channel index that was never agreed", one(() => ({ route: 0xffff }))],
    ["with the flag of a marker", one(() => ({ word: word0(0, 0, DESCRIPTOR.FLAG_MARKER) }))],
    ["with all flags", one(() => ({ word: word0(0, 0, 0xff) }))],
  ];
  it.each(odd)("that publishes a message %s is harmless", async (_, lie) => {
    await arena.attack(() =>
      produce(async (link, pools, client) => {
        lie(link, pools);
        const held = await seen();
        await victim.call("release");
        await client.until(() => (link.returnTail >= 1 ? true : undefined), "its return");
        expect(held.thrown).toBe("");
      }),
    );
  });

  it("that names a source which is not its own is not believed", async () => {
    await arena.attack(() =>
      produce(async (link, [pool], client) => {
        if (!pool) throw new Error("no pool");
        const memory = new DataView(client.pools[0]?.buffer as ArrayBuffer);
        const before = (await seen()).messages;
        // The metadata says that an innocent source has sent it, the descriptor names an index that nobody has.
        const innocent = 1;
        memory.setUint32(slotOffset(pool, 0, room) - 48 + 16, innocent, true);
        link.push(word0(0), slotOffset(pool, 0, room), 8, (link.info.channels[0]?.index ?? 0) | (4000 << 16));
        await eventually(seen, ({ messages }) => messages > before);
        await victim.call("release");
        expect((await seen()).sources).not.toContain(innocent);
      }),
    );
  });

  const values: ReadonlyArray<readonly [string, ReadonlyArray<number>]> = [
    ["a count of 2^32 - 1", [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ["a map of 2^32 - 1", [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ["text of 2^32 - 1 bytes", [0xdb, 0xff, 0xff, 0xff, 0xff, 0x41]],
    ["an unknown extension", [0xc8, 0, 1, 9, 9]],
    ["a prototype for a key", [0x81, 0xa9, ...Buffer.from("__proto__"), 0x81, 0xa8, ...Buffer.from("polluted"), 1]],
    ["nesting without an end", new Array(1500).fill(0x91)],
    ["nothing at all", []],
  ];
  it("that sends values which are none is found out by typed sinks", async () => {
    const before = (await victim.call("seen"))["result"] as { invalid: number };
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream(CALM);
      const { pools } = await client.source(stream, VICTIM_CHANNEL + 1);
      const link = await client.link(stream, "producer");
      const [pool] = pools;
      if (!pool) throw new Error("no pool");
      for (const [slot, [, bytes]] of values.entries()) {
        new Uint8Array(client.pools[0]?.buffer as ArrayBuffer).set(bytes, slotOffset(pool, slot, room));
        link.push(word0(slot), slotOffset(pool, slot, room), bytes.length, at(link));
      }
      await client.until(() => (link.returnTail >= values.length ? true : undefined), "their return");
    });
    const after = await eventually(
      async () => (await victim.call("seen"))["result"] as { invalid: number; thrown: string },
      ({ invalid }) => invalid - before.invalid === values.length,
    );
    expect(after.thrown).toBe("");
  });
});

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await arena.end();
});
