// The consuming end of a link in this session: takes bursts of descriptors, checks each against what was agreed, hands
// the messages to the sinks of their channel, and gives entries back when the last of them has released. Its mappings
// stay until the link is closed and everything taken from it is released.
import type { Mapping } from "../native/views.ts";
import { DESCRIPTOR, PARKED_PAGE, POOL, STATUS } from "../protocol/layout.ts";
import type { Clock } from "./clock.ts";
import type { Doorbell } from "./doorbell.ts";
import { LinkConsumer } from "./link.ts";
import { type PoolView, Received } from "./message.ts";
import type { ChannelRow, LinkKind, Peer } from "./producer-end.ts";
import type { SinkQueue } from "./sink.ts";

/** Descriptors taken in one turn of one link. */
const BURST = 256;
/** Returns that wait for the end of the burst at most. */
const RETURNS = 64;

/** What an end asks of its session. */
export interface ConsumerHost {
  readonly clock: Clock;
  /** The producer broke the contract: nothing more is taken. */
  faulted(end: ConsumerEnd, what: string): void;
  /** Returns are waiting and no turn is under way: publish them before the event loop sleeps. */
  returnsWaiting(): void;
  /** The end is closed and everything is released. */
  emptied(end: ConsumerEnd): void;
}

/** One sink on this link, and its handles by entry. */
class Delivery {
  readonly sink: SinkQueue;
  private readonly end: ConsumerEnd;
  private readonly messages: Array<Received | undefined>;

  constructor(end: ConsumerEnd, sink: SinkQueue, entries: number) {
    this.end = end;
    this.sink = sink;
    this.messages = new Array(entries).fill(undefined);
  }

  deliver(entry: number, pool: PoolView, offset: number, length: number, source: number): void {
    const message = this.messages[entry] ?? this.first(entry, pool);
    if (message.pool !== pool) message.pool = pool;
    message.offset = offset;
    message.length = length;
    message.sourceIndex = source;
    message.held = true;
    this.sink.take(message);
  }

  private first(entry: number, pool: PoolView): Received {
    const message = new Received(this.end, this.sink, entry, pool);
    this.messages[entry] = message;
    return message;
  }
}

export class ConsumerEnd {
  readonly id: number;
  readonly kind: LinkKind;
  readonly stream: number;
  readonly peer: Peer;
  readonly link: LinkConsumer;
  readonly doorbell: Doorbell;
  /** When the message of an entry was taken. */
  readonly times: Float64Array;
  /** Ids of the sources by the index that descriptors carry; empty on links from other hosts. */
  readonly sourceIds: Array<number | undefined> = [];
  state: "open" | "closed" = "open";
  /** What its producer did wrong, or empty. */
  fault = "";
  /** Sinks that have not released the message of an entry. */
  private readonly holders: Uint16Array;
  /** Whether one of them has consumed it, when there are several. */
  private readonly consumed: Uint8Array;
  private readonly pools: ReadonlyArray<PoolView | undefined>;
  private readonly mapping: Mapping;
  private readonly host: ConsumerHost;
  private readonly deliveries = new Map<SinkQueue, Delivery>();
  private channels: ReadonlyArray<ChannelRow> = [];
  /** By channel index. */
  private routes: Array<ReadonlyArray<Delivery> | undefined> = [];
  private busy = false;
  private unmapped = false;

  constructor(
    init: { id: number; kind: LinkKind; stream: number; peer: Peer; entries: number },
    mapping: Mapping,
    pools: ReadonlyArray<PoolView | undefined>,
    doorbell: Doorbell,
    host: ConsumerHost,
  ) {
    this.id = init.id;
    this.kind = init.kind;
    this.stream = init.stream;
    this.peer = init.peer;
    this.mapping = mapping;
    this.pools = pools;
    this.doorbell = doorbell;
    this.host = host;
    this.link = new LinkConsumer(new Int32Array(mapping.buffer), init.entries);
    this.times = new Float64Array(init.entries);
    this.holders = new Uint16Array(init.entries);
    this.consumed = new Uint8Array(init.entries);
  }

  /** New tables, or sinks that came or went. An index that is in no table any more may still be under way. */
  route(channels: ReadonlyArray<ChannelRow>, sinks: Iterable<SinkQueue>): void {
    this.channels = channels;
    const byChannel = new Map<number, Delivery[]>();
    const there = new Set<SinkQueue>();
    for (const sink of sinks) {
      if (sink.stream !== this.stream) continue;
      there.add(sink);
      const delivery = this.deliveries.get(sink) ?? new Delivery(this, sink, this.link.entries);
      this.deliveries.set(sink, delivery);
      const list = byChannel.get(sink.channel);
      if (list) list.push(delivery);
      else byChannel.set(sink.channel, [delivery]);
    }
    for (const sink of this.deliveries.keys()) if (!there.has(sink)) this.deliveries.delete(sink);
    this.routes = [];
    for (const { index, channel } of channels) this.routes[index] = byChannel.get(channel);
  }

  reroute(sinks: Iterable<SinkQueue>): void {
    this.route(this.channels, sinks);
  }

  /** One burst. Returns how many messages were delivered; a producer that lies sets `fault`, and nothing more is taken. */
  drain(): number {
    if (this.state === "closed" || this.fault !== "") return 0;
    const { link } = this;
    let count = link.available();
    if (count === 0) return 0;
    if (count < 0) {
      this.blamed("published more than it had credits for");
      return 0;
    }
    if (count > BURST) count = BURST;
    const now = this.host.clock.milliseconds();
    this.busy = true;
    let delivered = 0;
    for (let i = 0; i < count && this.state === "open"; i++) {
      if (link.next() < 0) {
        this.blamed(`published entry ${link.entry} of ${link.entries}`);
        break;
      }
      const { entry, offset, length } = link;
      const pool = this.pools[link.pool];
      if (
        pool === undefined ||
        offset < POOL.HEADER_ROOM ||
        offset + length > pool.bytes ||
        this.holders[entry] !== 0
      ) {
        const what = this.blame(pool);
        link.giveBack(entry, STATUS.INVALID);
        this.blamed(what);
        break;
      }
      const route = this.routes[link.channel];
      if (route === undefined || (link.flags & DESCRIPTOR.FLAG_MARKER) !== 0) {
        link.giveBack(entry, route === undefined ? STATUS.NO_SINK : STATUS.DONE);
        continue;
      }
      this.times[entry] = now;
      delivered++;
      if (route.length === 1) {
        this.holders[entry] = 1;
        (route[0] as Delivery).deliver(entry, pool, offset, length, link.source);
      } else {
        const { source } = link;
        this.holders[entry] = route.length;
        this.consumed[entry] = 0;
        for (const delivery of route) delivery.deliver(entry, pool, offset, length, source);
      }
    }
    this.busy = false;
    this.publishReturns();
    return delivered;
  }

  private blamed(what: string): void {
    this.fault = what;
    this.host.faulted(this, what);
  }
  private blame(pool: PoolView | undefined): string {
    const { entry, offset, length } = this.link;
    if (pool === undefined) return `published a message in pool ${this.link.pool}, which this link does not have`;
    if (this.holders[entry] !== 0) return `published entry ${entry} again before it was returned`;
    return `published bytes ${offset} to ${offset + length} of a pool of ${pool.bytes}`;
  }

  /** A sink is done with the message of `entry`. */
  giveBack(entry: number, status: number): void {
    const left = (this.holders[entry] as number) - 1;
    this.holders[entry] = left;
    if (left !== 0 || this.consumed[entry] !== 0) {
      // Several sinks: it was consumed if one of them did.
      if (status === STATUS.DONE) this.consumed[entry] = 1;
      if (left !== 0) return;
      if (this.consumed[entry] !== 0) status = STATUS.DONE;
      this.consumed[entry] = 0;
    }
    this.link.giveBack(entry, status);
    if (this.link.unpublished >= RETURNS) this.publishReturns();
    else if (!this.busy) this.host.returnsWaiting();
    if (this.state === "closed" && this.link.held === 0) this.unmap();
  }

  publishReturns(): void {
    if (this.unmapped || this.link.publish() === 0) return;
    this.doorbell.ring(PARKED_PAGE.WISH_CREDITS);
  }

  /** Nothing held, and nothing to take, or nothing that would be taken. */
  get idle(): boolean {
    return this.link.held === 0 && (this.fault !== "" || this.link.available() === 0);
  }

  /** No more is taken; what is held stays readable until it is released. */
  close(): void {
    if (this.state === "closed") return;
    this.publishReturns();
    this.state = "closed";
    this.doorbell.close();
    if (this.link.held === 0) this.unmap();
  }

  private unmap(): void {
    if (this.unmapped) return;
    this.link.publish();
    this.unmapped = true;
    this.mapping.unmap();
    for (const pool of this.pools) pool?.mapping.unmap();
    this.host.emptied(this);
  }
}
