// Compressed pictures at the edges of a stream: a source that encodes what another one gives, and the way back. By sharp,
// which the application installs if it wants it; everything else of Lunar Streaming does without.
import type { Sharp } from "sharp";
import { messageOf, StreamingError } from "./errors.ts";
import { channelsOf, type Encoding, type FrameFormat, frameBytes } from "./frame-header.ts";
import type { Filled, FrameSource } from "./frame-source.ts";

export interface EncodeOptions {
  readonly encoding: Exclude<Encoding, "raw">;
  /** 1 to 100 (80); PNG has none. */
  readonly quality?: number;
}
export interface Picture {
  readonly format: FrameFormat;
  readonly bytes: Uint8Array;
}

/** Throws EENCODE when sharp is not installed. */
export async function loadSharp(): Promise<typeof import("sharp").default> {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    const why = `Pictures are encoded and decoded by sharp, which cannot be loaded: ${messageOf(cause)}. Install it: npm install sharp.`;
    throw new StreamingError("EENCODE", why);
  }
}

/** A raw picture as sharp takes it. */
export const rawInput = ({ width, height, pixels }: FrameFormat) =>
  ({ raw: { width, height, channels: channelsOf(pixels) } }) as const;

/** Encodes raw pixels. Throws EENCODE. */
export async function encode({ format, bytes }: Picture, options: EncodeOptions): Promise<Buffer> {
  const sharp = await loadSharp();
  try {
    return await as(sharp(bytes, rawInput(format)), options).toBuffer();
  } catch (cause) {
    const { width, height, pixels } = format;
    const what = `${width} x ${height} ${pixels} as ${options.encoding}`;
    throw new StreamingError("EENCODE", `${what}: ${messageOf(cause)}`, { ...format });
  }
}

export function as(picture: Sharp, { encoding, quality = 80 }: EncodeOptions): Sharp {
  if (encoding === "jpeg") return picture.jpeg({ quality });
  if (encoding === "webp") return picture.webp({ quality, effort: 0 });
  if (encoding === "avif") return picture.avif({ quality, effort: 0 });
  return picture.png({ compressionLevel: 3 });
}

/** Decodes a picture of any kind that sharp knows to raw pixels. `what` names it in errors. Throws EDECODE. */
export async function decode(input: Uint8Array | string, what: string): Promise<Picture> {
  const sharp = await loadSharp();
  try {
    const picture = sharp(input).autoOrient().removeAlpha().toColourspace("srgb").raw();
    const { data, info } = await picture.toBuffer({ resolveWithObject: true });
    const pixels = info.channels === 1 ? "gray8" : "rgb8";
    return { format: { width: info.width, height: info.height, pixels }, bytes: data };
  } catch (cause) {
    throw new StreamingError("EDECODE", `${what} cannot be decoded: ${messageOf(cause)}.`, { what });
  }
}

/** The raw pixels of a frame, decoded if need be; of a raw one the bytes themselves, not a copy. */
export async function rawOf(
  frame: FrameFormat & { encoding: Encoding; bytes: Uint8Array; number: number },
): Promise<Picture> {
  const { width, height, pixels, encoding, bytes, number } = frame;
  if (encoding === "raw") return { format: { width, height, pixels }, bytes };
  return decode(bytes, `frame ${number} (${encoding})`);
}

/** What `source` gives, encoded. Costs a picture in memory and a copy, which raw frames do without. */
export function encoded(source: FrameSource, options: EncodeOptions): FrameSource {
  const maxFrame = source.maxFrame ?? frameBytes(source.format);
  const scratch = new Uint8Array(maxFrame);
  return {
    format: source.format,
    encoding: options.encoding,
    maxFrame,
    async getFrame(into: Uint8Array, number: number): Promise<Filled | null> {
      const filled = await source.getFrame(scratch, number);
      if (filled === null || (filled.encoding ?? source.encoding ?? "raw") !== "raw")
        return refill(filled, scratch, into);
      const format = filled.format ?? source.format;
      if (filled.bytes !== frameBytes(format)) return filled;
      const bytes = await encode({ format, bytes: scratch.subarray(0, filled.bytes) }, options);
      if (bytes.length <= into.length) into.set(bytes);
      return { bytes: bytes.length, format, encoding: options.encoding };
    },
    ...(source.waitNext && { waitNext: (signal: AbortSignal) => source.waitNext?.(signal) ?? 0 }),
    ...(source.skipFrame && { skipFrame: () => source.skipFrame?.() }),
    close: () => source.close?.(),
  };
}

/** Encoded already, or nothing. */
function refill(filled: Filled | null, from: Uint8Array, into: Uint8Array): Filled | null {
  if (filled !== null && filled.bytes <= into.length) into.set(from.subarray(0, filled.bytes));
  return filled;
}
