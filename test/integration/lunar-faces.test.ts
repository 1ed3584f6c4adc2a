// The other faces of Lunar MoM: questions and answers, typed topics, an emitter of events, Effect.
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import * as LunarEffect from "../../src/apps/lunar-mom/effect.ts";
import { LunarEmitter } from "../../src/apps/lunar-mom/events.ts";
import { Requester, respond } from "../../src/apps/lunar-mom/request.ts";
import { defineTopic, type InvalidMessage } from "../../src/apps/lunar-mom/typed.ts";
import { hosts } from "./lunar/hosts.ts";
import { eventually } from "./runtime/processes.ts";

describe("questions", { timeout: 60_000 }, () => {
  it("are answered across hosts, over a network that loses, each once", async () => {
    await using on = await hosts({}, "loss=0.2,seed=3");
    let heard = 0;
    await using service = await respond(on.b, "math/square", async (question) => {
      heard++;
      if (question.text() === "x") throw new Error("not a number");
      return String(Number(question.text()) ** 2);
    });
    await using asks = await Requester.open(on.a, "math/square");
    await using others = await Requester.open(on.a2, "math/square");
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? asks : others).request(String(i), { timeoutMs: 20_000 })),
    );
    expect(answers.map((bytes) => Buffer.from(bytes).toString())).toEqual(answers.map((_, i) => String(i * i)));
    expect(heard).toBe(20);
    await expect(asks.request("x", { timeoutMs: 20_000 })).rejects.toMatchObject({ code: "EINTERNAL" });
    await service.close();
  });

  it("that nobody answers say so", async () => {
    await using on = await hosts();
    await using asks = await Requester.open(on.a, "nobody");
    await expect(asks.request("?", { timeoutMs: 50 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      message: expect.stringMatching(/Nobody is there/),
    });
  });
});

describe("a typed topic", () => {
  it("carries values that fit, by patterns too, and refuses others at both ends", async () => {
    await using on = await hosts();
    const schema = Schema.toStandardSchemaV1(Schema.Struct({ celsius: Schema.Finite, at: Schema.DateFromString }));
    const topic = defineTopic({ topic: "sensor/1", schema, delivery: "at-least-once" });
    const got: unknown[] = [];
    const invalid: InvalidMessage[] = [];
    await defineTopic({ topic: "sensor/+", schema }).subscribe(
      on.b,
      (value, { topic: name }) => got.push([name, value]),
      {
        invalid: (what) => void invalid.push(what),
      },
    );
    await using sensor = await topic.publisher(on.a);
    await sensor.publisher.matched();
    sensor.publish({ celsius: 21, at: "2026-01-02T00:00:00.000Z" });
    expect(() => sensor.publish({ celsius: "warm" as never, at: "" })).toThrow(
      expect.objectContaining({ code: "EVALUE", details: { topic: "sensor/1", path: "/celsius" } }),
    );
    await sensor.publisher.send("no value");
    await eventually(
      () => [got.length, invalid.length],
      ([x, y]) => x === 1 && y === 1,
    );
    expect(got).toEqual([["sensor/1", { celsius: 21, at: new Date("2026-01-02") }]]);
    expect(invalid[0]).toMatchObject({ topic: "sensor/1" });
  });
});

describe("an emitter", () => {
  it("has topics for events", async () => {
    await using on = await hosts();
    const events = new LunarEmitter(on.b);
    const got: string[] = [];
    const errors: Error[] = [];
    events.onError((error) => void errors.push(error));
    const listener = (message: { text(): string }, topic: string): void => void got.push(`${topic} ${message.text()}`);
    events.on("a/#", listener).on("", listener);
    events.once("a/b", (message) => void got.push(`once ${message.text()}`));
    await events.ready();
    const sender = new LunarEmitter(on.b);
    sender.emit("a/b", "1").emit("a/b", "2");
    await eventually(
      () => got.length,
      (count) => count >= 2,
    );
    expect(errors).toMatchObject([{ code: "EVALUE" }]);
    expect(got.filter((text) => text.startsWith("once")).length).toBeLessThan(2);
    await events.removeAll();
  });
});

describe("Effect", () => {
  it("has topics as streams, which end their subscriptions", async () => {
    await using on = await hosts();
    const texts = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const here = yield* LunarEffect.lunar(on.a.session);
          const to = yield* LunarEffect.publisher(here, "t", { last: true });
          for (const text of ["1", "2"]) yield* LunarEffect.send(to, text);
          const messages = LunarEffect.subscribe(on.b, "t", { last: true });
          const first = yield* messages.pipe(
            Stream.map((message) => message.text()),
            Stream.take(1),
            Stream.runCollect,
          );
          return [...first];
        }),
      ),
    );
    expect(texts).toEqual(["2"]);
    const bad = await Effect.runPromise(Effect.flip(Stream.runCollect(LunarEffect.subscribe(on.b, "a//b"))));
    expect(bad).toMatchObject({ code: "EVALUE" });
    await eventually(
      async () => (await on.b.topics("t")).length,
      (count) => count === 0,
    );
  });
});
