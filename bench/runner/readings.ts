// From the JSON line of a measured program to measurements; throws when the program measured nothing.
import type { Measurement } from "./figures.ts";

export type Reading = (result: Record<string, number>) => Measurement[];

export const roundTrip: Reading = ({ p50, p99 }) => {
  if (p50 === undefined || p99 === undefined || !(p50 > 0)) throw new Error("no round trip was measured");
  return [{ metric: "rtt", unit: "us", p50, p99 }];
};

export const oneWay: Reading = ({ rate, goodput, loss }) => {
  if (rate === undefined || goodput === undefined || loss === undefined) throw new Error("no rate was measured");
  return [
    { metric: "rate", unit: "kmsg/s", p50: rate },
    { metric: "goodput", unit: "Gbit/s", p50: goodput },
    { metric: "loss", unit: "%", p50: loss },
  ];
};
