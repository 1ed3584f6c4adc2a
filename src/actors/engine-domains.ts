// The foreign trust domains that an engine delivers to: a pool of copies for each, made for its first link and gone with
// its last one. Who belongs to which is src/runtime/trust.ts.
import { type DomainPool, domainPool } from "../effects/domain-pool.ts";
import type { EngineResource } from "../effects/engine.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { TrustDomain } from "../runtime/trust.ts";
import type { SubScope } from "./life.ts";
import type { PoolShare } from "./link-end.ts";

/** What an engine can have at once (core/domain.h). */
const DOMAINS = 64;

interface Known {
  readonly id: number;
  readonly scope: SubScope;
  readonly pool: Promise<DomainPool>;
  readonly links: Set<number>;
}

export class EngineDomains {
  readonly #ports: { engine(): EngineResource; scope(): SubScope };
  readonly #known = new Map<string, Known>();
  #nextId = 1;

  constructor(ports: { engine(): EngineResource; scope(): SubScope }) {
    this.#ports = ports;
  }

  /** What applications of that domain may map, until the link has left. */
  async share(domain: TrustDomain, link: number): Promise<PoolShare> {
    const known = this.#known.get(domain.key) ?? this.#make(domain);
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
  idOf(domain: TrustDomain): number {
    const known = this.#known.get(domain.key);
    if (!known) throw new InsaneError("ECLOSED", `There is no pool for ${domain.label} any more.`);
    return known.id;
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

  #make(domain: TrustDomain): Known {
    if (this.#known.size >= DOMAINS) {
      const why = `${DOMAINS} trust domains receive from this engine, as many as there can be; ${domain.label} has to wait.`;
      throw new InsaneError("ELIMIT", why);
    }
    const id = this.#nextId++;
    const scope = this.#ports.scope();
    const pool = scope.acquireAsync(domainPool(this.#ports.engine(), { id, label: domain.label }));
    pool.catch(() => {}); // whoever waits for it is told
    const known = { id, scope, pool, links: new Set<number>() };
    this.#known.set(domain.key, known);
    return known;
  }
}
