// Typed channels: a schema in, typed values out. Values are encoded by MessagePack straight into a slot, and decoded from
// the sender's; what does not fit the schema is refused at the source and counted at the sink, never delivered.
import { InsaneError } from "../protocol/codes.ts";
import { decodeFrom } from "../protocol/msgpack-decode.ts";
import { encodeInto, TOO_LONG } from "../protocol/msgpack-encode.ts";
import type { Emitter, Message, Sink, SinkOptions, Source, Stream } from "./api.ts";
import { Listeners } from "./emitter.ts";
import type { Received } from "./message.ts";
import type { Slot } from "./pools.ts";

/** What Standard Schema (version 1) asks of a schema: Effect's `toStandardSchemaV1`, zod, valibot, arktype and others. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}
export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<Issue> };
export interface Issue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

/** A value and what is known of the message that brought it; the slot is released already. */
export interface Typed<T> {
  readonly value: T;
  readonly source: number;
  readonly sequence: number;
  readonly emitTime: number;
  readonly receiveTime: number;
}
/** A message that was no value of the channel. */
export interface InvalidEvent {
  readonly source: number;
  readonly sequence: number;
  readonly reason: string;
}

export interface TypedSource<Input> extends AsyncDisposable {
  /** The source underneath: `ready`, `settled`, `matched`, `stats`. */
  readonly source: Source;
  /** Throws EVALUE with the path of what does not fit, EMSGSIZE, EAGAIN, ECLOSED. */
  emit(value: Input, more?: boolean): number;
  /** 0 instead of EAGAIN. */
  tryEmit(value: Input, more?: boolean): number;
  close(): Promise<void>;
}
export interface TypedSink<Output>
  extends AsyncDisposable,
    AsyncIterable<Typed<Output>>,
    Emitter<{ invalid: InvalidEvent }> {
  /** The sink underneath: `lost`, `stats`. */
  readonly sink: Sink;
  /** Messages that were no value of the channel. */
  readonly invalid: number;
  tryConsume(): Typed<Output> | null;
  consume(options?: { readonly signal?: AbortSignal }): Promise<Typed<Output>>;
  close(): Promise<void>;
}
export interface TypedChannel<Input, Output> {
  readonly channel: number;
  createSource(stream: Stream): Promise<TypedSource<Input>>;
  createSink(stream: Stream, callback?: (value: Output, message: Message) => void): Promise<TypedSink<Output>>;
  createSink(
    stream: Stream,
    options: SinkOptions,
    callback?: (value: Output, message: Message) => void,
  ): Promise<TypedSink<Output>>;
}

/** A channel's number and the schema of its values. The sender's schema checks what is emitted, the receiver's gives the output. */
export function defineChannel<Input, Output = Input>(definition: {
  readonly channel: number;
  readonly schema: StandardSchema<Input, Output>;
}): TypedChannel<Input, Output> {
  const { channel, schema } = definition;
  return {
    channel,
    createSource: async (stream) => new ValueSource(await stream.createSource(channel), schema),
    createSink: async (
      stream: Stream,
      second?: SinkOptions | ((value: Output, message: Message) => void),
      third?: (value: Output, message: Message) => void,
    ) => {
      const [options, callback] = typeof second === "function" ? [{}, second] : [second ?? {}, third];
      const reader = new Reader(schema as StandardSchema<unknown, Output>);
      const sink =
        callback === undefined
          ? await stream.createSink(channel, options)
          : await stream.createSink(channel, options, (message) => reader.handOn(message, callback));
      return new ValueSink(sink, reader);
    },
  };
}

class ValueSource<Input> implements TypedSource<Input> {
  readonly source: Source;
  private readonly schema: StandardSchema<Input, unknown>;
  /** Bytes to ask for first: what the last values needed. */
  private guess = 256;

  constructor(source: Source, schema: StandardSchema<Input, unknown>) {
    this.source = source;
    this.schema = schema;
  }

  emit(value: Input, more = false): number {
    const token = this.tryEmit(value, more);
    if (token === 0) throw new InsaneError("EAGAIN", this.source.againReason);
    return token;
  }

  tryEmit(value: Input, more = false): number {
    const checked = validate(this.schema, value);
    if (checked.issues !== undefined) {
      const [issue] = checked.issues;
      const path = pathOf(issue);
      throw new InsaneError(
        "EVALUE",
        `The value does not fit channel ${this.source.channel} at ${path}: ${issue?.message ?? "invalid"}.`,
        { path },
      );
    }
    // The input is what travels: the receiver's schema makes the output of it again.
    for (let bytes = this.guess; ; ) {
      const buffer = this.source.tryGetBuffer(bytes);
      if (buffer === null) return 0;
      const slot = buffer as Slot;
      const end = this.encode(value, slot);
      if (end === TOO_LONG) {
        // The class has room for more than was asked for: only a larger class helps.
        slot[Symbol.dispose]();
        const next = slot.pools.classFor(slot.pool.payload + 1);
        if (next === undefined) throw this.tooLarge(slot.pools.maxMessage);
        bytes = next.payload;
        continue;
      }
      slot.length = end - slot.offset;
      slot.limit = slot.length;
      this.guess = slot.length;
      const token = this.source.tryEmit(buffer, more);
      if (token === 0) slot[Symbol.dispose]();
      return token;
    }
  }

  private encode(value: Input, slot: Slot): number {
    try {
      return encodeInto(value, slot.pool.area, slot.offset, slot.offset + slot.pool.payload);
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
  }
  private tooLarge(limit: number): InsaneError {
    return new InsaneError(
      "EMSGSIZE",
      `The encoded value is larger than the ${limit} bytes that this stream carries. Create the stream with a larger maxMessage.`,
      { limit },
    );
  }

  close(): Promise<void> {
    return this.source.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Decodes, validates and counts; shared by a sink's callback, which may be called before the sink is there, and the sink. */
class Reader<Output> {
  readonly listeners = new Listeners<{ invalid: InvalidEvent }>();
  invalid = 0;
  private readonly schema: StandardSchema<unknown, Output>;

  constructor(schema: StandardSchema<unknown, Output>) {
    this.schema = schema;
  }

  handOn(message: Message, callback: (value: Output, message: Message) => void): void {
    const { generation } = message;
    try {
      const result = this.read(message);
      if (result.issues === undefined) callback(result.value, message);
    } finally {
      if (message.generation === generation) message[Symbol.dispose]();
    }
  }

  /** Releases the message; null when it was no value. */
  take(message: Message): Typed<Output> | null {
    try {
      const result = this.read(message);
      if (result.issues !== undefined) return null;
      const { source, sequence, emitTime, receiveTime } = message;
      return { value: result.value, source, sequence, emitTime, receiveTime };
    } finally {
      message.release();
    }
  }

  private read(message: Message): StandardResult<Output> {
    const { pool, offset, length, source, sequence } = message as Received;
    let value: unknown;
    try {
      value = decodeFrom(pool.area, offset, offset + length);
    } catch (error) {
      return this.refuse(source, sequence, error instanceof Error ? error.message : String(error));
    }
    const result = validate(this.schema, value);
    if (result.issues === undefined) return result;
    const [issue] = result.issues;
    return this.refuse(source, sequence, `at ${pathOf(issue)}: ${issue?.message ?? "invalid"}`);
  }

  private refuse(source: number, sequence: number, reason: string): StandardResult<Output> {
    this.invalid++;
    this.listeners.emit("invalid", { source, sequence, reason });
    return { issues: [{ message: reason }] };
  }
}

class ValueSink<Output> implements TypedSink<Output> {
  readonly sink: Sink;
  private readonly reader: Reader<Output>;

  constructor(sink: Sink, reader: Reader<Output>) {
    this.sink = sink;
    this.reader = reader;
  }

  get invalid(): number {
    return this.reader.invalid;
  }
  on<K extends "invalid">(event: K, listener: (payload: InvalidEvent) => void): () => void {
    return this.reader.listeners.on(event, listener);
  }

  tryConsume(): Typed<Output> | null {
    for (;;) {
      const message = this.sink.tryConsume();
      if (message === null) return null;
      const typed = this.reader.take(message);
      if (typed !== null) return typed;
    }
  }

  async consume(options: { readonly signal?: AbortSignal } = {}): Promise<Typed<Output>> {
    for (;;) {
      const typed = this.reader.take(await this.sink.consume(options));
      if (typed !== null) return typed;
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Typed<Output>> {
    for await (const message of this.sink) {
      const typed = this.reader.take(message);
      if (typed !== null) yield typed;
    }
  }

  close(): Promise<void> {
    return this.sink.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function validate<Input, Output>(schema: StandardSchema<Input, Output>, value: unknown): StandardResult<Output> {
  const result = schema["~standard"].validate(value);
  if (result instanceof Promise) {
    result.catch(() => {});
    return { issues: [{ message: "the schema is asynchronous, which a channel cannot wait for" }] };
  }
  return result;
}

const pathOf = (issue: Issue | undefined): string =>
  `/${(issue?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join("/")}`;
