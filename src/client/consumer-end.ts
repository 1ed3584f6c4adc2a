// The consuming end of a link in this session: takes bursts of descriptors, checks each against what was agreed, hands
// the messages to the sinks of their channel, and gives entries back when the last of them has released. Its mappings
// stay until the link is closed and everything taken from it is released.
import type { Mapping } from "../native/views.ts";
import { DESCRIPTOR, META, PARKED_PAGE, POOL, STATUS } from "../protocol/layout.ts";
import { ITEM } from "../protocol/wire.ts";
import type { Clock } from "./clock.ts";
import type { Doorbell } from "./doorbell.ts";
import { LinkConsumer } from "./link.ts";
import { HELD, type PoolView, Received } from "./message.ts";
import type { ChannelRow, LinkKind, Peer } from "./producer-end.ts";
import type { SinkQueue } from "./sink.ts";

/** Descriptors taken in one turn of one link. */
export const CONSUMER_BURST = 256;
/** Returns that wait for the end of the burst at most. */
const RETURNS = 64;
const CONSUMED = 0x10000;
// Constants of the hot path are copied into the module: a property of an imported object is loaded every time.
const { ENTRY_MASK, POOL_SHIFT, POOL_MASK, FLAGS_SHIFT, FLAG_MARKER, FLAG_FIRST, CHANNEL_MASK, SOURCE_SHIFT } =
  DESCRIPTOR;
const { HEADER_ROOM } = POOL;
const { DONE, NO_SINK, INVALID } = STATUS;
const { WISH_CREDITS } = PARKED_PAGE;
const LENT = HELD;

/** What an end asks of its session. */
export interface ConsumerHost {
  readonly clock: Clock;
  /** The other ends by which messages of its stream come from other hosts. */
  beside(end: ConsumerEnd): ConsumerEnd[];
  /** The producer broke the contract: nothing more is taken. */
  faulted(end: ConsumerEnd, what: string): void;
  /** Returns are waiting, no turn is under way and the end is not `listed`: publish them before the event loop sleeps. */
  returnsWaiting(end: ConsumerEnd): void;
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

  /** False: the producer uses an entry again that it has not got back. */
  deliver(
    entry: number,
    pool: PoolView,
    index: number,
    offset: number,
    length: number,
    source: number,
    shared: boolean,
  ): boolean {
    const message = this.messages[entry] ?? this.first(entry, pool);
    if ((message.generation & LENT) !== 0) return false;
    message.generation++;
    if (message.poolIndex !== index) message.moveTo(pool, index);
    message.offset = offset;
    message.length = length;
    message.sourceIndex = source;
    message.shared = shared;
    this.sink.take(message);
    return true;
  }

  /** What somebody has, or will get. */
  held(): Received[] {
    return this.messages.filter((message) => message !== undefined && (message.generation & LENT) !== 0) as Received[];
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
  /** Looks in a row that found nothing (sweep.ts). */
  inVain = 0;
  /** It waits for its returns to be published. */
  listed = false;
  /** What its producer did wrong, or empty. */
  fault = "";
  /** Neither closed nor at fault. */
  private taking = true;
  /** For entries delivered to several sinks, those that have not released it, and CONSUMED when one of them has. */
  private readonly holders: Int32Array;
  private readonly pools: Array<PoolView | undefined>;
  private readonly mapping: Mapping;
  private readonly host: ConsumerHost;
  /** Its producer is on this host. */
  readonly local: boolean;
  private readonly deliveries = new Map<SinkQueue, Delivery>();
  private channels: ReadonlyArray<ChannelRow> = [];
  /** By channel index. */
  private routes: Array<ReadonlyArray<Delivery> | undefined> = [];
  private busy = false;
  /** A flow that began later than that is not taken up: another end waits for what is older. Ns of CLOCK_MONOTONIC. */
  private until = Number.POSITIVE_INFINITY;
  /** The next descriptor begins such a flow. */
  private barred = false;
  private unmapped = false;

  constructor(
    init: { id: number; kind: LinkKind; stream: number; peer: Peer; entries: number },
    mapping: Mapping,
    pools: Array<PoolView | undefined>,
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
    this.local = init.kind === "direct";
    this.link = new LinkConsumer(new Int32Array(mapping.buffer), init.entries);
    this.times = new Float64Array(init.entries);
    this.holders = new Int32Array(init.entries);
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
    for (const [sink, delivery] of this.deliveries) {
      if (!there.has(sink) && delivery.held().length === 0) this.deliveries.delete(sink);
    }
    this.routes = [];
    for (const { index, channel } of channels) this.routes[index] = byChannel.get(channel);
  }

  /** The producer may use it once this has been answered. One that is there already stays: messages may lie in it. */
  addPool(index: number, view: PoolView): void {
    if (this.pools[index] === undefined && !this.unmapped) this.pools[index] = view;
    else view.unmap();
  }

  reroute(sinks: Iterable<SinkQueue>): void {
    this.route(this.channels, sinks);
  }

  /** One burst. Returns how many messages were delivered; of a producer that lies nothing more is taken. */
  drain(): number {
    if (this.taking === false || this.busy === true) return 0;
    const { link, holders, times, host } = this;
    let count = link.available();
    if (count === 0) return 0;
    if (count < 0) {
      this.blame("published more than it had credits for");
      return 0;
    }
    if (count > CONSUMER_BURST) count = CONSUMER_BURST;
    // The engine has noted when a message came to this host.
    const { local } = this;
    const now = local ? host.clock.milliseconds() : 0;
    const { words } = link;
    const { length: entries } = holders;
    this.busy = true;
    let delivered = 0;
    // Most of a burst is in one pool and on one channel.
    let index = -1;
    let pool: PoolView | undefined;
    // The end may be closed by what a callback does.
    for (let i = 0; i < count && this.busy === true; i++) {
      const at = link.position();
      const word = words[at] as number;
      const offset = words[at + 1] as number;
      const length = words[at + 2] as number;
      const route = words[at + 3] as number;
      const entry = word & ENTRY_MASK;
      if (entry >= entries) {
        this.blame(`published entry ${entry} of ${entries}`);
        break;
      }
      const flags = word >>> FLAGS_SHIFT;
      if (flags !== 0 && (flags & FLAG_FIRST) !== 0 && !this.begins(word, offset, route)) break;
      link.advance();
      if (((word >>> POOL_SHIFT) & POOL_MASK) !== index) {
        index = (word >>> POOL_SHIFT) & POOL_MASK;
        pool = this.pools[index];
      }
      // Signed, which is cheaper; offsets beyond 2^31 get a second look.
      const fits = pool !== undefined && offset >= HEADER_ROOM && length >= 0 && length <= pool.bytes - offset;
      if (pool === undefined || (!fits && !pool.holds(offset >>> 0, length >>> 0))) {
        this.wrong(word, pool, `published bytes ${offset >>> 0} and ${length >>> 0} more of a pool of ${pool?.bytes}`);
        break;
      }
      const deliveries = this.routes[route & CHANNEL_MASK];
      if (deliveries === undefined || (flags & FLAG_MARKER) !== 0) {
        link.giveBack(entry, deliveries === undefined ? NO_SINK : DONE);
        continue;
      }
      if (local) times[entry] = now;
      delivered++;
      const source = route >>> SOURCE_SHIFT;
      const start = fits ? offset : offset >>> 0;
      const fresh =
        deliveries.length === 1
          ? (deliveries[0] as Delivery).deliver(entry, pool, index, start, length, source, false)
          : this.deliverToAll(deliveries, entry, pool, index, start, length, source);
      if (!fresh) this.wrong(word, pool, `published entry ${entry} again before it was returned`);
    }
    this.busy = false;
    this.publishReturns();
    return delivered;
  }

  /** To none, or to several: see Delivery.deliver. */
  private deliverToAll(
    deliveries: ReadonlyArray<Delivery>,
    entry: number,
    pool: PoolView,
    index: number,
    offset: number,
    length: number,
    source: number,
  ): boolean {
    this.holders[entry] = deliveries.length;
    return deliveries.every((delivery) => delivery.deliver(entry, pool, index, offset, length, source, true));
  }

  /**
   * A flow begins here. Its source may have sent over another path until then: what that brought was published before, so
   * it is seen by now on another link, in a flow that began earlier. False: it is this one that has to wait.
   */
  private begins(word: number, offset: number, route: number): boolean {
    if (this.local) return true;
    const began = this.beganAt(word, offset >>> 0, route >>> SOURCE_SHIFT);
    this.barred = began > this.until;
    if (this.barred) return false;
    for (const end of this.host.beside(this)) end.drainUntil(began);
    // What a callback has done may have closed it.
    return this.busy;
  }
  private drainUntil(began: number): void {
    if (this.busy) return;
    const { until } = this;
    this.until = began;
    this.barred = false;
    while (this.taking && !this.barred && this.link.available() > 0) this.drain();
    this.until = until;
    this.barred = false;
  }
  /** When the flow of a first message began; of one that lies where none can be: 0, as it will be refused. */
  private beganAt(word: number, offset: number, item: number): number {
    const pool = this.pools[(word >>> POOL_SHIFT) & POOL_MASK];
    if (pool === undefined || !pool.holds(offset, 0)) return 0;
    const { view } = pool;
    const back = item === 0 ? 0 : ITEM.HEADER + view.getUint32(offset - ITEM.META_BACK, true);
    const meta = offset - back - META.BYTES;
    if (meta < 0) return 0;
    return view.getUint32(meta + META.BEGAN + 4, true) * 0x100000000 + view.getUint32(meta + META.BEGAN, true);
  }

  private blame(what: string): void {
    this.fault = what;
    this.taking = false;
    this.busy = false;
    this.host.faulted(this, what);
  }
  /** A descriptor that was taken and is no message. */
  private wrong(word: number, pool: PoolView | undefined, what: string): void {
    const index = (word >>> POOL_SHIFT) & POOL_MASK;
    this.link.giveBack(word & ENTRY_MASK, INVALID);
    this.blame(pool === undefined ? `published a message in pool ${index}, which this link does not have` : what);
  }

  /** A sink is done with the message of `entry`. */
  giveBack(entry: number, status: number, sink: SinkQueue): void {
    const { link } = this;
    link.giveBack(entry, status);
    if (this.busy === false) this.late(sink);
    else if (link.unpublished >= RETURNS) this.publishReturns();
  }

  /** The same where several sinks have it. */
  giveBackShare(entry: number, status: number, sink: SinkQueue): void {
    const shared = this.share(entry, status);
    if (shared >= 0) this.giveBack(entry, shared, sink);
  }

  /** One of several sinks is done: the status to return, or -1 while others are not. It was consumed if one consumed it. */
  private share(entry: number, status: number): number {
    let left = (this.holders[entry] as number) - 1;
    if (status === DONE) left |= CONSUMED;
    const last = (left & ~CONSUMED) === 0;
    this.holders[entry] = last ? 0 : left;
    if (!last) return -1;
    return (left & CONSUMED) !== 0 ? DONE : status;
  }

  /** Given back outside a turn. */
  private late(sink: SinkQueue): void {
    sink.touch();
    if (this.link.unpublished >= RETURNS) this.publishReturns();
    else if (this.listed === false) this.host.returnsWaiting(this);
    if (this.state === "closed" && this.link.held <= 0) this.unmap();
  }

  /** More of its entries are held than sinks that may go without a message can have for good. */
  get crowded(): boolean {
    return this.link.held > this.link.entries >>> 2;
  }
  /** What those may hold then together: less than the share of one source (target.ts), so that the others can go on. */
  get crowdedShare(): number {
    const sources = this.sourceIds.filter((id) => id !== undefined).length;
    return this.link.entries / (4 * Math.max(1, sources));
  }

  publishReturns(): void {
    if (this.unmapped || this.link.publish() === 0) return;
    this.doorbell.ring(WISH_CREDITS);
  }

  /** Nothing held, and nothing to take, or nothing that would be taken. */
  get idle(): boolean {
    return this.link.held <= 0 && (this.fault !== "" || this.link.available() === 0);
  }

  /** What is held or queued must outlive its memory: the producer is told that it may use it again. */
  keepCopies(): void {
    // All that was published is its sinks', however late they read it.
    while (this.drain() > 0);
    for (const delivery of this.deliveries.values()) for (const message of delivery.held()) message.keepCopy();
  }

  /** No more is taken; what is held stays readable until it is released. */
  close(): void {
    if (this.state === "closed") return;
    this.publishReturns();
    this.state = "closed";
    this.busy = false;
    this.taking = false;
    this.doorbell.close();
    if (this.link.held <= 0) this.unmap();
  }

  private unmap(): void {
    if (this.unmapped) return;
    this.link.publish();
    this.unmapped = true;
    this.mapping.unmap();
    for (const pool of this.pools) pool?.unmap();
    this.host.emptied(this);
  }
}
