// The inline lease of an embedded runtime: one session's thread runs the turns of those engines that have a link to it,
// and of no others, because a turn of an engine with nothing to do is not free. Engines without its links serve themselves.
import type { EngineResource } from "../effects/engine.ts";
import type { LinkActor } from "./link.ts";
import type { Serving } from "./serving.ts";

type Inline = EngineResource["inline"];

export class InlineLease {
  readonly #servings: () => Iterable<Serving>;
  #session: number | null = null;
  #leased: ReadonlyArray<{ readonly serving: Serving; readonly turns: Inline }> = [];

  constructor(servings: () => Iterable<Serving>) {
    this.#servings = servings;
  }

  get taken(): boolean {
    return this.#session !== null;
  }

  /** The session of this thread begins (its number) or ends (null) to poll. */
  give(session: number | null, links: Iterable<LinkActor>): void {
    this.#session = session;
    this.follow(links);
  }

  /** Links or engines have changed. */
  follow(links: Iterable<LinkActor>): void {
    const used = new Set<string>();
    for (const { spec } of this.#session === null ? [] : links) {
      if (spec.technology === null) continue;
      if (spec.producer.session === this.#session || spec.consumer.session === this.#session) used.add(spec.technology);
    }
    const before = this.#leased;
    const leased: Array<(typeof before)[number]> = [];
    for (const serving of this.#servings()) {
      const turns = serving.engine?.resource?.inline;
      if (turns && serving.engine?.mode === "inline" && used.has(serving.technology)) leased.push({ serving, turns });
    }
    this.#leased = leased;
    this.poll = leased.length === 1 ? leased[0]!.turns.poll : (budget) => this.#pollEach(budget);
    for (const { serving, turns } of before) {
      if (leased.some((now) => now.turns === turns)) continue;
      turns.release();
      serving.engine?.lease(false);
    }
    for (const { serving, turns } of leased) {
      if (!before.some((then) => then.turns === turns)) serving.engine?.lease(true);
    }
  }

  /** Up to `looks` turns of the only engine, or one turn of each. Another function whenever what is leased changes. */
  poll: Inline["poll"] = () => {};

  #pollEach(receiveBudget: number): void {
    for (const { turns } of this.#leased) turns.poll(receiveBudget, 1);
  }

  release(): void {
    for (const { turns } of this.#leased) turns.release();
  }
}
