// Views over mapped memory and wake-ups from the event loop, against the real library, and at the real end of a process.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRNO, MAX_FRAME_FDS, platform } from "../../src/native/platform.ts";
import { mapSegment, mapStranger, type Waker, wakeOnReadable } from "../../src/native/views.ts";
import { InsaneError } from "../../src/protocol/codes.ts";
import { LAYOUT_HASH } from "../../src/protocol/layout.ts";

const BYTES = 1 << 20;
const p = platform();

/** What `call` threw, which must be an InsaneError. */
function thrown(call: () => unknown): InsaneError {
  try {
    call();
  } catch (error) {
    if (error instanceof InsaneError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("the library and the TypeScript constants are of one layout", () => {
  expect(p.layoutHash()).toBe(LAYOUT_HASH);
});

test("a segment is one ArrayBuffer on each side, and what one writes the other reads", () => {
  const fd = p.segmentCreate("views", BYTES);
  const producer = mapSegment(fd, BYTES, true);
  p.segmentSealFutureWrite(fd);
  const consumer = mapStranger(fd, BYTES, false);
  expect(producer.buffer.byteLength).toBe(BYTES);
  new Uint32Array(producer.buffer)[1000] = 0xfeedbeef;
  expect(new Uint32Array(consumer.buffer)[1000]).toBe(0xfeedbeef);
  const refused = thrown(() => mapSegment(fd, BYTES, true));
  expect(refused.code).toBe("ESYSTEM");
  expect(refused.details["errno"]).toBe("EPERM");
  producer.unmap();
  consumer.unmap();
  p.fdClose(fd);
});

test("unmapping empties every typed array over the memory first, so that none can touch what is gone", () => {
  const fd = p.segmentCreate("views", BYTES);
  const mapping = mapSegment(fd, BYTES, true);
  const words = new Uint32Array(mapping.buffer);
  const part = new Uint8Array(mapping.buffer, 4096, 64);
  mapping.unmap();
  expect(mapping.buffer.detached).toBe(true);
  expect([words.length, part.length, words[0]]).toEqual([0, 0, undefined]);
  mapping.unmap();
  {
    using scoped = mapSegment(fd, BYTES, true);
    expect(new Uint8Array(scoped.buffer).length).toBe(BYTES);
  }
  p.fdClose(fd);
});

test("what a stranger passes is checked before it is mapped", () => {
  const fd = p.segmentCreate("views", BYTES);
  expect(thrown(() => mapStranger(fd, 2 * BYTES, false)).details["errno"]).toBe("EMSGSIZE");
  p.fdClose(fd);
  const event = p.eventfd();
  expect(thrown(() => mapStranger(event, BYTES, false)).details["errno"]).toBe("EBADF");
  p.fdClose(event);
});

test("an error of the kernel names what was tried, on what, and the errno", () => {
  const error = thrown(() => p.socketConnect("/nowhere/insane.sock"));
  expect(error.code).toBe("ESYSTEM");
  expect(error.message).toContain("ENOENT");
  expect(error.message).toContain("/nowhere/insane.sock");
  expect(error.details).toMatchObject({ errno: "ENOENT", number: 2, path: "/nowhere/insane.sock" });
});

test("frames and descriptors cross a control socket, and an end is seen after what was sent before it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "insane-views-"));
  const path = join(folder, "s");
  const listener = p.socketListen(path, 0o600);
  const client = p.socketConnect(path);
  const server = p.raw.socketAccept(listener);
  expect(p.socketCredentials(server)).toEqual({ pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  const segment = p.segmentCreate("passed", BYTES);
  const frame = new TextEncoder().encode("hello");
  expect(p.raw.socketSend(client, frame, frame.length, Int32Array.of(segment), 1)).toBe(5);
  expect(p.raw.socketSend(client, frame, frame.length, null, 0)).toBe(5);
  // With a frame of ours unread at its death, the socket is in error as well as at its end.
  expect(p.raw.socketSend(server, frame, frame.length, null, 0)).toBe(5);
  p.fdClose(client);

  const data = new Uint8Array(100);
  const fds = new Int32Array(MAX_FRAME_FDS);
  const received: number[][] = [];
  await new Promise<void>((resolve) => {
    const waker = wakeOnReadable(server, () => {
      const room = Uint32Array.of(fds.length);
      const length = p.raw.socketReceive(server, data, data.length, fds, room);
      received.push([length, room[0] ?? -1]);
      if (length > 0) return;
      waker.close();
      resolve();
    });
  });
  expect(received).toEqual([
    [5, 1],
    [5, 0],
    [0, 0],
  ]);
  const passed = mapStranger(fds[0] ?? -1, BYTES, true);
  passed.unmap();
  for (const fd of [fds[0] ?? -1, segment, server, listener]) p.fdClose(fd);
  rmSync(folder, { recursive: true });
});

test("a waker calls back until the bell is drained, then not before the next ring, and never after close", async () => {
  const [bell, ringer] = p.bellPair();
  const idle = p.eventfd();
  let calls = 0;
  let called = (): void => {};
  const waker = wakeOnReadable(bell, () => {
    calls++;
    if (calls === 3) expect(p.raw.bellDrain(bell)).toBe(1);
    if (calls >= 3) called();
  });
  const third = new Promise<void>((resolve) => {
    called = resolve;
  });
  p.raw.bellRing(ringer);
  await third;
  // A turn of the event loop later: drained, so silent.
  await turnOfTheLoop(idle);
  expect(calls).toBe(3);
  p.raw.bellRing(ringer);
  waker.close();
  waker.close();
  waker.ref();
  await turnOfTheLoop(idle);
  expect(calls).toBe(3);
  // The descriptor can be watched again at once.
  const again = new Promise<void>((resolve) => {
    const second = wakeOnReadable(bell, () => {
      second.close();
      resolve();
    });
  });
  await again;
  for (const fd of [bell, ringer, idle]) p.fdClose(fd);
});

test("what cannot be watched is an error and not the end of the process", () => {
  const [bell, ringer] = p.bellPair();
  const waker = wakeOnReadable(bell, () => {});
  expect(thrown(() => wakeOnReadable(bell, () => {})).code).toBe("EINTERNAL");
  waker.close();
  p.fdClose(bell);
  p.fdClose(ringer);
  expect(thrown(() => wakeOnReadable(bell, () => {})).details["errno"]).toBe("EBADF");
});

test("waiting for a word, yielding and the clocks answer", () => {
  const word = Uint32Array.of(7);
  expect(p.raw.waitWord(word, 7, 10, 2)).toBe(0);
  expect(p.raw.waitWord(word, 6, 10, 2)).toBe(1);
  p.raw.yield();
  const { realtime, monotonic } = p.clock();
  expect(Math.abs(Number(realtime / 1_000_000n) - Date.now())).toBeLessThan(10_000);
  expect(p.clock().monotonic).toBeGreaterThanOrEqual(monotonic);
  const epoll = p.epollCreate();
  const event = p.eventfd();
  p.epollAdd(epoll, event, 77);
  p.raw.eventfdSignal(event);
  const tags = new Uint32Array(4);
  expect(p.raw.epollWait(epoll, tags, 4, -1)).toBe(1);
  expect(tags[0]).toBe(77);
  p.epollRemove(epoll, event);
  expect(thrown(() => p.epollRemove(epoll, event)).details["errno"]).toBe("ENOENT");
  expect(p.raw.bellRing(-1)).toBe(ERRNO.EBADF);
  p.fdClose(event);
  p.fdClose(epoll);
});

const prelude = `
  import { platform } from ${JSON.stringify(new URL("../../src/native/platform.ts", import.meta.url).href)};
  import { wakeOnReadable } from ${JSON.stringify(new URL("../../src/native/views.ts", import.meta.url).href)};
  const p = platform();
  const [bell, ringer] = p.bellPair();
`;
function runs(program: string): { status: number | null; signal: string | null; output: string } {
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", prelude + program],
    { encoding: "utf8", timeout: 20_000 },
  );
  return { status, signal, output: stdout + stderr };
}

test("a process ends in good order while a bell is ringing", () => {
  const natural = runs(`wakeOnReadable(bell, () => {}).unref(); p.raw.bellRing(ringer);`);
  expect(natural).toEqual({ status: 0, signal: null, output: "" });
  const exit = runs(`wakeOnReadable(bell, () => {}); p.raw.bellRing(ringer); process.exit(3);`);
  expect(exit).toEqual({ status: 3, signal: null, output: "" });
});

test("what a callback throws is an uncaught exception, and the waker goes on", () => {
  const result = runs(`
    let calls = 0;
    process.on("uncaughtException", (error) => console.log(error.message));
    const waker = wakeOnReadable(bell, () => {
      p.raw.bellDrain(bell);
      if (++calls === 2) waker.close();
      else p.raw.bellRing(ringer);
      throw new Error("call " + calls);
    });
    p.raw.bellRing(ringer);
  `);
  expect(result).toEqual({ status: 0, signal: null, output: "call 1\ncall 2\n" });
});

/** Resolves when the event loop has polled descriptors at least once more. */
function turnOfTheLoop(event: number): Promise<void> {
  return new Promise((resolve) => {
    const waker: Waker = wakeOnReadable(event, () => {
      p.raw.eventfdDrain(event);
      waker.close();
      setImmediate(resolve);
    });
    p.raw.eventfdSignal(event);
  });
}
