// Frames as messages: a header of 64 bytes and the pixels, in one message of several MB. The runtime fragments it where
// it goes to another host; on this one the pixels are read where they were written.
import { createHash } from "node:crypto";

/** frame, width, height (u32 little-endian), sha-256 of the pixels at 32. */
export const FRAME_HEADER = 64;
/** Largest message of the camera's stream. */
export const FRAME_MOST = 32 * 2 ** 20;

export interface Frame {
  readonly number: number;
  readonly width: number;
  readonly height: number;
  /** Raw RGB, width x height x 3 bytes. */
  readonly pixels: Uint8Array;
}

export interface ReceivedFrame extends Frame {
  /** The sender's hash equals ours. */
  readonly intact: boolean;
}

export const digest = (pixels: Uint8Array): Buffer => createHash("sha256").update(pixels).digest();

/** Writes a frame straight into a slot. */
export function writeFrame(into: Uint8Array, { number, width, height, pixels }: Frame): void {
  const view = new DataView(into.buffer, into.byteOffset, FRAME_HEADER);
  view.setUint32(0, number, true);
  view.setUint32(4, width, true);
  view.setUint32(8, height, true);
  into.set(digest(pixels), 32);
  into.set(pixels, FRAME_HEADER);
}

/** The frame in a message; its pixels are the message's own bytes. */
export function readFrame(bytes: Uint8Array): ReceivedFrame {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER);
  const [number, width, height] = [0, 4, 8].map((at) => view.getUint32(at, true)) as [number, number, number];
  const pixels = bytes.subarray(FRAME_HEADER);
  const whole = pixels.length === width * height * 3;
  return { number, width, height, pixels, intact: whole && digest(pixels).equals(bytes.subarray(32, FRAME_HEADER)) };
}
