// How the Node programs of a benchmark measure and report: round trips one at a time, or arrivals in a window that
// begins when the warm-up after the first arrival is over. Imports nothing of INSANE.
import { writeSync } from "node:fs";
import { Histogram } from "../runner/histogram.ts";

/** The global of this name is a getter that is looked up every time. */
const { performance } = globalThis;

/** A line for the runner, written before anything else can happen. */
export function say(what: string | Record<string, number>): void {
  writeSync(1, `${typeof what === "string" ? what : JSON.stringify(what)}\n`);
}

/** Round trips, one at a time. */
export class Stopwatch {
  readonly #histogram = new Histogram();
  readonly #from: number;
  readonly #until: number;
  #started = 0;

  constructor(warmup: number, seconds: number) {
    this.#from = performance.now() + warmup * 1e3;
    this.#until = this.#from + seconds * 1e3;
  }

  /** When the round trip under way began, in the time of `performance.now()`. */
  get started(): number {
    return this.#started;
  }

  start(): void {
    this.#started = performance.now();
  }

  /**
   * A round trip is over, and the next one begins: as in the C programs one reading of the clock does for both. False when
   * the measured time is over and something was measured.
   */
  stop(): boolean {
    const now = performance.now();
    if (this.#started >= this.#from) this.#histogram.add(now - this.#started);
    this.#started = now;
    return now < this.#until || this.#histogram.count === 0;
  }

  result(): Record<string, number> {
    return { p50: this.#histogram.quantile(0.5), p99: this.#histogram.quantile(0.99), count: this.#histogram.count };
  }
}

/** What a sender's process spends on a message in a window as long as the receiver's, as bench/native/measure.h. */
export class SenderCost {
  readonly #from: number;
  #until: number;
  #used: NodeJS.CpuUsage | undefined;
  #first = 0;

  constructor(warmup: number, seconds: number) {
    this.#from = performance.now() + warmup * 1e3;
    this.#until = this.#from + seconds * 1e3;
  }

  /** So many (u32) were sent by now, a time that it gives back; when the window is over it says what they cost. */
  sent(count: number): number {
    const now = performance.now();
    if (now < this.#from) return now;
    if (this.#used === undefined) {
      this.#used = process.cpuUsage();
      this.#first = count;
    } else if (now >= this.#until && count !== this.#first) {
      const { user, system } = process.cpuUsage(this.#used);
      say({ cost: ((user + system) * 1e3) / ((count - this.#first) >>> 0) });
      this.#until = Number.POSITIVE_INFINITY;
    }
    return now;
  }
}

/** Arrivals, counted by their sequence numbers (u32, rising by one a message). */
export class Counter {
  readonly #payload: number;
  readonly #warmup: number;
  readonly #seconds: number;
  #from = 0;
  #until = 0;
  #last = 0;
  #messages = 0;
  #firstSequence = 0;
  #lastSequence = 0;
  #measuring = false;

  constructor(payload: number, warmup: number, seconds: number) {
    this.#payload = payload;
    this.#warmup = warmup * 1e3;
    this.#seconds = seconds * 1e3;
  }

  /** A burst that arrived together, first and last sequence and how many. False when the measured time is over. */
  arrived(first: number, last: number, messages: number): boolean {
    const now = performance.now();
    if (!this.#from) {
      this.#from = now + this.#warmup;
      this.#until = this.#from + this.#seconds;
    }
    if (now < this.#from) return true;
    if (!this.#measuring) {
      this.#measuring = true;
      this.#from = now;
      this.#lastSequence = last;
      this.#firstSequence = last + 1;
      return true;
    }
    // Counted before the end is looked at: the last burst's time is part of the window.
    this.#messages += messages;
    this.#lastSequence = last;
    this.#last = now;
    if (first > last) throw new Error(`sequence went back from ${first} to ${last}`);
    return now < this.#until || this.#messages === 0;
  }

  result(): Record<string, number> {
    const seconds = (this.#last - this.#from) / 1e3;
    const rate = this.#messages / seconds;
    return {
      rate: rate / 1e3,
      goodput: (rate * this.#payload * 8) / 1e9,
      loss: 100 * (1 - this.#messages / (this.#lastSequence - this.#firstSequence + 1)),
      count: this.#messages,
    };
  }
}
