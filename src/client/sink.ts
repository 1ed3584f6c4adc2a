// A sink: three ways to receive over one queue. With a callback messages go straight through; else they wait here, each
// holding its link entry, until somebody consumes them: that is the backpressure.

import { InsaneError } from "../protocol/codes.ts";
import type { SinkPolicyRecord } from "../protocol/control.ts";
import { SINK_STATS, STATUS } from "../protocol/layout.ts";
import type { LostEvent, Message, Sink, SinkOptions, SinkStats } from "./api.ts";
import { Listeners } from "./emitter.ts";
import type { Received } from "./message.ts";

/** What a sink asks of its session. */
export interface SinkHost {
  poll(): number;
  /** Somebody waits for messages from now on (1), or no longer (-1). */
  awaitMessages(change: 1 | -1): void;
  sinkChanged(sink: SinkQueue): void;
  /** A user's callback threw this. */
  thrown(error: unknown): void;
}
/** The stream it belongs to. */
export interface SinkOwner {
  closeSink(sink: SinkQueue): Promise<void>;
}

const UNSHARED = Number.POSITIVE_INFINITY;
/** More than a ring can hold; a small integer, which is cheap to compare. */
const UNBOUNDED = 2 ** 30;

interface Waiter {
  resolve(message: Message): void;
  reject(error: unknown): void;
}

export class SinkQueue implements Sink {
  id = 0;
  readonly stream: number;
  readonly channel: number;
  unconfirmed: Sink["unconfirmed"] = [];
  /** Counters block of the statistics page, once the runtime has given one. */
  block: Float64Array | undefined;
  /** Whether `block` is behind the counters below. */
  stale = false;
  readonly policy: SinkPolicyRecord;
  /** Counted by the messages themselves. */
  consumed = 0;
  dropped = 0;
  copied = 0;
  private readonly host: SinkHost;
  private readonly owner: SinkOwner;
  private readonly callback: ((message: Message) => void) | undefined;
  /** The callback once it may be called, unless messages are kept for the end of the burst. */
  private direct: ((message: Message) => void) | undefined;
  /** Whoever asked for this sink has it, and can be called. */
  private active = false;
  /** What it may hold while its links are crowded; UNSHARED: whatever they carry. */
  private share = UNSHARED;
  /** Messages go into the ring, whatever they are. */
  private queues: boolean;
  /** Messages kept at most; those beyond are overtaken. */
  private readonly depth: number;
  /** A ring of a power of two. */
  private ring: Array<Received | undefined> = new Array(64).fill(undefined);
  private first = 0;
  private count = 0;
  private readonly waiters: Waiter[] = [];
  private readonly listeners = new Listeners<{ lost: LostEvent }>();
  private closed = false;
  private closing: Promise<void> | undefined;
  private receivedCount = 0;
  private lostCount = 0;
  private byteCount = 0;

  constructor(
    host: SinkHost,
    owner: SinkOwner,
    stream: number,
    channel: number,
    options: SinkOptions,
    callback?: (message: Message) => void,
  ) {
    this.host = host;
    this.owner = owner;
    this.stream = stream;
    this.channel = channel;
    this.policy = options.policy ?? { kind: "block" };
    this.depth = this.policy.kind === "keep-last" ? this.policy.depth : UNBOUNDED;
    this.callback = callback;
    this.queues = callback === undefined;
  }

  /** From the link: one message, in order. */
  take(message: Received): void {
    this.receivedCount++;
    this.byteCount += message.length;
    if (this.stale === false) this.host.sinkChanged(this);
    if (this.direct !== undefined) this.call(this.direct, message);
    else if (this.queues) this.enqueue(message);
    else this.takeUnusual(message);
  }

  /** Where somebody waits, or there is a callback that is not called at once, or the sink may hold only so much. */
  private takeUnusual(message: Received): void {
    if (this.share !== UNSHARED && this.crowdedOut(message)) return;
    else if (this.waiters.length > 0) (this.waiters.shift() as Waiter).resolve(message);
    else if (this.callback !== undefined && this.active && this.policy.kind === "drop-newest" && this.count === 0)
      this.call(this.callback, message);
    else this.enqueue(message);
  }

  /** What it may hold while a link is crowded: it must not stop other sinks on that link. */
  sharesLinks(share: number): void {
    this.share = share;
    this.look();
    if (share !== UNSHARED) this.direct = undefined;
  }
  private look(): void {
    this.queues = this.callback === undefined && this.share === UNSHARED && this.waiters.length === 0;
  }
  get mayHold(): number {
    return Math.min(this.share, this.depth);
  }

  /** Whether a message goes back at once because there is no room for it. The last ones are kept by letting go older ones. */
  private crowdedOut(message: Received): boolean {
    if (!message.end.crowded || this.held <= this.share) return false;
    const keepsLast = this.policy.kind === "keep-last";
    const older = keepsLast ? this.dequeue() : null;
    (older ?? message).drop(keepsLast ? STATUS.OVERTAKEN : STATUS.NO_CREDIT);
    return older === null;
  }

  /** From now on the callback is called: not before `createSink` has resolved, though messages may come earlier. */
  activate(): void {
    this.active = true;
  }

  /** At the end of a burst: what was kept for the callback goes to it. */
  settleBurst(): void {
    if (this.callback === undefined || !this.active) return;
    for (let message = this.dequeue(); message !== null; message = this.dequeue()) this.call(this.callback, message);
    if (this.policy.kind !== "keep-last" && this.share === UNSHARED) this.direct = this.callback;
  }

  /** Something is queued that only a turn may hand out. */
  get callsWaiting(): boolean {
    return this.callback !== undefined && this.count > 0;
  }

  private call(callback: (message: Message) => void, message: Received): void {
    const { generation } = message;
    try {
      callback(message);
    } catch (error) {
      // Whoever throws has not kept it, or could not say so: an entry lost for ever would be worse.
      if (message.generation === generation) message.release();
      this.host.thrown(error);
    }
  }

  private enqueue(message: Received): void {
    if (this.count >= this.depth) (this.dequeue() as Received).drop(STATUS.OVERTAKEN);
    const { ring } = this;
    if (this.count === ring.length) this.grow();
    this.ring[(this.first + this.count) & (this.ring.length - 1)] = message;
    this.count++;
  }

  private dequeue(): Received | null {
    if (this.count === 0) return null;
    const message = this.ring[this.first] as Received;
    this.first = (this.first + 1) & (this.ring.length - 1);
    this.count--;
    return message;
  }

  private grow(): void {
    const { ring, first } = this;
    const { length } = ring;
    this.ring = new Array(length * 2).fill(undefined);
    for (let i = 0; i < this.count; i++) this.ring[i] = ring[(first + i) & (length - 1)];
    this.first = 0;
  }

  get held(): number {
    return this.receivedCount - this.consumed - this.dropped;
  }
  get queued(): number {
    return this.count;
  }

  /** The counters have moved. */
  touch(): void {
    if (this.stale === false) this.host.sinkChanged(this);
  }
  lost(event: LostEvent): void {
    this.lostCount += event.count;
    if (this.stale === false) this.host.sinkChanged(this);
    this.listeners.emit("lost", event);
  }

  on<K extends "lost">(event: K, listener: (payload: LostEvent) => void): () => void {
    return this.listeners.on(event, listener);
  }

  dataAvailable(): number {
    this.usable();
    this.host.poll();
    return this.callback === undefined ? this.count : 0;
  }

  tryConsume(): Message | null {
    if (this.count === 0) {
      this.usable();
      this.host.poll();
    }
    return this.callback === undefined ? this.dequeue() : null;
  }

  consume(options: { readonly signal?: AbortSignal } = {}): Promise<Message> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      this.usable();
      if (this.callback !== undefined) {
        throw new InsaneError(
          "ECONFIG",
          `The sink of channel ${this.channel} has a callback, which gets its messages.`,
        );
      }
      signal?.throwIfAborted();
      const message = this.tryConsume();
      if (message !== null) {
        resolve(message);
        return;
      }
      const done = (): void => {
        this.look();
        signal?.removeEventListener("abort", aborted);
        this.host.awaitMessages(-1);
      };
      const waiter: Waiter = {
        resolve: (message) => {
          done();
          resolve(message);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      const aborted = (): void => {
        this.waiters.splice(this.waiters.indexOf(waiter), 1);
        waiter.reject(signal?.reason);
      };
      signal?.addEventListener("abort", aborted);
      this.waiters.push(waiter);
      this.look();
      this.host.awaitMessages(1);
    });
  }

  /** Ends when the sink closes. Each message is released when the loop asks for the next or ends. */
  async *[Symbol.asyncIterator](): AsyncIterator<Message> {
    for (;;) {
      let message: Message;
      try {
        message = await this.consume();
      } catch (error) {
        if (this.closed) return;
        throw error;
      }
      const { generation } = message;
      try {
        yield message;
      } finally {
        // Not if the loop released it: the handle may belong to a later message by now.
        if (message.generation === generation) message[Symbol.dispose]();
      }
    }
  }

  get stats(): SinkStats {
    return {
      received: this.receivedCount,
      consumed: this.consumed,
      dropped: this.dropped,
      lost: this.lostCount,
      held: this.held,
      copied: this.copied,
    };
  }

  writeStats(): void {
    this.stale = false;
    const { block } = this;
    if (block === undefined || block.length === 0) return;
    block[SINK_STATS.RECEIVED] = this.receivedCount;
    block[SINK_STATS.CONSUMED] = this.consumed;
    block[SINK_STATS.DROPPED] = this.dropped;
    block[SINK_STATS.LOST] = this.lostCount;
    block[SINK_STATS.HELD] = this.held;
    block[SINK_STATS.BYTES] = this.byteCount;
    block[SINK_STATS.COPIED] = this.copied;
  }

  get hasCallback(): boolean {
    return this.callback !== undefined;
  }

  /** No more comes in; what nobody has read goes back as closed. */
  shut(): void {
    if (this.closed) return;
    this.closed = true;
    for (let message = this.dequeue(); message !== null; message = this.dequeue()) message.drop(STATUS.CLOSED);
    for (const waiter of this.waiters.splice(0)) waiter.reject(this.closedError());
  }

  close(): Promise<void> {
    this.closing ??= this.owner.closeSink(this);
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private usable(): void {
    if (this.closed) throw this.closedError();
  }
  private closedError(): InsaneError {
    return new InsaneError("ECLOSED", `The sink of channel ${this.channel} is closed.`);
  }
}
