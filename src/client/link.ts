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
// Constants of the hot path are copied into the module: a property of an imported object is loaded every time.
const { ENTRY_MASK, STATUS_SHIFT, STATUS_MASK } = RETURN;
const { FLAGS_SHIFT } = DESCRIPTOR;
/** A place carries its pool where a descriptor does. */
const POOL_BITS = DESCRIPTOR.POOL_MASK << DESCRIPTOR.POOL_SHIFT;

/**
 * A word that the other side stores atomically. V8 calls a function for Atomics.load (10 ns); on x64 a plain load of an
 * aligned word is never torn nor moved before or behind the loads and calls around it, and what it reads orders what follows.
 */
export const load: (words: Int32Array, at: number) => number =
  process.arch === "x64" ? (words, at) => words[at] as number : (words, at) => Atomics.load(words, at);

/** Where what a producer gave out comes back to. */
export interface Home {
  /**
   * `place`: pool << PLACE_SHIFT | slot. `status` is what the consumer wrote: any byte is possible. Called in the middle
   * of a reclaim: not to touch the link.
   */
  comeHome(place: number, context: number, status: number): void;
}
/** A slot of a pool as one number. */
export const PLACE_SHIFT = 16;
export const PLACE_MASK = 0xffff;

export class LinkProducer {
  readonly entries: number;
  /** Entries that can be pushed now, as far as is known without a look at the returns. */
  credits: number;
  /** Returns taken by the last `reclaim`, those before a fault too. */
  reclaimed = 0;
  private readonly words: Int32Array;
  private readonly mask: number;
  private readonly returns: number;
  private tail = 0;
  private published = 0;
  private returnHead = 0;
  /** A stack of `credits` entries: the one that came back last is used first, 0 first of all. */
  private readonly freeEntries: Uint16Array;
  /** Two words an entry: place + 1 (0: not live), context. */
  private readonly shadow: Int32Array;

  constructor(words: Int32Array, entries: number) {
    checkShape(words, entries);
    this.words = words;
    this.entries = entries;
    this.mask = entries - 1;
    this.returns = RING + entries * (LINK.DESCRIPTOR_BYTES >>> 2);
    this.credits = entries;
    this.freeEntries = new Uint16Array(entries);
    for (let i = 0; i < entries; i++) this.freeEntries[i] = entries - 1 - i;
    this.shadow = new Int32Array(2 * entries);
  }

  /** Pushed and not back. */
  get live(): number {
    return this.entries - this.credits;
  }
  get unpublished(): number {
    return (this.tail - this.published) | 0;
  }

  /**
   * Takes a credit and writes a descriptor, not yet visible. `route`: channel index | source index << 16. Returns the
   * entry, or AGAIN.
   */
  push(place: number, context: number, offset: number, length: number, route: number, flags: number): number {
    if (this.credits === 0) return AGAIN;
    const entry = this.freeEntries[--this.credits] as number;
    const { shadow, words } = this;
    shadow[2 * entry] = (place + 1) | 0;
    shadow[2 * entry + 1] = context | 0;
    const at = RING + ((this.tail & this.mask) << 2);
    this.tail = (this.tail + 1) | 0;
    // The place is free: what was read from it last was taken before the credit used now came back.
    words[at] = entry | (place & POOL_BITS) | (flags << FLAGS_SHIFT);
    words[at + 1] = offset | 0;
    words[at + 2] = length | 0;
    words[at + 3] = route | 0;
    return entry;
  }

  /** Live entries with slots of a pool. Looks at all entries. */
  holding(pool: number): number {
    return this.countLive((place) => (place - 1) >>> PLACE_SHIFT === pool);
  }
  /** Live entries that were pushed with a context. Looks at all entries. */
  holdingOf(context: number): number {
    return this.countLive((_, of) => of === context);
  }
  private countLive(counts: (place: number, context: number) => boolean): number {
    const { shadow } = this;
    let count = 0;
    for (let entry = 0, left = this.live; left > 0; entry++) {
      const place = shadow[2 * entry] as number;
      if (place === 0) continue;
      left--;
      if (counts(place, shadow[2 * entry + 1] as number)) count++;
    }
    return count;
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
    return load(this.words, RETURN_TAIL) !== this.returnHead;
  }

  /** Takes up to `max` returns; FAULT when there are more than live entries, or one is not live. */
  reclaim(home: Home, max: number): number {
    this.reclaimed = 0;
    const { words, mask, returns, shadow, freeEntries } = this;
    // Pairs with the consumer's store of the return tail in `publish`.
    let waiting = (load(words, RETURN_TAIL) - this.returnHead) >>> 0;
    if (waiting > this.live) return FAULT;
    if (waiting > max) waiting = max;
    let taken = 0;
    for (; taken < waiting; taken++) {
      const word = words[returns + ((this.returnHead + taken) & mask)] as number;
      const entry = word & ENTRY_MASK;
      const place = entry < this.entries ? (shadow[2 * entry] as number) : 0;
      if (place === 0) break;
      shadow[2 * entry] = 0;
      freeEntries[this.credits + taken] = entry;
      home.comeHome(place - 1, shadow[2 * entry + 1] as number, (word >>> STATUS_SHIFT) & STATUS_MASK);
    }
    this.returnHead = (this.returnHead + taken) | 0;
    this.credits += taken;
    this.reclaimed = taken;
    return taken === waiting ? taken : FAULT;
  }

  /** Everything live comes back as ABANDONED, up to `max`, in the order of entries. The link carries nothing afterwards. */
  abandon(home: Home, max: number): number {
    const { shadow } = this;
    let count = 0;
    for (let entry = 0; entry < this.entries && count < max && this.live > 0; entry++) {
      const place = shadow[2 * entry] as number;
      if (place === 0) continue;
      shadow[2 * entry] = 0;
      this.freeEntries[this.credits++] = entry;
      count++;
      home.comeHome(place - 1, shadow[2 * entry + 1] as number, STATUS.ABANDONED);
    }
    return count;
  }
}

export class LinkConsumer {
  readonly entries: number;
  /** For reading descriptors, each word once: another may be there the next moment. */
  readonly words: Int32Array;
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

  /** How many descriptors can be taken; one load when the known ones are used up. FAULT: a tail outside its window. */
  available(): number {
    const { head } = this;
    if (this.cachedTail !== head) return (this.cachedTail - head) >>> 0;
    // Pairs with the producer's store of the forward tail in `publish`.
    const tail = load(this.words, FORWARD_TAIL);
    const count = (tail - head) >>> 0;
    if (count > this.entries - ((head - this.returnTail) | 0)) return FAULT;
    this.cachedTail = tail;
    return count;
  }

  /** Where in `words` the next descriptor lies, one of those that `available` counted. */
  position(): number {
    return RING + ((this.head & this.mask) << 2);
  }
  /** It has been read, and its entry is one of this link's: it is taken. Otherwise the link must be closed. */
  advance(): void {
    this.head = (this.head + 1) | 0;
  }

  /** Gives one taken entry back, not yet visible. Order is free; every taken entry exactly once. */
  giveBack(entry: number, status: number): void {
    // The place is free: there are never more returns under way than credits.
    this.words[this.returns + (this.returnTail & this.mask)] = entry | (status << STATUS_SHIFT);
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
