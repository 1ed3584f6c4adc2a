// The receiving side: finds a server by its name, hands out frames that lie in shared memory, and accounts for every number
// it did not get. Frames it is too slow for are overtaken by later ones, unless the server waits for its clients.
import { EventEmitter } from "node:events";
import { InsaneError, type Message, type Session, type Sink, type Source, type Stream } from "../../index.ts";
import {
  type Announcement,
  CHANNELS,
  RECORD_BYTES,
  readAnnouncement,
  streamNames,
  writeReport,
} from "./control-records.ts";
import { StreamingError } from "./errors.ts";
import { Frame } from "./frame.ts";
import { type FrameHeader, HEADER_BYTES, readHeader } from "./frame-header.ts";
import { emitRecord } from "./record-source.ts";

export interface ClientOptions {
  /** Name of the server. */
  readonly name: string;
  /** Frames kept for a reader that is busy (2); older ones are overtaken. */
  readonly keep?: number;
  /** Frames that the application may have at once without releasing them (2); with one more the oldest is taken back. */
  readonly hold?: number;
  /** How long to look for the server, ms (5000). */
  readonly timeoutMs?: number;
  /** A server of which nothing is heard for so long is gone, ms (4000). */
  readonly silenceMs?: number;
}

/** Numbers that did not arrive before a frame, by reason. */
export interface Missing {
  /** The server did not send them. */
  readonly skipped: number;
  /** This client was too slow for them. */
  readonly overtaken: number;
  /** Lost on the way: no room left for this client's link, or the network. */
  readonly lost: number;
}

export interface ClientStats extends Missing {
  readonly received: number;
  readonly bytes: number;
  /** Messages that were no frame of this server. */
  readonly invalid: number;
  /** Frames that were taken back from an application that held too many. */
  readonly takenBack: number;
  /** Of the last frames, from the start of their capture to receipt; 0 before the first. */
  readonly latencyUs: { readonly p50: number; readonly p99: number };
}

interface ClientEvents {
  missing: [Missing & { readonly before: number }];
  invalid: [StreamingError];
  /** The application held more frames than it may: this one is the server's again. */
  takenBack: [{ readonly number: number; readonly hold: number }];
  /** The server has gone, in order (`ended`) or without a word. */
  gone: [StreamingError | "ended"];
}

const REMEMBERED = 512;
/** Between two reports, whatever the server announces. */
const MIN_TICK_MS = 100;
const MOST_TICK_MS = 10_000;

/** Frames that an application may hold, unless it says otherwise. */
const HOLD = 2;

/** Errors: ENOSERVER, and those of sessions and streams. */
export async function connect(session: Session, options: ClientOptions): Promise<Client> {
  const { name, timeoutMs = 5000, hold = HOLD } = options;
  if (!Number.isInteger(hold) || hold < 1) {
    throw new InsaneError("EVALUE", `A viewer may hold 1 frame or more at once, not ${hold}.`, { hold });
  }
  const control = await session.createStream({ name: streamNames(name).control, maxMessage: RECORD_BYTES });
  const client = new Client(options, control);
  try {
    await client.open(session, timeoutMs);
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

export class Client extends EventEmitter<ClientEvents> implements AsyncDisposable, AsyncIterable<Frame> {
  readonly name: string;
  readonly id = Math.floor(Math.random() * 0xffff_fffe) + 1;
  private readonly options: ClientOptions;
  private readonly control: Stream;
  private readonly stop = new AbortController();
  private said: Announcement | undefined;
  private frames: Stream | undefined;
  private sink: Sink | undefined;
  private reports: Source | undefined;
  private timer: NodeJS.Timeout | undefined;
  private end: StreamingError | "ended" | undefined;
  private closing: Promise<void> | undefined;
  private heard = 0;
  private ticked = 0;
  private lastNumber = -1;
  private lastSkipped = 0;
  /** Of the messages that its sink has overtaken, those that are accounted for; the others come with the next gap. */
  private overtakenKnown = 0;
  private received = 0;
  private receivedBytes = 0;
  private invalid = 0;
  private takenBack = 0;
  /** What the application has, oldest first. */
  private readonly lent: Frame[] = [];
  private readonly missing = { skipped: 0, overtaken: 0, lost: 0 };
  private readonly latencies = new Float64Array(REMEMBERED);

  constructor(options: ClientOptions, control: Stream) {
    super();
    this.options = options;
    this.name = options.name;
    this.control = control;
  }

  /** Once, by connect. */
  async open(session: Session, timeoutMs: number): Promise<void> {
    const found = Promise.withResolvers<Announcement>();
    await this.control.createSink(CHANNELS.announcements, { policy: { kind: "keep-last", depth: 8 } }, (message) => {
      const said = readAnnouncement(message.memory, message.offset, message.length);
      message.release();
      if (said === undefined) return;
      if (this.said === undefined) {
        if (said.ended) return;
        this.said = said;
        found.resolve(said);
      }
      this.told(said);
    });
    const why = `Nobody serves "${this.name}" on this host or its peers (looked for ${timeoutMs} ms). Start one: insane stream serve ${this.name}.`;
    const timer = setTimeout(() => found.reject(new StreamingError("ENOSERVER", why, { name: this.name })), timeoutMs);
    const said = await found.promise.finally(() => clearTimeout(timer));
    const { frames } = streamNames(this.name);
    this.frames = await session.createStream({
      ...said.quality,
      name: frames,
      maxMessage: HEADER_BYTES + said.maxFrame,
    });
    const depth = this.options.keep ?? 2;
    const policy = said.lossless ? ({ kind: "block" } as const) : ({ kind: "keep-last", depth } as const);
    this.sink = await this.frames.createSink(CHANNELS.frames, { policy });
    this.reports = await this.control.createSource(CHANNELS.reports);
    this.reports.on("matched", () => this.report(false));
    const tick = Math.min(MOST_TICK_MS, Math.max(MIN_TICK_MS, said.intervalMs));
    this.heard = performance.now();
    this.ticked = this.heard;
    this.timer = setInterval(() => this.tick(tick), tick).unref();
    session.on("closed", ({ reason }) => this.over(this.vanished(`the session is closed: ${reason}`)));
    this.report(false);
  }

  /** What the server says of itself. */
  get server(): Announcement {
    return this.said as Announcement;
  }
  /** The stream that carries the frames: its binding and warnings. */
  get stream(): Stream {
    return this.frames as Stream;
  }

  get stats(): ClientStats {
    const known = this.latencies.slice(0, Math.min(this.received, REMEMBERED)).sort();
    const at = (share: number): number => known[Math.floor(share * (known.length - 1))] ?? 0;
    const { received, receivedBytes: bytes, invalid, takenBack, missing } = this;
    return { received, bytes, invalid, takenBack, ...missing, latencyUs: { p50: at(0.5), p99: at(0.99) } };
  }

  /** The next frame if one is there; null: not now. Throws ESERVERGONE, ECLOSED; null for ever after the end. */
  tryNext(): Frame | null {
    const sink = this.usable();
    for (;;) {
      const message = sink.dataAvailable() > 0 ? sink.tryConsume() : null;
      if (message === null) {
        if (this.end instanceof StreamingError) throw this.end;
        return null;
      }
      const frame = this.accept(message, true);
      if (frame !== null) return frame;
    }
  }

  /** The next frame, waiting for it; null when the server has ended. Throws ESERVERGONE, ECLOSED, and what `signal` says. */
  async next(options: { readonly signal?: AbortSignal } = {}): Promise<Frame | null> {
    const { signal } = options;
    for (;;) {
      signal?.throwIfAborted();
      const there = this.tryNext();
      if (there !== null) return there;
      if (this.end !== undefined) return null;
      const either = signal === undefined ? this.stop.signal : AbortSignal.any([signal, this.stop.signal]);
      try {
        const frame = this.accept(await this.usable().consume({ signal: either }), false);
        if (frame !== null) return frame;
      } catch (error) {
        if (this.closing !== undefined) throw this.closedError();
        if (!this.stop.signal.aborted) throw error;
      }
    }
  }

  /** Frame after frame until the server ends; each is released when the loop asks for the next. */
  async *[Symbol.asyncIterator](): AsyncIterator<Frame> {
    for (let frame = await this.next(); frame !== null; frame = await this.next()) {
      try {
        yield frame;
      } finally {
        frame[Symbol.dispose]();
      }
    }
  }

  private accept(message: Message, queued: boolean): Frame | null {
    const header = readHeader(message.memory, message.offset, message.length);
    const wrong = typeof header === "string" ? header : this.foreign(header);
    if (wrong !== undefined) {
      const { source, length } = message;
      message.release();
      this.invalid++;
      const error = new StreamingError("EHEADER", `A message on "${this.name}" is no frame: ${wrong}.`, {
        source,
        length,
      });
      this.emit("invalid", error);
      return null;
    }
    const frame = new Frame(header as FrameHeader, message);
    this.account(frame, queued);
    this.lend(frame);
    return frame;
  }

  /** What one viewer holds is bounded, for all share the slots of the server. */
  private lend(frame: Frame): void {
    const { lent } = this;
    const { hold = HOLD } = this.options;
    if (lent.length >= hold) {
      for (let at = lent.length - 1; at >= 0; at--) if (!(lent[at] as Frame).held) lent.splice(at, 1);
      while (lent.length >= hold) this.takeBack(lent.shift() as Frame, hold);
    }
    lent.push(frame);
  }
  private takeBack(frame: Frame, hold: number): void {
    frame.release();
    this.takenBack++;
    this.emit("takenBack", { number: frame.number, hold });
  }

  private foreign({ epoch, number }: FrameHeader): string | undefined {
    if (epoch !== this.server.epoch) return `it is of another server (epoch ${epoch}, not ${this.server.epoch})`;
    return number <= this.lastNumber ? `its number ${number} is not after ${this.lastNumber}` : undefined;
  }

  /** `queued`: it was taken from the queue, so that what has been overtaken came before it. */
  private account(frame: Frame, queued: boolean): void {
    const { number, skipped } = frame;
    const overtaken = (this.sink as Sink).stats.dropped;
    if (this.lastNumber < 0) this.overtakenKnown = queued ? overtaken : 0;
    else if (number > this.lastNumber + 1) {
      const gap = number - this.lastNumber - 1;
      const unsent = Math.min(gap, Math.max(0, skipped - this.lastSkipped));
      const late = Math.min(gap - unsent, overtaken - this.overtakenKnown);
      const missing = { skipped: unsent, overtaken: late, lost: gap - unsent - late };
      this.missing.skipped += missing.skipped;
      this.missing.overtaken += missing.overtaken;
      this.overtakenKnown += late;
      this.missing.lost += missing.lost;
      this.emit("missing", { ...missing, before: number });
    }
    this.lastNumber = number;
    this.lastSkipped = skipped;
    this.latencies[this.received++ % REMEMBERED] = frame.latencyUs;
    this.receivedBytes += frame.bytes.length;
    this.heard = performance.now();
  }

  private told(said: Announcement): void {
    if (said.epoch !== this.server.epoch) {
      // Not before the first one is silent: two at once are somebody's mistake, and this client has chosen.
      return;
    }
    this.heard = performance.now();
    if (said.ended) this.over("ended");
  }

  private tick(interval: number): void {
    const now = performance.now();
    // This thread was busy: what has come meanwhile has not been seen yet.
    if (now - this.ticked > 2 * interval) this.heard = now;
    this.ticked = now;
    const { silenceMs = 4000 } = this.options;
    if (now - this.heard > silenceMs) this.over(this.vanished(`nothing was heard of it for ${silenceMs} ms`));
    else this.report(false);
  }

  private vanished(why: string): StreamingError {
    return new StreamingError("ESERVERGONE", `The server of "${this.name}" is gone: ${why}. Connect again.`, {
      name: this.name,
    });
  }

  private over(how: StreamingError | "ended"): void {
    if (this.end !== undefined) return;
    this.end = how;
    clearInterval(this.timer);
    this.stop.abort();
    this.emit("gone", how);
  }

  private report(leaving: boolean): void {
    const { reports, said } = this;
    if (reports === undefined || said === undefined) return;
    const { overtaken, lost } = this.missing;
    const report = {
      epoch: said.epoch,
      client: this.id,
      leaving,
      received: this.received,
      lost: overtaken + lost,
      number: Math.max(0, this.lastNumber),
      latencyUs: this.stats.latencyUs.p50,
    };
    emitRecord(reports, (memory, offset) => writeReport(memory, offset, report));
  }

  private usable(): Sink {
    if (this.closing !== undefined || this.sink === undefined) throw this.closedError();
    return this.sink;
  }
  private closedError(): StreamingError {
    return new StreamingError("ECLOSED", `The client of "${this.name}" is closed.`);
  }

  close(): Promise<void> {
    this.closing ??= this.leave();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async leave(): Promise<void> {
    clearInterval(this.timer);
    this.stop.abort();
    this.report(true);
    await Promise.all([this.frames?.close(), this.control.close()]);
  }
}
