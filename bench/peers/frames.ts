// Messages on a byte stream for node-unix: eight bytes in front of each, u32 length and u32 sequence. Walks over the
// payload without touching or copying it.

export const HEAD_BYTES = 8;

export class FrameReader {
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** Payload bytes still to come of the message under way; -1 between messages. */
  #left = -1;
  #sequence = 0;
  /** The messages completed by the last chunk. */
  messages = 0;
  first = 0;
  last = 0;

  take(chunk: Buffer): void {
    this.messages = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#left < 0) {
        if (this.#headBytes === 0 && chunk.length - at >= HEAD_BYTES) {
          this.#left = chunk.readUInt32LE(at);
          this.#sequence = chunk.readUInt32LE(at + 4);
          at += HEAD_BYTES;
        } else {
          const n = Math.min(HEAD_BYTES - this.#headBytes, chunk.length - at);
          chunk.copy(this.#head, this.#headBytes, at, at + n);
          at += n;
          this.#headBytes += n;
          if (this.#headBytes < HEAD_BYTES) return;
          this.#headBytes = 0;
          this.#left = this.#head.readUInt32LE(0);
          this.#sequence = this.#head.readUInt32LE(4);
        }
      }
      const n = Math.min(this.#left, chunk.length - at);
      at += n;
      this.#left -= n;
      if (this.#left > 0) return;
      this.#left = -1;
      if (this.messages++ === 0) this.first = this.#sequence;
      this.last = this.#sequence;
    }
  }
}
