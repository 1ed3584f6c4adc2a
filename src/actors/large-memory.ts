// The memory in which an engine puts messages together that came in fragments: made for the first link that needs it, charged
// to each session that receives into it, gone with the last link. A link for which there is none goes without, and gets it as
// soon as others have left some.
import { assemblyPool, assemblyRecord } from "../effects/domain-pool.ts";
import type { EngineResource } from "../effects/engine.ts";
import { InsaneError, WARNING_CODES } from "../protocol/codes.ts";
import { POOL } from "../protocol/layout.ts";
import { WIRE } from "../protocol/wire.ts";
import { EnginePools, type PoolOwner } from "./engine-pools.ts";
import type { SubScope } from "./life.ts";
import type { LinkEnd, PoolShare } from "./link-end.ts";

/** Pools that an engine can have at once. */
const ASSEMBLIES = 256;
/** Of one foreign trust domain, so that no user keeps all others out. */
const ASSEMBLIES_OF_DOMAIN = 64;

/** Codes that are no warning's are told as news. */
const WELL_AGAIN = "LARGE_MEMORY";

/** What one pool is for: the large messages of a stream, or of all usual ones, for one trust domain. */
interface LargeMessages extends PoolOwner {
  readonly maxMessage: number;
}

export interface LargeMemoryPorts {
  readonly label: string;
  /** For one pool, bytes. */
  readonly bytes: number;
  engine(): EngineResource;
  scope(): SubScope;
  /** The engine receives what an open link is sent in fragments into that pool from now on. */
  assign(link: number, pool: number): Promise<unknown>;
  warn(code: string, message: string): void;
}

/** Who pays for which pool, and for which of its links. */
interface Charge {
  readonly key: string;
  readonly to: LinkEnd;
  readonly bytes: number;
  readonly links: Set<number>;
}

interface Wanting {
  readonly owner: LargeMessages;
  readonly to: LinkEnd;
  readonly unwatch: () => void;
  open: boolean;
  busy: boolean;
}

export class LargeMemory {
  readonly #ports: LargeMemoryPorts;
  readonly #pools: EnginePools<LargeMessages>;
  readonly #charges = new Set<Charge>();
  /** Links that ask, until they have left. */
  readonly #asking = new Set<number>();
  /** Links without, that should have some. */
  readonly #wanting = new Map<number, Wanting>();

  constructor(ports: LargeMemoryPorts) {
    this.#ports = ports;
    this.#pools = new EnginePools({
      most: ASSEMBLIES,
      mostOfGroup: ASSEMBLIES_OF_DOMAIN,
      noun: "streams with large messages",
      scope: ports.scope,
      make: (scope, id, { label, maxMessage }) => {
        const info = assemblyRecord(maxMessage, ports.bytes);
        return scope.acquireAsync(assemblyPool(ports.engine(), info, { id, label }));
      },
    });
  }

  /** What a link's consumer may map of it; null: its messages are never cut. Without memory nothing, which is told. */
  share(stream: string, to: LinkEnd, link: number): Promise<PoolShare> | null {
    const owner = largeMessages(stream, to);
    return owner === null ? null : this.#shareOrTell(owner, to, link);
  }

  /** The engine has the link: what it receives into, if it has some. */
  async opened(stream: string, to: LinkEnd, link: number): Promise<void> {
    const owner = largeMessages(stream, to);
    if (owner !== null && this.#pools.has(link)) await this.#ports.assign(link, this.#pools.idOf(owner));
    const wanting = this.#wanting.get(link);
    if (wanting) wanting.open = true;
    this.#supply();
  }

  /** To be called when the engine has let go of the link. */
  leave(link: number): void {
    this.#asking.delete(link);
    this.#wanting.get(link)?.unwatch();
    this.#wanting.delete(link);
    this.#drop(link);
    this.#supply();
  }

  /** The engine is over. */
  end(): void {
    for (const { unwatch } of this.#wanting.values()) unwatch();
    this.#wanting.clear();
    this.#asking.clear();
    this.#pools.end();
  }

  async #shareOrTell(owner: LargeMessages, to: LinkEnd, link: number): Promise<PoolShare> {
    this.#asking.add(link);
    try {
      const share = await this.#take(owner, to, link);
      // It may have left meanwhile, and leaves once.
      if (!this.#asking.has(link)) this.#drop(link);
      return share;
    } catch (cause) {
      if (!(cause instanceof InsaneError) || (cause.code !== "ELIMIT" && cause.code !== "ESYSTEM")) throw cause;
      if (!this.#asking.has(link)) return { infos: [], fds: [] };
      const unwatch = to.onRoom?.(() => this.#supply()) ?? (() => {});
      this.#wanting.set(link, { owner, to, unwatch, open: false, busy: false });
      const what = `${this.#ports.label} has no memory for the large messages of ${owner.label}: messages that no datagram holds are lost on link ${link} until there is some.`;
      this.#ports.warn(WARNING_CODES.NO_LARGE_MEMORY, `${what} ${cause.message}`);
      return { infos: [], fds: [] };
    }
  }

  async #take(owner: LargeMessages, to: LinkEnd, link: number): Promise<PoolShare> {
    const refusal = this.#pools.refusal(owner);
    if (refusal) throw refusal;
    this.#charge(owner, to, link);
    try {
      return await this.#pools.share(owner, link);
    } catch (cause) {
      this.#drop(link);
      throw cause;
    }
  }

  /** Throws ELIMIT. A session pays once for a pool, for whichever of its links. */
  #charge({ key, label, maxMessage }: LargeMessages, to: LinkEnd, link: number): void {
    let charge = [...this.#charges].find((known) => known.key === key && known.to === to);
    if (!charge) {
      const { bytes } = assemblyRecord(maxMessage, this.#ports.bytes);
      to.reserve?.(bytes, `Memory for the large messages of ${label}`);
      charge = { key, to, bytes, links: new Set() };
      this.#charges.add(charge);
    }
    charge.links.add(link);
  }

  #drop(link: number): void {
    this.#pools.leave(link);
    for (const charge of [...this.#charges]) {
      if (!charge.links.delete(link) || charge.links.size > 0) continue;
      this.#charges.delete(charge);
      charge.to.unreserve?.(charge.bytes);
    }
  }

  #supply(): void {
    for (const [link, wanting] of [...this.#wanting]) if (wanting.open && !wanting.busy) void this.#give(link, wanting);
  }

  /** The consumer maps it before anything can be in it. */
  async #give(link: number, wanting: Wanting): Promise<void> {
    const { owner, to } = wanting;
    wanting.busy = true;
    let share: PoolShare;
    try {
      share = await this.#take(owner, to, link);
    } catch (cause) {
      wanting.busy = false;
      // The next room that others leave is no reason to ask a system again that has none.
      if (!(cause instanceof InsaneError) || cause.code !== "ELIMIT") this.#settle(link, wanting);
      return;
    }
    try {
      // It may have been closed meanwhile.
      if (this.#wanting.get(link) !== wanting) throw new InsaneError("ECLOSED", `Link ${link} is over.`);
      await to.addPools?.(link, share);
    } catch {
      this.#settle(link, wanting);
      this.#drop(link);
      return;
    }
    this.#settle(link, wanting);
    if (!this.#pools.has(link)) return;
    try {
      await this.#ports.assign(link, this.#pools.idOf(owner));
      const what = `${this.#ports.label} has memory for the large messages of ${owner.label} again: link ${link} receives them.`;
      this.#ports.warn(WELL_AGAIN, what);
    } catch {
      // The engine has the link no more, which is about to leave.
    }
  }

  #settle(link: number, wanting: Wanting): void {
    wanting.unwatch();
    if (this.#wanting.get(link) === wanting) this.#wanting.delete(link);
  }
}

/**
 * What a session may receive in fragments on a stream; null: nothing. One pool for all of a trust domain: of each stream whose
 * messages are larger than usual, and one of all others together, as their datagrams have one.
 */
function largeMessages(stream: string, to: LinkEnd): LargeMessages | null {
  const most = to.maxMessage?.(stream) ?? 0;
  if (most <= WIRE.ALWAYS_WHOLE) return null;
  const { key = "", label = "" } = to.domain ?? {};
  const whose = label === "" ? "" : ` for ${label}`;
  const own = most > POOL.DEFAULT_MAX_MESSAGE;
  const maxMessage = own ? most : POOL.DEFAULT_MAX_MESSAGE;
  const what = own ? `stream ${stream}` : "all streams of the usual size";
  const owner = { key: JSON.stringify([maxMessage, key, own ? stream : null]), label: `${what}${whose}`, maxMessage };
  return label === "" ? owner : { ...owner, group: label };
}
