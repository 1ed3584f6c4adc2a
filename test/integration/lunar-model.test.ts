// Lunar MoM against an oracle in memory: whatever publishers and subscribers do, in whatever order, each subscriber gets what was
// published on topics that match while it listened, in order and once; sessions that die take theirs with them.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Lunar, openLunar, type Publisher, type Subscription } from "../../src/apps/lunar-mom/lunar.ts";
import { matches } from "../../src/apps/lunar-mom/topics.ts";
import { hosts, type LunarHosts } from "./lunar/hosts.ts";
import { eventually } from "./runtime/processes.ts";

const topic = fc.constantFrom("a", "a/b", "a/c", "d/b");
const pattern = fc.oneof(topic, fc.constantFrom("a/+", "#", "+/b"));
const on = fc.constantFrom("a", "a2", "b");
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("publish" as const), on, topic }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("subscribe" as const), on, pattern }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unsubscribe" as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash" as const), on }) },
);

const PROBE = "probe";

interface Listener {
  readonly on: string;
  readonly pattern: string;
  readonly subscription: Subscription;
  readonly got: string[];
  /** Publishers that it has heard. */
  readonly probed: Set<string>;
  /** Messages published before it was there: those under way it may get, and need not. */
  readonly since: number;
  /** By topic. */
  readonly due: Map<string, string[]>;
}

/** The sessions of one story, the publishers they have opened, and what the oracle knows. */
class Story {
  readonly listeners: Listener[] = [];
  readonly #hosts: LunarHosts;
  readonly #delivery: "best-effort" | "at-least-once";
  readonly #lunars = new Map<string, Lunar>();
  readonly #publishers = new Map<string, Publisher>();
  readonly #identities = new Map<Publisher, number>();
  #sent = 0;

  constructor(all: LunarHosts, delivery: "best-effort" | "at-least-once") {
    this.#hosts = all;
    this.#delivery = delivery;
  }

  async #lunar(name: string): Promise<Lunar> {
    let lunar = this.#lunars.get(name);
    if (lunar === undefined) {
      const session = await this.#hosts.hosts[name === "b" ? "b" : "a"].connect({ name });
      lunar = await openLunar(session);
      this.#lunars.set(name, lunar);
    }
    return lunar;
  }

  async publish(name: string, to: string): Promise<void> {
    const key = `${name} ${to}`;
    const lunar = await this.#lunar(name);
    const publisher = this.#publishers.get(key) ?? (await lunar.publisher(to, { delivery: this.#delivery }));
    this.#publishers.set(key, publisher);
    const wanted = this.listeners.filter((one) => matches(one.pattern, to));
    // Whoever listens is found; then what is published is due.
    await this.#found(publisher, wanted);
    const text = `${key} ${this.#sent++}`;
    for (const { due } of wanted) due.set(key, [...(due.get(key) ?? []), text]);
    await publisher.send(text);
  }

  /** Until each of them has had a word from it: from then on all is due. */
  async #found(publisher: Publisher, wanted: Listener[]): Promise<void> {
    const word = `${PROBE} ${this.#identity(publisher)}`;
    await eventually(
      async () => {
        const missing = wanted.filter(({ probed }) => !probed.has(word));
        if (missing.length > 0) await publisher.send(word);
        return missing.length;
      },
      (missing) => missing === 0,
    );
  }

  #identity(publisher: Publisher): number {
    const known = this.#identities.get(publisher) ?? this.#identities.size;
    this.#identities.set(publisher, known);
    return known;
  }

  async subscribe(name: string, to: string): Promise<void> {
    const got: string[] = [];
    const probed = new Set<string>();
    const since = this.#sent;
    const subscription = await (await this.#lunar(name)).subscribe(
      to,
      { delivery: this.#delivery, policy: { kind: "block" } },
      (message) => {
        const text = message.text();
        if (text.startsWith(PROBE)) probed.add(text);
        else got.push(text);
      },
    );
    this.listeners.push({ on: name, pattern: to, subscription, got, probed, since, due: new Map() });
  }

  async unsubscribe(which: number): Promise<void> {
    const [gone] = this.listeners.splice(which % Math.max(1, this.listeners.length), 1);
    if (gone === undefined) return;
    await this.#received(gone);
    await gone.subscription.close();
  }

  /** Its session ends without a word from Lunar. */
  async crash(name: string): Promise<void> {
    const lunar = this.#lunars.get(name);
    if (lunar === undefined) return;
    // What it has published has arrived before: a message of the dead is nobody's.
    for (const one of this.listeners) await this.#received(one);
    for (const one of this.listeners.filter((listener) => listener.on === name)) {
      this.listeners.splice(this.listeners.indexOf(one), 1);
    }
    this.#lunars.delete(name);
    for (const key of this.#publishers.keys()) if (key.startsWith(`${name} `)) this.#publishers.delete(key);
    await lunar.session.close();
    await lunar.close();
    if (this.#delivery === "best-effort") {
      const ends = [...this.#publishers.values()];
      await Promise.all(ends.map((publisher) => publisher.settled()));
    }
  }

  async #received({ got: everything, since, due }: Listener): Promise<void> {
    const all = [...due.values()].flat();
    const received = (): string[] => everything.filter((text) => Number(text.split(" ").at(-1)) >= since);
    await eventually(
      () => received().length,
      (count) => count >= all.length,
    );
    const got = received();
    expect(got.toSorted()).toEqual(all.toSorted());
    for (const [key, texts] of due) expect(got.filter((text) => text.startsWith(`${key} `))).toEqual(texts);
  }

  async end(): Promise<void> {
    for (const one of this.listeners) await this.#received(one);
    await Promise.all(
      [...this.#lunars.values()].map(async (lunar) => {
        await lunar.close();
        await lunar.session.close();
      }),
    );
  }
}

describe("any story of publishers and subscribers", { timeout: 120_000 }, () => {
  it.each([
    ["best-effort" as const, "", 15],
    ["at-least-once" as const, "loss=0.1,duplicate=0.05,reorder=0.05,seed=7", 10],
  ])("%s, faults %j", async (delivery, faults, numRuns) => {
    await using all = await hosts({}, faults);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async (steps) => {
        const story = new Story(all, delivery);
        for (const one of steps) {
          if (one.do === "publish") await story.publish(one.on, one.topic);
          else if (one.do === "subscribe") await story.subscribe(one.on, one.pattern);
          else if (one.do === "unsubscribe") await story.unsubscribe(one.which);
          else await story.crash(one.on);
        }
        await story.end();
        // Nothing is left of it: neither names nor links nor slots.
        await eventually(
          async () => [
            (await all.a.topics("#", true)).length,
            ...[all.hosts.a, all.hosts.b].flatMap((host) => [
              host.status().links.length,
              host.status().slots.outstanding,
            ]),
          ],
          (left) => left.every((count) => count === 0),
        );
      }),
      { numRuns, endOnFailure: true },
    );
  });
});
