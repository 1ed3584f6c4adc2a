// What an at-least-once publisher remembers: its last messages, and how far each subscriber that joined has got. Pure: time
// is given, nothing is sent from here.
import { type Back, has, MASK_BITS } from "./kept-format.ts";

/** Subscribers of which is remembered how far they are; more are not waited for. Strangers can invent as many as they like. */
const MOST_SUBSCRIBERS = 1024;
/** Bytes of the smallest memory of a message, and of what is kept whatever follows. */
const SMALL = 64;
const LARGE = 4096;

interface Joined {
  /** Where it began: answered again to a join that comes again. */
  readonly from: number;
  expected: number;
  /** When it last got on, or had nothing to wait for, ms. */
  movedAt: number;
}

export class ReplayWindow {
  /** The number of the next message. */
  next = 0;
  readonly #size: number;
  /** Of memory: one more, so that a message which could not be sent has taken the place of none that may be asked for. */
  readonly #places: number;
  /** Memory of the messages, used again by those that come after; only the first `#lengths` bytes of each count. */
  readonly #kept: Array<Uint8Array | undefined>;
  readonly #lengths: Float64Array;
  readonly #sentAt: Float64Array;
  readonly #joined = new Map<number, Joined>();
  /** No subscriber has got further. */
  #most = 0;
  /** The first message that one of them has not acknowledged; Infinity: nobody has joined. */
  #least = Number.POSITIVE_INFINITY;

  /** A power of two or not: messages that may be unacknowledged. */
  constructor(size: number) {
    this.#size = size;
    this.#places = size + 1;
    this.#kept = new Array(size + 1).fill(undefined);
    this.#lengths = new Float64Array(size + 1);
    this.#sentAt = new Float64Array(size + 1);
  }

  get subscribers(): number {
    return this.#joined.size;
  }
  /** The oldest message that is still here. */
  get oldest(): number {
    return Math.max(0, this.next - this.#size);
  }
  /** The first that somebody has not acknowledged. */
  get awaited(): number {
    return Math.min(this.#least, this.next);
  }
  get full(): boolean {
    return this.next - this.awaited >= this.#size;
  }
  /** Whether the next message is to be acknowledged as soon as it is there, so that the window does not stand still. */
  get asks(): boolean {
    const size = this.#size;
    const quarter = Math.max(1, size >>> 2);
    return this.next % quarter === quarter - 1 || this.next + 1 - this.awaited >= size;
  }

  /** The next message, which lies there and is about to be sent; it counts when it has been, see `sent`. */
  keep(memory: Uint8Array, offset: number, length: number): void {
    const at = this.next % this.#places;
    let kept = this.#kept[at];
    // Memory of a message that was much larger than they are now is not held for ever.
    if (kept === undefined || kept.length < length || kept.length > Math.max(LARGE, 4 * length)) {
      kept = new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(SMALL, length))));
      this.#kept[at] = kept;
    }
    kept.set(memory.subarray(offset, offset + length));
    this.#lengths[at] = length;
  }
  sent(now: number): void {
    // Whoever had nothing to wait for begins to wait now; seldom somebody has when there is much to send.
    if (this.#most === this.next) {
      for (const one of this.#joined.values()) if (one.expected === this.next) one.movedAt = now;
    }
    this.#sentAt[this.next % this.#places] = now;
    this.next++;
  }

  /** Until the next one is kept in its place. */
  message(sequence: number): Uint8Array | undefined {
    if (sequence < this.oldest || sequence >= this.next) return undefined;
    const at = sequence % this.#places;
    return this.#kept[at]?.subarray(0, this.#lengths[at]);
  }

  /** From which message on it gets all. */
  join(subscriber: number, wantsLast: boolean, now: number): number {
    const known = this.#joined.get(subscriber);
    if (known !== undefined) return known.from;
    const from = wantsLast && this.next > 0 ? this.next - 1 : this.next;
    this.#remember(subscriber, from, now);
    return from;
  }

  /** Takes an acknowledgement; false: of somebody who was given up, and for whom it is too late. */
  acknowledged({ subscriber, expected }: Back, now: number): boolean {
    const one = this.#joined.get(subscriber);
    if (expected > this.next) return true;
    if (one === undefined) {
      if (expected < this.oldest) return false;
      this.#remember(subscriber, expected, now);
    } else if (expected > one.expected) {
      const was = one.expected;
      one.expected = expected;
      this.#most = Math.max(this.#most, expected);
      one.movedAt = now;
      if (was === this.#least) this.#lookForLeast();
    }
    return true;
  }

  #lookForLeast(): void {
    this.#least = Number.POSITIVE_INFINITY;
    for (const { expected } of this.#joined.values()) if (expected < this.#least) this.#least = expected;
  }

  #remember(subscriber: number, from: number, now: number): void {
    if (this.#joined.size >= MOST_SUBSCRIBERS) return;
    this.#joined.set(subscriber, { from, expected: from, movedAt: now });
    this.#least = Math.min(this.#least, from);
    this.#most = Math.max(this.#most, from);
  }

  /** What it lacks of what was not sent within `gapMs`; counted as sent now. */
  lacking(back: Back, now: number, gapMs: number): number[] {
    const missing: number[] = [];
    const end = Math.min(this.next, back.expected + MASK_BITS + 1);
    for (let at = Math.max(back.expected, this.oldest); at < end; at++) {
      if (has(back, at - back.expected) || now - (this.#sentAt[at % this.#places] as number) < gapMs) continue;
      missing.push(at);
    }
    return missing;
  }
  sentAgain(sequence: number, now: number): void {
    this.#sentAt[sequence % this.#places] = now;
  }

  leave(subscriber: number): boolean {
    const known = this.#joined.delete(subscriber);
    this.#lookForLeast();
    return known;
  }

  /** Gives up those that have not got on for `patienceMs` though there was something to get on with. */
  expel(now: number, patienceMs: number): number[] {
    const gone: number[] = [];
    for (const [subscriber, { expected, movedAt }] of this.#joined) {
      if (expected >= this.next || now - movedAt < patienceMs) continue;
      this.#joined.delete(subscriber);
      gone.push(subscriber);
    }
    if (gone.length > 0) this.#lookForLeast();
    return gone;
  }
}
