// A session as one end of a link: what the link's actor asks is asked of the application by control messages, and the
// session's control page shows the link's state to whoever spins.
import { InsaneError } from "../protocol/codes.ts";
import type { Params, RuntimeMethodTable } from "../protocol/control.ts";
import { CONTROL_PAGE, LINK_STATE, linkBytes } from "../protocol/layout.ts";
import { batches } from "../protocol/qos.ts";
import { trafficClassOf } from "../qos/gates.ts";
import type { LinkTables } from "../runtime/plan.ts";
import type { TrustDomain } from "../runtime/trust.ts";
import type { LinkEnd, LinkOffer, PoolShare } from "./link-end.ts";
import type { SessionActor } from "./session.ts";

export class SessionEnd implements LinkEnd {
  readonly #session: SessionActor;
  /** Link -> index in the control page, by link and role: a session can be both ends of one link. */
  readonly #indices = new Map<string, number>();
  readonly #free: number[] = [];
  /** Links that were given up before the application had answered to their opening. */
  readonly #overdue = new Set<string>();
  readonly #opening = new Set<string>();
  /** Links whose pools are being made for it. */
  readonly #awaiting = new Set<string>();
  #next = 0;

  constructor(session: SessionActor) {
    this.#session = session;
  }

  get session(): number {
    return this.#session.id;
  }

  get label(): string {
    return this.#session.label;
  }

  get domain(): TrustDomain | null {
    return this.#session.domain;
  }

  get parkedPage(): number {
    const { pages, mapped } = this.#session;
    if (!pages || !mapped) {
      throw new InsaneError("EINTERNAL", `${this.label} has no parked page to share yet.`);
    }
    return pages.parked.fd;
  }

  /** The pools of its sources on a stream, to be given to a consumer. */
  pools(stream: string): PoolShare {
    const pools = this.#session.streamNamed(stream)?.pools;
    if (!pools) throw new InsaneError("EINTERNAL", `${this.label} has no sealed pools on stream ${stream}.`);
    return { infos: pools.infos, fds: pools.segments.map(({ fd }) => fd) };
  }

  trafficClass(stream: string): number {
    const qos = this.#session.streamNamed(stream)?.qos;
    return qos === undefined ? 0 : trafficClassOf(qos);
  }

  maxMessage(stream: string): number {
    return this.#session.streamNamed(stream)?.qos.maxMessage ?? 0;
  }

  batches(stream: string): boolean {
    const qos = this.#session.streamNamed(stream)?.qos;
    return qos === undefined || batches(qos);
  }

  reserve(bytes: number, what: string): void {
    this.#session.reserve(bytes, what);
  }

  unreserve(bytes: number): void {
    this.#session.unreserve(bytes);
  }

  onRoom(f: () => void): () => void {
    return this.#session.onRoom(f);
  }

  async addPools(link: number, { infos, fds }: PoolShare): Promise<void> {
    const index = this.#indices.get(`${link} consumer`);
    if (index === undefined) throw new InsaneError("ECLOSED", `${this.label} does not have link ${link} any more.`);
    await this.#session.rpc.ask("link.pools", { link: index, pools: infos }, [...fds]);
  }

  /** The link that the application calls by this index, or undefined. */
  linkAt(index: number): { readonly link: number; readonly role: "producer" | "consumer" } | undefined {
    for (const [key, at] of this.#indices) {
      if (at !== index) continue;
      const [link, role] = key.split(" ");
      return { link: Number(link), role: role as "producer" | "consumer" };
    }
    return undefined;
  }

  async open(offer: LinkOffer): Promise<void> {
    const { memory, peer, role, tables } = offer;
    const given = role === "consumer" ? peer.pools(offer.stream, this, offer.link) : { infos: [], fds: [] };
    const share = given instanceof Promise ? await this.#madeFor(offer, given) : given;
    const stream = this.#session.streamNamed(offer.stream);
    if (!stream) throw new InsaneError("ECLOSED", `${this.label} has closed stream ${offer.stream}.`);
    const index = this.#takeIndex(offer);
    this.#session.pages?.setLink(index, LINK_STATE.OPEN);
    const key = keyOf(offer);
    this.#opening.add(key);
    const answer = this.#session.rpc.ask(
      "link.open",
      {
        link: index,
        role,
        kind: offer.kind,
        stream: stream.id,
        entries: memory.entries,
        bytes: linkBytes(memory.entries),
        peer: { session: peer.session, name: peer.label },
        ...this.#replaced(offer),
        pools: share.infos,
        channels: asTold(tables.channels),
        sources: tables.sources,
      },
      [memory.segment.fd, offer.bell, peer.parkedPage, ...share.fds],
    );
    try {
      await answer;
    } finally {
      this.#opening.delete(key);
      if (this.#overdue.delete(key) && this.responsive) this.#session.responded();
    }
  }

  /** It has answered whatever was asked of it long ago: another link can be offered to it. */
  get responsive(): boolean {
    return this.#overdue.size === 0;
  }

  async update(offer: LinkOffer, _: LinkTables, tables: LinkTables): Promise<void> {
    const { channels, sources } = tables;
    await this.#session.rpc.ask("link.update", {
      link: this.#index(offer),
      channels: asTold(channels),
      sources,
    });
  }

  async close(offer: LinkOffer, mode: "drain" | "abandon", reason: string): Promise<number> {
    const link = this.#index(offer);
    this.#session.pages?.setLink(link, mode === "drain" ? LINK_STATE.DRAINING : LINK_STATE.CLOSED);
    return (await this.#session.rpc.ask("link.close", { link, mode, reason })).abandoned;
  }

  forget(offer: LinkOffer): void {
    const key = keyOf(offer);
    this.#awaiting.delete(key);
    const index = this.#indices.get(key);
    if (index === undefined) return;
    this.#session.pages?.setLink(index, LINK_STATE.CLOSED);
    this.#indices.delete(key);
    this.#free.push(index);
    if (this.#opening.has(key)) this.#overdue.add(key);
  }

  onGone(f: () => void): () => void {
    return this.#session.onGone(f);
  }

  /** By the index at which the application knows it; unless it has ended meanwhile. */
  #replaced({ role, replaces }: LinkOffer): { readonly replaces?: number } {
    const index = replaces === null ? undefined : this.#indices.get(`${replaces} ${role}`);
    return index === undefined ? {} : { replaces: index };
  }

  /** Waits for the pools of a link that may be given up meanwhile: nothing of it may be sent then. */
  async #madeFor(offer: LinkOffer, pools: Promise<PoolShare>): Promise<PoolShare> {
    const key = keyOf(offer);
    this.#awaiting.add(key);
    try {
      const share = await pools;
      if (!this.#awaiting.has(key)) throw new InsaneError("ECLOSED", `Link ${offer.link} was given up.`);
      return share;
    } finally {
      this.#awaiting.delete(key);
    }
  }

  #index(offer: LinkOffer): number {
    const index = this.#indices.get(keyOf(offer));
    if (index === undefined) throw new InsaneError("EINTERNAL", `${this.label} does not know link ${offer.link}.`);
    return index;
  }

  #takeIndex(offer: LinkOffer): number {
    // The oldest free one first: a late word about a link that is over should not meet a new one.
    const index = this.#next < CONTROL_PAGE.MAX_LINKS ? this.#next++ : this.#free.shift();
    if (index === undefined) {
      throw new InsaneError("ELIMIT", `${this.label} has ${CONTROL_PAGE.MAX_LINKS} links, as many as there can be.`);
    }
    this.#indices.set(keyOf(offer), index);
    return index;
  }
}

const keyOf = (offer: LinkOffer): string => `${offer.link} ${offer.role}`;

/** Tables larger than that say only whether a channel blocks: they must fit into one frame. */
const POLICIES_TOLD = 256;

/** Most channels have one sink, which blocks: that goes without saying. */
function asTold(channels: LinkTables["channels"]): Params<RuntimeMethodTable, "link.open">["channels"] {
  return channels.map(({ index, channel, block, policies }) => {
    const usual = policies.every(({ kind }) => kind === "block");
    return { index, channel, block, ...(usual || channels.length > POLICIES_TOLD ? {} : { policies }) };
  });
}
