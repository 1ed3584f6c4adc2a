// A topic's publisher without any memory: a source, and the slot that the application fills. The hot path of Lunar.
import { InsaneError, type SlotBuffer, type Source } from "../../index.ts";
import type { Content, Fill, Publisher } from "./api.ts";

const encoder = new TextEncoder();

export class PlainPublisher implements Publisher {
  readonly topic: string;
  readonly source: Source;
  private readonly closed: () => void;

  constructor(topic: string, source: Source, closed: () => void) {
    this.topic = topic;
    this.source = source;
    this.closed = closed;
  }

  get subscribers(): number {
    return this.source.consumers;
  }

  publish(bytes: number, fill: Fill, more = false): number {
    const token = this.tryPublish(bytes, fill, more);
    if (token === 0) throw new InsaneError("EAGAIN", this.source.againReason, { topic: this.topic });
    return token;
  }

  tryPublish(bytes: number, fill: Fill, more = false): number {
    const slot = this.source.tryGetBuffer(bytes);
    if (slot === null) return 0;
    try {
      fill(slot);
    } catch (error) {
      slot[Symbol.dispose]();
      throw error;
    }
    return emitted(this.source, slot, more);
  }

  flush(): void {
    this.source.flush();
  }

  send(content: Content, options: { readonly signal?: AbortSignal } = {}): Promise<number> {
    return sendBy(this, content, options);
  }

  ready(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.source.ready(options);
  }
  matched(count = 1, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.source.matched(count, options);
  }
  async settled(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.source.settled(options);
  }
  close(): Promise<void> {
    this.closed();
    return this.source.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** For what is said again anyway: null as well when the session has ended under us. */
export function slotIfOpen(source: Source, bytes: number): SlotBuffer | null {
  try {
    return source.tryGetBuffer(bytes);
  } catch (error) {
    if (error instanceof InsaneError && error.code === "ECLOSED") return null;
    throw error;
  }
}

/** A slot that could not be sent goes back. */
export function emitted(source: Source, slot: SlotBuffer, more: boolean): number {
  try {
    const token = source.tryEmit(slot, more);
    if (token === 0) slot[Symbol.dispose]();
    return token;
  } catch (error) {
    slot[Symbol.dispose]();
    throw error;
  }
}

export async function sendBy(
  publisher: Publisher,
  content: Content,
  options: { readonly signal?: AbortSignal },
): Promise<number> {
  const bytes = typeof content === "string" ? encoder.encode(content) : content;
  const fill: Fill = (draft) => {
    draft.memory.set(bytes, draft.offset);
    draft.length = bytes.length;
  };
  for (;;) {
    // A slot has at least one byte.
    const token = publisher.tryPublish(Math.max(1, bytes.length), fill);
    if (token > 0) return token;
    await publisher.ready(options);
  }
}
