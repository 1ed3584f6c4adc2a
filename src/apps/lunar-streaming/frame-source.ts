// What a streaming application writes: where its frames come from. Types only.
import type { Encoding, FrameFormat } from "./frame-header.ts";

/** What a source has written: how many bytes, and what they are if not what it announced. */
export interface Filled {
  readonly bytes: number;
  readonly format?: FrameFormat;
  readonly encoding?: Encoding;
}

/** Where frames come from: the two methods a streaming application writes (paper, section 7.2). */
export interface FrameSource {
  readonly format: FrameFormat;
  readonly encoding?: Encoding;
  /** Bytes of its largest frame; default those of a raw one. */
  readonly maxFrame?: number;
  /** Writes frame `number` into `into`, or says that there are no more: null. What it throws costs this frame only. */
  getFrame(into: Uint8Array, number: number): Filled | null | Promise<Filled | null>;
  /**
   * Resolves when the next frame is due, with how many were missed meanwhile. Without it frames are due as `fps` says, or
   * as fast as they are taken.
   */
  waitNext?(signal: AbortSignal): number | Promise<number>;
  /** Throws the next frame away unseen; for sources that go on whether anybody listens or not. */
  skipFrame?(): void | Promise<void>;
  close?(): void | Promise<void>;
}
