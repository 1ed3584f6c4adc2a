// Lunar MoM on one host and across two runtimes on loopback: topics, wildcards, quality, last values, bad input.
import { describe, expect, it } from "vitest";
import { openLunar } from "../../src/apps/lunar-mom/lunar.ts";
import type { InsaneError } from "../../src/index.ts";
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
