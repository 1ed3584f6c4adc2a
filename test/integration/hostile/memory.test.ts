// Attacks on what is shared by descriptor: segments that are to be cut, grown, written or opened anew, doorbells that are
// flooded, filled and closed, parked words that lie, and memory that changes while others read it.

import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { platform } from "../../../src/native/platform.ts";
import { mapSegment } from "../../../src/native/views.ts";
import { LINK, linkBytes, PARKED_PAGE, POOL } from "../../../src/protocol/layout.ts";
import { eventually, type TestProcess } from "../runtime/processes.ts";
import { Arena } from "./arena.ts";
import type { Daemon } from "./daemon.ts";
import { HostileClient, type HostileLink, type Pool, slotOffset, word0 } from "./hostile-client.ts";
import type { Scribble } from "./scribbler.ts";

const CALM = "calm";
const VICTIM_CHANNEL = 66;

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

const consumer = async (client: HostileClient): Promise<HostileLink> => {
  const stream = await client.stream(CALM);
  await client.sink(stream, 1);
  const link = await client.link(stream, "consumer");
  await client.until(() => (link.forwardTail > 8 ? true : undefined), "a message");
  return link;
};
const producer = async (client: HostileClient): Promise<{ link: HostileLink; pools: Pool[]; route: number }> => {
  const stream = await client.stream(CALM);
  const { pools } = await client.source(stream, VICTIM_CHANNEL);
  const link = await client.link(stream, "producer");
  const route = (link.info.channels[0]?.index ?? 0) | ((link.info.sources[0]?.index ?? 0) << 16);
  return { link, pools, route };
};
const scribble = async (orders: Scribble): Promise<void> => {
  const worker = new Worker(join(import.meta.dirname, "scribbler.ts"), { workerData: orders });
  await once(worker, "exit");
};
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

/** What nobody but its owner may do to a segment. */
function refusesWriters(fd: number, bytes: number): void {
  expect(platform().raw.segmentMap(fd, bytes, 1, new BigUint64Array(1)), "a writable mapping").toBeLessThan(0);
  expect(() => writeSync(fd, new Uint8Array(8), 0, 8, 0), "write").toThrow(/EPERM|EBADF/);
  const again = openSync(`/proc/self/fd/${fd}`, "r+");
  try {
    expect(platform().raw.segmentMap(again, bytes, 1, new BigUint64Array(1)), "opened anew").toBeLessThan(0);
    expect(() => writeSync(again, new Uint8Array(8), 0, 8, 0), "write, opened anew").toThrow(/EPERM/);
  } finally {
    closeSync(again);
  }
  keepsItsSize(fd, bytes);
}
function keepsItsSize(fd: number, bytes: number): void {
  for (const size of [0, 1, bytes - 4096, bytes + 4096, 2 ** 40]) {
    expect(() => ftruncateSync(fd, size), `to ${size} bytes`).toThrow(/EPERM|EINVAL/);
  }
}

describe("segments", () => {
  it("of an innocent source can be neither written nor cut by its consumer", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const link = await consumer(client);
      const pools = link.fds.slice(3);
      expect(pools.length).toBeGreaterThan(0);
      for (const [i, fd] of pools.entries()) refusesWriters(fd, link.info.pools[i]?.bytes ?? 0);
      refusesWriters(link.parkedPage, PARKED_PAGE.BYTES);
      keepsItsSize(link.fds[0] ?? -1, linkBytes(link.info.entries));
    });
  });

  it("of the session itself can be neither grown nor cut, nor written but by the mapping there is", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const [control = -1, parked = -1, stats = -1] = client.given;
      refusesWriters(control, 8192);
      // Sealed since session.mapped, whether it has mapped them or not.
      refusesWriters(parked, PARKED_PAGE.BYTES);
      keepsItsSize(stats, 262144);
      const before = client.given.length;
      const { pools } = await producer(client);
      for (const [i, fd] of client.given.slice(before, before + pools.length).entries()) {
        refusesWriters(fd, pools[i]?.bytes ?? 0);
      }
    });
  });

  it("may be forgotten before they are said to be mapped", async () => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      await client.hello();
      for (const fd of client.given.splice(0)) closeSync(fd);
      await client.must("session.mapped", {});
      const stream = await client.stream(CALM);
      await client.must("pool.open", { stream });
      for (const fd of client.given.splice(0)) closeSync(fd);
      await client.must("pool.mapped", { stream });
      await client.must("source.open", { stream, channel: VICTIM_CHANNEL });
      await client.link(stream, "producer");
    });
  });
});

describe("memory that changes while it is read", () => {
  it("in descriptors ends the link at worst", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const { link, pools, route } = await producer(client);
      const bytes = pools[0]?.bytes ?? 0;
      const scribbling = scribble({
        fd: link.fds[0] ?? -1,
        bytes: linkBytes(link.info.entries),
        words: range(LINK.RING >>> 2, 4 * link.info.entries),
        values: [0, 1, route, POOL.HEADER_ROOM, 64, 4096, bytes - 64, bytes, -1, 0x80000000 | 0, 0x00010000, 0xffff],
        ms: 400,
      });
      let done = false;
      void scribbling.then(() => {
        done = true;
      });
      while (!done) {
        // As many as there are credits for, whatever is in them.
        link.tail = (link.returnTail + 64) | 0;
        link.forwardTail = link.tail;
        link.ring();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await scribbling;
      await victim.call("release");
    });
    expect(((await victim.call("seen"))["result"] as { thrown: string }).thrown).toBe("");
  });

  it("in payloads and metadata is nonsense to who reads it, and nothing more", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const stream = await client.stream(CALM);
      const before = client.given.length;
      // Mapped by another thread as well, before it is sealed.
      const { pools } = (await client.must("pool.open", { stream })) as unknown as { pools: Pool[] };
      const [pool] = pools;
      const fd = client.given[before] ?? -1;
      if (!pool) throw new Error("no pool");
      const scribbling = scribble({
        fd,
        bytes: pool.bytes,
        words: range(0, (64 * pool.stride) / 4),
        values: [0, -1, 0x93939393 | 0, 0xdddddddd | 0, 0xdb00ffff | 0, 0x81a16181 | 0, 0x7ff80000],
        ms: 700,
      });
      const mine = mapSegment(fd, pool.bytes, true);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await client.must("pool.mapped", { stream });
      // The typed channel of the victim.
      await client.must("source.open", { stream, channel: VICTIM_CHANNEL + 1 });
      const link = await client.link(stream, "producer");
      const route = link.info.channels[0]?.index ?? 0;
      let done = false;
      void scribbling.then(() => {
        done = true;
      });
      for (let i = 0; !done; i++) {
        if (((link.tail - link.returnTail) | 0) < 32) {
          const length = [8, 64, 2048][i % 3] as number;
          link.push(word0(link.tail & 31), slotOffset(pool, i % 64, POOL.HEADER_ROOM), length, route);
        } else await new Promise((resolve) => setImmediate(resolve));
      }
      await scribbling;
      mine.unmap();
    });
    expect(((await victim.call("seen"))["result"] as { thrown: string }).thrown).toBe("");
  });

  it("in returns ends the link at worst", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const link = await consumer(client);
      await scribble({
        fd: link.fds[0] ?? -1,
        bytes: linkBytes(link.info.entries),
        words: [LINK.RETURN_TAIL >>> 2, LINK.FORWARD_TAIL >>> 2, ...range(link.returnAt(0), link.info.entries)],
        values: [0, 1, 2, 64, 1024, 0xffff, -1, 0x00090001, 0x00ff0002],
        ms: 300,
      });
    });
  });
});

describe("a doorbell", () => {
  it("that is rung without a pause costs its owner's peer no message", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const link = await consumer(client);
      const until = performance.now() + 400;
      while (performance.now() < until) for (let i = 0; i < 1000; i++) link.ring();
    });
  });

  it("that is closed wakes nobody for ever", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const link = await consumer(client);
      const { link: out } = await producer(await other());
      for (const end of [link, out]) {
        const open = openSync("/dev/null", "r");
        // Its number stays taken, so that what closes it later closes nothing else.
        closeSync(end.bell);
        expect(openSync("/dev/null", "r")).toBe(end.bell);
        closeSync(open);
      }
      // Neither the daemon nor a victim may spin now: what they use of the processor is what traffic costs.
      const busy = [daemon.pid, victim.pid].map((pid) => ({ pid, before: ticks(pid) }));
      await new Promise((resolve) => setTimeout(resolve, 700));
      for (const { pid, before } of busy) expect(ticks(pid) - before, `${pid}`).toBeLessThan(45);
      clients.pop()?.close();
    });
  });

  it("that carries descriptors and large datagrams is only a bell", async () => {
    await arena.attack(async () => {
      using client = await HostileClient.attach(daemon.socket);
      const link = await consumer(client);
      const mine = range(0, 32).map(() => openSync("/dev/null", "r"));
      try {
        for (let i = 0; i < 64; i++) {
          platform().raw.socketSend(link.bell, new Uint8Array(8192), 8192, Int32Array.from(mine), mine.length);
        }
      } finally {
        for (const fd of mine) closeSync(fd);
      }
      await arena.calm();
    });
  });

  it("whose owner's parked word changes all the time is rung at most once a burst", async () => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      await client.hello();
      const parked = new Uint32Array(client.page(1).buffer);
      await client.must("session.mapped", {});
      const link = await consumer(client);
      const until = performance.now() + 400;
      while (performance.now() < until) {
        for (let i = 0; i < 1000; i++) parked[0] = ((parked[0] ?? 0) + 4) | 3;
        link.tail = link.returnTail;
        const held = link.pushed(link.tail);
        if (held.length > 0) link.giveBack(...held);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
});

describe("the statistics page", () => {
  it("full of nonsense is shown as it is, and breaks no report", async () => {
    await arena.attack(async () => {
      using client = new HostileClient(daemon.socket);
      await client.hello();
      const stats = new Float64Array(client.page(2).buffer);
      await client.must("session.mapped", {});
      const stream = await client.stream(CALM);
      await client.sink(stream, 9);
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1, 1e308, -0]) {
        stats.fill(value);
        const { sessions, slots } = await daemon.status();
        expect(sessions.some(({ name }) => name === "hostile" || name === "raw")).toBe(true);
        expect(slots.outstanding).toBeLessThan(5000);
      }
    });
  });
});

const clients: HostileClient[] = [];
async function other(): Promise<HostileClient> {
  const client = await HostileClient.attach(daemon.socket, "other");
  clients.push(client);
  return client;
}

/** Processor time of a process in hundredths of a second. */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

it("in the end everything that was emitted has arrived, and no slot is out", async () => {
  await eventually(
    async () => ((await victim.call("release"))["result"] as { held: number }).held,
    (held) => held === 0,
  );
  await arena.end();
});
