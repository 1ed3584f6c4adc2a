// An engine as one end of a link: what the link's actor asks becomes commands, each acknowledged. What is not
// acknowledged in time keeps the link's memory aside, because the engine may still touch it.
import type * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { Notice } from "../../models/lifecycle.ts";
import { domainPool } from "../effects/domain-pool.ts";
import type { Command, EngineResource } from "../effects/engine.ts";
import type { Quarantine } from "../effects/quarantine.ts";
import { type Keepable, mapping } from "../effects/segment.ts";
import { InsaneError } from "../protocol/codes.ts";
import { PARKED_PAGE } from "../protocol/layout.ts";
import type { LatencyReport } from "../runtime/api.ts";
import { latencyReport } from "../runtime/latency.ts";
import type { LinkTables } from "../runtime/plan.ts";
import type { TrustDomain } from "../runtime/trust.ts";
import type { Clock } from "./clock.ts";
import { EnginePools } from "./engine-pools.ts";
import { LargeMemory } from "./large-memory.ts";
import type { SubScope } from "./life.ts";
import type { LinkEnd, LinkOffer, PoolShare } from "./link-end.ts";

/** Commands sent before the first acknowledgement is waited for; the engine's queue holds 256. */
const BATCH = 64;
/** An engine's refusal of what concerns a link that it does not have. */
const ENOENT = -2;
/** How often a draining link is looked at, ms. */
const LOOK_MS = 5;
/** Trust domains that an engine can have at once (core/domain.h). */
const DOMAINS = 64;

export interface EngineEndPorts {
  readonly clock: Clock;
  readonly name: string;
  resource(): EngineResource | null;
  /** The datapath that egress links leave over, or null. */
  datapath(): number | null;
  /** How long a drain may take, ms. */
  readonly drainMs: number;
  /** Memory in which the large messages of one stream are put together, bytes. */
  readonly largeBytes: number;
  warn(notice: Notice): void;
  /** A scope within the engine's life. */
  scope(): SubScope;
}

export class EngineEnd implements LinkEnd {
  readonly session = 0;
  readonly domain = null;
  readonly #domains: EnginePools<TrustDomain>;
  readonly #large: LargeMemory;
  readonly #ports: EngineEndPorts;
  readonly #gone = new Set<() => void>();
  readonly #memory = new Map<number, Keepable[]>();
  /** Link -> its latencies in the engine's counters. */
  readonly #histograms = new Map<number, number>();

  constructor(ports: EngineEndPorts) {
    this.#ports = ports;
    const scope = () => ports.scope();
    this.#domains = new EnginePools({
      most: DOMAINS,
      noun: "trust domains",
      scope,
      make: (scope, id, { label }) => scope.acquireAsync(domainPool(this.#engine, { id, label })),
    });
    this.#large = new LargeMemory({
      label: ports.name,
      bytes: ports.largeBytes,
      engine: () => this.#engine,
      scope,
      assign: (link, pool) =>
        this.#order(`large messages on link ${link}`, (api, engine) => api.setAssembly(engine, link, pool)),
      warn: (code, message) => ports.warn({ code, message }),
    });
  }

  get label(): string {
    return this.#ports.name;
  }

  get parkedPage(): number {
    return this.#engine.parkedPage.fd;
  }

  /** The receive pool for whom we trust, a pool of copies for others; and one for large messages where there are any. */
  pools(stream: string, to: LinkEnd, link: number): PoolShare | Promise<PoolShare> {
    const { info, segment } = this.#engine.receivePool;
    const small = to.domain === null ? { infos: [info], fds: [segment.fd] } : this.#domains.share(to.domain, link);
    const large = this.#large.share(stream, to, link);
    if (large === null) return small;
    return (async () => {
      const [a, b] = await Promise.all([small, large]);
      return { infos: [...a.infos, ...b.infos], fds: [...a.fds, ...b.fds] };
    })();
  }

  async open(offer: LinkOffer): Promise<void> {
    const { memory, peer, link, stream, tag, tables } = offer;
    const { mapping: segment } = memory;
    const kept: Keepable[] = [memory];
    this.#memory.set(link, kept);
    const hold = <M extends Keepable>(effect: Effect.Effect<M, InsaneError, Scope.Scope | Quarantine>): M => {
      const held = offer.acquire(effect);
      kept.push(held);
      return held;
    };
    const page = { fd: peer.parkedPage, bytes: PARKED_PAGE.BYTES };
    const parked = hold(mapping(`the parked page of ${peer.label}`, page, false));
    if (offer.role === "producer") {
      await this.#order(`link ${link} into`, (api, engine) =>
        api.addIngress(engine, link, segment, memory.entries, parked, offer.bell),
      );
      const { domain } = peer;
      if (domain !== null) {
        const id = this.#domains.idOf(domain);
        await this.#order(`the trust domain of link ${link}`, (api, engine) => api.setDomain(engine, link, id));
      }
      await this.#large.opened(stream, peer, link);
      await this.#batch(`the channels of link ${link}`, subscriptions(link, tag, NOTHING, tables));
      return;
    }
    const datapath = this.#ports.datapath();
    if (datapath === null) throw new InsaneError("ECLOSED", `${this.label} has no datapath to other hosts now.`);
    await this.#order(`link ${link} from`, (api, engine) =>
      api.addEgress(engine, link, datapath, tag, segment, memory.entries, parked, offer.bell),
    );
    const trafficClass = peer.trafficClass?.(stream) ?? 0;
    if (trafficClass !== 0) await this.reclass(link, trafficClass);
    if (peer.batches?.(stream) === false) await this.rebatch(link, false);
    const given = peer.pools(stream, this, link);
    const { infos, fds } = given instanceof Promise ? await given : given;
    const pools = infos.map((info, i) => {
      const of = { fd: fds[i] ?? -1, bytes: info.bytes };
      return { info, pool: hold(mapping(`pool ${info.pool} of ${peer.label}`, of, false)) };
    });
    await this.#batch(
      `the pools of link ${link}`,
      pools.map(
        ({ info, pool }): Command =>
          (api, engine) =>
            api.addPool(engine, link, info.pool, pool, info.payload),
      ),
    );
    await this.#batch(`the sources of link ${link}`, sources(link, NOTHING, tables));
    if (offer.held) await this.hold(link, true);
  }

  /** Nothing is taken from the link until it is let go. */
  async hold(link: number, held: boolean): Promise<void> {
    await this.#order(`the hold of link ${link}`, (api, engine) => api.holdLink(engine, link, held));
  }

  /** Nothing more is pushed on the link: when it is empty its flows end, and the engine tells of it (`marked`). */
  async retire(link: number, patienceMs: number): Promise<void> {
    await this.#order(`the end of link ${link}`, (api, engine) => api.retireLink(engine, link, patienceMs));
  }

  async reclass(link: number, trafficClass: number): Promise<void> {
    const what = `the traffic class of link ${link}`;
    const histogram = await this.#order(what, (api, engine) => api.setClass(engine, link, trafficClass));
    if (histogram === 0) this.#histograms.delete(link);
    else this.#histograms.set(link, histogram - 1);
  }

  async rebatch(link: number, batching: boolean): Promise<void> {
    const what = `the batching of link ${link}`;
    await this.#order(what, (api, engine) => api.setBatching(engine, link, batching ? 1 : 0));
  }

  latency(link: number): LatencyReport | null {
    const histogram = this.#histograms.get(link);
    return histogram === undefined ? null : latencyReport(this.#ports.resource()?.latencies(histogram) ?? []);
  }

  async update(offer: LinkOffer, before: LinkTables, after: LinkTables): Promise<void> {
    const { link, tag, role } = offer;
    const commands = role === "producer" ? subscriptions(link, tag, before, after) : sources(link, before, after);
    await this.#batch(`the tables of link ${link}`, commands);
  }

  async close(offer: LinkOffer, mode: "drain" | "abandon"): Promise<number> {
    const { link, memory } = offer;
    if (mode === "drain") {
      const until = this.#ports.clock.now() + this.#ports.drainMs - 4 * LOOK_MS;
      while (memory.outstanding() > 0) {
        if (this.#ports.clock.now() > until) {
          throw new InsaneError("ETIMEDOUT", `link ${link} has ${memory.outstanding()} messages under way.`);
        }
        await new Promise<void>((resolve) => void this.#ports.clock.after(LOOK_MS, resolve));
      }
    }
    try {
      const still = await this.#order(`the removal of link ${link}`, (api, engine) => api.removeLink(engine, link));
      this.#memory.delete(link);
      return still;
    } catch (cause) {
      // It never had the link, or has it no more: nothing is touched.
      if (cause instanceof InsaneError && cause.details["errno"] === ENOENT) {
        this.#memory.delete(link);
        return 0;
      }
      // An engine that has been joined touches nothing any more; one that is silent may, unless it is another process: that
      // has mappings of its own, and is killed.
      const over = cause instanceof InsaneError && cause.code === "ECLOSED";
      const apart = typeof this.#ports.resource()?.pid === "number";
      if (!over && !apart) this.#keep(link);
      throw cause;
    }
  }

  forget(offer: LinkOffer): void {
    this.#histograms.delete(offer.link);
    this.#memory.delete(offer.link);
    this.#domains.leave(offer.link);
    this.#large.leave(offer.link);
  }

  onGone(f: () => void): () => void {
    this.#gone.add(f);
    return () => this.#gone.delete(f);
  }

  /** The engine is over. `joined`: nothing of it runs any more; else what its links are made of stays mapped. */
  end(joined: boolean): void {
    this.#domains.end();
    this.#large.end();
    if (!joined) for (const link of [...this.#memory.keys()]) this.#keep(link);
    for (const f of [...this.#gone]) f();
    this.#gone.clear();
  }

  #keep(link: number): void {
    for (const memory of this.#memory.get(link) ?? []) memory.keepAside();
    this.#memory.delete(link);
  }

  get #engine(): EngineResource {
    const resource = this.#ports.resource();
    if (!resource) throw new InsaneError("ECLOSED", `${this.label} does not run.`);
    return resource;
  }

  #order(what: string, send: Command): Promise<number> {
    return this.#engine.command(what, send);
  }

  async #batch(what: string, commands: ReadonlyArray<Command>): Promise<void> {
    for (let i = 0; i < commands.length; i += BATCH) {
      await Promise.all(commands.slice(i, i + BATCH).map((send) => this.#order(what, send)));
    }
  }
}

const NOTHING: LinkTables = { channels: [], sources: [] };

function subscriptions(link: number, tag: number, before: LinkTables, after: LinkTables): Command[] {
  const had = new Set(before.channels.map(({ channel }) => channel));
  const has = new Set(after.channels.map(({ channel }) => channel));
  return [
    ...before.channels
      .filter(({ channel }) => !has.has(channel))
      .map(
        ({ channel }): Command =>
          (api, engine) =>
            api.unsubscribe(engine, link, tag, channel),
      ),
    ...after.channels
      .filter(({ channel }) => !had.has(channel))
      .map(
        ({ channel, index }): Command =>
          (api, engine) =>
            api.subscribe(engine, link, tag, channel, index),
      ),
  ];
}

function sources(link: number, before: LinkTables, after: LinkTables): Command[] {
  const had = new Set(before.sources.map(({ index }) => index));
  const has = new Set(after.sources.map(({ index }) => index));
  const indexOf = new Map(after.channels.map(({ channel, index }) => [channel, index]));
  return [
    ...before.sources
      .filter(({ index }) => !has.has(index))
      .map(
        ({ index }): Command =>
          (api, engine) =>
            api.removeSource(engine, link, index),
      ),
    ...after.sources
      .filter(({ index }) => !had.has(index))
      .map(
        ({ index, source, channel }): Command =>
          (api, engine) =>
            api.addSource(engine, link, index, source, indexOf.get(channel) ?? 0, channel),
      ),
  ];
}
