// A source: borrows slots from the stream's pools, pushes them on every link that has a consumer for its channel, and
// knows what became of them. The path of a message allocates nothing and calls nothing native.
import { InsaneError } from "../protocol/codes.ts";
import { DESCRIPTOR, META, SOURCE_STATS, STATUS } from "../protocol/layout.ts";
import { Again } from "./again.ts";
import type { Outcome, ReceiverInfo, SlotBuffer, Source, SourceStats } from "./api.ts";
import { Clock } from "./clock.ts";
import { Drops } from "./drops.ts";
import { Listeners } from "./emitter.ts";
import { Outcomes, reasonOf } from "./outcomes.ts";
import type { Account, Slot, SlotPool, StreamPools } from "./pools.ts";
import type { ProducerEnd } from "./producer-end.ts";
import { wrongBuffer, wrongSize } from "./refusals.ts";
import { BURST, type SourceHost, type SourceOwner } from "./source-host.ts";
import type { Target } from "./target.ts";
import { type Patience, Waiters } from "./waiters.ts";

/** Metadata as words before the payload (host order; payloads of pools are aligned). */
const AT = (field: number): number => (META.BYTES - field) >>> 2;
const SOURCE_WORD = AT(META.SOURCE);
const SEQUENCE_WORD = AT(META.SEQUENCE);
const TIME_WORD = AT(META.EMIT_TIME);
const LENGTH_WORD = AT(META.LENGTH);
/** Messages out on a link before a burst looks for returns: warm slots are better than new ones. */
const RECLAIM_AT = 32;
/** Bursts after which the statistics page is written by a source that leaves its session no turn to do it. */
const UNWRITTEN_MOST = 64;

const { NONE, TIMED } = BURST;
/** Of messages whose time of emission an engine notes: 0. */
const UNSET = new Clock(() => 0n);

export class EmittingSource implements Source, Account {
  readonly id: number;
  readonly channel: number;
  readonly stream: number;
  readonly pools: StreamPools;
  /** By which returns find this source. */
  readonly context: number;
  back = 0;
  /** Whether its block of the statistics page is behind its counters, and its session knows. */
  stale = false;
  private readonly host: SourceHost;
  private readonly owner: SourceOwner;
  /** The source index as descriptors carry it. */
  private readonly sourceBits: number;
  /** The number of its pools while it may emit, else 0. */
  private emitting: number;
  private readonly block: Float64Array;
  private targets: ReadonlyArray<Target> = [];
  /** The only one of them, if it is. */
  private sole: Target | undefined;
  /** What a burst must be for this source to emit: BEGUN when the engine, polled by this thread, notes the time. */
  private burstNeeded: number = BURST.TIMED;
  private clock: Clock;
  private readonly outcomes = new Outcomes();
  private readonly listeners = new Listeners<{ matched: { consumers: number } }>();
  private readonly waiters: Waiters;
  private emitted = 0;
  private sequenceHigh = 0;
  private pushed = 0;
  private readonly drops = new Drops();
  private unmatched = 0;
  private byteCount = 0;
  /** Bursts since the statistics page was written. */
  private unwritten = 0;
  private readonly again = new Again();
  private closed = false;
  private closing: Promise<void> | undefined;

  constructor(
    host: SourceHost,
    owner: SourceOwner,
    pools: StreamPools,
    init: { id: number; index: number; channel: number; stream: number },
    block: Float64Array,
  ) {
    this.host = host;
    this.clock = host.clock;
    this.owner = owner;
    this.pools = pools;
    this.id = init.id;
    this.sourceBits = init.index << DESCRIPTOR.SOURCE_SHIFT;
    this.emitting = pools.number;
    this.channel = init.channel;
    this.stream = init.stream;
    this.block = block;
    this.waiters = new Waiters((change) => host.awaitCredits(change));
    this.context = pools.enroll(this);
  }

  get consumers(): number {
    return this.targets.length;
  }
  get receivers(): ReadonlyArray<ReceiverInfo> {
    return this.targets.map(({ info }) => info);
  }
  get againReason(): string {
    return this.again.reason;
  }
  on<K extends "matched">(event: K, listener: (payload: { consumers: number }) => void): () => void {
    return this.listeners.on(event, listener);
  }

  /** The links that carry this channel now. */
  retarget(targets: ReadonlyArray<Target>): void {
    const before = this.targets.length;
    const known = new Map(this.targets.map((target) => [target.end, target]));
    for (const target of targets) target.missed = known.get(target.end)?.missed ?? 0;
    this.targets = targets;
    this.sole = targets.length === 1 ? targets[0] : undefined;
    const untimed = targets.every(({ end }) => end.ownEngine);
    this.burstNeeded = untimed ? BURST.BEGUN : BURST.TIMED;
    this.clock = untimed ? UNSET : this.host.clock;
    if (targets.length !== before) this.listeners.emit("matched", { consumers: targets.length });
    this.waiters.look();
  }

  getBuffer(bytes: number): SlotBuffer {
    const slot = this.tryGetBuffer(bytes);
    if (slot === null) throw this.again.error({ bytes });
    return slot;
  }

  tryGetBuffer(bytes: number): SlotBuffer | null {
    const pool = this.pools.classFor(bytes);
    if (pool === undefined || this.emitting === 0 || !(bytes >= 0) || !Number.isInteger(bytes))
      throw this.refusal(bytes);
    return pool.freeCount === 0 && this.isEmpty(pool) ? null : pool.lend(bytes);
  }
  /** Whether it stays so when what has come back is taken. */
  private isEmpty(pool: SlotPool): boolean {
    this.host.catchUp(this.stream);
    if (pool.freeCount > 0) return false;
    this.host.starve();
    this.again.noSlot(pool);
    return true;
  }

  emit(buffer: SlotBuffer, more = false): number {
    const token = this.tryEmit(buffer, more);
    if (token === 0) throw this.again.error(this.again.whose);
    return token;
  }

  // Whatever is not done for every message has a function of its own: V8 puts the rest into its caller's loop, as far as that
  // is small (460 bytecodes a function, 920 in all), which saves 5 ns of 65.
  tryEmit(buffer: SlotBuffer, more = false): number {
    const slot = buffer as Slot;
    if (this.host.burst < this.burstNeeded) this.beginBurst();
    const { length, pool } = slot;
    if (slot.owner !== this.emitting || !(length >= 0 && length <= slot.limit)) throw this.misuse(slot);
    const { sole } = this;
    if (sole === undefined || pool.freeCount < pool.scarce || sole.link.credits <= sole.reserve)
      return this.emitToEach(slot, more);
    const token = this.seal(slot);
    sole.link.push(slot.place, this.context, slot.offset, length, sole.index | this.sourceBits, 0);
    this.pushed++;
    pool.goOut(slot.index, 1);
    if (more === false) this.flush();
    return token;
  }

  /** To none, to several, or where slots or credits are scarce. */
  private emitToEach(slot: Slot, more: boolean): number {
    const { length, place, offset, pool } = slot;
    let { targets } = this;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i] as Target;
      if (target.link.credits > target.reserve) continue;
      if (this.exhausted(target)) return 0;
      if (this.targets === targets) continue;
      // A control frame that was found on the way has changed who listens.
      targets = this.targets;
      i = -1;
    }
    const token = this.seal(slot);
    const { context, sourceBits } = this;
    let refs = 0;
    const scarce = pool.freeCount < pool.scarce;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i] as Target;
      const { link, index } = target;
      if (scarce && target.block === false && this.hoards(target.end, pool)) target.missed++;
      else if (link.push(place, context, offset, length, index | sourceBits, 0) >= 0) refs++;
      else target.missed++;
    }
    this.pushed += refs;
    const missed = targets.length - refs;
    pool.goOut(slot.index, refs);
    if (refs === 0 || missed !== 0) this.notAll(slot, refs, missed);
    if (more === false) this.flush();
    return token;
  }

  /** It is the application's no more: its metadata are written, and it has its token. */
  private seal(slot: Slot): number {
    const { length, pool } = slot;
    const { ints } = pool;
    const word = slot.offset >>> 2;
    const sequence = this.emitted | 0;
    // `| 0` spares the check for a fraction.
    ints[word - SOURCE_WORD] = this.id | 0;
    ints[word - SEQUENCE_WORD] = sequence;
    ints[word - SEQUENCE_WORD + 1] = this.sequenceHigh | 0;
    const { clock } = this;
    ints[word - TIME_WORD] = clock.low | 0;
    ints[word - TIME_WORD + 1] = clock.high | 0;
    ints[word - LENGTH_WORD] = length | 0;
    if (sequence === -1) this.sequenceHigh++;
    this.byteCount += length;
    slot.limit = -1;
    return ++this.emitted;
  }

  private beginBurst(): void {
    this.host.beginBurst(this.burstNeeded === TIMED);
    const { targets } = this;
    for (let i = 0; i < targets.length; i++) {
      const { end, link } = targets[i] as Target;
      if (link.live >= RECLAIM_AT) end.reclaim();
    }
  }

  /** Whether a consumer that may be passed over has its share of slots that are scarce: it must not stop the source. */
  private hoards(end: ProducerEnd, pool: SlotPool): boolean {
    end.reclaim();
    if (end.state === "closed") return true;
    const held = end.link.holding(pool.index);
    if (held >= pool.most) return true;
    if (pool.freeCount >= pool.short) return false;
    return held >= Math.max(1, Math.floor(pool.slots / (2 * this.host.linksOf(this.stream))));
  }

  /** Some consumers, or all, or none there, did not get it. */
  private notAll(slot: Slot, refs: number, missed: number): void {
    if (missed > 0) this.drops.passedOver(missed);
    if (refs > 0) return;
    if (missed === 0) this.unmatched++;
    this.outcomes.refused(this.emitted | 0, missed === 0 ? STATUS.NO_SINK : STATUS.NO_CREDIT);
    slot.pool.giveBack(slot.index);
  }

  /** Whether a blocking consumer without credit says no; the others lose the message. */
  private exhausted(target: Target): boolean {
    const { end, link } = target;
    if (link.credits > 0 && !target.overdraws(this.context)) return false;
    this.host.catchUp(this.stream);
    if (link.credits > target.reserve || !target.block || end.state !== "open") return false;
    if (link.credits > 0 && !target.overdraws(this.context)) return false;
    this.host.starve();
    if (this.publish()) this.host.sendNow();
    this.again.noCredit(target);
    return true;
  }

  flush(): void {
    const { host } = this;
    host.burst = NONE;
    if (this.publish()) host.sendNow();
    if (this.stale === false) host.sourceChanged(this);
    else if (++this.unwritten > UNWRITTEN_MOST) this.writeStats();
  }

  /** Makes what was pushed visible; whether some of it is for the engine. */
  private publish(): boolean {
    const { targets } = this;
    let engine = false;
    for (let i = 0; i < targets.length; i++) {
      if ((targets[i] as Target).end.publish()) engine = true;
    }
    return engine;
  }

  checkEmitOutcome(token: number): Outcome {
    if (!Number.isInteger(token) || token < 1 || token > this.emitted) {
      throw new InsaneError("ENOENT", `${token} is no token of this source; its last one is ${this.emitted}.`);
    }
    if (this.isOut(token)) {
      this.host.catchUp(this.stream);
      if (this.isOut(token)) return { state: "pending" };
    }
    const status = this.outcomes.status(token, this.emitted);
    return status === 0 ? { state: "sent" } : { state: "dropped", reason: reasonOf(status) };
  }

  private isOut(token: number): boolean {
    return this.outstanding > 0 && this.pools.classes.some((pool) => pool.anyOut(token, this.id));
  }

  // Account: what comes home.
  touch(): void {
    this.host.sourceChanged(this);
  }
  dropped(status: number): void {
    this.drops.cameBack(status);
  }
  refused(token: number, status: number): void {
    this.outcomes.refused(token, status);
  }

  get outstanding(): number {
    return this.pushed - this.back;
  }

  get stats(): SourceStats {
    this.host.catchUp(this.stream);
    const { drops } = this;
    return {
      emitted: this.emitted,
      pushed: this.pushed + drops.noCredit,
      consumed: this.back - drops.returned,
      dropped: drops.byReason,
      abandoned: drops.abandoned,
      outstanding: this.outstanding,
      unmatched: this.unmatched,
    };
  }

  /** After returns or tables have changed: the statistics page, and whoever waits. */
  turned(): void {
    this.writeStats();
    this.waiters.look();
  }

  writeStats(): void {
    const { block, drops, again } = this;
    this.unwritten = 0;
    if (block.length === 0) return;
    block[SOURCE_STATS.EMITTED] = this.emitted;
    block[SOURCE_STATS.PUSHED] = this.pushed + drops.noCredit;
    block[SOURCE_STATS.CONSUMED] = this.back - drops.returned;
    block[SOURCE_STATS.DROPPED] = drops.returned - drops.abandoned + drops.noCredit;
    block[SOURCE_STATS.ABANDONED] = drops.abandoned;
    block[SOURCE_STATS.AGAIN_SLOT] = again.slots;
    block[SOURCE_STATS.AGAIN_CREDIT] = again.credits;
    block[SOURCE_STATS.UNMATCHED] = this.unmatched;
    block[SOURCE_STATS.BYTES] = this.byteCount;
    block[SOURCE_STATS.OUTSTANDING] = this.outstanding;
  }

  matched(count = 1, patience: Patience = {}): Promise<void> {
    return this.waiters
      .wait(() => this.closed || this.targets.length >= count, patience, false)
      .then(() => this.usable());
  }

  ready(patience: Patience = {}): Promise<void> {
    this.host.catchUp(this.stream);
    return this.waiters
      .wait(() => this.closed || this.again.isOver(this.context), patience, true)
      .then(() => this.usable());
  }

  settled(patience: Patience = {}): Promise<SourceStats> {
    if (!this.closed) this.flush();
    this.host.catchUp(this.stream);
    return this.waiters.wait(() => this.outstanding === 0, patience, true).then(() => this.stats);
  }

  async reserve(bytes: number): Promise<void> {
    const pool = this.pools.classFor(bytes);
    if (pool === undefined || this.closed) throw this.refusal(bytes);
    this.owner.prefault(pool);
  }

  /** No more is emitted; what is out comes home by itself. */
  shut(): void {
    if (this.closed) return;
    this.flush();
    this.closed = true;
    this.emitting = 0;
    this.waiters.look();
  }

  close(): Promise<void> {
    this.closing ??= this.owner.closeSource(this);
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private usable(): void {
    if (this.closed) throw this.closedError();
  }
  private closedError(): InsaneError {
    return new InsaneError("ECLOSED", `The source of channel ${this.channel} is closed.`);
  }

  private refusal(bytes: number): InsaneError {
    return this.closed ? this.closedError() : wrongSize(bytes, this.pools.maxMessage);
  }
  private misuse(slot: Slot): InsaneError {
    return this.closed ? this.closedError() : wrongBuffer(slot, this.pools);
  }
}
