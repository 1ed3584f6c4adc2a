// At-least-once and last values of Lunar MoM over a network that loses, doubles and reorders, and across deaths.
import { describe, expect, it } from "vitest";
import { hosts } from "./lunar/hosts.ts";
import { eventually } from "./runtime/processes.ts";

const PATIENCE_MS = 30_000;
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

describe("at-least-once", { timeout: 120_000 }, () => {
  it("delivers every message, in order and once, over a network that loses one in five", async () => {
    await using on = await hosts({}, "loss=0.2,duplicate=0.05,reorder=0.05,seed=5");
    const got: string[] = [];
    const beside: string[] = [];
    await using publisher = await on.a.publisher("orders", { delivery: "at-least-once", window: 64 });
    await using subscription = await on.b.subscribe("orders", (message) => void got.push(message.text()));
    await on.a2.subscribe("orders", (message) => void beside.push(message.text()));
    await publisher.matched(2);
    for (const text of numbers(1000)) await publisher.send(text);
    await publisher.settled({ signal: AbortSignal.timeout(PATIENCE_MS) });
    expect(got).toEqual(numbers(1000));
    expect(beside).toEqual(numbers(1000));
    expect(subscription.stats).toMatchObject({ received: 1000, lost: 0 });
  });

  it("holds its publisher up when nobody acknowledges, and gives up who is gone", async () => {
    await using on = await hosts();
    const problems: string[] = [];
    on.a.on("problem", ({ code }) => void problems.push(code));
    await using publisher = await on.a.publisher("t", { delivery: "at-least-once", window: 8, patienceMs: 300 });
    await on.b.subscribe("t", () => {});
    await publisher.matched(1);
    await on.b.session.close();
    await eventually(
      () => publisher.source.consumers,
      (count) => count === 0,
    );
    for (const text of numbers(20)) await publisher.send(text);
    expect(problems).toContain("ETIMEDOUT");
  });
});

describe("the last value", { timeout: 60_000 }, () => {
  it("comes to who subscribes later and asks for it, over a network that loses", async () => {
    await using on = await hosts({}, "loss=0.3,seed=9");
    await using publisher = await on.a.publisher("state/door", { last: true });
    await publisher.send("shut");
    await publisher.send("open");
    const got: string[] = [];
    const later: string[] = [];
    await on.b.subscribe("state/#", { last: true }, (message) => void got.push(message.text()));
    await on.b.subscribe("state/door", (message) => void later.push(message.text()));
    await eventually(
      () => got.length,
      (count) => count > 0,
      PATIENCE_MS,
    );
    expect(got[0]).toBe("open");
    expect(later).toEqual([]);
  });
});
