// A subscription: for each topic that its pattern matches a tap, that is a sink, on each lane on which somebody publishes.
// Taps come and go with the directory; a handler is called from the sinks, an iterator is fed from a queue of bounded length.
import { InsaneError, type Message, type NamedChannel, type Sink, type Stream } from "../../index.ts";
import type { Handler, SubscribeOptions, Subscription, SubscriptionStats, TopicMessage } from "./api.ts";
import { KeptReader } from "./kept-reader.ts";
import { Borrowed, Copied } from "./message.ts";
import { channelOf, type Lane, laneOf, matches, streamOf } from "./topics.ts";

/** How long a tap stays after the last publisher has gone, ms: what was sent last may be under way. */
const LINGER_MS = 1000;
const DEPTH = 256;
/** A topic that could not be listened to is tried again after this, then after twice as long, at most the second, ms. */
const AGAIN_MS = 250;
const AGAIN_MOST_MS = 8000;

/** What a subscription needs of its Lunar. */
export interface SubscriptionHost {
  stream(lane: Lane): Promise<Stream>;
  problem(error: InsaneError): void;
  forget(subscription: PatternSubscription): void;
  known(): Iterable<NamedChannel>;
  /** Publishers of a topic that the directory knows there. */
  sources(stream: string, topic: string): number;
}

interface Tap {
  readonly topic: string;
  /** Stays without publishers: it is where the subscriber wants to be found. */
  readonly own: boolean;
  readonly opening: Promise<void>;
  sink: Sink | null;
  reader: KeptReader | null;
  leaving: NodeJS.Timeout | null;
}

export class PatternSubscription implements Subscription {
  readonly pattern: string;
  private readonly host: SubscriptionHost;
  private readonly options: SubscribeOptions;
  private readonly handler: Handler | undefined;
  private readonly taps = new Map<string, Tap>();
  /** What could not be opened and is tried again: limits are given back, a busy runtime answers later. */
  private readonly again = new Map<string, NodeJS.Timeout>();
  /** Of these it was told that they could not be opened: once, however often they are tried. */
  private readonly told = new Set<string>();
  private readonly queue: TopicMessage[] = [];
  private readonly waiters: Array<() => void> = [];
  private received = 0;
  private dropped = 0;
  private lost = 0;
  /** Of readers that are gone. */
  private repeated = 0;
  private closing: Promise<void> | undefined;

  constructor(host: SubscriptionHost, pattern: string, options: SubscribeOptions, handler?: Handler) {
    this.host = host;
    this.pattern = pattern;
    this.options = options;
    this.handler = handler;
  }

  /** Resolves when it listens to everybody who is known. */
  async open(exact: boolean): Promise<void> {
    const { qos = {}, delivery = "best-effort", last = false } = this.options;
    const lane: Lane = { kept: delivery === "at-least-once" || last, qos };
    const own = exact ? this.tap(streamOf(lane), lane, this.pattern, true).opening : undefined;
    own?.catch(() => {});
    for (const channel of this.host.known()) this.look(channel);
    const taps = [...this.taps.values()];
    // One of several topics that cannot be listened to is told as a problem; the one that was asked for is an error.
    await Promise.allSettled(taps.map((tap) => tap.opening));
    await own;
    await Promise.all(taps.map((tap) => tap.reader?.joined));
  }

  /** The directory says how a channel is now. */
  look({ stream, name, sources }: NamedChannel): void {
    const lane = laneOf(stream);
    if (lane === null || !matches(this.pattern, name) || this.closing !== undefined) return;
    const key = `${stream}\n${name}`;
    const tap = this.taps.get(key);
    if (tap !== undefined) {
      tap.reader?.publishers(sources);
      if (sources > 0 && tap.leaving !== null) {
        clearTimeout(tap.leaving);
        tap.leaving = null;
      } else if (sources === 0 && !tap.own) {
        tap.leaving ??= setTimeout(() => void this.untap(key, tap), LINGER_MS).unref();
      }
    } else {
      this.calm(key);
      if (sources > 0) this.begin(key, stream, lane, name, AGAIN_MS);
      else this.told.delete(key);
    }
  }

  private begin(key: string, stream: string, lane: Lane, topic: string, gapMs: number): void {
    const tap = this.tap(stream, lane, topic, false);
    const opened = (): void => void this.told.delete(key);
    tap.opening.then(opened, (error) => {
      // Its publishers may have gone and come meanwhile.
      if (this.taps.get(key) !== tap) return;
      this.taps.delete(key);
      if (this.closing !== undefined) return;
      if (!this.told.has(key)) {
        this.told.add(key);
        this.host.problem(error);
      }
      const timer = setTimeout(() => {
        this.again.delete(key);
        this.begin(key, stream, lane, topic, Math.min(2 * gapMs, AGAIN_MOST_MS));
      }, gapMs);
      this.again.set(key, timer.unref());
    });
  }
  private calm(key: string): void {
    clearTimeout(this.again.get(key));
    this.again.delete(key);
  }

  private tap(stream: string, lane: Lane, topic: string, own: boolean): Tap {
    const tap: { -readonly [K in keyof Tap]: Tap[K] } = {
      topic,
      own,
      opening: Promise.resolve(),
      sink: null,
      reader: null,
      leaving: null,
    };
    this.taps.set(`${stream}\n${topic}`, tap);
    tap.opening = this.openTap(tap, lane);
    return tap;
  }

  private async openTap(tap: Tap, lane: Lane): Promise<void> {
    const { topic } = tap;
    const { policy = { kind: "drop-newest" }, last = false } = this.options;
    const stream = await this.host.stream(lane);
    if (this.closing !== undefined) return;
    const deliver = this.delivery();
    let take: (message: Message) => void;
    if (lane.kept) {
      const reader = new KeptReader(topic, last, deliver, (error) => this.host.problem(error));
      tap.reader = reader;
      await reader.open(stream);
      take = (message) => {
        reader.take(message);
        message.release();
      };
    } else {
      const handle = new Borrowed(topic, 0);
      take = (message) => {
        handle.message = message;
        deliver(handle);
        message.release();
      };
    }
    try {
      tap.sink = await stream.createSink(channelOf(topic), { policy, name: topic }, take);
    } catch (error) {
      await tap.reader?.close();
      throw error;
    }
    tap.sink.on("lost", ({ count }) => {
      // What a kept topic lost is sent again.
      if (!lane.kept) this.lost += count;
    });
    tap.reader?.publishers(this.host.sources(stream.name, topic));
    if (this.closing !== undefined) await tap.sink.close();
  }

  private async untap(key: string, tap: Tap): Promise<void> {
    this.taps.delete(key);
    await this.closeTap(tap);
  }
  private async closeTap(tap: Tap): Promise<void> {
    if (tap.leaving !== null) clearTimeout(tap.leaving);
    await tap.opening.catch(() => {});
    await tap.reader?.close();
    this.repeated += tap.reader?.repeated ?? 0;
    tap.reader = null;
    await tap.sink?.close();
  }

  private delivery(): Handler {
    const { handler } = this;
    if (handler !== undefined) {
      return (message) => {
        this.received++;
        handler(message);
      };
    }
    const { depth = DEPTH } = this.options;
    return (message) => {
      this.received++;
      // A copy: what nobody reads must not hold slots and credits that others need.
      this.queue.push(new Copied(message));
      if (this.queue.length > depth) {
        this.queue.shift();
        this.dropped++;
      }
      this.waiters.shift()?.();
    };
  }

  get topics(): ReadonlyArray<string> {
    return [...new Set([...this.taps.values()].map(({ topic }) => topic))];
  }

  get stats(): SubscriptionStats {
    const { received, dropped, lost } = this;
    let { repeated } = this;
    for (const { reader } of this.taps.values()) repeated += reader?.repeated ?? 0;
    return { received, dropped, lost, repeated };
  }

  async *[Symbol.asyncIterator](): AsyncIterator<TopicMessage> {
    if (this.handler !== undefined) {
      throw new InsaneError("ECONFIG", `The subscription of ${this.pattern} has a handler, which gets its messages.`);
    }
    for (;;) {
      const message = this.queue.shift();
      if (message !== undefined) yield message;
      else if (this.closing !== undefined) return;
      else await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }
  private async end(): Promise<void> {
    this.host.forget(this);
    for (const key of [...this.again.keys()]) this.calm(key);
    await Promise.all([...this.taps.values()].map((tap) => this.closeTap(tap)));
    this.taps.clear();
    for (const wake of this.waiters.splice(0)) wake();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
