// A subscription to a pattern over streams that the test plays: what could not be listened to once.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PatternSubscription, type SubscriptionHost } from "../../src/apps/lunar-mom/subscription.ts";
import { streamOf } from "../../src/apps/lunar-mom/topics.ts";
import { InsaneError, type NamedChannel, type Sink, type Stream } from "../../src/index.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const lane = streamOf({ kept: false, qos: {} });
const published = (sources: number): NamedChannel => ({ stream: lane, channel: 1, name: "line/1", sources, sinks: 0 });

async function stage(refusals: number) {
  const problems: string[] = [];
  let [asked, open] = [0, 0];
  const sink = { on: () => () => {}, close: async () => void open-- } as unknown as Sink;
  const stream = {
    name: lane,
    createSink: async () => {
      if (asked++ < refusals) throw new InsaneError("ETIMEDOUT", "late");
      open++;
      return sink;
    },
  } as unknown as Stream;
  const host: SubscriptionHost = {
    stream: async () => stream,
    problem: ({ code }) => void problems.push(code),
    forget: () => {},
    known: () => [],
    sources: () => 1,
  };
  const subscription = new PatternSubscription(host, "line/+", {}, () => {});
  await subscription.open(false);
  return { subscription, problems, asked: () => asked, open: () => open };
}

it("a topic that could not be listened to is tried again, and told of once", async () => {
  const { subscription, problems, asked, open } = await stage(3);
  subscription.look(published(1));
  await vi.advanceTimersByTimeAsync(100);
  expect([asked(), open()]).toEqual([1, 0]);
  // Somebody else subscribes to it: looked at again, not told again.
  subscription.look({ ...published(1), sinks: 1 });
  await vi.advanceTimersByTimeAsync(10_000);
  expect([asked(), open()]).toEqual([4, 1]);
  expect(problems).toEqual(["ETIMEDOUT"]);
  expect(subscription.topics).toEqual(["line/1"]);
  await subscription.close();
  expect(open()).toBe(0);
});

it("but not when nobody publishes it any more, or nobody wants it", async () => {
  for (const end of ["gone", "closed"] as const) {
    const { subscription, asked } = await stage(Number.POSITIVE_INFINITY);
    subscription.look(published(1));
    await vi.advanceTimersByTimeAsync(300);
    expect(asked()).toBe(2);
    if (end === "closed") await subscription.close();
    else subscription.look(published(0));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked()).toBe(2);
  }
});
