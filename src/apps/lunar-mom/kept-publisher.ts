// A publisher that can send again: at least once to each subscriber that has joined, or the last message to those that come
// later. Everything is Lunar's: the core below stays best-effort.
import { InsaneError, type Message, type Sink, type SlotBuffer, type Source, type Stream } from "../../index.ts";
import type { Content, Draft, Fill, Publisher, PublisherOptions } from "./api.ts";
import {
  BACK,
  backTopic,
  FLAG,
  FRAME,
  type Frame,
  HEADER,
  newIdentity,
  readBack,
  STATE_BYTES,
  writeFrame,
} from "./kept-format.ts";
import { emitted, sendBy, slotIfOpen } from "./publisher.ts";
import { ReplayWindow } from "./replay-window.ts";
import { channelOf } from "./topics.ts";

/** Subscribers are asked how far they are, and nothing is sent again sooner, ms. */
const ASK_MS = 20;
const RESEND_MS = 15;
/** Of messages that go together so many are taken to go at one time: the clock costs as much as the rest of the bookkeeping. */
const BURST = 16;
/** Patience with subscribers when nobody is connected, ms. */
const GONE_MS = 500;
/** Until somebody has joined: so often it says that it is there, with growing gaps. */
const GREETINGS = 6;

export interface KeptHost {
  problem(error: InsaneError): void;
  closed(): void;
}

export class KeptPublisher implements Publisher {
  readonly topic: string;
  readonly source: Source;
  private readonly back: Sink;
  private readonly identity = newIdentity();
  private readonly window: ReplayWindow;
  private readonly acknowledged: boolean;
  private readonly patienceMs: number;
  private readonly host: KeptHost;
  /** Bytes of its largest message. */
  private readonly most: number;
  private readonly draft = new DraftAfterHeader();
  private readonly waiters = new Set<() => void>();
  /** When the burst began that goes out now, ms, and messages until the clock is looked at again. */
  private now = 0;
  private untimed = 0;
  private timer: NodeJS.Timeout | undefined;
  private greetings = 0;
  private closed = false;
  private closing: Promise<void> | undefined;

  static async open(
    topic: string,
    stream: Stream,
    source: Source,
    options: PublisherOptions,
    host: KeptHost,
  ): Promise<KeptPublisher> {
    const { window = 1024 } = options;
    if (!Number.isInteger(window) || window < 1 || window > 65536) {
      throw new InsaneError("EVALUE", `A window is a whole number from 1 to 65536, not ${window}.`, { window });
    }
    let self: KeptPublisher | undefined;
    const name = backTopic(topic);
    const back = await stream.createSink(channelOf(name), { name, policy: { kind: "drop-newest" } }, (message) => {
      self?.heard(message);
      message.release();
    });
    const most = stream.binding.qos.maxMessage - HEADER;
    self = new KeptPublisher(topic, most, source, back, options, host);
    return self;
  }

  private constructor(
    topic: string,
    most: number,
    source: Source,
    back: Sink,
    { delivery, window = 1024, patienceMs = 5000 }: PublisherOptions,
    host: KeptHost,
  ) {
    this.topic = topic;
    this.most = most;
    this.source = source;
    this.back = back;
    this.host = host;
    this.acknowledged = delivery === "at-least-once";
    this.window = new ReplayWindow(this.acknowledged ? window : 1);
    this.patienceMs = patienceMs;
    source.on("matched", () => {
      this.greetings = GREETINGS;
      this.look();
    });
    if (source.consumers > 0) this.greetings = GREETINGS;
    this.look();
  }

  get subscribers(): number {
    return this.acknowledged ? this.window.subscribers : this.source.consumers;
  }

  publish(bytes: number, fill: Fill, more = false): number {
    const token = this.tryPublish(bytes, fill, more);
    if (token > 0) return token;
    const { window } = this;
    const why =
      this.acknowledged && window.full
        ? `${window.next - window.awaited} messages of ${this.topic} are not acknowledged, as many as its window holds.`
        : this.source.againReason;
    throw new InsaneError("EAGAIN", why, { topic: this.topic });
  }

  tryPublish(bytes: number, fill: Fill, more = false): number {
    const { window, draft } = this;
    this.usable();
    if (this.acknowledged && window.full) {
      // Nobody is left to wait for: whoever comes back is told what it missed.
      if (this.source.consumers > 0 || this.expel(0) === 0) return 0;
    }
    if (bytes > this.most) {
      const why = `${bytes} bytes; messages of ${this.topic} have ${this.most} at most: its maxMessage less ${HEADER} of a header.`;
      throw new InsaneError("EMSGSIZE", why, { topic: this.topic, bytes, limit: this.most });
    }
    const slot = this.source.tryGetBuffer(bytes + HEADER);
    if (slot === null) return 0;
    try {
      fill(draft.over(slot, bytes));
      slot.length = HEADER + draft.length;
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
    const asks = this.acknowledged && window.asks;
    writeFrame(slot.memory, slot.offset, this.frame(FRAME.DATA, window.next, asks ? FLAG : 0));
    // Before it goes: afterwards the slot may be another message's.
    window.keep(slot.memory, slot.offset, slot.length);
    const token = emitted(this.source, slot, more);
    if (token === 0) return 0;
    if (this.untimed === 0) {
      this.now = performance.now();
      this.untimed = BURST;
    }
    this.untimed = more ? this.untimed - 1 : 0;
    window.sent(this.now);
    this.look();
    return token;
  }

  flush(): void {
    this.untimed = 0;
    this.source.flush();
  }
  send(content: Content, options: { readonly signal?: AbortSignal } = {}): Promise<number> {
    return sendBy(this, content, options);
  }

  async ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (!this.acknowledged || !this.window.full) await this.source.ready(options);
    else await this.until(() => !this.window.full, options.signal);
  }
  async matched(count = 1, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.acknowledged) await this.until(() => this.window.subscribers >= count, options.signal);
    else await this.source.matched(count, options);
  }
  async settled(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.acknowledged) await this.until(() => this.window.awaited === this.window.next, options.signal);
    await this.source.settled(options);
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }
  private async end(): Promise<void> {
    // Every subscriber has it then, or has been given up.
    await this.settled({ signal: AbortSignal.timeout(this.patienceMs + 1000) }).catch(() => {});
    this.closed = true;
    this.host.closed();
    clearTimeout(this.timer);
    for (const wake of [...this.waiters]) wake();
    await Promise.all([this.source.close(), this.back.close()]);
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A subscriber says something. Not one of ours, or not to us: passed over. */
  private heard(message: Message): void {
    const back = readBack(message.memory, message.offset, message.length);
    if (back === null || this.closed || (back.publisher !== 0 && back.publisher !== this.identity)) return;
    const { window } = this;
    const now = performance.now();
    // A burst that was left half sent has not begun now; whoever acknowledges all of it waits from what comes next.
    this.untimed = 0;
    switch (back.kind) {
      case BACK.JOIN: {
        const wantsLast = (back.flags & FLAG) !== 0;
        if (this.acknowledged) this.say(back.subscriber, window.join(back.subscriber, wantsLast, now));
        else {
          // What an acknowledging subscriber lacks it says next; this one gets the last message with the answer.
          this.say(back.subscriber, wantsLast ? window.oldest : window.next);
          if (wantsLast) this.sendAgain([window.oldest], now);
        }
        break;
      }
      case BACK.ACK:
        if (!this.acknowledged) break;
        if (!window.acknowledged(back, now)) {
          // It was given up, and what it lacks is gone: it may go on from here.
          this.say(back.subscriber, window.join(back.subscriber, false, now));
          break;
        }
        this.sendAgain(window.lacking(back, now, RESEND_MS), now);
        break;
      case BACK.LEAVE:
        window.leave(back.subscriber);
        break;
    }
    for (const wake of [...this.waiters]) wake();
    this.look();
  }

  private sendAgain(sequences: ReadonlyArray<number>, now: number): void {
    if (sequences.length === 0) return;
    for (const sequence of sequences) if (!this.again(sequence, now)) break;
    this.source.flush();
  }
  private again(sequence: number, now: number): boolean {
    const frame = this.window.message(sequence);
    const slot = frame && slotIfOpen(this.source, frame.length);
    if (!frame || !slot) return false;
    slot.memory.set(frame, slot.offset);
    this.window.sentAgain(sequence, now);
    return emitted(this.source, slot, true) > 0;
  }

  /** Says how far it is: to one that has joined, or (0) to everybody. */
  private say(subscriber: number, from: number): void {
    const slot = slotIfOpen(this.source, STATE_BYTES);
    if (slot === null) return;
    const flags = this.acknowledged ? FLAG : 0;
    writeFrame(slot.memory, slot.offset, { ...this.frame(FRAME.STATE, this.window.next), flags, subscriber, from });
    emitted(this.source, slot, false);
  }

  private frame(kind: number, sequence: number, flags = 0): Frame {
    return { kind, flags, publisher: this.identity, sequence, subscriber: 0, from: 0 };
  }

  /** The timer runs while there is somebody to ask. */
  private look(): void {
    if (this.timer !== undefined || this.closed) return;
    const waits = this.acknowledged && this.window.awaited < this.window.next;
    if (!waits && this.greetings === 0) return;
    const gap = waits ? ASK_MS : ASK_MS * 2 ** (GREETINGS - this.greetings);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (this.greetings > 0) this.greetings--;
      this.say(0, 0);
      // With no consumer left it takes no patience to see that they are gone; whoever comes back is taken in again.
      this.expel(this.source.consumers === 0 ? Math.min(GONE_MS, this.patienceMs) : this.patienceMs);
      this.look();
    }, gap).unref();
  }

  private expel(patienceMs: number): number {
    if (!this.acknowledged) return 0;
    const gone = this.window.expel(performance.now(), patienceMs);
    for (const subscriber of gone) {
      const why = `A subscriber of ${this.topic} (${subscriber}) did not acknowledge for ${patienceMs} ms and is given up.`;
      this.host.problem(new InsaneError("ETIMEDOUT", why, { topic: this.topic, subscriber }));
    }
    if (gone.length > 0) for (const wake of [...this.waiters]) wake();
    return gone.length;
  }

  private until(done: () => boolean, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.waiters.delete(look);
        signal?.removeEventListener("abort", look);
      };
      const look = (): void => {
        if (!done() && !signal?.aborted && !this.closed) return;
        end();
        if (done()) resolve();
        else reject(signal?.aborted ? signal.reason : this.closedError());
      };
      this.waiters.add(look);
      signal?.addEventListener("abort", look);
      look();
    });
  }
  private usable(): void {
    if (this.closed || this.closing !== undefined) throw this.closedError();
  }
  private closedError(): InsaneError {
    return new InsaneError("ECLOSED", `The publisher of ${this.topic} is closed.`);
  }
}

/** The slot without its header: one handle, for `fill` is done when it returns. */
class DraftAfterHeader implements Draft {
  memory: Uint8Array = new Uint8Array(0);
  offset = 0;
  length = 0;

  over(slot: SlotBuffer, bytes: number): this {
    this.memory = slot.memory;
    this.offset = slot.offset + HEADER;
    this.length = bytes;
    return this;
  }
  get bytes(): Uint8Array {
    return this.memory.subarray(this.offset, this.offset + this.length);
  }
}
