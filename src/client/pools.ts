// A session's own pools on one stream: size classes with private LIFO stacks of free slots, and for each slot on how many
// links it is out. Nothing of this lies in shared memory. Slots are lent to the application as one reused handle each.

import type { Mapping } from "../native/views.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { POOL, STATUS } from "../protocol/layout.ts";
import { type Area, areaOf } from "../protocol/msgpack-encode.ts";
import type { SlotBuffer } from "./api.ts";
import type { Home } from "./link.ts";

/** What a pool tells the source whose message comes home. */
export interface Account {
  /** (message, consumer) pairs that have come back, for whatever reason. */
  back: number;
  dropped(status: number): void;
  /** No consumer took the message of this token. */
  refused(token: number, status: number): void;
}

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
  /** On how many links the slot is out. */
  readonly refs: Int32Array;
  /** How many consumers its message was meant for, and how many did not take it. */
  readonly fan: Int32Array;
  readonly drops: Int32Array;
  readonly tokens: Float64Array;
  readonly contexts: Int32Array;
  private readonly handles: Slot[] = [];
  private readonly stride: number;
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
    for (let i = 0; i < info.slots; i++) this.free[i] = info.slots - 1 - i;
    this.refs = new Int32Array(info.slots);
    this.fan = new Int32Array(info.slots);
    this.drops = new Int32Array(info.slots);
    this.tokens = new Float64Array(info.slots);
    this.contexts = new Int32Array(info.slots);
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
    slot.lent = true;
    return slot;
  }

  private handle(index: number): Slot {
    const slot = new Slot(this.owner, this, index, index * this.stride + POOL.HEADER_ROOM);
    // Filled in the order of first use: an array without holes.
    while (this.handles.length < index) {
      const at = this.handles.length;
      this.handles.push(new Slot(this.owner, this, at, at * this.stride + POOL.HEADER_ROOM));
    }
    this.handles[index] = slot;
    return slot;
  }
}

/** See SlotBuffer. `using` after emit is harmless; a handle kept after emit may belong to a later message. */
export class Slot implements SlotBuffer {
  readonly pools: StreamPools;
  readonly pool: SlotPool;
  readonly index: number;
  readonly offset: number;
  length = 0;
  /** What was asked for. */
  limit = 0;
  lent = false;

  constructor(pools: StreamPools, pool: SlotPool, index: number, offset: number) {
    this.pools = pools;
    this.pool = pool;
    this.index = index;
    this.offset = offset;
  }

  get memory(): Uint8Array {
    return this.pool.memory;
  }
  get words(): Uint32Array {
    return this.pool.words;
  }
  get bytes(): Uint8Array {
    return this.pool.memory.subarray(this.offset, this.offset + Math.min(this.length, this.limit));
  }

  [Symbol.dispose](): void {
    if (!this.lent) return;
    this.lent = false;
    this.pool.free[this.pool.freeCount++] = this.index;
    this.pools.cameHome();
  }
}

export class StreamPools implements Home {
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
    if (bytes <= this.lowestPayload) return this.first;
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

  comeHome(poolIndex: number, slot: number, context: number, status: number): void {
    const pool = this.byIndex[poolIndex] as SlotPool;
    const account = this.accounts[context] as Account;
    account.back++;
    if (status !== STATUS.DONE) {
      account.dropped(status);
      (pool.drops[slot] as number)++;
    }
    const refs = (pool.refs[slot] as number) - 1;
    pool.refs[slot] = refs;
    if (refs !== 0) return;
    pool.free[pool.freeCount++] = slot;
    if (pool.drops[slot] !== 0 && pool.drops[slot] === pool.fan[slot]) {
      account.refused(pool.tokens[slot] as number, status);
    }
    if (this.closing) this.cameHome();
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
