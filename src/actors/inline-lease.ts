// The inline lease of an embedded runtime: one session's thread runs the turns of those engines that have a link to it,
// and of no others, because a turn of an engine with nothing to do is not free. Engines without its links serve themselves.
import type { EngineResource } from "../effects/engine.ts";
import type { LinkActor } from "./link.ts";
import type { Serving } from "./serving.ts";

type Inline = EngineResource["inline"];

export class InlineLease {
  readonly #servings: () => Iterable<Serving>;
  #session: number | null = null;
  #reserved = false;
  #leased: ReadonlyArray<{ readonly serving: Serving; readonly inline: Inline }> = [];

  constructor(servings: () => Iterable<Serving>) {
    this.#servings = servings;
  }

  get taken(): boolean {
    return this.#session !== null;
  }

  /** For a session that is about to open, which `give`s itself the lease or gives it back (null). False: another one has it. */
  reserve(): boolean {
    if (this.#reserved) return false;
    this.#reserved = true;
    return true;
  }

  /** The session of this thread begins (its number) or ends (null) to poll. */
  give(session: number | null, links: Iterable<LinkActor>): void {
    this.#session = session;
    this.#reserved = session !== null;
    this.follow(links);
  }

  /** Links or engines have changed. */
  follow(links: Iterable<LinkActor>): void {
    const used = new Set<string>();
    for (const { spec } of this.#session === null ? [] : links) {
      if (spec.lane === null) continue;
      if (spec.producer.session === this.#session || spec.consumer.session === this.#session) used.add(spec.lane);
    }
    const before = this.#leased;
    const leased: Array<(typeof before)[number]> = [];
    for (const serving of this.#servings()) {
      const inline = serving.engine?.resource?.inline;
      if (inline && serving.engine?.mode === "inline" && used.has(serving.lane)) leased.push({ serving, inline });
    }
    this.#leased = leased;
    this.turns = leased.length === 1 ? leased[0]!.inline.turns : this.#all;
    for (const { serving, inline } of before) {
      if (leased.some((now) => now.inline === inline)) continue;
      inline.release();
      serving.engine?.lease(false);
    }
    for (const { serving, inline } of leased) {
      if (!before.some((then) => then.inline === inline)) serving.engine?.lease(true);
    }
  }

  /** Of each engine. Who waits at one of several must not linger there. */
  readonly #all: Inline["turns"] = {
    send: () => this.#each((turns) => turns.send()),
    turn: () => this.#each((turns) => turns.turn()),
    linger: () => this.#each((turns) => turns.turn()),
  };
  /** Of the only engine, or of all. Another object whenever what is leased changes. */
  turns: Inline["turns"] = this.#all;

  #each(run: (turns: Inline["turns"]) => void): void {
    for (const { inline } of this.#leased) run(inline.turns);
  }

  release(): void {
    for (const { inline } of this.#leased) inline.release();
  }
}
