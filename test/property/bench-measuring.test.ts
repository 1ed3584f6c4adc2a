// What the benchmarks' figures rest on: quantiles, medians, counting by sequence, messages on a byte stream.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameReader, HEAD_BYTES } from "../../bench/peers/frames.ts";
import type { Benchmark } from "../../bench/runner/benchmark.ts";
import type { Figure } from "../../bench/runner/figures.ts";
import { Histogram } from "../../bench/runner/histogram.ts";
import { median, medians, ratios } from "../../bench/runner/rounds.ts";

describe("the histogram", () => {
  test("gives the quantile of the sorted samples, to one part in two thousand", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 0xffffffff }), { minLength: 1, maxLength: 50 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (nanoseconds, quantile) => {
          const histogram = new Histogram();
          for (const ns of nanoseconds) histogram.add((ns + 0.25) / 1e6);
          const sorted = nanoseconds.toSorted((a, b) => a - b);
          const exact = sorted[Math.floor(sorted.length * quantile)] as number;
          const got = histogram.quantile(quantile) * 1e3;
          expect(got).toBeLessThanOrEqual(exact + 1);
          expect(got).toBeGreaterThanOrEqual(exact * (1 - 1 / 2048) - 1);
        },
      ),
      { numRuns: 50 }, // a histogram has 100,000 buckets
    );
  });
});

describe("the frame reader", () => {
  test("finds every message however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(40), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 50 }),
        (lengths, cuts) => {
          const stream = Buffer.concat(
            lengths.map((length, sequence) => {
              const frame = Buffer.alloc(HEAD_BYTES + length, 0xee);
              frame.writeUInt32LE(length, 0);
              frame.writeUInt32LE(sequence, 4);
              return frame;
            }),
          );
          const reader = new FrameReader();
          let messages = 0;
          let last = -1;
          for (let at = 0, i = 0; at < stream.length; i++) {
            const end = at + (cuts[i % cuts.length] as number);
            reader.take(stream.subarray(at, end));
            at = end;
            if (!reader.messages) continue;
            expect(reader.first).toBe(last + 1);
            last = reader.last;
            messages += reader.messages;
          }
          expect(messages).toBe(lengths.length);
          expect(last).toBe(lengths.length - 1);
        },
      ),
    );
  });
});

describe("rounds", () => {
  test("the median lies in the middle and does not depend on the order", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(
      medians([[{ metric: "rtt", unit: "us", p50: 9, p99: 90 }], [{ metric: "rtt", unit: "us", p50: 7, p99: 99 }]]),
    ).toEqual([{ metric: "rtt", unit: "us", p50: 8, p99: 94.5 }]);
  });

  test("the first mode of insane is compared under its plain name, others under theirs, peers only with insane", () => {
    const figure = (system: string, mode: string, p50: number): Figure => ({
      bench: "x",
      system,
      datapath: "udp",
      mode,
      payload: 64,
      metric: "rtt",
      unit: "us",
      p50,
      threads: "",
      load1: 0,
    });
    const benchmark: Benchmark = {
      name: "x",
      summary: "",
      payloads: [64],
      compared: ["rtt"],
      open: () => Promise.reject(new Error("not opened here")),
    };
    const figures = [figure("insane", "inline", 5), figure("insane", "daemon", 20), figure("raw-udp-spin", "spin", 4)];
    expect(ratios(benchmark, figures)).toEqual([
      { bench: "x", ratio: "insane/raw-udp-spin", payload: 64, metric: "rtt", value: 1.25 },
      { bench: "x", ratio: "insane daemon/raw-udp-spin", payload: 64, metric: "rtt", value: 5 },
    ]);
    const modes = [
      figure("insane", "inline", 6),
      figure("insane", "inline-skb", 3),
      figure("raw-xdp", "native", 4),
      figure("raw-xdp", "skb", 2),
    ];
    expect(ratios(benchmark, modes)).toEqual([
      { bench: "x", ratio: "insane/raw-xdp", peerMode: "native", payload: 64, metric: "rtt", value: 1.5 },
      { bench: "x", ratio: "insane inline-skb/raw-xdp", peerMode: "skb", payload: 64, metric: "rtt", value: 1.5 },
    ]);
    // One that could not be measured is not replaced by another mode.
    expect(ratios(benchmark, modes.toSpliced(2, 1), modes).map(({ ratio }) => ratio)).toEqual([
      "insane inline-skb/raw-xdp",
    ]);
  });
});
