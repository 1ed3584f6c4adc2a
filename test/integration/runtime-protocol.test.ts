// What bad input gets at the control socket: a readable error for the sender, the runtime unharmed, eviction for who
// keeps on.
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EmbeddedRuntime, Runtime } from "../../src/index.ts";
import { platform } from "../../src/native/platform.ts";
import { LAYOUT_HASH } from "../../src/protocol/layout.ts";
import { MAX_FRAME } from "../../src/protocol/rpc.ts";
import { canBeNobody, NOBODY, stranger } from "./runtime/nobody.ts";
import { eventually } from "./runtime/processes.ts";
import { RawClient } from "./runtime/raw-client.ts";

let runtime: EmbeddedRuntime;
const folder = mkdtempSync(join(tmpdir(), "insane-test-"));
const path = join(folder, "deeper", "insane.sock");
const quiet = { network: { enabled: false }, log: { level: "silent" } } as const;

beforeAll(async () => {
  runtime = await Runtime.embed({ ...quiet, socket: path, limits: { bytesPerSession: 64 * 1024 * 1024 } });
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});
const connected = async (): Promise<RawClient> => {
  const client = new RawClient(path);
  expect((await client.hello()).error).toBeNull();
  expect((await client.ask("session.mapped", {})).error).toBeNull();
  return client;
};
const qos = { acceleration: "none", consumption: "low", timeSensitivity: "best-effort", maxMessage: 1000 };

describe("the hello", () => {
  it("of another protocol version is refused with both versions", async () => {
    using client = new RawClient(path);
    const { error } = await client.hello({ protocol: 99 });
    expect(error).toMatchObject({ code: "EVERSION", details: { protocol: 1 } });
    expect(error?.message).toMatch(/99.*1/);
    await client.untilEnded();
  });

  it("of another layout is refused with both layouts", async () => {
    using client = new RawClient(path);
    const { error } = await client.hello({ layout: 1 });
    expect(error).toMatchObject({ code: "ELAYOUT", details: { layout: LAYOUT_HASH } });
    await client.untilEnded();
  });

  it("must be the first frame", async () => {
    using client = new RawClient(path);
    const { error } = await client.ask("stream.open", { qos });
    expect(error).toMatchObject({ code: "ESCHEMA" });
    expect(error?.message).toMatch(/hello/);
  });

  it("comes once", async () => {
    using client = await connected();
    expect((await client.hello()).error).toMatchObject({ code: "ESCHEMA" });
  });

  it("that never comes ends the connection", async () => {
    using client = new RawClient(path);
    await client.untilEnded(4000);
  });

  it("of an operator gives no pages and no right to open anything", async () => {
    using client = new RawClient(path);
    expect((await client.hello({ role: "operator" })).error).toBeNull();
    expect((await client.ask("stream.open", { qos })).error).toMatchObject({ code: "EPERM" });
    expect((await client.ask("status", {})).result).toMatchObject({ runtime: { pid: process.pid } });
  });
});

describe("a frame", () => {
  it("with wrong fields gets every fault with its path", async () => {
    using client = await connected();
    const { error } = await client.ask("stream.open", { name: 3, qos: { ...qos, acceleration: "warp" }, extra: 1 });
    expect(error?.code).toBe("ESCHEMA");
    for (const field of ["/name", "/qos/acceleration", "/extra"]) expect(error?.message).toContain(field);
  });

  it("of an unknown method names those that there are", async () => {
    using client = await connected();
    const { error } = await client.ask("stream.opne", {});
    expect(error?.code).toBe("EMETHOD");
    expect(error?.message).toContain("stream.open");
  });

  it("that is no MessagePack is answered", async () => {
    using client = await connected();
    client.raw(Uint8Array.of(0xc1, 1, 2, 3));
    expect(await client.notified("protocol.error")).toMatchObject({ code: "ESCHEMA" });
    expect((await client.ask("stream.open", { qos })).error).toBeNull();
  });

  it("that is too large is answered with the limit", async () => {
    using client = await connected();
    client.raw(new Uint8Array(MAX_FRAME + 1000));
    expect(await client.notified("protocol.error")).toMatchObject({ code: "EFRAME", details: { limit: MAX_FRAME } });
    expect((await client.ask("stream.open", { qos })).error).toBeNull();
  });

  it("that answers what nobody asked is answered", async () => {
    using client = await connected();
    client.raw(Uint8Array.of(0x94, 1, 77, 0xc0, 0x80));
    expect((await client.notified("protocol.error"))["message"]).toContain("77");
  });

  it("of garbage, again and again, evicts its sender and nobody else", async () => {
    using other = await connected();
    using client = await connected();
    for (let i = 0; i < 100; i++) client.raw(Uint8Array.of(0xc1, i));
    expect((await client.notified("runtime.closing"))["reason"]).toMatch(/evicted.*bad control frames/);
    await client.untilEnded();
    expect((await other.ask("stream.open", { qos })).error).toBeNull();
  });
});

describe("a session", () => {
  it("must map its pages before it opens anything", async () => {
    using client = new RawClient(path);
    await client.hello();
    expect((await client.ask("stream.open", { qos })).error?.message).toContain("session.mapped");
  });

  it("must map its pools before it opens a source", async () => {
    using client = await connected();
    const { result } = await client.ask("stream.open", { qos });
    const { stream } = result as { stream: number };
    expect((await client.ask("source.open", { stream, channel: 1 })).error?.message).toContain("pool.open");
    expect((await client.ask("pool.mapped", { stream })).error?.code).toBe("ESCHEMA");
  });

  it("is told of things that are not there", async () => {
    using client = await connected();
    for (const [method, params] of [
      ["stream.close", { stream: 9 }],
      ["pool.open", { stream: 9 }],
      ["source.close", { source: 9 }],
      ["sink.close", { sink: 9 }],
      ["watch", { session: 999_999 }],
    ] as const) {
      expect((await client.ask(method, params)).error?.code, method).toBe("ENOENT");
    }
  });

  it("cannot reserve more than it may", async () => {
    using client = await connected();
    const { result } = await client.ask("stream.open", { qos: { ...qos, maxMessage: 32 * 1024 * 1024 } });
    const { stream } = result as { stream: number };
    expect((await client.ask("pool.open", { stream })).error).toMatchObject({ code: "ELIMIT" });
    expect((await client.ask("stream.open", { qos })).error).toBeNull();
  });

  it("cannot open one name with two qualities", async () => {
    using client = await connected();
    expect((await client.ask("stream.open", { name: "one", qos })).error).toBeNull();
    const again = await client.ask("stream.open", { name: "one", qos: { ...qos, maxMessage: 2000 } });
    expect(again.error).toMatchObject({ code: "ECOLLISION" });
  });

  it("that never reads is evicted, and others are served meanwhile", async () => {
    using other = await connected();
    using client = await connected();
    // Nothing is read from here on: answers fill the socket, then the queue.
    let sent = 0;
    while (sent < 20_000 && runtime.status().sessions.some(({ name }) => name === "raw")) {
      const bytes = Uint8Array.of(0x94, 0, 0xcd, sent >> 8, sent & 255, 0xa6, ...Buffer.from("status"), 0x80);
      if (client.raw(bytes) < 0) await new Promise((resolve) => setImmediate(resolve));
      sent++;
      if (sent % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (runtime.status().sessions.length < 2) break;
    }
    await eventually(
      () => runtime.status().sessions.length,
      (count) => count === 1,
    );
    expect((await other.ask("stream.open", { qos })).error).toBeNull();
  });

  it("sees one more control frame in its page for each that was sent", async () => {
    const session = await runtime.connect();
    expect(session.closed).toBe(false);
    await session.close();
  });
});

describe("the socket", () => {
  it("gets a directory of its own and the mode of the configuration", () => {
    expect(statSync(join(folder, "deeper")).mode & 0o777).toBe(0o700);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("that a live runtime holds is refused, naming who holds it", async () => {
    await expect(Runtime.embed({ ...quiet, socket: path })).rejects.toMatchObject({
      code: "EADDRINUSE",
      message: expect.stringContaining(String(process.pid)),
    });
    expect(existsSync(path)).toBe(true);
  });

  it("that is stale is taken over, and goes with its runtime", async () => {
    const stale = join(folder, "stale.sock");
    platform().fdClose(platform().socketListen(stale, 0o600));
    expect(existsSync(stale)).toBe(true);
    const second = await Runtime.embed({ ...quiet, socket: stale });
    using client = new RawClient(stale);
    expect((await client.hello()).error).toBeNull();
    await second.close();
    expect(existsSync(stale)).toBe(false);
  });

  it("in a place that is no directory is refused with cause and cure", async () => {
    writeFileSync(join(folder, "file"), "");
    await expect(Runtime.embed({ ...quiet, socket: join(folder, "file", "insane.sock") })).rejects.toMatchObject({
      code: "ESYSTEM",
      message: expect.stringMatching(/INSANE_SOCKET|--socket/),
    });
  });

  it("lets the embedding process in whomever the configuration names", async () => {
    const second = await Runtime.embed({
      ...quiet,
      socket: join(folder, "own.sock"),
      allow: { uids: [4242], gids: [] },
    });
    await (await second.connect()).close();
    await second.close();
  });
});

describe.skipIf(!canBeNobody())("another user", () => {
  it.each([
    { allow: { uids: [NOBODY], gids: [] }, code: null },
    { allow: { uids: [], gids: [NOBODY] }, code: null },
    { allow: { uids: [], gids: [] }, code: null },
    { allow: { uids: [4242], gids: [4242] }, code: "EPERM" },
  ])("is let in when the configuration ($allow) names him or nobody: $code", async ({ allow, code }) => {
    const open = mkdtempSync(join(tmpdir(), "insane-test-open-"));
    chmodSync(open, 0o755);
    const socket = join(open, "insane.sock");
    const second = await Runtime.embed({ ...quiet, socket, socketMode: 0o666, allow });
    try {
      const answer = await stranger("hello", socket);
      expect(answer.code).toBe(code);
      if (code) expect(answer.message).toContain(String(NOBODY));
    } finally {
      await second.close();
      rmSync(open, { recursive: true });
    }
  });

  it("who may not write the socket's directory is told the cause and the cure", async () => {
    const open = mkdtempSync(join(tmpdir(), "insane-test-open-"));
    chmodSync(open, 0o755);
    try {
      for (const socket of [join(open, "insane.sock"), join(open, "deeper", "insane.sock")]) {
        expect(await stranger("embed", socket)).toMatchObject({
          code: "EPERM",
          message: expect.stringMatching(/not writable.*XDG_RUNTIME_DIR/),
        });
      }
    } finally {
      rmSync(open, { recursive: true });
    }
  });
});
