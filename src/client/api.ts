// The public contract of the thin client: what an application holds in its hands (architecture, section 6; paper, figure
// 2). Types only. A session is single-threaded: each Worker opens its own.
import type { WarningCode } from "../protocol/codes.ts";
import type { DecisionRecord, SinkPolicyRecord } from "../protocol/control.ts";
import type { Qos } from "../protocol/qos.ts";
import type { ReboundEvent } from "../protocol/rebound.ts";

export interface WarningEvent {
  readonly code: WarningCode;
  readonly message: string;
  readonly cure: string;
}

/** A session that has ended, and is of no use any more. */
export interface ClosedEvent {
  /** For people. */
  readonly reason: string;
  /** By the runtime, because the application broke a rule (`reason` says which); else by the application itself. */
  readonly evicted: boolean;
}

export interface ConnectOptions {
  /** Path of the runtime's socket; default `INSANE_SOCKET`, else the user's runtime directory, else /run/insane. */
  readonly socket?: string;
  /** Name shown to operators; default the program's name and pid. */
  readonly name?: string;
  /** Deadline of control calls in ms (5000). */
  readonly timeout?: number;
}

/** `Object.keys` of events and their payloads; `on` returns a function that takes the listener away again. */
export interface Emitter<Events> {
  on<K extends keyof Events>(event: K, listener: (payload: Events[K]) => void): () => void;
}

export interface Session extends AsyncDisposable, Emitter<{ warning: WarningEvent; closed: ClosedEvent }> {
  readonly id: number;
  readonly name: string;
  readonly runtime: { readonly id: string; readonly name: string; readonly version: string; readonly pid: number };
  readonly closed: boolean;
  createStream(options?: Partial<Qos> & { readonly name?: string }): Promise<Stream>;
  /**
   * Tells of channels that have a name, here and on other hosts: all there are before it resolves, then each that changes.
   * What it resolves with ends it.
   */
  watchChannels(listener: (channels: ReadonlyArray<NamedChannel>) => void): Promise<() => Promise<void>>;
  /**
   * Looks once for control frames, returned credits and new messages (and, in an embedded runtime with the inline lease,
   * runs one turn of the engine, which sends first). Callback sinks are called from here; what a callback throws is thrown
   * on after the turn, and its message is released. Returns how many messages arrived. A loop that spins calls this;
   * everybody else is woken by the event loop.
   */
  poll(): number;
  /**
   * Blocks this thread until there is something for `poll`, at most `timeoutMs`: looks, yields, then sleeps. For Workers
   * and plain loops without an event loop. Returns whether there is something.
   */
  wait(timeoutMs: number): boolean;
  /** Gives the core to whoever shares it (sched_yield). */
  yield(): void;
  close(): Promise<void>;
}

/** A named channel of a stream, as it is now. Each other host that has sources or sinks of it counts as one. */
export interface NamedChannel {
  readonly stream: string;
  readonly channel: number;
  readonly name: string;
  readonly sources: number;
  readonly sinks: number;
}

export interface StreamEvents {
  warning: WarningEvent;
  /** Decided anew: `Stream.binding` is this from now on. */
  binding: DecisionRecord;
  /** It has moved to another datapath; sources and sinks go on as before. */
  rebound: ReboundEvent;
}

export interface Stream extends AsyncDisposable, Emitter<StreamEvents> {
  readonly name: string;
  readonly tag: number;
  readonly qos: Qos;
  /** The decision record: what the stream is bound to and why. */
  readonly binding: DecisionRecord;
  readonly warnings: ReadonlyArray<WarningEvent>;
  /**
   * Another quality while it is open: it moves if another datapath gives it, and sources and sinks notice nothing but the
   * `rebound` event. Name, tag and `maxMessage` stay. With another traffic class (`ESCHEDULE` if it does not fit the gate
   * schedule) what waits is sent by that. Resolves with the decision that is in force
   * then.
   */
  setQos(change: Partial<Omit<Qos, "maxMessage">>): Promise<DecisionRecord>;
  /** Throws ECOLLISION when the channel is known by another name than `options.name`. */
  createSource(channel: number, options?: SourceOptions): Promise<Source>;
  /** A callback is called from when the promise has resolved; it releases each message, now or later. */
  createSink(channel: number, callback?: (message: Message) => void): Promise<Sink>;
  createSink(channel: number, options: SinkOptions, callback?: (message: Message) => void): Promise<Sink>;
  close(): Promise<void>;
}

export interface SourceOptions {
  /**
   * What this channel is called, 1 to 200 bytes: told to all hosts, so that `Session.watchChannels` finds it, and that two
   * names which share a number are told apart.
   */
  readonly name?: string;
}

export interface SinkOptions extends SourceOptions {
  /** What happens when this sink is slow; default `{ kind: "block" }`. */
  readonly policy?: SinkPolicyRecord;
}

/** Outcome of an emitted message (paper: check_emit_outcome). */
export type Outcome =
  | { readonly state: "pending" }
  | { readonly state: "sent" }
  | { readonly state: "dropped"; readonly reason: DropReason };
export type DropReason =
  | "no-sink"
  | "overtaken"
  | "invalid"
  | "no-peer"
  | "too-large"
  | "network"
  | "closed"
  | "no-credit"
  | "abandoned";

/**
 * A slot on loan from the pool, to be emitted or disposed. One reused handle a slot: once emitted it may be lent again, so
 * with `using` get no further buffer in the same block, or dispose by hand.
 */
export interface SlotBuffer extends Disposable {
  /** The bytes asked for, over shared memory; made on demand. */
  readonly bytes: Uint8Array;
  /** As asked for; may be lowered (never raised) before emit. */
  length: number;
  /** The whole pool's memory and where this slot's payload begins: for code that wants no allocation per message. */
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  /** Byte offset of the payload in `memory`, a multiple of 64. */
  readonly offset: number;
}

export interface SourceStats {
  readonly emitted: number;
  /** (message, consumer) pairs handed to links. */
  readonly pushed: number;
  readonly consumed: number;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  readonly abandoned: number;
  readonly outstanding: number;
  /** Messages emitted while nobody listened. */
  readonly unmatched: number;
}

/** A consumer as a source knows it. */
export interface ReceiverInfo {
  /** Of the session; 0: the network. */
  readonly session: number;
  readonly name: string;
  readonly kind: "direct" | "egress";
  /** What its sinks of the channel asked for; the network blocks. */
  readonly policies: ReadonlyArray<SinkPolicyRecord>;
  /** Without a credit this source has to wait for it; else the message is dropped for it alone. */
  readonly blocks: boolean;
  /** Messages of all sources of this stream that it has, and how many it may have. */
  readonly outstanding: number;
  readonly entries: number;
  /** Messages of this source that it was not given because its credits, or its share of slots, were used up. */
  readonly dropped: number;
}

export interface Source extends AsyncDisposable, Emitter<{ matched: { consumers: number } }> {
  readonly id: number;
  readonly channel: number;
  /** Consumers (sessions, or the engine for other hosts) that now get what is emitted. */
  readonly consumers: number;
  /** Who they are, how each of them wants to be waited for, and what it missed. */
  readonly receivers: ReadonlyArray<ReceiverInfo>;
  /** Resolves when at least `count` consumers are there. */
  matched(count?: number, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Faults in the slots that messages of `bytes` use, off the hot path. */
  reserve(bytes: number): Promise<void>;
  /** Throws InsaneError EAGAIN (no slot), EMSGSIZE, ECLOSED. */
  getBuffer(bytes: number): SlotBuffer;
  /** null instead of EAGAIN. */
  tryGetBuffer(bytes: number): SlotBuffer | null;
  /**
   * Hands the slot over: after this it is not yours. Returns a token (> 0). Throws EAGAIN (no credit, naming the sink's
   * session; the buffer stays yours), ERELEASED. With `more`, publication waits for `flush` or an emit without it.
   */
  emit(buffer: SlotBuffer, more?: boolean): number;
  /** 0 instead of EAGAIN. */
  tryEmit(buffer: SlotBuffer, more?: boolean): number;
  flush(): void;
  /** Why the last try said no. */
  readonly againReason: string;
  /** Resolves when there may be a slot and a credit again. */
  ready(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * pending: a consumer has it. sent: one of them has consumed it, or the network took it. dropped: none did. How messages
   * ended is remembered for the last 4096 of this source; older ones that are not pending count as sent.
   */
  checkEmitOutcome(token: number): Outcome;
  /** Resolves when everything emitted has come home. */
  settled(options?: { readonly signal?: AbortSignal }): Promise<SourceStats>;
  readonly stats: SourceStats;
  close(): Promise<void>;
}

/** A received message: borrowed until released. The handle is reused after release; its generation changes with both. */
export interface Message extends Disposable {
  readonly generation: number;
  /** Over shared memory, read-only by contract (and by the mapping); made on demand. */
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  readonly offset: number;
  readonly channel: number;
  /** Id of the source; within this host as the runtime tells it (0: unknown), from other hosts as the message does. */
  readonly source: number;
  /** Of the source's messages, from 0; from other hosts, of those sent to this one. */
  readonly sequence: number;
  /** Milliseconds since 1970 with fractions (the emitting host's clock, taken once a burst). */
  readonly emitTime: number;
  /** When this session took it, or, from another host, when it came to this one; the same unit, once a burst. */
  readonly receiveTime: number;
  /** Bytes that outlive the slot. */
  copy(): Uint8Array;
  /** Throws ERELEASED the second time. */
  release(): void;
}

export interface LostEvent {
  readonly source: number;
  readonly count: number;
  readonly reason: "wire" | "no-credit";
}

export interface SinkStats {
  readonly received: number;
  readonly consumed: number;
  readonly dropped: number;
  readonly lost: number;
  readonly held: number;
  /** Held when their producer went without waiting for them, and copied out of its memory. */
  readonly copied: number;
}

export interface Sink extends AsyncDisposable, AsyncIterable<Message>, Emitter<{ lost: LostEvent }> {
  readonly id: number;
  readonly channel: number;
  readonly policy: SinkPolicyRecord;
  /**
   * Messages it may hold, queued or taken and not released, while more than a quarter of a
   * link's entries are held; then its policy begins to drop. Less where several sinks of this session and stream share their links. Infinity: until a link is full,
   * and then the source drops or waits.
   */
  readonly mayHold: number;
  /** Local sources that had not acknowledged when the sink opened. */
  readonly unconfirmed: ReadonlyArray<{ readonly session: number; readonly name: string }>;
  /** Messages that can be consumed now (polls once); none of a sink with a callback, here and below. */
  dataAvailable(): number;
  /** The next message or null; polls when there is none. */
  tryConsume(): Message | null;
  consume(options?: { readonly signal?: AbortSignal }): Promise<Message>;
  /** Asynchronous iteration releases each message when the loop asks for the next. */
  [Symbol.asyncIterator](): AsyncIterator<Message>;
  readonly stats: SinkStats;
  close(): Promise<void>;
}
