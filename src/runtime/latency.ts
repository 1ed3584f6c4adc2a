// A histogram of latencies as the engine counts them, told as a few figures. Pure.
import type { LatencyReport } from "./api.ts";

/** Bucket i counts what took less than 2^(i + 1) microseconds; the last, all that took longer than the one before. */
export function latencyReport(buckets: ReadonlyArray<number>): LatencyReport {
  const count = buckets.reduce((sum, more) => sum + more, 0);
  /** What so large a part took less than; null: longer than the last bound. */
  const below = (part: number): number | null => {
    let seen = 0;
    for (const [i, more] of buckets.entries()) {
      seen += more;
      if (seen >= count * part) return i === buckets.length - 1 ? null : 2 ** (i + 1);
    }
    return null;
  };
  return { count, p50BelowUs: below(0.5), p99BelowUs: below(0.99), p999BelowUs: below(0.999), buckets };
}
