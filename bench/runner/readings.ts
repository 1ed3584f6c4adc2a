// From the JSON line of a measured program to measurements; throws when the program measured nothing.
import type { Measurement } from "./figures.ts";

export type Reading = (result: Record<string, number>) => Measurement[];

export const roundTrip: Reading = ({ p50, p99 }) => {
  if (p50 === undefined || p99 === undefined || !(p50 > 0)) throw new Error("no round trip was measured");
  return [{ metric: "rtt", unit: "us", p50, p99 }];
};

/** `cost`: of the sender, where it says so. */
export const oneWay: Reading = ({ rate, goodput, loss, cost }) => {
  if (rate === undefined || goodput === undefined || loss === undefined) throw new Error("no rate was measured");
  return [
    { metric: "rate", unit: "kmsg/s", p50: rate },
    { metric: "goodput", unit: "Gbit/s", p50: goodput },
    { metric: "loss", unit: "%", p50: loss },
    ...(cost === undefined ? [] : [{ metric: "sender-cost", unit: "ns", p50: cost } as const]),
  ];
};

/** Of a run as fast as it goes the rate received, of one with pauses the latency. */
export const frameRate: Reading = ({ fps, frames = 0, missing = 0 }) => {
  if (fps === undefined || !(fps > 0)) throw new Error("no frame was measured");
  return [
    { metric: "fps", unit: "frames/s", p50: fps },
    { metric: "loss", unit: "%", p50: (100 * missing) / (frames + missing) },
  ];
};
export const frameLatency: Reading = ({ p50, p99 }) => {
  if (p50 === undefined || p99 === undefined || !(p50 > 0)) throw new Error("no frame was measured");
  return [{ metric: "frame-latency", unit: "ms", p50, p99 }];
};
