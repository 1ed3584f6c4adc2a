// Lunar MoM at the ends of what a session may have: a pattern that matches more topics than it can listen to, and a session that the
// runtime throws out.
import { describe, expect, it } from "vitest";
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import { type InsaneError, Runtime } from "../../src/index.ts";
import { ClientBed } from "../doubles/client-bed.ts";
import { eventually } from "./runtime/processes.ts";

/** Sinks of one session on one stream. */
const MOST = 800;
const BEYOND = 5;

describe("a pattern that matches more topics than a session can listen to", { timeout: 120_000 }, () => {
  it("listens to as many as it can, tells of each other one once, and comes to them when there is room", async () => {
    await using runtime = await Runtime.embed({ network: { enabled: false }, log: { level: "silent" } });
    // Two, because a session has no more sources of a stream than sinks.
    const [first, second, subscriber, another] = await Promise.all(
      ["first", "second", "subscriber", "another"].map(async (name) => openLunar(await runtime.connect({ name }))),
    );
    const problems: InsaneError[] = [];
    subscriber!.on("problem", (error) => void problems.push(error));
    const got = new Set<string>();
    await using all = await subscriber!.subscribe("many/#", ({ topic }) => void got.add(topic));
    const publishers = await Promise.all(
      Array.from({ length: MOST + BEYOND }, (_, i) => (i % 2 ? first! : second!).publisher(`many/${i}`)),
    );
    await eventually(
      () => [all.topics.length, problems.length],
      ([topics, told]) => topics === MOST && told === BEYOND,
      60_000,
    );
    expect(problems.map(({ code, details }) => [code, details["limit"]])).toEqual(
      Array.from({ length: BEYOND }, () => ["ELIMIT", MOST]),
    );
    const reached = publishers.filter(({ topic }) => all.topics.includes(topic));
    const others = publishers.filter(({ topic }) => !all.topics.includes(topic));
    expect(others).toHaveLength(BEYOND);
    await Promise.all(reached.map((publisher) => publisher.matched()));
    for (const publisher of reached) await publisher.send("x");
    await eventually(
      () => got.size,
      (count) => count === MOST,
    );
    // Another session has room of its own.
    const there = new Set<string>();
    for (const { topic } of others) await another!.subscribe(topic, (message) => void there.add(message.topic));
    for (const publisher of others) {
      await publisher.matched();
      await publisher.send("y");
    }
    await eventually(
      () => there.size,
      (count) => count === BEYOND,
    );
    // Room comes with the topics that go.
    await Promise.all(reached.slice(0, BEYOND).map((publisher) => publisher.close()));
    await eventually(
      () => others.every(({ topic }) => all.topics.includes(topic)),
      (both) => both,
      30_000,
    );
    expect(problems).toHaveLength(BEYOND);
  });
});

describe("a Lunar whose session ends", () => {
  it("by eviction tells so as a problem; closed by the application it tells of none", async () => {
    await using bed = new ClientBed();
    const problems: InsaneError[] = [];
    const lunars = await Promise.all(
      ["closed", "evicted"].map(async (name) => {
        const lunar = await openLunar(await bed.session(name));
        lunar.on("problem", (error) => void problems.push(error));
        return lunar;
      }),
    );
    await lunars[0]?.session.close();
    bed.runtime.sessions.get(lunars[1]!.session.id)?.evict("it lied");
    await eventually(
      () => problems.length,
      (count) => count > 0,
    );
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ code: "ECLOSED", message: expect.stringMatching(/evicted.*it lied/) });
    await expect(lunars[1]?.publish("t", "x")).rejects.toMatchObject({ code: "ECLOSED" });
  });
});
