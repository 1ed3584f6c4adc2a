// Lunar MoM (paper, section 7.1): publish and subscribe on topics over the public API of INSANE. A topic is a channel, its
// quality a stream; who publishes it where is told by the runtimes, so nobody is in between. What must not be lost is kept
// by kept-publisher.ts.
import {
  type ConnectOptions,
  connect,
  InsaneError,
  type NamedChannel,
  type Session,
  type Stream,
} from "../../index.ts";
import type {
  Content,
  Handler,
  LunarEvents,
  Publisher,
  PublisherOptions,
  SubscribeOptions,
  Subscription,
  Topic,
} from "./api.ts";
import { KeptPublisher } from "./kept-publisher.ts";
import { PlainPublisher } from "./publisher.ts";
import { PatternSubscription, type SubscriptionHost } from "./subscription.ts";
import { channelOf, checkPattern, checkTopic, isPattern, type Lane, laneOf, matches, streamOf } from "./topics.ts";

export type * from "./api.ts";

/** On a session of the application's, which it closes itself, or on one of its own. Errors: those of `connect`. */
export async function openLunar(on: Session | ConnectOptions = {}): Promise<Lunar> {
  return "createStream" in on ? new Lunar(on, false) : new Lunar(await connect(on), true);
}

export class Lunar implements AsyncDisposable, SubscriptionHost {
  readonly session: Session;
  private readonly ownsSession: boolean;
  private readonly streams = new Map<string, Promise<Stream>>();
  /** By topic: those that `publish` opened. */
  private readonly publishers = new Map<string, Promise<Publisher>>();
  private readonly all = new Set<Publisher>();
  private readonly subscriptions = new Set<PatternSubscription>();
  /** Named channels of all hosts; watched from the first subscription on. */
  private readonly directory = new Map<string, NamedChannel>();
  /** By stream and channel: one, but for collisions. */
  private readonly names = new Map<string, Set<string>>();
  private watching: Promise<() => Promise<void>> | undefined;
  private readonly listeners: { [K in keyof LunarEvents]: Set<(payload: LunarEvents[K]) => void> } = {
    problem: new Set(),
    warning: new Set(),
    topics: new Set(),
  };
  private closing: Promise<void> | undefined;

  constructor(session: Session, ownsSession: boolean) {
    this.session = session;
    this.ownsSession = ownsSession;
    // Evicted, or closed by its owner: timers of publishers and subscriptions have nobody left to talk to.
    session.on("closed", ({ reason, evicted }) => {
      if (this.closing === undefined && evicted) {
        this.problem(new InsaneError("ECLOSED", `The session ${session.name} was ${reason}.`));
      }
      void this.close();
    });
  }

  /** Opens a topic for publishing. Errors: EVALUE (no topic), ECOLLISION (another topic has its channel), ELIMIT, ECLOSED. */
  async publisher(topic: string, options: PublisherOptions = {}): Promise<Publisher> {
    checkTopic(topic);
    return await this.internalPublisher(topic, options);
  }

  /** The topic may be one of Lunar's own. */
  async internalPublisher(topic: string, options: PublisherOptions): Promise<Publisher> {
    this.usable();
    const { qos = {}, delivery = "best-effort", last = false } = options;
    const lane: Lane = { kept: delivery === "at-least-once" || last, qos };
    const stream = await this.stream(lane);
    const source = await stream.createSource(channelOf(topic), { name: topic });
    const host = {
      problem: (error: InsaneError) => this.problem(error),
      closed: () => void this.all.delete(publisher),
    };
    const publisher: Publisher = lane.kept
      ? await KeptPublisher.open(topic, stream, source, options, host).catch(async (error) => {
          await source.close();
          throw error;
        })
      : new PlainPublisher(topic, source, host.closed);
    this.all.add(publisher);
    return publisher;
  }

  /** Opens the topic at the first publication, whose options count, and waits for a slot. Errors: as `publisher`; EMSGSIZE. */
  async publish(topic: string, content: Content, options: PublisherOptions = {}): Promise<number> {
    let opening = this.publishers.get(topic);
    if (opening === undefined) {
      opening = this.publisher(topic, options);
      this.publishers.set(topic, opening);
      opening.catch(() => this.publishers.delete(topic));
    }
    return (await opening).send(content);
  }

  /**
   * A topic, or a pattern: `+` is one level, `#` all that follow. Resolves when it listens to every publisher that is known.
   * Errors: EVALUE (no pattern), ECOLLISION, ELIMIT, ECLOSED.
   */
  subscribe(pattern: string, handler?: Handler): Promise<Subscription>;
  subscribe(pattern: string, options: SubscribeOptions, handler?: Handler): Promise<Subscription>;
  async subscribe(pattern: string, second?: SubscribeOptions | Handler, third?: Handler): Promise<Subscription> {
    checkPattern(pattern);
    const [options, handler] = typeof second === "function" ? [{}, second] : [second ?? {}, third];
    return await this.internalSubscribe(pattern, options, handler);
  }

  async internalSubscribe(pattern: string, options: SubscribeOptions, handler?: Handler): Promise<Subscription> {
    this.usable();
    await this.watch();
    const subscription = new PatternSubscription(this, pattern, options, handler);
    this.subscriptions.add(subscription);
    try {
      await subscription.open(!isPattern(pattern));
    } catch (error) {
      await subscription.close();
      throw error;
    }
    return subscription;
  }

  /** Topics that somebody publishes or subscribes to now, on all hosts; Lunar's own (`$...`) if they are asked for. */
  async topics(pattern = "#", internal = false): Promise<Topic[]> {
    await this.watch();
    const found = [...this.directory.values()].flatMap(topicOf);
    return found
      .filter(({ topic }) => (topic.startsWith("$") ? internal : matches(pattern, topic)))
      .sort((a, b) => (a.topic < b.topic ? -1 : 1));
  }

  on<K extends keyof LunarEvents>(event: K, listener: (payload: LunarEvents[K]) => void): () => void {
    this.listeners[event].add(listener);
    if (event === "topics") void this.watch().catch((error) => this.problem(error));
    return () => this.listeners[event].delete(listener);
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async end(): Promise<void> {
    await (await this.watching?.catch(() => undefined))?.();
    await Promise.allSettled([...this.subscriptions, ...this.all].map((one) => one.close()));
    if (this.ownsSession) await this.session.close();
    else await Promise.allSettled([...this.streams.values()].map(async (stream) => (await stream).close()));
  }

  private watch(): Promise<() => Promise<void>> {
    this.watching ??= this.session
      .watchChannels((channels) => this.changed(channels))
      .catch((error) => {
        this.watching = undefined;
        throw error;
      });
    return this.watching;
  }

  private changed(channels: ReadonlyArray<NamedChannel>): void {
    for (const channel of channels) {
      const key = `${channel.stream}\n${channel.name}`;
      const gone = channel.sources + channel.sinks === 0;
      const fresh = !this.directory.has(key);
      if (gone) this.directory.delete(key);
      else this.directory.set(key, channel);
      if (fresh || gone) this.lookForCollision(channel, gone);
      for (const subscription of [...this.subscriptions]) subscription.look(channel);
    }
    for (const listener of this.listeners.topics) listener(channels.flatMap(topicOf));
  }

  /** Two hosts may choose topics with one number at one time: their runtimes keep them apart, here it is told. */
  private lookForCollision({ stream, channel, name }: NamedChannel, gone: boolean): void {
    const key = `${stream}\n${channel}`;
    const names = this.names.get(key) ?? new Set();
    if (gone) names.delete(name);
    else names.add(name);
    if (names.size === 0) this.names.delete(key);
    else this.names.set(key, names);
    if (gone || names.size < 2) return;
    const [other] = [...names].filter((one) => one !== name);
    const why = `The topics ${name} and ${other} have the same channel (${channel}): hosts that disagree exchange neither. Rename one.`;
    this.problem(new InsaneError("ECOLLISION", why, { topic: name, other, channel }));
  }

  private usable(): void {
    if (this.closing !== undefined) throw new InsaneError("ECLOSED", "This Lunar is closed.");
  }

  // SubscriptionHost.
  stream(lane: Lane): Promise<Stream> {
    const name = streamOf(lane);
    let stream = this.streams.get(name);
    if (stream === undefined) {
      stream = this.session.createStream({ ...lane.qos, name }).then((opened) => {
        for (const warning of opened.warnings) this.warned(warning);
        opened.on("warning", (warning) => this.warned(warning));
        return opened;
      });
      this.streams.set(name, stream);
      stream.catch(() => this.streams.delete(name));
    }
    return stream;
  }
  known(): Iterable<NamedChannel> {
    return this.directory.values();
  }
  sources(stream: string, topic: string): number {
    return this.directory.get(`${stream}\n${topic}`)?.sources ?? 0;
  }
  forget(subscription: PatternSubscription): void {
    this.subscriptions.delete(subscription);
  }
  problem(error: InsaneError): void {
    for (const listener of this.listeners.problem) listener(error);
  }
  private warned(warning: LunarEvents["warning"]): void {
    for (const listener of this.listeners.warning) listener(warning);
  }
}

function topicOf({ stream, channel, name, sources, sinks }: NamedChannel): Topic[] {
  const lane = laneOf(stream);
  return lane === null ? [] : [{ topic: name, channel, publishers: sources, subscribers: sinks, ...lane }];
}
