// What an at-least-once publisher remembers: its last messages, and how far each subscriber that joined has got. Pure: time
// is given, nothing is sent from here.
import { type Back, has, MASK_BITS } from "./kept-format.ts";

/** Subscribers of which is remembered how far they are; more are not waited for. Strangers can invent as many as they like. */
const MOST_SUBSCRIBERS = 1024;

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
  readonly #kept: Array<Uint8Array | undefined>;
  readonly #sentAt: Float64Array;
  readonly #joined = new Map<number, Joined>();

  /** A power of two or not: messages that may be unacknowledged. */
  constructor(size: number) {
    this.#size = size;
    this.#kept = new Array(size).fill(undefined);
    this.#sentAt = new Float64Array(size);
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
    let least = this.next;
    for (const { expected } of this.#joined.values()) if (expected < least) least = expected;
    return least;
  }
  get full(): boolean {
    return this.next - this.awaited >= this.#size;
  }

  /** It has been sent. */
  keep(frame: Uint8Array, now: number): void {
    // Whoever had nothing to wait for begins to wait now.
    for (const one of this.#joined.values()) if (one.expected === this.next) one.movedAt = now;
    this.#kept[this.next % this.#size] = frame;
    this.#sentAt[this.next % this.#size] = now;
    this.next++;
  }

  message(sequence: number): Uint8Array | undefined {
    return sequence >= this.oldest && sequence < this.next ? this.#kept[sequence % this.#size] : undefined;
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
      one.expected = expected;
      one.movedAt = now;
    }
    return true;
  }

  #remember(subscriber: number, from: number, now: number): void {
    if (this.#joined.size < MOST_SUBSCRIBERS) this.#joined.set(subscriber, { from, expected: from, movedAt: now });
  }

  /** What it lacks of what was not sent within `gapMs`; counted as sent now. */
  lacking(back: Back, now: number, gapMs: number): number[] {
    const missing: number[] = [];
    const end = Math.min(this.next, back.expected + MASK_BITS + 1);
    for (let at = Math.max(back.expected, this.oldest); at < end; at++) {
      if (has(back, at - back.expected) || now - (this.#sentAt[at % this.#size] as number) < gapMs) continue;
      missing.push(at);
    }
    return missing;
  }
  sentAgain(sequence: number, now: number): void {
    this.#sentAt[sequence % this.#size] = now;
  }

  leave(subscriber: number): boolean {
    return this.#joined.delete(subscriber);
  }

  /** Gives up those that have not got on for `patienceMs` though there was something to get on with. */
  expel(now: number, patienceMs: number): number[] {
    const gone: number[] = [];
    for (const [subscriber, { expected, movedAt }] of this.#joined) {
      if (expected >= this.next || now - movedAt < patienceMs) continue;
      this.#joined.delete(subscriber);
      gone.push(subscriber);
    }
    return gone;
  }
}
