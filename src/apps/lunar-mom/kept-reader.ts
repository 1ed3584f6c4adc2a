// The subscriber's side of a kept topic: joins each publisher, hands its messages on in order and once, says what it lacks.
import type { InsaneError, Message, Source, Stream } from "../../index.ts";
import { InsaneError as Failure } from "../../index.ts";
import type { Handler, TopicMessage } from "./api.ts";
import {
  BACK,
  BACK_BYTES,
  type Back,
  backTopic,
  FLAG,
  FRAME,
  type Frame,
  HEADER,
  MASK_BITS,
  newIdentity,
  readFrame,
  writeBack,
} from "./kept-format.ts";
import { Borrowed, Copied } from "./message.ts";
import { emitted, slotIfOpen } from "./publisher.ts";
import { channelOf } from "./topics.ts";

/** Acknowledges so many messages at once, or after so long, ms, or when it is asked to. */
const ACK_EVERY = 64;
const ACK_MS = 5;
/** Joins again after this, then twice as long, at most the second, ms. */
const JOIN_MS = 10;
const JOIN_MOST_MS = 1000;
/** How long a subscription waits for publishers to answer, ms. */
const JOINED_MS = 2000;
/** Messages that may wait for one before them, of one publisher, and their bytes, of all publishers of a topic. */
const EARLY = 65536;
const EARLY_BYTES = 64 * 2 ** 20;
/** Publishers that are remembered. */
const MOST_KNOWN = 256;

/** What is known of one publisher. */
interface Known {
  readonly publisher: number;
  /** The next message to hand on; null: it has not answered the join. */
  expected: number | null;
  acknowledges: boolean;
  /** A message that it had before is still wanted: the last one. */
  owed: number | null;
  readonly early: Map<number, TopicMessage>;
  unacknowledged: number;
}

export class KeptReader {
  /** Messages that came again. */
  repeated = 0;
  /** Resolves when the publishers that are known have answered, or have not in a while. */
  readonly joined: Promise<void>;
  private readonly identity = newIdentity();
  private readonly topic: string;
  private readonly wantsLast: boolean;
  private readonly deliver: Handler;
  private readonly problem: (error: InsaneError) => void;
  private readonly handle: Borrowed;
  private readonly known = new Map<number, Known>();
  private readonly due = new Set<Known>();
  private back: Source | undefined;
  /** Bytes of all messages that wait for one before them. */
  private earlyBytes = 0;
  private sources = 0;
  private joining: NodeJS.Timeout | undefined;
  private joinMs = JOIN_MS;
  private acking: NodeJS.Timeout | undefined;
  private resolveJoined: () => void = () => {};
  private readonly deadline: NodeJS.Timeout;

  constructor(topic: string, wantsLast: boolean, deliver: Handler, problem: (error: InsaneError) => void) {
    this.topic = topic;
    this.wantsLast = wantsLast;
    this.deliver = deliver;
    this.problem = problem;
    this.handle = new Borrowed(topic, HEADER);
    this.joined = new Promise((resolve) => {
      this.resolveJoined = resolve;
    });
    this.deadline = setTimeout(() => this.resolveJoined(), JOINED_MS).unref();
  }

  async open(stream: Stream): Promise<void> {
    const name = backTopic(this.topic);
    this.back = await stream.createSource(channelOf(name), { name });
    this.back.on("matched", ({ consumers }) => {
      this.joinMs = JOIN_MS;
      if (consumers > 0) this.join(true);
    });
  }

  /** Publishers that the directory knows. */
  publishers(count: number): void {
    const more = count > this.sources;
    if (more) this.joinMs = JOIN_MS;
    this.sources = count;
    this.join(more);
  }

  /** Joins everybody, and again until all have answered; `more`: there may be one who was not asked. */
  private join(more = false): void {
    if (more && this.joining === undefined && this.back !== undefined && this.complete) this.say(BACK.JOIN, 0, null);
    if (this.complete) {
      this.resolveJoined();
      return;
    }
    if (this.joining !== undefined || this.back === undefined) return;
    if (this.back.consumers > 0) this.say(BACK.JOIN, 0, null);
    this.joining = setTimeout(() => {
      this.joining = undefined;
      this.joinMs = Math.min(2 * this.joinMs, JOIN_MOST_MS);
      this.join();
    }, this.joinMs).unref();
  }

  private get complete(): boolean {
    let answered = 0;
    for (const { expected, owed } of this.known.values()) {
      if (expected === null || owed !== null) return false;
      answered++;
    }
    return answered >= this.sources;
  }

  /** From the sink; the message is its caller's to release. */
  take(message: Message): void {
    const frame = readFrame(message.memory, message.offset, message.length);
    if (frame === null || this.back === undefined) return;
    let one = this.known.get(frame.publisher);
    if (one === undefined) {
      const { publisher } = frame;
      this.forgetSome();
      one = { publisher, expected: null, acknowledges: false, owed: null, early: new Map(), unacknowledged: 0 };
      this.known.set(publisher, one);
      this.joinMs = JOIN_MS;
      this.join();
    }
    if (frame.kind === FRAME.STATE) this.state(one, frame);
    else {
      this.handle.message = message;
      this.data(one, frame.sequence, (frame.flags & FLAG) !== 0);
    }
  }

  /** Publishers come and go, and a stranger can invent them; what is not in use goes first, then who never answered. */
  private forgetSome(): void {
    if (this.known.size < MOST_KNOWN) return;
    const all = [...this.known.values()];
    const one = all.find(({ early }) => early.size === 0) ?? all.find(({ expected }) => expected === null) ?? all[0];
    if (one === undefined) return;
    this.known.delete(one.publisher);
    this.due.delete(one);
    for (const sequence of [...one.early.keys()]) this.takeEarly(one, sequence);
  }

  private state(one: Known, { flags, sequence, subscriber, from }: Frame): void {
    one.acknowledges = (flags & FLAG) !== 0;
    if (subscriber === 0) {
      if (one.expected === null) this.join();
      else if (one.acknowledges) this.acknowledge(one);
      return;
    }
    if (subscriber !== this.identity) return;
    if (one.expected === null) {
      one.expected = from;
      if (!one.acknowledges && this.wantsLast && from < sequence) one.owed = from;
      for (const early of [...one.early.keys()]) if (early < from) this.takeEarly(one, early);
      this.handOnEarly(one);
      if (one.acknowledges) this.acknowledge(one);
    } else if (one.acknowledges && from > one.expected) {
      const lost = from - one.expected;
      const why = `${lost} messages of ${this.topic} are gone: their publisher had given this subscriber up.`;
      this.problem(new Failure("ETIMEDOUT", why, { topic: this.topic, lost }));
      one.expected = from;
      this.handOnEarly(one);
    }
    this.join();
  }

  private data(one: Known, sequence: number, asked: boolean): void {
    const { expected, early } = one;
    if (expected !== null && (sequence === expected || (!one.acknowledges && sequence > expected))) {
      one.expected = sequence + 1;
      if (one.owed !== null) {
        one.owed = null;
        this.join();
      }
      this.deliver(this.handle);
      if (early.size > 0) this.handOnEarly(one);
      if (!one.acknowledges) return;
      if (++one.unacknowledged >= ACK_EVERY || asked) this.acknowledge(one);
      else this.acknowledgeSoon(one);
      return;
    }
    if ((expected !== null && sequence < expected) || early.has(sequence)) {
      this.repeated++;
      if (one.acknowledges) this.acknowledgeSoon(one);
    } else if (early.size < EARLY && this.earlyBytes + this.handle.length <= EARLY_BYTES) {
      // Something before it is missing, or it is not known yet where to begin.
      early.set(sequence, new Copied(this.handle));
      this.earlyBytes += this.handle.length;
      if (expected !== null && early.size === 1) this.acknowledge(one);
      else this.acknowledgeSoon(one);
    }
  }

  private handOnEarly(one: Known): void {
    const { early } = one;
    if (early.size === 0) return;
    if (one.acknowledges) {
      while (early.has(one.expected as number)) this.handOn(one, one.expected as number);
      return;
    }
    for (const sequence of [...early.keys()].sort((a, b) => a - b)) this.handOn(one, sequence);
  }

  private handOn(one: Known, sequence: number): void {
    const message = this.takeEarly(one, sequence);
    if (message === undefined) return;
    one.expected = sequence + 1;
    if (one.owed !== null && sequence >= one.owed) one.owed = null;
    one.unacknowledged++;
    this.deliver(message);
  }

  private takeEarly({ early }: Known, sequence: number): TopicMessage | undefined {
    const message = early.get(sequence);
    early.delete(sequence);
    this.earlyBytes -= message?.length ?? 0;
    return message;
  }

  private acknowledgeSoon(one: Known): void {
    this.due.add(one);
    this.acking ??= setTimeout(() => {
      this.acking = undefined;
      for (const each of [...this.due]) this.acknowledge(each);
    }, ACK_MS).unref();
  }

  private acknowledge(one: Known): void {
    this.due.delete(one);
    one.unacknowledged = 0;
    if (one.expected !== null) this.say(BACK.ACK, one.publisher, one);
  }

  private say(kind: number, publisher: number, one: Known | null): void {
    const { back } = this;
    const slot = back && slotIfOpen(back, BACK_BYTES);
    // Whatever cannot be said now is said again.
    if (!back || !slot) return;
    const words = [0, 0];
    const expected = one?.expected ?? 0;
    if (one !== null && one.early.size > 0) {
      for (let i = 0; i < MASK_BITS; i++) {
        if (one.early.has(expected + 1 + i)) words[i >>> 5] = ((words[i >>> 5] as number) | (1 << (i & 31))) >>> 0;
      }
    }
    const flags = kind === BACK.JOIN && this.wantsLast ? FLAG : 0;
    const frame: Back = {
      kind,
      flags,
      subscriber: this.identity,
      publisher,
      expected,
      low: words[0]!,
      high: words[1]!,
    };
    writeBack(slot.memory, slot.offset, frame);
    emitted(back, slot, false);
  }

  async close(): Promise<void> {
    clearTimeout(this.deadline);
    clearTimeout(this.joining);
    clearTimeout(this.acking);
    this.resolveJoined();
    const { back } = this;
    if (back === undefined) return;
    for (const one of this.due) this.acknowledge(one);
    this.say(BACK.LEAVE, 0, null);
    this.back = undefined;
    await back.close();
  }
}
