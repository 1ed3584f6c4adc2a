// Messages as subscribers see them: the core's, or the bytes of one that had to be kept. Handles are reused by handlers.
import type { Message } from "../../index.ts";
import type { TopicMessage } from "./api.ts";

const decoder = new TextDecoder();

/** Over a message of the core that is still borrowed, without its first `skip` bytes. */
export class Borrowed implements TopicMessage {
  readonly topic: string;
  private readonly skip: number;
  /** Set before it is handed out. */
  message: Message = undefined as never;

  constructor(topic: string, skip: number) {
    this.topic = topic;
    this.skip = skip;
  }

  get memory(): Uint8Array {
    return this.message.memory;
  }
  get offset(): number {
    return this.message.offset + this.skip;
  }
  get length(): number {
    return this.message.length - this.skip;
  }
  get bytes(): Uint8Array {
    return this.skip === 0 ? this.message.bytes : this.message.bytes.subarray(this.skip);
  }
  get source(): number {
    return this.message.source;
  }
  get sequence(): number {
    return this.message.sequence;
  }
  get emitTime(): number {
    return this.message.emitTime;
  }
  get receiveTime(): number {
    return this.message.receiveTime;
  }
  copy(): Uint8Array {
    return this.bytes.slice();
  }
  text(): string {
    return decoder.decode(this.bytes);
  }
}

/** A copy that needs nothing any more, without the first `skip` bytes; as of `topic`. */
export class Copied implements TopicMessage {
  readonly topic: string;
  readonly memory: Uint8Array;
  readonly offset = 0;
  readonly source: number;
  readonly sequence: number;
  readonly emitTime: number;
  readonly receiveTime: number;

  constructor(of: TopicMessage, topic = of.topic, skip = 0) {
    this.topic = topic;
    this.memory = of.copy().subarray(skip);
    this.source = of.source;
    this.sequence = of.sequence;
    this.emitTime = of.emitTime;
    this.receiveTime = of.receiveTime;
  }
  get length(): number {
    return this.memory.length;
  }
  get bytes(): Uint8Array {
    return this.memory;
  }
  copy(): Uint8Array {
    return this.memory.slice();
  }
  text(): string {
    return decoder.decode(this.memory);
  }
}
