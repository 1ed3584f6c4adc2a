// A received message: a view of a slot in its producer's pool, one reused handle per link entry and sink. Metadata is read
// when asked for; it lies in memory that the producer can write, so it is information, never an index.

import type { Mapping } from "../native/views.ts";
import { InsaneError } from "../protocol/codes.ts";
import { META, POOL } from "../protocol/layout.ts";
import { type Area, areaOf } from "../protocol/msgpack-encode.ts";
import { ITEM } from "../protocol/wire.ts";
import type { Message } from "./api.ts";
import type { ConsumerEnd } from "./consumer-end.ts";
import type { SinkQueue } from "./sink.ts";

/** A producer's pool as a consumer sees it: read-only. Or what was copied out of one. */
export class PoolView {
  readonly bytes: number;
  private readonly mapping: Mapping | undefined;
  readonly memory: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
  private codecArea: Area | undefined;

  constructor(buffer: ArrayBuffer, mapping?: Mapping) {
    this.mapping = mapping;
    this.bytes = buffer.byteLength;
    this.memory = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.view = new DataView(buffer);
  }

  unmap(): void {
    this.mapping?.unmap();
  }

  /** Whether these bytes can be a slot's payload, with room for its metadata. */
  holds(offset: number, length: number): boolean {
    return offset >= POOL.HEADER_ROOM && offset + length <= this.bytes;
  }

  get area(): Area {
    this.codecArea ??= areaOf(this.memory);
    return this.codecArea;
  }
}

/** Bit of the generation: held, not released. */
export const HELD = 1;
const LENT = HELD;

export class Received implements Message {
  readonly end: ConsumerEnd;
  readonly sink: SinkQueue;
  readonly entry: number;
  pool: PoolView;
  /** Those of `pool`: one load less for whoever reads. */
  memory: Uint8Array;
  words: Uint32Array;
  /** Index of `pool` on the link: cheaper to compare than objects. */
  poolIndex = -1;
  offset = 0;
  length = 0;
  sourceIndex = 0;
  /** Other sinks of the session have it as well. */
  shared = false;
  /** Odd while the message is held. */
  generation = 0;

  constructor(end: ConsumerEnd, sink: SinkQueue, entry: number, pool: PoolView) {
    this.end = end;
    this.sink = sink;
    this.entry = entry;
    this.pool = pool;
    this.memory = pool.memory;
    this.words = pool.words;
  }

  /** Its bytes lie there from now on. */
  moveTo(pool: PoolView, index: number): void {
    this.pool = pool;
    this.poolIndex = index;
    this.memory = pool.memory;
    this.words = pool.words;
  }

  get bytes(): Uint8Array {
    if ((this.generation & LENT) === 0) throw this.gone();
    return this.pool.memory.subarray(this.offset, this.offset + this.length);
  }
  get channel(): number {
    return this.sink.channel;
  }
  get source(): number {
    // On this host the tables say who it is, whatever the message says; 0: nobody who was agreed on.
    if (this.end.kind === "direct") return this.end.sourceIds[this.sourceIndex] ?? 0;
    return this.u32(META.SOURCE);
  }
  get sequence(): number {
    const sequence = this.u32(META.SEQUENCE + 4) * 0x100000000 + this.u32(META.SEQUENCE);
    return this.item === 0 ? sequence : sequence + this.item - 1;
  }
  get emitTime(): number {
    const time = this.milliseconds(META.EMIT_TIME);
    return this.item === 0 ? time : time + this.delta / 1e6;
  }
  get receiveTime(): number {
    return this.end.kind === "direct" ? (this.end.times[this.entry] as number) : this.milliseconds(META.RECEIVE_TIME);
  }

  /** Takes the message out of memory that its producer may soon use again. */
  keepCopy(): void {
    const { item, meta } = this;
    const { memory } = this.pool;
    const to = POOL.HEADER_ROOM - META.BYTES;
    const copy = new Uint8Array(POOL.HEADER_ROOM + Math.ceil(this.length / 4) * 4);
    if (meta >= 0) copy.set(memory.subarray(meta, meta + META.BYTES), to);
    copy.set(memory.subarray(this.offset, this.offset + this.length), POOL.HEADER_ROOM);
    const kept = new PoolView(copy.buffer);
    if (item !== 0) {
      const { view } = kept;
      view.setBigUint64(to + META.SEQUENCE, view.getBigUint64(to + META.SEQUENCE, true) + BigInt(item - 1), true);
      view.setBigUint64(to + META.EMIT_TIME, view.getBigUint64(to + META.EMIT_TIME, true) + BigInt(this.delta), true);
      this.sourceIndex = 0;
    }
    this.moveTo(kept, -1);
    this.offset = POOL.HEADER_ROOM;
    this.sink.copied++;
    this.sink.touch();
  }

  copy(): Uint8Array {
    if ((this.generation & LENT) === 0) throw this.gone();
    return this.pool.memory.slice(this.offset, this.offset + this.length);
  }

  release(): void {
    if ((this.generation & LENT) === 0) throw this.gone();
    this.generation++;
    this.sink.consumed++;
    if (this.shared) this.end.giveBackShare(this.entry, 0, this.sink);
    else this.end.giveBack(this.entry, 0, this.sink);
  }

  /** As release, but counted as a drop for `status`. */
  drop(status: number): void {
    this.generation++;
    this.sink.dropped++;
    if (this.shared) this.end.giveBackShare(this.entry, status, this.sink);
    else this.end.giveBack(this.entry, status, this.sink);
  }

  [Symbol.dispose](): void {
    if ((this.generation & LENT) !== 0) this.release();
  }

  /** Its number in a datagram that it shared with others, from 1; 0: it came alone, or from this host. */
  private get item(): number {
    return this.end.kind === "direct" ? 0 : this.sourceIndex;
  }
  /** Nanoseconds of an item's emit time beyond that of its datagram. */
  private get delta(): number {
    return this.pool.view.getUint32(this.offset - ITEM.META_DELTA, true);
  }
  /** Where the metadata lie: before the payload, or before the first item. */
  private get meta(): number {
    if (this.item === 0) return this.offset - META.BYTES;
    return this.offset - ITEM.HEADER - this.pool.view.getUint32(this.offset - ITEM.META_BACK, true) - META.BYTES;
  }

  /** A field of the metadata in host order (little-endian); receive slots may be unaligned. */
  private u32(field: number): number {
    if ((this.generation & LENT) === 0) throw this.gone();
    return this.pool.view.getUint32(this.meta + field, true);
  }
  /** Nanoseconds of the metadata as milliseconds with fractions. */
  private milliseconds(field: number): number {
    const ns = (BigInt(this.u32(field + 4)) << 32n) | BigInt(this.u32(field));
    return Number(ns / 1000000n) + Number(ns % 1000000n) / 1e6;
  }
  private gone(): InsaneError {
    return new InsaneError(
      "ERELEASED",
      `This message of channel ${this.sink.channel} was released already; use copy() for bytes that must outlive it.`,
    );
  }
}
