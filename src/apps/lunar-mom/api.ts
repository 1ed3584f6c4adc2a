// What an application holds of Lunar MoM: topics, publishers, subscriptions. Types only.
import type { InsaneError, Qos, SlotBuffer, Source, WarningEvent } from "../../index.ts";

export type SinkPolicy =
  | { readonly kind: "block" }
  | { readonly kind: "drop-newest" }
  | { readonly kind: "keep-last"; readonly depth: number };

/** A slot to be filled: the payload in place. */
export type Draft = Pick<SlotBuffer, "bytes" | "length" | "memory" | "offset">;
/** Writes the payload; may lower `length`. */
export type Fill = (draft: Draft) => void;
/** What can be published at once: text is sent as UTF-8. */
export type Content = Uint8Array | string;

export interface PublisherOptions {
  /** Quality of the topic, chosen by who publishes it: subscribers follow. */
  readonly qos?: Partial<Qos>;
  /** `at-least-once`: each subscriber that has joined acknowledges, and what it lacks is sent again. Default best-effort. */
  readonly delivery?: "best-effort" | "at-least-once";
  /** Subscribers that come later and ask for it get the last message. Default false. */
  readonly last?: boolean;
  /** At-least-once: messages that may be unacknowledged, and are kept for that long; default 1024, 65,536 at most. */
  readonly window?: number;
  /** At-least-once: how long a subscriber may let messages wait before it is given up, ms (5000). */
  readonly patienceMs?: number;
}

export interface Publisher extends AsyncDisposable {
  readonly topic: string;
  /** The source underneath: `stats`, `consumers`. */
  readonly source: Source;
  /** Subscribers that have joined (at-least-once); else consumers of the source. */
  readonly subscribers: number;
  /**
   * A slot of `bytes`, filled in place, and sent. Returns a token (> 0). Throws EAGAIN (no slot, no credit, the window is
   * full), EMSGSIZE, ECLOSED, and what `fill` throws; nothing is sent then. With `more` it waits for one without.
   */
  publish(bytes: number, fill: Fill, more?: boolean): number;
  /** 0 instead of EAGAIN. */
  tryPublish(bytes: number, fill: Fill, more?: boolean): number;
  flush(): void;
  /** Waits instead of EAGAIN. */
  send(content: Content, options?: { readonly signal?: AbortSignal }): Promise<number>;
  /** Resolves when it may be worth another try. */
  ready(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Resolves when that many subscribers are there. */
  matched(count?: number, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Resolves when everything has come home, at-least-once: when every subscriber has acknowledged it. */
  settled(options?: { readonly signal?: AbortSignal }): Promise<void>;
  close(): Promise<void>;
}

export interface SubscribeOptions {
  /** Listens there at once, before anybody publishes; other qualities follow when somebody does. */
  readonly qos?: Partial<Qos>;
  readonly delivery?: "best-effort" | "at-least-once";
  /** Begin with the last message of publishers that keep it. Default false. */
  readonly last?: boolean;
  /** When this subscriber is slow; default drop-newest, so that it holds up nobody. */
  readonly policy?: SinkPolicy;
  /** Iteration: messages that may wait; older ones are dropped and counted. Default 256. */
  readonly depth?: number;
}

/** A message of a topic. A handler's is borrowed until it returns, an iterator's until the next is asked for. */
export interface TopicMessage {
  readonly topic: string;
  /** Made on demand. */
  readonly bytes: Uint8Array;
  readonly memory: Uint8Array;
  readonly offset: number;
  readonly length: number;
  readonly source: number;
  /** Of its source. */
  readonly sequence: number;
  readonly emitTime: number;
  readonly receiveTime: number;
  /** Bytes that outlive it. */
  copy(): Uint8Array;
  text(): string;
}
export type Handler = (message: TopicMessage) => void;

export interface SubscriptionStats {
  readonly received: number;
  /** Queued for an iterator that did not come for them. */
  readonly dropped: number;
  /** By the network, or for want of credit; none of an at-least-once topic. */
  readonly lost: number;
  /** Sent again though they were here, and thrown away. */
  readonly repeated: number;
}

export interface Subscription extends AsyncDisposable, AsyncIterable<TopicMessage> {
  readonly pattern: string;
  /** Topics that it listens to now. */
  readonly topics: ReadonlyArray<string>;
  readonly stats: SubscriptionStats;
  close(): Promise<void>;
}

export interface Topic {
  readonly topic: string;
  readonly channel: number;
  /** Sources and sinks, each other host that has some as one. */
  readonly publishers: number;
  readonly subscribers: number;
  readonly kept: boolean;
  readonly qos: Partial<Qos>;
}

export interface LunarEvents {
  /** Something did not work that nobody waits for: a topic that collides, a subscriber that was given up. */
  problem: InsaneError;
  warning: WarningEvent;
  /** Topics that came, went or changed; no publishers and subscribers: gone. */
  topics: ReadonlyArray<Topic>;
}
