// The serving side: asks a source for frame after frame, each written straight into shared memory, and sends it to whoever
// listens. A frame that cannot go out in time is passed over and counted; nothing is ever queued here.
import { EventEmitter } from "node:events";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Session, Sink, SlotBuffer, Source, Stream } from "../../index.ts";
import { Audience } from "./audience.ts";
import {
  type Announcement,
  CHANNELS,
  RECORD_BYTES,
  readReport,
  streamNames,
  writeAnnouncement,
} from "./control-records.ts";
import { messageOf, StreamingError } from "./errors.ts";
import { checkFormat, type Encoding, type FrameFormat, frameBytes, HEADER_BYTES, writeHeader } from "./frame-header.ts";
import { FRAMES, NameClaim } from "./name-claim.ts";
import { Pace } from "./pace.ts";
import { emitRecord } from "./record-source.ts";
import type { ServerEvents, ServerOptions, ServerStats } from "./server-api.ts";

const ANNOUNCE_MS = 500;
/** Announcement intervals without a report after which a client is forgotten. */
const SILENT_INTERVALS = 6;
const SETTLE_MS = 1000;
const AHEAD = 3;
/** Longest rest of a source that fails every time. */
const MOST_REST_MS = 1000;

/** Opens a server that others find under `name`. Errors: EFORMAT, ETAKEN, and those of sessions and streams. */
export async function openServer(session: Session, options: ServerOptions): Promise<Server> {
  const { source, name, quality = {} } = options;
  const maxFrame = source.maxFrame ?? frameBytes(source.format);
  checkFormat(source.format, maxFrame);
  const names = streamNames(name);
  const claim = await NameClaim.of(session, name);
  const opened: Stream[] = [];
  try {
    const control = await session.createStream({ name: names.control, maxMessage: RECORD_BYTES });
    opened.push(control);
    const frames = await session.createStream({ ...quality, name: names.frames, maxMessage: HEADER_BYTES + maxFrame });
    opened.push(frames);
    const server = new Server(options, maxFrame, control, frames, claim);
    await server.open();
    return server;
  } catch (error) {
    await Promise.allSettled([claim.end(), ...opened.map((stream) => stream.close())]);
    throw error;
  }
}

export class Server extends EventEmitter<ServerEvents> implements AsyncDisposable {
  readonly name: string;
  readonly epoch = Math.floor(Math.random() * 0xffff_fffe) + 1;
  readonly maxFrame: number;
  /** The stream that carries the frames: its binding and warnings. */
  readonly stream: Stream;
  private readonly options: ServerOptions;
  private readonly control: Stream;
  private readonly claim: NameClaim;
  private readonly audience = new Audience();
  private readonly pace: Pace | undefined;
  private readonly stop = new AbortController();
  private source!: Source;
  private announcements!: Source;
  private reports!: Sink;
  private timer: NodeJS.Timeout | undefined;
  private looping: Promise<ServerStats> | undefined;
  private closing: Promise<void> | undefined;
  private number = 0;
  private sent = 0;
  /** Frames refused one after the other. */
  private failures = 0;
  private sentBytes = 0;
  private readonly skipped = { late: 0, full: 0, refused: 0, unheard: 0 };

  constructor(options: ServerOptions, maxFrame: number, control: Stream, stream: Stream, claim: NameClaim) {
    super();
    this.options = options;
    this.name = options.name;
    this.maxFrame = maxFrame;
    this.control = control;
    this.claim = claim;
    this.stream = stream;
    this.pace = options.fps === undefined ? undefined : new Pace(options.fps, options.minFps);
  }

  /** Once, by openServer. */
  async open(): Promise<void> {
    this.source = await this.stream.createSource(CHANNELS.frames, { name: FRAMES });
    this.announcements = await this.control.createSource(CHANNELS.announcements);
    this.reports = await this.control.createSink(
      CHANNELS.reports,
      { policy: { kind: "keep-last", depth: 64 } },
      (message) => {
        const report = readReport(message.memory, message.offset, message.length);
        message.release();
        if (report?.epoch !== this.epoch) return;
        const what = this.audience.heard(report, performance.now());
        if (what === "joined") this.emit("joined", { client: report.client });
        if (what === "left") this.emit("left", { client: report.client, why: "left" });
      },
    );
    this.announcements.on("matched", () => this.announce());
    this.claim.hold((error) => this.emit("rivals", error));
    this.timer = setInterval(() => this.tick(), ANNOUNCE_MS).unref();
    this.announce();
  }

  get stats(): ServerStats {
    return {
      frames: this.number,
      sent: this.sent,
      skipped: { ...this.skipped },
      bytes: this.sentBytes,
      fps: this.pace?.fps ?? 0,
      listeners: this.source.consumers,
      clients: this.audience.states,
    };
  }

  /**
   * Asks for a frame, sends it, waits for the next, until the source has no more, `frames` are through, `signal` aborts or
   * the server closes.
   */
  loop(options: { readonly signal?: AbortSignal; readonly frames?: number } = {}): Promise<ServerStats> {
    this.looping ??= this.run(options).finally(() => {
      this.looping = undefined;
    });
    return this.looping;
  }

  private async run({ signal, frames = Number.POSITIVE_INFINITY }: { signal?: AbortSignal; frames?: number }) {
    const stop = signal === undefined ? this.stop.signal : AbortSignal.any([signal, this.stop.signal]);
    const last = this.number + frames;
    try {
      while (!stop.aborted && this.number < last) {
        if (this.source.consumers === 0) await this.nobody(stop);
        else if (!(await this.step(stop))) break;
        this.passOver("late", await this.due(stop));
      }
    } catch (error) {
      if (!stop.aborted) throw error;
    }
    return this.stats;
  }

  /** A source that goes on by itself is read all the same; others wait for their public. */
  private async nobody(stop: AbortSignal): Promise<void> {
    const { source } = this.options;
    if (source.skipFrame === undefined) {
      await this.source.matched(1, { signal: stop });
      this.pace?.restart();
    } else {
      await source.skipFrame();
      this.passOver("unheard", 1);
    }
  }

  /** One frame; false when there are no more. */
  private async step(stop: AbortSignal): Promise<boolean> {
    const { source } = this.options;
    const slot = await this.room(stop);
    if (slot === null) {
      await source.skipFrame?.();
      this.passOver("full", 1);
      return true;
    }
    const begun = process.hrtime.bigint();
    try {
      const { bytes, memory, offset } = slot;
      const filling = source.getFrame(bytes.subarray(HEADER_BYTES), this.number);
      const filled = filling instanceof Promise ? await filling : filling;
      if (filled === null) return false;
      const { format = source.format, encoding = source.encoding ?? "raw" } = filled;
      this.check(format, encoding, filled.bytes);
      const ageNs = Number(process.hrtime.bigint() - begun);
      const { epoch, number } = this;
      const header = {
        ...format,
        epoch,
        number,
        skipped: this.skippedAll,
        ageNs,
        encoding,
        payloadBytes: filled.bytes,
      };
      writeHeader(memory, offset, header);
      slot.length = HEADER_BYTES + filled.bytes;
      await this.send(slot, stop);
    } catch (cause) {
      if (stop.aborted) return false;
      this.refuse(cause);
    } finally {
      slot[Symbol.dispose]();
    }
    return true;
  }

  /** A slot for the largest frame; null: it is to be passed over. */
  private async room(stop: AbortSignal): Promise<SlotBuffer | null> {
    const bytes = HEADER_BYTES + this.maxFrame;
    if (!this.roomAhead && !(this.waits && (await this.patience(stop)))) return null;
    const slot = this.source.tryGetBuffer(bytes);
    if (slot !== null || !this.waits) return slot;
    return (await this.patience(stop)) ? this.source.tryGetBuffer(bytes) : null;
  }

  /** Whether all that are waited for have taken enough of what was sent. */
  private get roomAhead(): boolean {
    const { source } = this;
    const { ahead = AHEAD } = this.options;
    // Takes what has come back.
    if (source.stats.outstanding < ahead) return true;
    return source.receivers.every(({ blocks, outstanding }) => !blocks || outstanding < ahead);
  }

  private async send(slot: SlotBuffer, stop: AbortSignal): Promise<void> {
    const { length } = slot;
    let gone = this.source.tryEmit(slot) !== 0;
    if (!gone && this.waits && (await this.patience(stop))) gone = this.source.tryEmit(slot) !== 0;
    if (!gone) {
      this.passOver("full", 1);
      return;
    }
    this.failures = 0;
    this.number++;
    this.sent++;
    this.sentBytes += length - HEADER_BYTES;
  }

  /** Frames that are due at no time of their own are never late. */
  private get waits(): boolean {
    return this.options.late === "wait" || (this.pace === undefined && this.options.source.waitNext === undefined);
  }

  /** Whether there may be room again. */
  private async patience(stop: AbortSignal): Promise<boolean> {
    const ms = this.options.patienceMs ?? 2000;
    const enough = new AbortController();
    const give = (): void => enough.abort();
    const timer = setTimeout(give, ms);
    stop.addEventListener("abort", give);
    try {
      await this.source.ready({ signal: enough.signal });
      // Nobody tells when one of them has taken a frame; at these sizes a millisecond is not much.
      while (!this.roomAhead) await sleep(1, undefined, { signal: enough.signal });
      return true;
    } catch (error) {
      if (stop.aborted || !enough.signal.aborted) throw error;
      const why = `Clients took no frame for ${ms} ms: ${this.source.againReason}`;
      this.emit("stalled", { number: this.number, error: new StreamingError("ESTALLED", why) });
      return false;
    } finally {
      clearTimeout(timer);
      stop.removeEventListener("abort", give);
    }
  }

  private check(format: FrameFormat, encoding: Encoding, bytes: number): void {
    const { number } = this;
    checkFormat(format, this.maxFrame);
    const raw = frameBytes(format);
    const fits = Number.isInteger(bytes) && bytes >= 1 && bytes <= this.maxFrame;
    if (!fits || (encoding === "raw" && bytes !== raw)) {
      const { width, height, pixels } = format;
      const should = encoding === "raw" ? `${width} x ${height} ${pixels} is ${raw}` : `${this.maxFrame} is the most`;
      const why = `Frame ${number} has ${bytes} bytes; ${should}, and this server was opened for ${this.maxFrame}.`;
      throw new StreamingError("EFRAMESIZE", why, { number, bytes, expected: raw, maxFrame: this.maxFrame });
    }
  }

  private refuse(cause: unknown): void {
    const { number } = this;
    const error =
      cause instanceof StreamingError
        ? cause
        : new StreamingError("ESOURCE", `The source failed at frame ${number}: ${messageOf(cause)}`, { number });
    this.failures++;
    this.passOver("refused", 1);
    this.emit("refused", { number, error });
  }

  private passOver(why: keyof ServerStats["skipped"], count: number): void {
    this.number += count;
    this.skipped[why] += count;
  }
  private get skippedAll(): number {
    const { late, full, refused, unheard } = this.skipped;
    return late + full + refused + unheard;
  }

  /** Waits for the next frame; how many were missed. */
  private async due(stop: AbortSignal): Promise<number> {
    const { source } = this.options;
    if (this.pace !== undefined) {
      const { wait, missed } = this.pace.next(performance.now());
      if (wait > 0) await sleep(wait, undefined, { signal: stop });
      else await turn();
      return missed;
    }
    const missed = (await source.waitNext?.(stop)) ?? 0;
    // A source that fails at once, again and again, shall not keep a core busy with it.
    if (this.failures > 0) await sleep(Math.min(MOST_REST_MS, 2 ** this.failures), undefined, { signal: stop });
    // Timers, reports and the runtime get their turn however fast frames come.
    await turn();
    return missed;
  }

  private tick(): void {
    this.announce();
    for (const { id } of this.audience.forget(performance.now() - SILENT_INTERVALS * ANNOUNCE_MS))
      this.emit("left", { client: id, why: "silent" });
    const share = this.audience.bestShare;
    if (share !== undefined) this.pace?.heard(share);
  }

  private announce(ended = false): void {
    const { source, quality = {}, late } = this.options;
    const announcement: Announcement = {
      ...source.format,
      epoch: this.epoch,
      lossless: late === "wait",
      ended,
      maxFrame: this.maxFrame,
      encoding: source.encoding ?? "raw",
      fps: this.options.fps ?? 0,
      intervalMs: ANNOUNCE_MS,
      number: this.number,
      quality: { acceleration: quality.acceleration ?? "none", consumption: quality.consumption ?? "low" },
    };
    emitRecord(this.announcements, (memory, offset) => writeAnnouncement(memory, offset, announcement));
  }

  /** What is on its way may still arrive, then clients are told that this was all. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async end(): Promise<void> {
    clearInterval(this.timer);
    this.stop.abort();
    await this.looping?.catch(() => {});
    const patience = { signal: AbortSignal.timeout(SETTLE_MS) };
    await this.source.settled(patience).catch(() => {});
    this.announce(true);
    await this.announcements.settled({ signal: AbortSignal.timeout(SETTLE_MS) }).catch(() => {});
    await this.options.source.close?.();
    await Promise.all([this.claim.end(), this.stream.close(), this.control.close()]);
  }
}
