// A session's own pools on one stream: size classes with private LIFO stacks of free slots, and for each slot on how many
// links it is out. Nothing of this lies in shared memory. Slots are lent to the application as one reused handle each.

import type { Mapping } from "../native/views.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { META, POOL, STATUS } from "../protocol/layout.ts";
import { type Area, areaOf } from "../protocol/msgpack-encode.ts";
import type { SlotBuffer } from "./api.ts";
import { type Home, PLACE_MASK, PLACE_SHIFT } from "./link.ts";

/** What a pool tells the source whose message comes home. */
export interface Account {
  /** (message, consumer) pairs that have come back, for whatever reason. */
  back: number;
  /** Whether somebody knows that its counters have moved. */
  stale: boolean;
  /** They have, and nobody does. */
  touch(): void;
  dropped(status: number): void;
  /** No consumer took the message of this token; its low 32 bits. */
  refused(token: number, status: number): void;
}

/** The state of a slot: links it is out on, and TAKEN once one of them has consumed its message. */
const REFS = 0xffff;
const TAKEN = 0x10000;
// Constants of the hot path are copied into the module: a property of an imported object is loaded every time.
const POOL_SHIFT = PLACE_SHIFT;
const SLOT_MASK = PLACE_MASK;
const { DONE } = STATUS;
/** Words of a slot, one in each of the cache lines that every message writes: metadata (its flow, always 0) and payload. */
const FLOW_WORD = (POOL.HEADER_ROOM - META.BYTES + META.FLOW) >>> 2;
/** By which a slot's message is told from others: what its source has written there, and nobody else can. */
const SOURCE_WORD = (POOL.HEADER_ROOM - META.BYTES + META.SOURCE) >>> 2;
const SEQUENCE_WORD = (POOL.HEADER_ROOM - META.BYTES + META.SEQUENCE) >>> 2;
const PAYLOAD_WORD = POOL.HEADER_ROOM >>> 2;

/** Handles made at once. */
const HANDLES = 64;
/** Pools of large messages have less than this, and a consumer may always hold a message, and two more on their way. */
const FEW_SLOTS = 64;
const FEW_HELD = 3;

export class SlotPool {
  readonly index: number;
  /** Largest payload. */
  readonly payload: number;
  readonly slots: number;
  readonly mapping: Mapping;
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  /** The same words, for the metadata: small integers are cheaper signed. */
  readonly ints: Int32Array;
  /** A stack: the slot that came home last is the warmest. */
  readonly free: Int32Array;
  freeCount: number;
  /** Fewer free slots than `short`: no consumer that may be passed over gets more than its share of them. */
  readonly short: number;
  /** What such a consumer may hold at most, however many are free: of few slots one alone must not have almost all. */
  readonly most: number;
  /** With fewer free slots than this one of both may matter. */
  readonly scarce: number;
  /** By slot, see REFS. */
  readonly states: Int32Array;
  private readonly handles: Slot[] = [];
  readonly stride: number;
  private readonly owner: StreamPools;
  private codecArea: Area | undefined;

  constructor(owner: StreamPools, info: PoolRecord, mapping: Mapping) {
    this.owner = owner;
    this.index = info.pool;
    this.payload = info.payload;
    this.slots = info.slots;
    this.stride = info.stride;
    this.mapping = mapping;
    this.memory = new Uint8Array(mapping.buffer);
    this.words = new Uint32Array(mapping.buffer);
    this.ints = new Int32Array(mapping.buffer);
    this.free = new Int32Array(info.slots);
    this.freeCount = info.slots;
    const few = info.slots < FEW_SLOTS;
    this.short = Math.max(few ? 2 : 0, info.slots >>> 2);
    this.most = few ? Math.max(FEW_HELD, Math.ceil(info.slots / 2)) : Number.POSITIVE_INFINITY;
    this.scarce = few ? info.slots : this.short;
    for (let i = 0; i < info.slots; i++) this.free[i] = info.slots - 1 - i;
    this.states = new Int32Array(info.slots);
  }

  get area(): Area {
    this.codecArea ??= areaOf(this.memory);
    return this.codecArea;
  }

  /** Lends a free slot; the caller has seen that there is one. */
  lend(bytes: number): Slot {
    const index = this.free[--this.freeCount] as number;
    const slot = this.handles[index] ?? this.handle(index);
    slot.length = bytes;
    slot.limit = bytes;
    return slot;
  }

  /** A message goes out on `refs` links. */
  goOut(slot: number, refs: number): void {
    this.states[slot] = refs | 0;
  }

  /** Whether the message of a source with this token is still out on a link. Looks at all slots that were ever lent. */
  anyOut(token: number, source: number): boolean {
    const { states, ints, stride } = this;
    for (let slot = 0; slot < this.handles.length; slot++) {
      if (((states[slot] as number) & REFS) === 0 || this.tokenOf(slot) !== (token | 0)) continue;
      if (ints[((slot * stride) >>> 2) + SOURCE_WORD] === (source | 0)) return true;
    }
    return false;
  }
  /** The low 32 bits of its message's token: sequences begin with 0, tokens with 1. */
  tokenOf(slot: number): number {
    return ((this.ints[((slot * this.stride) >>> 2) + SEQUENCE_WORD] as number) + 1) | 0;
  }

  giveBack(slot: number): void {
    this.free[this.freeCount++] = slot;
  }

  private handle(index: number): Slot {
    // An array without holes; by the dozen, so that this is called seldom enough not to be put into its callers' loops.
    for (let at = this.handles.length; at <= index || (at < this.slots && at % HANDLES !== 0); at++) {
      this.handles.push(new Slot(this.owner, this, at, at * this.stride + POOL.HEADER_ROOM));
    }
    return this.handles[index] as Slot;
  }
}

/** See SlotBuffer. `using` after emit is harmless; a handle kept after emit may belong to a later message. */
export class Slot implements SlotBuffer {
  readonly pools: StreamPools;
  /** The number of `pools`: cheaper to compare than objects. */
  readonly owner: number;
  readonly pool: SlotPool;
  /** Those of `pool`: one load less for whoever writes. */
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  readonly index: number;
  /** As descriptors and shadows carry it. */
  readonly place: number;
  readonly offset: number;
  length = 0;
  /** What was asked for; -1: not lent, any length is beyond it. */
  limit: number = -1;

  constructor(pools: StreamPools, pool: SlotPool, index: number, offset: number) {
    this.pools = pools;
    this.owner = pools.number;
    this.pool = pool;
    this.memory = pool.memory;
    this.words = pool.words;
    this.index = index;
    this.place = (pool.index << PLACE_SHIFT) | index;
    this.offset = offset;
  }

  get bytes(): Uint8Array {
    return this.pool.memory.subarray(this.offset, this.offset + Math.max(0, Math.min(this.length, this.limit)));
  }

  [Symbol.dispose](): void {
    if (this.limit < 0) return;
    this.limit = -1;
    this.pool.giveBack(this.index);
    this.pools.cameHome();
  }
}

let created = 0;

export class StreamPools implements Home {
  /** Unique in this process. */
  readonly number = ++created;
  /** By index in descriptors. */
  private readonly byIndex: SlotPool[] = [];
  /** From small to large. */
  readonly classes: ReadonlyArray<SlotPool>;
  private readonly accounts: Array<Account | undefined> = [];
  private closing = false;
  private readonly lowestPayload: number;
  private readonly first: SlotPool;

  constructor(infos: ReadonlyArray<PoolRecord>, mappings: ReadonlyArray<Mapping>) {
    infos.forEach((info, i) => {
      this.byIndex[info.pool] = new SlotPool(this, info, mappings[i] as Mapping);
    });
    this.classes = this.byIndex.filter((pool) => pool !== undefined).sort((a, b) => a.payload - b.payload);
    this.first = this.classes[0] as SlotPool;
    this.lowestPayload = this.first.payload;
  }

  get maxMessage(): number {
    return this.classes[this.classes.length - 1]?.payload ?? 0;
  }

  at(index: number): SlotPool | undefined {
    return this.byIndex[index];
  }

  /** The smallest class that holds `bytes`; undefined: none does. */
  classFor(bytes: number): SlotPool | undefined {
    return bytes <= this.lowestPayload ? this.first : this.largerClass(bytes);
  }
  private largerClass(bytes: number): SlotPool | undefined {
    for (const pool of this.classes) if (bytes <= pool.payload) return pool;
    return undefined;
  }

  /** A number by which returns find the account again. */
  enroll(account: Account): number {
    let context = this.accounts.indexOf(undefined);
    if (context < 0) context = this.accounts.length;
    this.accounts[context] = account;
    return context;
  }
  /** Only when nothing of the account is out any more. */
  strike(context: number): void {
    this.accounts[context] = undefined;
  }

  comeHome(place: number, context: number, status: number): void {
    const pool = this.byIndex[place >>> POOL_SHIFT] as SlotPool;
    const account = this.accounts[context] as Account;
    const slot = place & SLOT_MASK;
    const { states } = pool;
    let state = (states[slot] as number) - 1;
    if (status === DONE) state |= TAKEN;
    states[slot] = state;
    account.back++;
    if (account.stale === false) account.touch();
    if (status !== DONE) this.dropped(pool, slot, account, status);
    if ((state & REFS) !== 0) return;
    pool.free[pool.freeCount++] = slot | 0;
    if (this.closing === true) {
      // No other message comes here, and of what was abandoned somebody may still read this one.
      this.cameHome();
      return;
    }
    // The consumer's core has these lines. To ask for those of a whole burst at once, as here, costs a third of waiting
    // for each when the next message is written.
    const { ints } = pool;
    const first = (slot * pool.stride) >>> 2;
    ints[first + FLOW_WORD] = 0;
    ints[first + PAYLOAD_WORD] = 0;
  }

  /** Not consumed; and if nobody consumed it at all, its source remembers that. */
  private dropped(pool: SlotPool, slot: number, account: Account, status: number): void {
    account.dropped(status);
    if (pool.states[slot] === 0) account.refused(pool.tokenOf(slot), status);
  }

  /** Slots lent to the application or out on links. */
  get out(): number {
    return this.classes.reduce((sum, pool) => sum + pool.slots - pool.freeCount, 0);
  }

  /** Unmaps as soon as no slot is out: never under a handle that somebody holds. */
  close(): void {
    this.closing = true;
    this.cameHome();
  }

  cameHome(): void {
    if (!this.closing || this.out > 0) return;
    for (const pool of this.classes) pool.mapping.unmap();
  }
}
