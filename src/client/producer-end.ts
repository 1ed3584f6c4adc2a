// The producing end of a link in this session: the link itself, the channels it carries, and the consumer's doorbell.
// Its memory goes when it closes; nobody holds anything of it.
import type { Mapping } from "../native/views.ts";
import type { SinkPolicyRecord } from "../protocol/control.ts";
import { PARKED_PAGE } from "../protocol/layout.ts";
import type { Doorbell } from "./doorbell.ts";
import { FAULT, LinkProducer } from "./link.ts";
import type { StreamPools } from "./pools.ts";

export interface ChannelRow {
  readonly index: number;
  readonly channel: number;
  readonly block: boolean;
  readonly policies?: ReadonlyArray<SinkPolicyRecord> | undefined;
}
export type LinkKind = "direct" | "egress" | "ingress";
export interface Peer {
  readonly session: number;
  readonly name: string;
}

export class ProducerEnd {
  readonly id: number;
  readonly kind: LinkKind;
  readonly stream: number;
  readonly peer: Peer;
  readonly link: LinkProducer;
  readonly doorbell: Doorbell;
  /** Its consumer is an engine that this thread may poll: it notes the time of emission, and returns come in the same call. */
  readonly ownEngine: boolean;
  /** By channel. */
  channels: ReadonlyMap<number, ChannelRow> = new Map();
  /** Ids of the sources that its consumer knows. */
  sources: ReadonlySet<number> = new Set();
  /** retired: another link has taken over, nothing more is pushed; should that one close first, this one goes on. */
  state: "open" | "retired" | "draining" | "closed" = "open";
  /** What this one has taken over from. */
  before: ProducerEnd | undefined;
  private readonly faulted: (end: ProducerEnd, what: string) => void;
  private readonly pools: StreamPools;
  private readonly mapping: Mapping;

  constructor(
    init: { id: number; kind: LinkKind; stream: number; peer: Peer; entries: number; pollsEngine: boolean },
    mapping: Mapping,
    doorbell: Doorbell,
    pools: StreamPools,
    faulted: (end: ProducerEnd, what: string) => void,
  ) {
    this.id = init.id;
    this.kind = init.kind;
    this.stream = init.stream;
    this.peer = init.peer;
    this.mapping = mapping;
    this.doorbell = doorbell;
    this.ownEngine = init.kind === "egress" && init.pollsEngine;
    this.pools = pools;
    this.faulted = faulted;
    this.link = new LinkProducer(new Int32Array(mapping.buffer), init.entries);
  }

  /** Makes what was pushed visible, and wakes the consumer if it sleeps. Returns whether there was something for an engine. */
  publish(): boolean {
    if (this.state === "closed" || this.link.publish() === 0) return false;
    this.doorbell.ring(PARKED_PAGE.WISH_MESSAGES);
    return this.kind === "egress";
  }

  /** Takes what came back. A consumer that lies closes the link, and the session is told. */
  reclaim(): number {
    if (this.state === "closed") return 0;
    const count = this.link.reclaim(this.pools, this.link.entries);
    if (count !== FAULT) return count;
    const taken = this.link.reclaimed;
    const abandoned = this.abandon();
    this.faulted(this, "returned an entry that it did not hold");
    return taken + abandoned;
  }

  /** What is still out comes home at once: the consumer is gone, or has had its time. Returns how many that were. */
  abandon(): number {
    if (this.state === "closed") return 0;
    this.state = "closed";
    const count = this.link.abandon(this.pools, this.link.entries);
    this.release();
    return count;
  }

  /** Everything is home. */
  close(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.release();
  }

  /** From now on what is emitted goes to this link; what was pushed on the other one is visible there already. */
  takeOver(before: ProducerEnd): void {
    if (before.state !== "open") return;
    before.publish();
    before.state = "retired";
    this.before = before;
  }

  private release(): void {
    if (this.before?.state === "retired") this.before.state = "open";
    this.before = undefined;
    this.channels = new Map();
    this.doorbell.close();
    this.mapping.unmap();
  }
}
