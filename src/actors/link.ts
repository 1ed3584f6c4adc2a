// A link made live: its memory, the two ends that are told of it, the tables both must agree on, and its orderly end.
// The order is what matters here: the consumer knows before the producer may push, and both are done before memory goes.
import type { LinkEvent } from "../../models/link.ts";
import { linkMachine } from "../../models/link.ts";
import { type LinkMemory, linkMemory } from "../effects/link-memory.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { Lane } from "../protocol/lanes.ts";
import { streamTag } from "../protocol/qos.ts";
import { type LinkTables, type SourceEntry, sameTables, unionTables } from "../runtime/plan.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import type { EndRole, LinkEnd, LinkOffer } from "./link-end.ts";

/** How long messages under way may take to come home before they are abandoned, ms. */
export const DRAIN_MS = 1000;
/** How long an end may take to say that it has abandoned, ms; then the link ends without its word. */
const ABANDON_MS = 500;
/** Its teardown keeps its own deadlines; the machine's is the last resort. */
const PATIENCE = { teardownMs: 2 * DRAIN_MS + 2 * ABANDON_MS + 2000 };
/** A stream that moves has messages on its new link as soon as its application knows of it: that is given up late, ms. */
const MOVE_OPEN_MS = 6000;

export interface LinkSpec {
  readonly id: number;
  readonly key: string;
  readonly kind: "direct" | "egress" | "ingress";
  readonly stream: string;
  /** Whose engine is the other end; null for direct links. */
  readonly lane: Lane | null;
  readonly entries: number;
  readonly producer: LinkEnd;
  readonly consumer: LinkEnd;
  readonly tables: LinkTables;
  /** A stream moves to it. An engine takes nothing from it until it is let go. */
  readonly held: boolean;
  /** The link that it takes over from, by its number, at the moment when the producer is told; or null. */
  replaces(): number | null;
}

export interface LinkHooks {
  /** That end broke the contract of the shared memory. */
  accuse(end: LinkEnd, code: string, message: string): void;
  ended(link: LinkActor): void;
}

const NO_TABLES: LinkTables = { channels: [], sources: [] };

export class LinkActor {
  readonly spec: LinkSpec;
  /** Of its stream, as it travels on the wire. */
  readonly tag: number;
  readonly life: Life<typeof linkMachine>;
  /** Entries that were reclaimed and not returned. */
  abandoned = 0;
  readonly #world: World;
  #memory: LinkMemory | null = null;
  #target: LinkTables;
  /** Counts targets; `#known` is the one that the producer has acknowledged last. */
  #version = 1;
  #known = 0;
  readonly #told: Record<EndRole, LinkTables | null> = { producer: null, consumer: null };
  /** Sources that were told that it carries them. */
  #readyFor: ReadonlySet<number> = new Set();
  #syncing = false;
  #open = false;
  readonly #waiting = new Set<() => void>();
  readonly #offers: Partial<Record<EndRole, LinkOffer>> = {};
  readonly #unwatch: Array<() => void> = [];
  readonly #dead: Record<EndRole, boolean> = { producer: false, consumer: false };

  constructor(world: World, spec: LinkSpec, hooks: LinkHooks) {
    this.#world = world;
    this.spec = spec;
    this.tag = streamTag(spec.stream);
    this.#target = spec.tables;
    this.life = new Life(world, `link ${spec.id}`);
    const machine = linkMachine.provide({
      actions: {
        ...this.life.actions,
        allocate: () => this.#allocate(),
        offer: () => void this.#offer(),
        publishOpen: () => this.#opened(),
        accuse: (_, { end, notice }) => hooks.accuse(spec[end], notice.code, notice.message),
        // In a turn of its own: until an action is over the machine still shows the state before.
        closeEnds: () => this.life.soon(() => this.#closeEnds()),
      },
    });
    // Each by itself: whatever goes wrong with one, the others hear of the end.
    for (const role of ["producer", "consumer"] as const) this.life.onEnd(() => this.#forget(role));
    this.life.onEnd(() => {
      this.#memory = null;
      this.#wake();
    });
    this.life.onEnd(() => hooks.ended(this));
    for (const role of ["producer", "consumer"] as const) {
      this.#unwatch.push(
        spec[role].onGone(() => {
          this.#dead[role] = true;
          this.#send({ type: "died", end: role });
        }),
      );
    }
    const sessions = [...new Set([spec.producer.session, spec.consumer.session])].filter((id) => id > 0);
    const { label: producer } = spec.producer;
    const { label: consumer } = spec.consumer;
    const patience = spec.held ? { ...PATIENCE, openMs: MOVE_OPEN_MS } : PATIENCE;
    const input = { name: this.life.name, producer, consumer, credits: spec.entries, patience };
    this.#start = () => void this.life.start(machine, "link", input, sessions);
  }

  #start = (): void => {};

  /** To be called once the broker knows of it. */
  start(): void {
    this.#start();
  }

  /** The tables it should have. */
  get tables(): LinkTables {
    return this.#target;
  }

  /** What its producer knows. */
  get confirmedTables(): LinkTables {
    return this.#told.producer ?? NO_TABLES;
  }

  /** Descriptors pushed and not returned, sampled from outside; 0 before it opens and when an end is dead. */
  get outstanding(): number {
    return this.#memory?.outstanding() ?? 0;
  }

  /** How far its producer has got. */
  get mark(): number {
    return this.#memory?.forwardTail() ?? 0;
  }

  /** All up to that mark is home, and no end knows of a source by this index; or the link is over. */
  isRidOf(index: number, mark: number): boolean {
    if (this.life.outcome !== null) return true;
    const known = [this.#told.producer, this.#told.consumer, this.#target].some((tables) =>
      tables?.sources.some((source) => source.index === index),
    );
    return !known && this.#memory?.returnedUpTo(mark) === true;
  }

  get state(): string {
    return this.life.outcome?.how ?? stateText(this.life.actor.getSnapshot().value);
  }

  /** Sources that both ends know and that were not told so before; or, when it is ready no more, all. */
  sourcesToTell(ready: boolean): ReadonlyArray<SourceEntry> {
    const { sources } = ready ? this.confirmedTables : this.#target;
    const before = this.#readyFor;
    this.#readyFor = new Set(ready ? sources.map(({ source }) => source) : []);
    return ready ? sources.filter(({ source }) => !before.has(source)) : sources;
  }

  /** Changes the tables, in the order that lets nothing be misread: consumer, producer, and what is gone last. */
  setTables(tables: LinkTables): void {
    this.#target = tables;
    this.#version++;
    void this.#sync();
  }

  /** Resolves when both ends know the tables of this moment (true), or the link has begun to end (false). */
  confirmed(): Promise<boolean> {
    const version = this.#version;
    return new Promise((resolve) => {
      const look = (): void => {
        const ends = this.#closing;
        if (!ends && !(this.#open && this.#known >= version)) return;
        this.#waiting.delete(look);
        resolve(!ends);
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Resolves when its last entry is home or the link has ended, whichever comes first. */
  close(reason: string): void {
    this.#reason = reason;
    this.#send({ type: "close" });
    this.#wake();
  }

  /** That end broke the contract. */
  violation(role: EndRole, what: string): void {
    this.#send({ type: "violation", end: role, notice: { code: "W_EVICTED", message: what } });
  }

  #reason = "no longer needed";

  get #closing(): boolean {
    const snapshot = this.life.actor.getSnapshot();
    return snapshot.status !== "active" || snapshot.matches("closing");
  }

  #send(event: LinkEvent): void {
    this.life.send(event);
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look();
  }

  #allocate(): void {
    try {
      this.#memory = this.life.acquire(linkMemory(this.life.name, this.spec.entries));
    } catch (cause) {
      this.#send({ type: "failed", notice: notice(cause) });
      return;
    }
    this.#send({ type: "allocated" });
  }

  #offerTo(role: EndRole, tables: LinkTables): LinkOffer {
    const memory = this.#memory;
    if (!memory) throw new InsaneError("EINTERNAL", `${this.life.name} has no memory`);
    const { id, kind, stream, held } = this.spec;
    const replaces = role === "producer" ? this.spec.replaces() : null;
    const peer = this.spec[role === "producer" ? "consumer" : "producer"];
    const bell = memory.bells[role];
    const acquire: LinkOffer["acquire"] = (effect) => this.life.acquire(effect);
    const { tag } = this;
    const offer: LinkOffer = { link: id, role, kind, stream, tag, memory, bell, peer, tables, held, replaces, acquire };
    this.#offers[role] = offer;
    return offer;
  }

  async #offer(): Promise<void> {
    // The same for both: what becomes of the target meanwhile follows in order, once it is open. A producer that were told
    // more than its consumer would push what that takes for a lie.
    const tables = this.#target;
    const version = this.#version;
    for (const role of ["consumer", "producer"] as const) {
      if (this.#closing) return;
      try {
        await this.spec[role].open(this.#offerTo(role, tables));
      } catch (cause) {
        this.#send({ type: "refused", end: role, notice: notice(cause) });
        return;
      }
      this.#told[role] = tables;
      if (role === "producer") this.#known = version;
      this.#send({ type: "accepted", end: role });
    }
  }

  #opened(): void {
    this.#open = true;
    this.#wake();
    void this.#sync();
  }

  /** One at a time; begins anew while the target moves. */
  async #sync(): Promise<void> {
    if (this.#syncing || !this.#open) return;
    this.#syncing = true;
    try {
      while (!this.#closing) {
        const want = this.#target;
        const version = this.#version;
        const consumer = this.#told.consumer ?? NO_TABLES;
        const producer = this.#told.producer ?? NO_TABLES;
        const union = unionTables(consumer, want);
        if (!sameTables(union, consumer)) {
          await this.#tell("consumer", consumer, union);
          continue;
        }
        if (!sameTables(producer, want)) await this.#tell("producer", producer, want);
        this.#known = Math.max(this.#known, version);
        this.#wake();
        if (this.#target !== want) continue;
        if (!sameTables(consumer, want)) {
          // What was pushed under the old tables must still be understood until it is home.
          if (await this.#homeBefore(want)) await this.#tell("consumer", consumer, want);
        } else break;
      }
    } catch (cause) {
      // An end that cannot follow is not left with half a truth.
      if (!this.#closing) this.#send({ type: "failed", notice: notice(cause) });
    } finally {
      this.#syncing = false;
    }
  }

  async #tell(role: EndRole, before: LinkTables, tables: LinkTables): Promise<void> {
    const offer = this.#offers[role];
    if (!offer) return;
    await this.spec[role].update(offer, before, tables);
    this.#told[role] = tables;
  }

  /** Waits until what is published now is home, at most the time of a drain. False when the target moved meanwhile. */
  async #homeBefore(want: LinkTables): Promise<boolean> {
    const memory = this.#memory;
    const mark = memory?.forwardTail() ?? 0;
    const until = this.#world.clock.now() + DRAIN_MS;
    while (memory && !memory.returnedUpTo(mark) && this.#world.clock.now() < until) {
      await this.#pause(10);
      if (this.#target !== want || this.#closing) return false;
    }
    return this.#target === want && !this.#closing;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#world.clock.after(ms, resolve));
  }

  async #closeEnds(): Promise<void> {
    this.#wake();
    const { producer, consumer } = this.#offers;
    const orderly = this.life.actor.getSnapshot().context.ending?.cause === "requested";
    if (orderly && producer && consumer && !this.#dead.producer && !this.#dead.consumer) {
      const quiet = this.spec.producer.update(producer, this.#told.producer ?? NO_TABLES, NO_TABLES);
      await this.#within(quiet, DRAIN_MS);
      const drained = Promise.all([this.#close("producer", "drain"), this.#close("consumer", "drain")]);
      await this.#within(drained, DRAIN_MS);
    } else if (consumer && !this.#dead.consumer) {
      // Its producer is gone: it may still read what it holds.
      await this.#within(this.#close("consumer", this.#dead.producer ? "drain" : "abandon"), DRAIN_MS);
    }
    // The consumer lets go before the producer may use the slots again.
    await this.#abandon("consumer");
    this.#send({ type: "returned" });
    await this.#abandon("producer");
    this.#send({ type: "reclaimed", abandoned: this.abandoned });
  }

  readonly #closed: Record<EndRole, boolean> = { producer: false, consumer: false };

  async #abandon(role: EndRole): Promise<void> {
    if (this.#closed[role] || this.#dead[role] || !this.#offers[role]) return;
    const closed = this.#close(role, "abandon");
    // An engine keeps its own deadline, and what it does not acknowledge stays mapped: it has to be waited for.
    if (this.spec[role].session === 0) await closed.catch(() => {});
    else await this.#within(closed, ABANDON_MS);
  }

  async #close(role: EndRole, mode: "drain" | "abandon"): Promise<void> {
    const offer = this.#offers[role];
    if (!offer || this.#closed[role]) return;
    const abandoned = await this.spec[role].close(offer, mode, this.#reason);
    this.#closed[role] = true;
    if (role === "producer") this.abandoned = Math.max(this.abandoned, abandoned);
  }

  /** Waits for an end, but not longer than `ms`, and not for what it has to complain of. */
  async #within(work: Promise<unknown>, ms: number): Promise<void> {
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#world.clock.after(ms, resolve);
    });
    await Promise.race([work.catch(() => {}), late]);
    cancel();
  }

  #forget(role: EndRole): void {
    for (const f of this.#unwatch.splice(0)) f();
    // A producer that was never asked may have made its consumer pools.
    const any = this.#offers.producer ?? this.#offers.consumer;
    const offer = this.#offers[role] ?? (any && { ...any, role });
    if (offer) this.spec[role].forget(offer);
  }
}

const notice = (cause: unknown): { code: string; message: string } =>
  cause instanceof InsaneError
    ? { code: cause.code, message: cause.message }
    : { code: "EINTERNAL", message: cause instanceof Error ? cause.message : String(cause) };
