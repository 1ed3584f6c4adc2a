// What a viewer sees of a stream, interval by interval: rate, throughput, latency and what is missing. Arithmetic only.
import type { ClientStats } from "../client.ts";
import type { Frame } from "../frame.ts";

export interface Interval {
  readonly fps: number;
  readonly megabytesPerSecond: number;
  /** Milliseconds from the start of capture to receipt. */
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly frames: number;
  readonly skipped: number;
  readonly overtaken: number;
  readonly lost: number;
}

type Totals = Pick<ClientStats, "received" | "bytes" | "skipped" | "overtaken" | "lost">;

export class Statistics {
  private latencies: number[] = [];
  private begun: number;
  private before: Totals = { received: 0, bytes: 0, skipped: 0, overtaken: 0, lost: 0 };

  /** `now`: ms of a clock that goes on. */
  constructor(now: number) {
    this.begun = now;
  }

  add(frame: Pick<Frame, "latencyUs">): void {
    this.latencies.push(frame.latencyUs / 1000);
  }

  /** Frames since it was last asked. */
  get pending(): number {
    return this.latencies.length;
  }

  /** Since the last time it was asked. */
  interval(now: number, totals: Totals): Interval {
    const seconds = Math.max(1e-3, (now - this.begun) / 1000);
    const { before } = this;
    const known = this.latencies.sort((a, b) => a - b);
    const at = (share: number): number => known[Math.floor(share * (known.length - 1))] ?? 0;
    const frames = totals.received - before.received;
    this.begun = now;
    this.before = { ...totals };
    this.latencies = [];
    return {
      fps: frames / seconds,
      megabytesPerSecond: (totals.bytes - before.bytes) / 1e6 / seconds,
      latencyMs: { p50: at(0.5), p99: at(0.99) },
      frames,
      skipped: totals.skipped - before.skipped,
      overtaken: totals.overtaken - before.overtaken,
      lost: totals.lost - before.lost,
    };
  }
}
