// The two ends of a link in plain JavaScript over the shared segment: the same algorithm, operation by operation, as
// src/native/core/link.h, and a test holds one against the other. Private indices, private shadow; everything read from
// the segment is copied once, then checked. One thread a side. Atomics cost 10 ns each: one load or store a burst.
import { DESCRIPTOR, LINK, linkBytes, RETURN, STATUS } from "../protocol/layout.ts";

/** Instead of a count or an entry: no credit. */
export const AGAIN = -1;
/** Instead of a count: the other end broke the contract; the link must be closed. */
export const FAULT = -2;

const FORWARD_TAIL = LINK.FORWARD_TAIL >>> 2;
const RETURN_TAIL = LINK.RETURN_TAIL >>> 2;
const RING = LINK.RING >>> 2;

/** Where what a producer gave out comes back to. */
export interface Home {
  /** `status` is what the consumer wrote: any byte is possible. */
  comeHome(pool: number, slot: number, context: number, status: number): void;
}

export class LinkProducer {
  readonly entries: number;
  /** Pushed and not back. */
  live = 0;
  /** Returns taken by the last `reclaim`, those before a fault too. */
  reclaimed = 0;
  private readonly words: Int32Array;
  private readonly mask: number;
  private readonly returns: number;
  private tail = 0;
  private published = 0;
  private returnHead = 0;
  private freeCount: number;
  /** A stack: the entry that came back last is used first, 0 first of all. */
  private readonly freeEntries: Uint16Array;
  private readonly slots: Int32Array;
  private readonly contexts: Int32Array;
  private readonly pools: Uint8Array;
  private readonly lives: Uint8Array;

  constructor(words: Int32Array, entries: number) {
    checkShape(words, entries);
    this.words = words;
    this.entries = entries;
    this.mask = entries - 1;
    this.returns = RING + entries * (LINK.DESCRIPTOR_BYTES >>> 2);
    this.freeCount = entries;
    this.freeEntries = new Uint16Array(entries);
    for (let i = 0; i < entries; i++) this.freeEntries[i] = entries - 1 - i;
    this.slots = new Int32Array(entries);
    this.contexts = new Int32Array(entries);
    this.pools = new Uint8Array(entries);
    this.lives = new Uint8Array(entries);
  }

  /** Entries that can be pushed now, as far as is known without a look at the returns. */
  get credits(): number {
    return this.freeCount;
  }
  get unpublished(): number {
    return (this.tail - this.published) | 0;
  }

  /** Takes a credit and writes a descriptor, not yet visible. Returns the entry, or AGAIN. */
  push(
    pool: number,
    slot: number,
    context: number,
    offset: number,
    length: number,
    channel: number,
    source: number,
    flags: number,
  ): number {
    if (this.freeCount === 0) return AGAIN;
    const entry = this.freeEntries[--this.freeCount] as number;
    this.slots[entry] = slot;
    this.contexts[entry] = context;
    this.pools[entry] = pool;
    this.lives[entry] = 1;
    this.live++;
    const { words } = this;
    const at = RING + ((this.tail & this.mask) << 2);
    this.tail = (this.tail + 1) | 0;
    // The place is free: what was read from it last was taken before the credit used now came back.
    words[at] = entry | ((pool & DESCRIPTOR.POOL_MASK) << DESCRIPTOR.POOL_SHIFT) | (flags << DESCRIPTOR.FLAGS_SHIFT);
    words[at + 1] = offset;
    words[at + 2] = length;
    words[at + 3] = (channel & DESCRIPTOR.CHANNEL_MASK) | (source << DESCRIPTOR.SOURCE_SHIFT);
    return entry;
  }

  /** Makes pushed descriptors visible; a full fence, too, as reading the parked word afterwards needs. Returns their number. */
  publish(): number {
    const count = (this.tail - this.published) | 0;
    if (count !== 0) {
      // Pairs with the consumer's load of the forward tail in `available`.
      Atomics.store(this.words, FORWARD_TAIL, this.tail);
      this.published = this.tail;
    }
    return count;
  }

  /** Whether `reclaim` has something to take or to complain of. */
  returned(): boolean {
    return Atomics.load(this.words, RETURN_TAIL) !== this.returnHead;
  }

  /** Takes up to `max` returns; FAULT when there are more than live entries, or one is not live. */
  reclaim(home: Home, max: number): number {
    this.reclaimed = 0;
    const { words, mask, returns, lives } = this;
    // Pairs with the consumer's store of the return tail in `publish`.
    let waiting = (Atomics.load(words, RETURN_TAIL) - this.returnHead) >>> 0;
    if (waiting > this.live) return FAULT;
    if (waiting > max) waiting = max;
    for (let i = 0; i < waiting; i++) {
      const word = words[returns + (this.returnHead & mask)] as number;
      const entry = word & RETURN.ENTRY_MASK;
      if (entry >= this.entries || lives[entry] === 0) return FAULT;
      lives[entry] = 0;
      this.freeEntries[this.freeCount++] = entry;
      this.live--;
      this.returnHead = (this.returnHead + 1) | 0;
      this.reclaimed = i + 1;
      home.comeHome(
        this.pools[entry] as number,
        this.slots[entry] as number,
        this.contexts[entry] as number,
        (word >>> RETURN.STATUS_SHIFT) & RETURN.STATUS_MASK,
      );
    }
    return waiting;
  }

  /** Everything live comes back as ABANDONED, up to `max`, in the order of entries. The link carries nothing afterwards. */
  abandon(home: Home, max: number): number {
    let count = 0;
    for (let entry = 0; entry < this.entries && count < max && this.live > 0; entry++) {
      if (this.lives[entry] === 0) continue;
      this.lives[entry] = 0;
      this.freeEntries[this.freeCount++] = entry;
      this.live--;
      count++;
      home.comeHome(
        this.pools[entry] as number,
        this.slots[entry] as number,
        this.contexts[entry] as number,
        STATUS.ABANDONED,
      );
    }
    return count;
  }
}

export class LinkConsumer {
  readonly entries: number;
  /** The descriptor taken last, checked against the ring's own shape only. */
  entry = 0;
  pool = 0;
  flags = 0;
  offset = 0;
  length = 0;
  channel = 0;
  source = 0;
  private readonly words: Int32Array;
  private readonly mask: number;
  private readonly returns: number;
  private head = 0;
  private cachedTail = 0;
  private returnTail = 0;
  private publishedReturns = 0;

  constructor(words: Int32Array, entries: number) {
    checkShape(words, entries);
    this.words = words;
    this.entries = entries;
    this.mask = entries - 1;
    this.returns = RING + entries * (LINK.DESCRIPTOR_BYTES >>> 2);
  }

  /** Taken and not given back. */
  get held(): number {
    return (this.head - this.returnTail) | 0;
  }
  get unpublished(): number {
    return (this.returnTail - this.publishedReturns) | 0;
  }

  /** How many descriptors `next` will find; one load when the known ones are used up. FAULT: a tail outside its window. */
  available(): number {
    const { head } = this;
    if (this.cachedTail !== head) return (this.cachedTail - head) >>> 0;
    // Pairs with the producer's store of the forward tail in `publish`.
    const tail = Atomics.load(this.words, FORWARD_TAIL);
    const count = (tail - head) >>> 0;
    if (count > this.entries - ((head - this.returnTail) | 0)) return FAULT;
    this.cachedTail = tail;
    return count;
  }

  /** Takes the next of those that `available` counted into the fields. FAULT when its entry is not of this link. */
  next(): number {
    const { words } = this;
    const at = RING + ((this.head & this.mask) << 2);
    const word0 = words[at] as number;
    const word3 = words[at + 3] as number;
    const entry = word0 & DESCRIPTOR.ENTRY_MASK;
    this.entry = entry;
    this.pool = (word0 >>> DESCRIPTOR.POOL_SHIFT) & DESCRIPTOR.POOL_MASK;
    this.flags = word0 >>> DESCRIPTOR.FLAGS_SHIFT;
    this.offset = (words[at + 1] as number) >>> 0;
    this.length = (words[at + 2] as number) >>> 0;
    this.channel = word3 & DESCRIPTOR.CHANNEL_MASK;
    this.source = word3 >>> DESCRIPTOR.SOURCE_SHIFT;
    if (entry >= this.entries) return FAULT;
    this.head = (this.head + 1) | 0;
    return 1;
  }

  /** Gives one taken entry back, not yet visible. Order is free; every taken entry exactly once. */
  giveBack(entry: number, status: number): void {
    // The place is free: there are never more returns under way than credits.
    this.words[this.returns + (this.returnTail & this.mask)] =
      (entry & RETURN.ENTRY_MASK) | ((status & RETURN.STATUS_MASK) << RETURN.STATUS_SHIFT);
    this.returnTail = (this.returnTail + 1) | 0;
  }

  /** Makes returns visible; a full fence, too. Returns their number. */
  publish(): number {
    const count = (this.returnTail - this.publishedReturns) | 0;
    if (count !== 0) {
      // Pairs with the producer's load of the return tail in `reclaim`.
      Atomics.store(this.words, RETURN_TAIL, this.returnTail);
      this.publishedReturns = this.returnTail;
    }
    return count;
  }
}

function checkShape(words: Int32Array, entries: number): void {
  const power = entries > 0 && (entries & (entries - 1)) === 0;
  if (!power || entries < LINK.MIN_ENTRIES || entries > LINK.MAX_ENTRIES || words.byteLength < linkBytes(entries)) {
    throw new RangeError(`a link of ${entries} entries in ${words.byteLength} bytes`);
  }
}
