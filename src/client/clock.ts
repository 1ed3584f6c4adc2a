// Time of emission and receipt: nanoseconds since 1970 from the monotonic clock, anchored to the host's time and
// anchored again now and then, so that it follows corrections. One reading costs what performance.now costs (40 ns).

/** Reads CLOCK_REALTIME in nanoseconds. */
export type RealTime = () => bigint;

const ANCHOR_EVERY_MS = 1000;
/** The global of this name is a getter that is looked up every time. */
const { performance } = globalThis;
const HIGH = 0x100000000;

export class Clock {
  /** Of the last `stamp`: nanoseconds since 1970, the two halves as they go into an Int32Array. */
  low = 0;
  high = 0;
  private readonly realTime: RealTime;
  /** performance.now() of the anchor, and what time it was then: whole units of 2^32 ns, and the rest in ns. */
  private anchor = Number.NEGATIVE_INFINITY;
  private anchorHigh = 0;
  private anchorLow = 0;
  private anchorMs = 0;

  constructor(realTime: RealTime) {
    this.realTime = realTime;
  }

  /** Takes the time into `low` and `high`. */
  stamp(): void {
    const now = performance.now();
    if (now - this.anchor > ANCHOR_EVERY_MS) this.drop(now);
    const low = this.anchorLow + (now - this.anchor) * 1e6;
    // Anchors are so frequent that it carries once at most.
    this.high = (low < HIGH ? this.anchorHigh : this.anchorHigh + 1) | 0;
    this.low = low | 0;
  }

  /** Milliseconds since 1970 with fractions. */
  milliseconds(): number {
    const now = performance.now();
    if (now - this.anchor > ANCHOR_EVERY_MS) this.drop(now);
    return this.anchorMs + (now - this.anchor);
  }

  private drop(now: number): void {
    const before = performance.now();
    const real = this.realTime();
    const after = performance.now();
    // As if both clocks had been read in the middle, then back to `now`, which is not later than either.
    const ns = real - BigInt(Math.round(((before + after) / 2 - now) * 1e6));
    this.anchor = now;
    this.anchorHigh = Number(ns >> 32n);
    this.anchorLow = Number(ns & 0xffffffffn);
    this.anchorMs = Number(ns / 1000000n) + Number(ns % 1000000n) / 1e6;
  }
}
