// The thin client against itself over real shared memory, the control side played by a double: what an application sees of
// a session, of its sleep, its end and the runtime's.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { connect, InsaneError } from "../../src/index.ts";
import { decodeFrame, encodeNotification } from "../../src/protocol/rpc.ts";
import { VERSION } from "../../src/protocol/version.ts";
import { ClientBed, holdings, refusal, send, until, wordOf } from "../doubles/client-bed.ts";

describe("a session", () => {
  it("sleeps until something comes, and blocks when it is asked to", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { session, sink } = await bed.sink();
    expect(session.wait(1)).toBe(false);
    send(source, 1);
    expect(session.wait(1000)).toBe(true);
    // What is queued already counts as well.
    expect(sink.dataAvailable()).toBe(1);
    expect(session.wait(1000)).toBe(true);
    sink.tryConsume()?.release();
    expect(session.wait(1)).toBe(false);
  });

  it("that is idle costs nothing", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    let got = 0;
    await bed.sink(1, {}, (message) => {
      got++;
      message.release();
    });
    send(source, 1);
    await until(() => got === 1);
    // Of half a second, ms. Other work of this process (garbage, code that is compiled) ends; a session that spun would not.
    const used = async (): Promise<number> => {
      const before = process.cpuUsage();
      await sleep(500);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    await expect.poll(used, { timeout: 20_000 }).toBeLessThan(25);
    send(source, 2);
    await until(() => got === 2);
  });

  it("leaves no descriptor and no mapping behind", async () => {
    const once = async (): Promise<void> => {
      await using bed = new ClientBed();
      const source = await bed.source();
      const { sink } = await bed.sink();
      for (let i = 0; i < 10; i++) send(source, i);
      const [held, queued] = [sink.tryConsume(), sink.dataAvailable()];
      expect(queued).toBe(9);
      held?.release();
    };
    await once();
    const before = holdings();
    for (let i = 0; i < 5; i++) await once();
    await expect.poll(holdings, { timeout: 20_000 }).toEqual(before);
  });

  it("names the version of its package", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect(VERSION).toBe(version);
  });

  it("says who is missing when nobody listens", async () => {
    await expect(connect({ socket: "/nonexistent/insane.sock" })).rejects.toThrow(
      refusal("ENORUNTIME", /no socket at \/nonexistent\/insane.sock.*insane up/),
    );
  });

  it("goes on over direct links when the runtime dies, and says so", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { session, sink } = await bed.sink();
    const warnings: string[] = [];
    session.on("warning", ({ code }) => warnings.push(code));
    bed.runtime.close();
    await until(() => warnings.length === 1);
    expect(warnings).toEqual(["W_RUNTIME_GONE"]);
    await expect(session.createStream()).rejects.toThrow(refusal("ENORUNTIME"));
    for (let i = 0; i < 5000; i++) while (!send(source, i)) while (sink.dataAvailable()) sink.tryConsume()?.release();
    while (sink.dataAvailable()) sink.tryConsume()?.release();
    expect(await source.settled()).toMatchObject({ consumed: 5000, outstanding: 0 });
    await session.close();
    await source.close();
  });

  it("is told of what it opened, however soon after the answer, or before it", async () => {
    await using bed = new ClientBed();
    const session = await bed.session("consumer");
    const double = bed.runtime.sessions.get(session.id);
    const send = double?.send.bind(double);
    if (!double || !send) throw new Error("no such session");
    const warning = { code: "W_FALLBACK", message: "slow", cure: "" };
    // Frames that lie together in the socket, as when the application was not given the processor for a while.
    double.send = (bytes, fds) => {
      const frame = decodeFrame(bytes);
      const result = frame.type === "response" ? (frame.result as { stream?: number; sink?: number }) : {};
      const { stream, sink } = result;
      const lost = { sink, source: 7, count: 3, reason: "no-credit" };
      if (sink !== undefined) send(encodeNotification("sink.lost", { ...lost, count: 2 }));
      send(bytes, fds);
      if (stream !== undefined) send(encodeNotification("stream.warning", { stream, warning }));
      if (sink !== undefined) send(encodeNotification("sink.lost", lost));
    };
    const stream = await session.createStream();
    const warned: string[] = [];
    stream.on("warning", ({ message }) => warned.push(message));
    const sink = await stream.createSink(1);
    const lost: number[] = [];
    sink.on("lost", ({ count }) => lost.push(count));
    await until(() => sink.stats.lost === 5);
    expect(lost.sort()).toEqual([2, 3]);
    expect(warned).toEqual(["slow"]);
  });

  it("that is over leaves what its consumers have not read as it was", async () => {
    await using bed = new ClientBed();
    const source = await bed.source();
    const { sink } = await bed.sink();
    for (let i = 1; i <= 5; i++) expect(send(source, i)).toBeGreaterThan(0);
    const [producer] = [...bed.runtime.sessions.values()];
    producer?.evict("it lied");
    await until(() => source.stats.abandoned === 5);
    const got: number[] = [];
    await until(() => {
      const message = sink.tryConsume();
      if (message === null) return got.length === 5;
      got.push(wordOf(message));
      message.release();
      return false;
    });
    expect(got).toEqual([1, 2, 3, 4, 5]);
  });

  it("that was evicted ends, and says why", async () => {
    await using bed = new ClientBed();
    const { session, sink } = await bed.sink();
    const closed = new Promise((resolve) => session.on("closed", resolve));
    bed.runtime.sessions.get(session.id)?.evict("it lied");
    expect(await closed).toEqual({ reason: "evicted by the runtime: it lied", evicted: true });
    expect(session.closed).toBe(true);
    expect(() => sink.tryConsume()).toThrow(InsaneError);
    await session.close();
  });
});
