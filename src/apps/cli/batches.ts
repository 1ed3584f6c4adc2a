// How many messages share a datagram, as engines count it: the histogram that `insane status` and `insane top` show.
import { short } from "./render.ts";

type Counters = Readonly<Record<string, number>>;

/** Lower bounds of the buckets, each up to the next. */
const BUCKETS = [2, 4, 8, 16, 32, 64, 128] as const;
const name = (direction: string, bucket: number): string => `${direction}_batches_${bucket}`;

export const BATCH_SIZES = ["1", ...BUCKETS.map((from) => (from === 128 ? "128+" : `${from}-${2 * from - 1}`))];

/** Counters that are buckets. */
export const isBucket = (counter: string): boolean => /^[tr]x_batches_\d+$/.test(counter);

/** Datagrams sent, by the number of messages in them. */
export const sentBatches = (counters: Counters): number[] => [
  Math.max(0, (counters["tx_messages"] ?? 0) - (counters["tx_coalesced"] ?? 0)),
  ...BUCKETS.map((bucket) => counters[name("tx", bucket)] ?? 0),
];

/** The same of those received; how many came alone is not counted. */
export const receivedBatches = (counters: Counters): Array<number | undefined> => [
  undefined,
  ...BUCKETS.map((bucket) => counters[name("rx", bucket)] ?? 0),
];

/** The part of each size in what was sent between two looks at an engine: "1: 12 %, 16-31: 88 %"; "": nothing was. */
export function batchShares(before: Counters, after: Counters): string {
  const earlier = sentBatches(before);
  const counts = sentBatches(after).map((count, i) => Math.max(0, count - (earlier[i] ?? 0)));
  const all = counts.reduce((sum, count) => sum + count, 0);
  return counts
    .flatMap((count, i) => (count === 0 ? [] : [`${BATCH_SIZES[i]}: ${Math.round((100 * count) / all)} %`]))
    .join(", ");
}

/** Rows of a table: an engine and a direction each, where any datagram was shared. */
export function batchRows(engine: string, counters: Counters): string[][] {
  const cells = (counts: ReadonlyArray<number | undefined>): string[] =>
    counts.map((count) => (count === undefined ? "" : short(count)));
  const shared = (counts: ReadonlyArray<number | undefined>): boolean => counts.slice(1).some((count) => count !== 0);
  const sent = sentBatches(counters);
  const received = receivedBatches(counters);
  return [
    ...(shared(sent) ? [[engine, "sent", ...cells(sent)]] : []),
    ...(shared(received) ? [[engine, "received", ...cells(received)]] : []),
  ];
}
