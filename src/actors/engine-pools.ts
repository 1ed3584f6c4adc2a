// Memory that an engine writes and some applications read, made for its first link and gone with its last one: the pools of
// copies for foreign trust domains (who belongs to which is src/runtime/trust.ts), and the slots in which the large messages
// of a stream are put together.
import type { DomainPool } from "../effects/domain-pool.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { SubScope } from "./life.ts";
import type { PoolShare } from "./link-end.ts";

/** Whose pool it is: `key` tells one from the other, `label` is for messages. */
export interface PoolOwner {
  readonly key: string;
  readonly label: string;
  /** The strangers it is for, where there are limits to what they may have together. */
  readonly group?: string;
}

export interface EnginePoolsPorts<O extends PoolOwner> {
  /** How many there can be at once, and what they are: "64 trust domains receive from this engine". */
  readonly most: number;
  /** How many of one group; left out, as many as there can be. */
  readonly mostOfGroup?: number;
  readonly noun: string;
  scope(): SubScope;
  make(scope: SubScope, id: number, owner: O): Promise<DomainPool>;
}

interface Known {
  readonly id: number;
  readonly scope: SubScope;
  readonly pool: Promise<DomainPool>;
  readonly links: Set<number>;
  readonly group: string | undefined;
}

export class EnginePools<O extends PoolOwner> {
  readonly #ports: EnginePoolsPorts<O>;
  readonly #known = new Map<string, Known>();
  #nextId = 1;

  constructor(ports: EnginePoolsPorts<O>) {
    this.#ports = ports;
  }

  /** What applications may map of it, until the link has left. */
  async share(owner: O, link: number): Promise<PoolShare> {
    const known = this.#known.get(owner.key) ?? this.#make(owner);
    known.links.add(link);
    try {
      const { info, segment } = await known.pool;
      return { infos: [info], fds: [segment.fd] };
    } catch (cause) {
      this.leave(link);
      throw cause;
    }
  }

  /** Its number on the engine. */
  idOf({ key, label }: O): number {
    const known = this.#known.get(key);
    if (!known) throw new InsaneError("ECLOSED", `There is no pool for ${label} any more.`);
    return known.id;
  }

  /** Whether the link has one of them. */
  has(link: number): boolean {
    return [...this.#known.values()].some(({ links }) => links.has(link));
  }

  /** To be called when the engine has let go of the link. */
  leave(link: number): void {
    for (const [key, { links, scope }] of this.#known) {
      if (!links.delete(link) || links.size > 0) continue;
      this.#known.delete(key);
      void scope.release();
    }
  }

  /** The engine is over; the scopes end with its life. */
  end(): void {
    this.#known.clear();
  }

  /** Why there can be no pool for it now, or null. */
  refusal(owner: O): InsaneError | null {
    const { most, mostOfGroup = most, noun } = this.#ports;
    const { group } = owner;
    if (this.#known.has(owner.key)) return null;
    const theirs = group === undefined ? 0 : [...this.#known.values()].filter((known) => known.group === group).length;
    if (theirs >= mostOfGroup) {
      const why = `${theirs} ${noun} of ${group} receive from this engine, as many as one user may have; ${owner.label} has to wait.`;
      return new InsaneError("ELIMIT", why);
    }
    if (this.#known.size >= most) {
      const why = `${most} ${noun} receive from this engine, as many as there can be; ${owner.label} has to wait.`;
      return new InsaneError("ELIMIT", why);
    }
    return null;
  }

  #make(owner: O): Known {
    const refusal = this.refusal(owner);
    if (refusal) throw refusal;
    const { group } = owner;
    const id = this.#nextId++;
    const scope = this.#ports.scope();
    const pool = this.#ports.make(scope, id, owner);
    pool.catch(() => {}); // whoever waits for it is told
    const known = { id, scope, pool, links: new Set<number>(), group };
    this.#known.set(owner.key, known);
    return known;
  }
}
