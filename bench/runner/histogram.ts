// Latencies in constant memory: exact to 1 ns below 65,536 ns, then 2,048 buckets an octave. The same buckets as
// bench/native/measure.h, so that programs in C and in JavaScript are judged alike.

const LINEAR = 65536;
const OCTAVE = 2048;

export class Histogram {
  readonly #buckets = new Uint32Array(LINEAR + 16 * OCTAVE);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds a latency given in milliseconds, the unit of `performance.now()`. */
  add(milliseconds: number): void {
    const ns = Math.min(milliseconds * 1e6, 0xffffffff) >>> 0;
    let index = ns;
    if (ns >= LINEAR) {
      const octave = 31 - Math.clz32(ns);
      index = LINEAR + (octave - 16) * OCTAVE + ((ns >>> (octave - 11)) & (OCTAVE - 1));
    }
    this.#buckets[index] = (this.#buckets[index] ?? 0) + 1;
    this.#count++;
  }

  /** Microseconds at the lower edge of the bucket that holds the quantile (0 to 1). */
  quantile(quantile: number): number {
    const rank = Math.floor(this.#count * quantile);
    let seen = 0;
    for (let i = 0; i < this.#buckets.length; i++) {
      seen += this.#buckets[i] ?? 0;
      if (seen <= rank) continue;
      if (i < LINEAR) return i / 1e3;
      const over = i - LINEAR;
      const octave = Math.floor(over / OCTAVE) + 16;
      return (2 ** octave + (over % OCTAVE) * 2 ** (octave - 11)) / 1e3;
    }
    return 0;
  }
}
