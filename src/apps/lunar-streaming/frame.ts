// A frame as a client holds it: its header, and its pixels where they lie, on loan until released.
import type { Message } from "../../index.ts";
import { StreamingError } from "./errors.ts";
import { type Encoding, type FrameHeader, HEADER_BYTES, type PixelFormat } from "./frame-header.ts";

export class Frame implements Disposable {
  readonly number: number;
  /** Numbers before this one that the server did not send. */
  readonly skipped: number;
  readonly width: number;
  readonly height: number;
  readonly pixels: PixelFormat;
  readonly encoding: Encoding;
  /** When its capture began, when it was sent and received: ms since 1970, of the two hosts' clocks. */
  readonly captureTime: number;
  readonly emitTime: number;
  readonly receiveTime: number;
  /** From the start of capture to receipt, microseconds. */
  readonly latencyUs: number;
  private readonly message: Message;
  private readonly generation: number;

  constructor(header: FrameHeader, message: Message) {
    this.number = header.number;
    this.skipped = header.skipped;
    this.width = header.width;
    this.height = header.height;
    this.pixels = header.pixels;
    this.encoding = header.encoding;
    this.emitTime = message.emitTime;
    this.receiveTime = message.receiveTime;
    this.captureTime = this.emitTime - header.ageNs / 1e6;
    this.latencyUs = (this.receiveTime - this.emitTime) * 1000 + header.ageNs / 1000;
    this.message = message;
    this.generation = message.generation;
  }

  /** Whether its memory is still lent: not released, and not taken back because its viewer held too many. */
  get held(): boolean {
    return this.message.generation === this.generation;
  }
  /**
   * The payload, without a copy: raw pixels row by row without padding, or an encoded picture. As long as it is `held`, then
   * ERELEASED; what was taken from here before shows other frames from then on.
   */
  get bytes(): Uint8Array {
    if (!this.held) throw this.gone();
    return this.message.bytes.subarray(HEADER_BYTES);
  }
  /** Bytes that outlive the frame. */
  copy(): Uint8Array {
    return this.bytes.slice();
  }

  /** Gives the memory back to the server. Once; afterwards nothing happens. */
  release(): void {
    if (this.held) this.message.release();
  }
  private gone(): StreamingError {
    const why = `Frame ${this.number} was released, or taken back because its viewer held too many: see the option hold.`;
    return new StreamingError("ERELEASED", why, { number: this.number });
  }
  [Symbol.dispose](): void {
    this.release();
  }
}
