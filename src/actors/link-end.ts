// What a link's actor asks of its two ends, whoever they are: an application's session (by control messages) or an
// engine (by commands). An end answers when it has done what was asked; it rejects with an InsaneError.
import type * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { LinkMemory } from "../effects/link-memory.ts";
import type { Quarantine } from "../effects/quarantine.ts";
import type { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import type { LatencyReport } from "../runtime/api.ts";
import type { LinkTables } from "../runtime/plan.ts";
import type { TrustDomain } from "../runtime/trust.ts";

export type EndRole = "producer" | "consumer";

/** What an end is given when a link begins. The link keeps ownership of everything in it. */
export interface LinkOffer {
  /** Runtime-wide number of the link. */
  readonly link: number;
  readonly role: EndRole;
  readonly kind: "direct" | "egress" | "ingress";
  readonly stream: string;
  /** Of the stream, as it travels on the wire. */
  readonly tag: number;
  readonly memory: LinkMemory;
  /** Descriptor of this end's half of the doorbell. */
  readonly bell: number;
  readonly peer: LinkEnd;
  readonly tables: LinkTables;
  /** To an engine that consumes: it takes nothing until it is let go. */
  readonly held: boolean;
  /** To a session that produces: the link that this one takes over from, by its number, or null. */
  readonly replaces: number | null;
  /** Acquires into the link's scope. */
  acquire<A>(effect: Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>): A;
}

/** What a consumer reads payloads from. */
export interface PoolShare {
  readonly infos: ReadonlyArray<PoolRecord>;
  /** One segment a pool. */
  readonly fds: ReadonlyArray<number>;
}

export interface LinkEnd {
  /** Session id, or 0 for an engine. */
  readonly session: number;
  /** As messages call it: "session 3 (camera)". */
  readonly label: string;
  /** Descriptor of its parked page, sealed, to be given to the other end. */
  readonly parkedPage: number;
  /** Whom it belongs to; null: to the runtime's own trust domain. */
  readonly domain: TrustDomain | null;
  /** What it emits from on a stream, sealed, to be given to the other end of that link. */
  pools(stream: string, to: LinkEnd, link: number): PoolShare | Promise<PoolShare>;
  /** Traffic class of what it emits on a stream, where the network has a schedule. Left out: best effort. */
  trafficClass?(stream: string): number;
  /** Bytes of the largest message on a stream. Left out: whatever a datagram holds. */
  maxMessage?(stream: string): number;
  /** Of an engine: what it sends of an egress link has another traffic class from now on. */
  reclass?(link: number, trafficClass: number): Promise<void>;
  /** Whether messages that it emits on a stream share datagrams. Left out: they do. */
  batches?(stream: string): boolean;
  /** Of an engine: from now on messages of an egress link share datagrams, or do not. */
  rebatch?(link: number, batching: boolean): Promise<void>;
  /** Of an engine: how long time-sensitive messages of an egress link waited, emission to hand-over; null: not counted. */
  latency?(link: number): LatencyReport | null;
  /** Of a session: charges it with memory that it makes the runtime hold; throws ELIMIT. Left out: nobody counts. */
  reserve?(bytes: number, what: string): void;
  unreserve?(bytes: number): void;
  /** Of a session: calls back whenever it may reserve more than before; the result takes that back. */
  onRoom?(f: () => void): () => void;
  /** Of a session that consumes from an open link: one more pool to read from; resolves when it is mapped. */
  addPools?(link: number, share: PoolShare): Promise<void>;
  /** Begins; resolves when mapped and understood. */
  open(offer: LinkOffer): Promise<void>;
  /** Replaces the tables; resolves when they are in force. */
  update(offer: LinkOffer, before: LinkTables, tables: LinkTables): Promise<void>;
  /**
   * drain: the producer pushes no more, and everything under way comes home. abandon: at once, whatever is under way.
   * Resolves with the number of entries that were abandoned.
   */
  close(offer: LinkOffer, mode: "drain" | "abandon", reason: string): Promise<number>;
  /** The link is over for this end, whether it answered or not: marks, indices and the like are freed. */
  forget(offer: LinkOffer): void;
  /** Calls back once when this end is gone for good; the result takes that back. */
  onGone(f: () => void): () => void;
}
