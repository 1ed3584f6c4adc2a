// Lunar MoM on one host and across two runtimes on loopback: topics, wildcards, quality, last values, bad input.
import { describe, expect, it } from "vitest";
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { channelOf } from "../../src/apps/lunar-mom/topics.ts";
import { type InsaneError, Runtime } from "../../src/index.ts";
import { hosts } from "./lunar/hosts.ts";
import { eventually } from "./runtime/processes.ts";

/** Two topics with one channel. */
const COLLIDING = ["costarring", "liquid"] as const;

describe("a topic", () => {
  it("goes to its subscribers on this host and on the other, filled in the slot", async () => {
    await using on = await hosts();
    const here: string[] = [];
    const there: string[] = [];
    await on.a.subscribe("line/1", (message) => void here.push(message.text()));
    await on.b.subscribe("line/1", (message) => void there.push(`${message.topic}: ${message.text()}`));
    await using publisher = await on.a2.publisher("line/1");
    await publisher.matched(2);
    const token = publisher.publish(64, (draft) => {
      draft.length = draft.bytes.length - 60;
      draft.bytes.set(Buffer.from("slot"));
    });
    expect(token).toBeGreaterThan(0);
    await on.a2.publish("line/1", "text");
    await eventually(
      () => [here.length, there.length],
      ([x, y]) => x === 2 && y === 2,
    );
    expect(here).toEqual(["slot", "text"]);
    expect(there).toEqual(["line/1: slot", "line/1: text"]);
  });

  it("is found by patterns, whoever publishes it and whenever, and what they do not match stays away", async () => {
    await using on = await hosts();
    const got: string[] = [];
    await using all = await on.b.subscribe("line/+/temperature", (message) => {
      got.push(`${message.topic} ${message.text()}`);
    });
    const publishers = [
      await on.a.publisher("line/1/temperature"),
      await on.a2.publisher("line/2/temperature", { qos: { acceleration: "fast", maxMessage: 1024 } }),
      await on.b.publisher("line/3/temperature", { delivery: "at-least-once" }),
    ];
    await using elsewhere = await on.a.publisher("line/1/pressure");
    for (const publisher of publishers) await publisher.matched();
    for (const publisher of [...publishers, elsewhere]) await publisher.send("20");
    await eventually(
      () => got.length,
      (count) => count === 3,
    );
    expect(got.toSorted()).toEqual([1, 2, 3].map((line) => `line/${line}/temperature 20`));
    expect(elsewhere.source.consumers).toBe(0);
    // Nobody has listened to the last one, which the other host may hear of later.
    const known = await eventually(
      () => on.b.topics("line/#"),
      (topics) => topics.some(({ topic }) => topic === "line/1/pressure"),
    );
    expect(known.map(({ topic, publishers: count }) => [topic, count])).toEqual([
      ["line/1/pressure", 1],
      ["line/1/temperature", 1],
      ["line/2/temperature", 1],
      ["line/3/temperature", 1],
    ]);
    for (const publisher of publishers) await publisher.close();
    await eventually(
      () => all.topics.length,
      (count) => count === 0,
    );
  });

  it("is iterated; who never reads loses the oldest, holds up nobody and nothing leaks", async () => {
    await using on = await hosts();
    let reached = 0;
    await using lazy = await on.a2.subscribe("t", { depth: 4 });
    await using other = await on.a2.subscribe("t", { policy: { kind: "block" } }, () => void reached++);
    await using publisher = await on.a.publisher("t");
    await publisher.matched();
    for (let i = 0; i < 3000; i++) await publisher.send(String(i));
    await publisher.settled();
    await eventually(
      () => reached,
      (count) => count === 3000,
    );
    const got: string[] = [];
    for await (const message of lazy) if (got.push(message.text()) === 4) break;
    expect(got).toEqual(["2996", "2997", "2998", "2999"]);
    expect(lazy.stats.received - lazy.stats.dropped).toBe(4);
    expect(other.stats.dropped).toBe(0);
    expect(publisher.source.stats.outstanding).toBe(0);
  });

  it("refuses what cannot be sent, and goes on", async () => {
    await using on = await hosts();
    const got: string[] = [];
    await on.a2.subscribe("t", (message) => void got.push(message.text()));
    await using publisher = await on.a.publisher("t");
    await publisher.matched();
    await expect(on.a.publisher("")).rejects.toMatchObject({ code: "EVALUE", details: { why: "empty" } });
    await expect(on.a.subscribe("x".repeat(200))).rejects.toMatchObject({ details: { why: "too-long" } });
    await expect(publisher.send(new Uint8Array(65537))).rejects.toMatchObject({ code: "EMSGSIZE" });
    const broken = (): never => {
      throw new RangeError("mine");
    };
    expect(() => publisher.publish(8, broken)).toThrow("mine");
    await publisher.send("still here");
    await eventually(
      () => got.length,
      (count) => count > 0,
    );
    expect(got).toEqual(["still here"]);
    await publisher.settled();
    expect(publisher.source.stats).toMatchObject({ emitted: 1, outstanding: 0 });
    await publisher.close();
    expect(() => publisher.publish(8, () => {})).toThrow(expect.objectContaining({ code: "ECLOSED" }));
    await on.a.close();
    await expect(on.a.subscribe("t")).rejects.toMatchObject({ code: "ECLOSED" });
  });

  it("that two hosts chose apart, with one channel, mixes with nothing and is told to both", async () => {
    const start = (name: string) =>
      Runtime.embed({ name, log: { level: "silent" }, network: { helloIntervalMs: 50, silentAfterMs: 10_000 } });
    await using a = await start("A");
    await using b = await start("B");
    const [la, lb] = [await openLunar(await a.connect()), await openLunar(await b.connect())];
    const problems: unknown[] = [];
    for (const lunar of [la, lb]) lunar.on("problem", ({ code, details }) => problems.push([code, details["channel"]]));
    const got: string[] = [];
    const [one, other] = COLLIDING;
    await la.subscribe(one, (message) => void got.push(message.text()));
    await lb.subscribe("#", (message) => void got.push(message.text()));
    const publisher = await lb.publisher(other);
    await publisher.matched();
    // Now they meet.
    a.addPeer(`127.0.0.1:${b.port}`);
    b.addPeer(`127.0.0.1:${a.port}`);
    await eventually(
      () => problems.length,
      (count) => count >= 2,
    );
    expect(problems).toEqual([0, 1].map(() => ["ECOLLISION", channelOf(one)]));
    await publisher.send("of the other");
    await publisher.settled();
    await eventually(
      () => got.length,
      (count) => count >= 1,
    );
    expect([got, publisher.source.consumers]).toEqual([["of the other"], 1]);
    await Promise.all([la.close(), lb.close()]);
  });

  it("with the channel of another is refused, on the same host and across", async () => {
    await using on = await hosts();
    const [one, other] = COLLIDING;
    await on.a.publisher(one);
    const refused = (await on.a2.subscribe(other).catch((error) => error)) as InsaneError;
    expect(refused).toMatchObject({ code: "ECOLLISION", details: { name: other, other: one } });
    await eventually(
      async () =>
        (
          (await on.b.publisher(other).then(
            (p) => p.close(),
            (error) => error,
          )) as InsaneError | undefined
        )?.code,
      (code) => code === "ECOLLISION",
    );
  });
});
