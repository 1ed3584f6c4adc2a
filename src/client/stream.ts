// A stream as an application holds it: what it is bound to and why, and its sources and sinks. Owns the session's pools on
// the stream, which come into being with its first source.
import type { Platform } from "../native/platform.ts";
import { type Mapping, mapSegment } from "../native/views.ts";
import { InsaneError, type Warning, type WarningCode } from "../protocol/codes.ts";
import type { DecisionRecord, PoolRecord } from "../protocol/control.ts";
import { STATS_PAGE } from "../protocol/layout.ts";
import type { Qos } from "../protocol/qos.ts";
import type { ReboundEvent } from "../protocol/rebound.ts";
import type {
  LostEvent,
  Message,
  Sink,
  SinkOptions,
  Source,
  SourceOptions,
  Stream,
  StreamEvents,
  WarningEvent,
} from "./api.ts";
import type { ControlConnection } from "./control.ts";
import { Listeners } from "./emitter.ts";
import type { Ends } from "./ends.ts";
import { type SlotPool, StreamPools } from "./pools.ts";
import type { Pump } from "./pump.ts";
import { type SinkOwner, SinkQueue } from "./sink.ts";
import { EmittingSource } from "./source.ts";
import type { SourceOwner } from "./source-host.ts";

/** How long a closing source waits for what is out, ms; then the runtime reclaims it. */
const SETTLE_MS = 1000;
/** How long a stream may take to move, ms: the runtime's own deadlines are shorter, one after the other. */
const MOVE_MS = 30_000;

/** Words of losses that are kept for sinks that are being opened. */
const EARLY = 64;

/** What a stream shares with its session. */
export interface StreamHost {
  readonly platform: Platform;
  readonly control: ControlConnection;
  readonly pump: Pump;
  readonly ends: Ends;
  readonly stats: Mapping;
  forgetStream(stream: OpenStream): void;
}
interface Opened {
  readonly stream: number;
  readonly name: string;
  readonly tag: number;
  readonly decision: DecisionRecord;
}

export class OpenStream implements Stream, SourceOwner, SinkOwner {
  readonly id: number;
  readonly name: string;
  readonly tag: number;
  qos: Qos;
  binding: DecisionRecord;
  readonly warnings: WarningEvent[];
  /** How many times the session has opened it: the same quality is the same stream. */
  users = 1;
  pools: StreamPools | undefined;
  private opening: Promise<StreamPools> | undefined;
  private readonly host: StreamHost;
  private readonly listeners = new Listeners<StreamEvents>();
  private readonly sources = new Set<EmittingSource>();
  private readonly sinks = new Set<SinkQueue>();
  /** Losses of sinks whose number has not come yet. */
  private early: Array<{ readonly sink: number; readonly event: LostEvent }> = [];
  private closing: Promise<void> | undefined;

  constructor(host: StreamHost, opened: Opened, qos: Qos) {
    this.host = host;
    this.id = opened.stream;
    this.name = opened.name;
    this.tag = opened.tag;
    this.qos = qos;
    this.binding = opened.decision;
    this.warnings = opened.decision.warnings.map(event);
  }

  on<K extends keyof StreamEvents>(name: K, listener: (payload: StreamEvents[K]) => void): () => void {
    return this.listeners.on(name, listener);
  }

  warned(warning: Omit<Warning, "code"> & { readonly code: string }): void {
    const happened = event(warning);
    this.warnings.push(happened);
    this.listeners.emit("warning", happened);
  }

  bound(decision: DecisionRecord): void {
    this.binding = decision;
    this.qos = decision.qos;
    this.listeners.emit("binding", decision);
  }

  rebound(event: ReboundEvent): void {
    this.listeners.emit("rebound", event);
  }

  async setQos(change: Partial<Omit<Qos, "maxMessage">>): Promise<DecisionRecord> {
    this.usable();
    const qos = { ...this.qos, ...change };
    const { result } = await this.host.control.request("stream.setQos", { stream: this.id, qos }, MOVE_MS);
    this.qos = result.decision.qos;
    return result.decision;
  }

  async createSource(channel: number, { name }: SourceOptions = {}): Promise<Source> {
    this.usable();
    checkChannel(channel);
    const { control, pump, ends } = this.host;
    const pools = await this.openPools();
    const named = name === undefined ? {} : { name };
    const { result } = await control.request("source.open", { stream: this.id, channel, ...named });
    const init = { id: result.source, index: result.index, channel, stream: this.id };
    const source = new EmittingSource(pump, this, pools, init, this.block(result.stats));
    this.sources.add(source);
    pump.sources.add(source);
    source.retarget(ends.targets(this.id, channel, source.id));
    return source;
  }

  private openPools(): Promise<StreamPools> {
    this.opening ??= this.mapPools().catch((error) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  private async mapPools(): Promise<StreamPools> {
    const { control } = this.host;
    const { result, fds } = await control.request("pool.open", { stream: this.id });
    const mappings: Mapping[] = [];
    try {
      const pools = result.pools as ReadonlyArray<PoolRecord>;
      if (pools.length === 0 || fds.length !== pools.length) {
        throw new InsaneError("ESCHEMA", `pool.open answered ${pools.length} pools with ${fds.length} descriptors.`);
      }
      pools.forEach((pool, i) => {
        mappings.push(mapSegment(fds[i] as number, pool.bytes, true));
      });
      this.pools = new StreamPools(pools, mappings);
    } catch (error) {
      for (const mapping of mappings) mapping.unmap();
      throw error;
    } finally {
      control.closeAll(fds);
    }
    await control.request("pool.mapped", { stream: this.id });
    return this.pools;
  }

  createSink(channel: number, callback?: (message: Message) => void): Promise<Sink>;
  createSink(channel: number, options: SinkOptions, callback?: (message: Message) => void): Promise<Sink>;
  async createSink(
    channel: number,
    second?: SinkOptions | ((message: Message) => void),
    third?: (message: Message) => void,
  ): Promise<Sink> {
    this.usable();
    checkChannel(channel);
    const { control, pump, ends } = this.host;
    const [options, callback] = typeof second === "function" ? [{}, second] : [second ?? {}, third];
    // Known before it is asked for: links may carry messages before the answer is here.
    const sink = new SinkQueue(pump, this, this.id, channel, options, callback);
    this.sinks.add(sink);
    pump.sinks.add(sink);
    ends.reroute();
    if (sink.hasCallback) pump.awaitMessages(1);
    try {
      const named = options.name === undefined ? {} : { name: options.name };
      const { result } = await control.request("sink.open", {
        stream: this.id,
        channel,
        policy: sink.policy,
        ...named,
      });
      sink.id = result.sink;
      sink.unconfirmed = result.unconfirmed;
      sink.block = this.block(result.stats);
      // When whoever asked for it listens.
      if (this.early.length > 0) setImmediate(() => this.tellEarly(sink));
      if (sink.hasCallback) pump.activate(sink);
      else sink.writeStats();
    } catch (error) {
      this.dropSink(sink);
      throw error;
    }
    return sink;
  }

  /** Messages of the sink with this number did not arrive; maybe before that number was told here. */
  lost(id: number, event: LostEvent): void {
    let opening = false;
    for (const sink of this.sinks) {
      if (sink.id === id) {
        sink.lost(event);
        return;
      }
      if (sink.id === 0) opening = true;
    }
    if (opening && this.early.length < EARLY) this.early.push({ sink: id, event });
  }
  private tellEarly(sink: SinkQueue): void {
    const { early } = this;
    const opening = [...this.sinks].some(({ id }) => id === 0);
    this.early = opening ? early.filter((one) => one.sink !== sink.id) : [];
    for (const one of early) if (one.sink === sink.id) sink.lost(one.event);
  }

  private block(index: number): Float64Array {
    const floats = STATS_PAGE.BLOCK_BYTES / 8;
    if (index >= STATS_PAGE.MAX_BLOCKS) return new Float64Array(floats);
    return new Float64Array(this.host.stats.buffer, index * STATS_PAGE.BLOCK_BYTES, floats);
  }

  // SourceOwner, SinkOwner.
  prefault(pool: SlotPool): void {
    this.host.platform.segmentPrefault(pool.mapping.address, pool.mapping.bytes, true);
  }

  async closeSource(source: EmittingSource): Promise<void> {
    const { control } = this.host;
    source.shut();
    if (source.outstanding > 0) await source.settled({ signal: AbortSignal.timeout(SETTLE_MS) }).catch(() => {});
    await control.request("source.close", { source: source.id }).catch(unlessGone);
    this.sources.delete(source);
    if (source.outstanding === 0) this.strike(source);
    else {
      // Its last messages come home when the runtime gives up on them.
      void source.settled().then(() => this.strike(source));
    }
  }
  private strike(source: EmittingSource): void {
    this.host.pump.sources.delete(source);
    source.pools.strike(source.context);
  }

  async closeSink(sink: SinkQueue): Promise<void> {
    this.dropSink(sink);
    await this.host.control.request("sink.close", { sink: sink.id }).catch(unlessGone);
  }
  private dropSink(sink: SinkQueue): void {
    const { pump, ends } = this.host;
    if (!this.sinks.delete(sink)) return;
    pump.sinks.delete(sink);
    if (sink.hasCallback) pump.awaitMessages(-1);
    sink.shut();
    ends.reroute();
  }

  close(): Promise<void> {
    if (this.users > 1 && this.closing === undefined) {
      this.users--;
      return Promise.resolve();
    }
    this.closing ??= this.end();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async end(): Promise<void> {
    await Promise.all([
      ...[...this.sources].map((source) => source.close()),
      ...[...this.sinks].map((sink) => sink.close()),
    ]);
    await this.host.control.request("stream.close", { stream: this.id }).catch(unlessGone);
    this.host.forgetStream(this);
    this.pools?.close();
  }

  /** The session is over, whether the runtime was told or not. */
  abort(): void {
    this.closing ??= Promise.resolve();
    for (const source of this.sources) source.shut();
    for (const sink of [...this.sinks]) this.dropSink(sink);
    this.pools?.close();
  }

  private usable(): void {
    if (this.closing !== undefined) throw new InsaneError("ECLOSED", `The stream ${this.name} is closed.`);
  }
}

const event = ({ code, message, cure }: { code: string; message: string; cure: string }): WarningEvent => ({
  code: code as WarningCode,
  message,
  cure,
});

function checkChannel(channel: number): void {
  if (Number.isInteger(channel) && channel >= 0 && channel <= 0xffffffff) return;
  throw new InsaneError("EVALUE", `A channel is a whole number from 0 to 4294967295, not ${String(channel)}.`, {
    channel,
  });
}

/** Closing what the runtime has no more, or is not there to close, has succeeded. */
function unlessGone(error: unknown): void {
  if (error instanceof InsaneError && (error.code === "ENORUNTIME" || error.code === "ENOENT")) return;
  throw error;
}
