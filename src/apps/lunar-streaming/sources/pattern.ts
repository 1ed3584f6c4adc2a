// A generated source: a test picture with a moving bar and the frame's number in it, which a receiver can read back and
// check byte by byte. The picture is drawn once; each frame copies it and changes what moves.
import { StreamingError } from "../errors.ts";
import { channelsOf, checkFormat, type FrameFormat, frameBytes } from "../frame-header.ts";
import type { Filled, FrameSource } from "../frame-source.ts";

/** Rows at the top that carry the number: 32 cells, the highest bit first, white is one. */
const CODE_ROWS = 8;
const BITS = 32;
const BAR_ROWS = 0.08;
const COLOURS = [
  [235, 235, 235],
  [229, 193, 36],
  [45, 190, 200],
  [64, 172, 76],
  [186, 70, 160],
  [200, 62, 52],
  [44, 86, 190],
  [24, 28, 38],
] as const;

export class TestPattern implements FrameSource {
  readonly format: FrameFormat;
  private readonly base: Uint8Array;
  private readonly row: number;
  private readonly frames: number;

  /** `frames`: how many there are; default no end. */
  constructor(format: FrameFormat, frames = Number.POSITIVE_INFINITY) {
    checkFormat(format);
    if (format.width < BITS || format.height < 2 * CODE_ROWS) {
      throw new StreamingError("EFORMAT", `A test pattern has at least ${BITS} x ${2 * CODE_ROWS} pixels.`, {
        ...format,
      });
    }
    this.format = format;
    this.frames = frames;
    this.row = format.width * channelsOf(format.pixels);
    this.base = draw(format);
  }

  getFrame(into: Uint8Array, number: number): Filled | null {
    if (number >= this.frames) return null;
    into.set(this.base);
    this.paint(into, number);
    return { bytes: this.base.length };
  }

  /** Whether these are the bytes of frame `number`. */
  holds(bytes: Uint8Array, number: number): boolean {
    const expected = new Uint8Array(this.base);
    this.paint(expected, number);
    return Buffer.compare(expected, bytes) === 0;
  }

  /** The number that can be read in a picture. */
  numberIn(bytes: Uint8Array): number {
    const { width, pixels } = this.format;
    const cell = Math.floor(width / BITS) * channelsOf(pixels);
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) number = number * 2 + ((bytes[bit * cell] as number) > 127 ? 1 : 0);
    return number;
  }

  /** What differs from frame to frame: the number's cells and a bar that moves down. */
  paint(into: Uint8Array, number: number): void {
    const { width, height, pixels } = this.format;
    const cell = Math.floor(width / BITS) * channelsOf(pixels);
    for (let bit = 0; bit < BITS; bit++) {
      const white = Math.floor(number / 2 ** (BITS - 1 - bit)) % 2 === 1;
      into.fill(white ? 255 : 0, bit * cell, (bit + 1) * cell);
    }
    for (let y = 1; y < CODE_ROWS; y++) into.copyWithin(y * this.row, 0, BITS * cell);
    const free = height - CODE_ROWS;
    const rows = Math.max(1, Math.floor(free * BAR_ROWS));
    const top = CODE_ROWS + ((number * Math.max(1, Math.floor(height / 180))) % Math.max(1, free - rows));
    into.fill(250, top * this.row, (top + rows) * this.row);
  }
}

function draw(format: FrameFormat): Uint8Array {
  const { width, height, pixels } = format;
  const channels = channelsOf(pixels);
  const into = new Uint8Array(frameBytes(format));
  const line = (shade: (x: number, channel: number) => number): Uint8Array => {
    const bytes = new Uint8Array(width * channels);
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < channels; channel++) bytes[x * channels + channel] = shade(x, channel);
    }
    return bytes;
  };
  const colour = (x: number): readonly number[] => COLOURS[Math.floor((x / width) * COLOURS.length)] ?? [0, 0, 0];
  const bars = line((x, channel) => (channel === 3 ? 255 : (colour(x)[channel] ?? 0)));
  const ramp = line((x, channel) => (channel === 3 ? 255 : Math.floor((x / width) * 256)));
  for (let y = 0; y < height; y++) into.set(y < height * 0.72 ? bars : ramp, y * width * channels);
  return into;
}
