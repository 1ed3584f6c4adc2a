// The 64 bytes before the pixels of every frame: u32 words, little-endian, each at a multiple of four, for clients in any
// language (docs/lunar-streaming.md). Pure: bytes in, values out; what does not fit is a reason in words.
import { StreamingError } from "./errors.ts";

/** Bytes a pixel takes, by the number that stands in the header. */
const PIXELS = [
  { name: "rgb8", bytes: 3, code: 1 },
  { name: "rgba8", bytes: 4, code: 2 },
  { name: "gray8", bytes: 1, code: 3 },
] as const;
export type PixelFormat = (typeof PIXELS)[number]["name"];

export const ENCODINGS = ["raw", "jpeg", "webp", "avif", "png"] as const;
export type Encoding = (typeof ENCODINGS)[number];

export interface FrameFormat {
  readonly width: number;
  readonly height: number;
  readonly pixels: PixelFormat;
}

export const HEADER_BYTES = 64;
export const VERSION = 1;
/** "LNRF" as a little-endian word. */
const MAGIC = 0x46524e4c;
/** Of a message, header included (Qos.maxMessage). */
export const MOST_MESSAGE_BYTES = 134_217_728;
export const MOST_FRAME_BYTES = MOST_MESSAGE_BYTES - HEADER_BYTES;
const MOST_SIDE = 65_535;

/** Byte offsets of the header's words; a LOW word is followed by its HIGH one. */
export const FRAME = {
  MAGIC: 0,
  VERSION: 4,
  HEADER_BYTES: 8,
  EPOCH: 12,
  NUMBER: 16,
  SKIPPED: 24,
  AGE_NS: 32,
  WIDTH: 40,
  HEIGHT: 44,
  PIXELS: 48,
  ENCODING: 52,
  PAYLOAD_BYTES: 56,
  RESERVED: 60,
} as const;

export interface FrameHeader extends FrameFormat {
  /** Of the server's life: another number is another server, whose frames count anew. */
  readonly epoch: number;
  /** From 0, one for every frame that was due, sent or not. */
  readonly number: number;
  /** How many of the numbers before this one the server did not send: late, refused, or nobody there. */
  readonly skipped: number;
  /** Nanoseconds between the start of capture and this header. */
  readonly ageNs: number;
  readonly encoding: Encoding;
  readonly payloadBytes: number;
}

export const pixelBytes = (pixels: PixelFormat): number => PIXELS.find(({ name }) => name === pixels)?.bytes ?? 0;
export const frameBytes = ({ width, height, pixels }: FrameFormat): number => width * height * pixelBytes(pixels);
export const channelsOf = (pixels: PixelFormat): 1 | 3 | 4 => pixelBytes(pixels) as 1 | 3 | 4;

/** Throws EFORMAT unless frames of this format can be streamed raw or, with `bytes`, in so many. */
export function checkFormat(format: FrameFormat, bytes = frameBytes(format)): void {
  const { width, height, pixels } = format;
  const refuse = (why: string): never => {
    throw new StreamingError("EFORMAT", `${width} x ${height} ${pixels}: ${why}.`, { ...format });
  };
  const side = (value: number): boolean => Number.isInteger(value) && value >= 1 && value <= MOST_SIDE;
  if (!side(width) || !side(height)) refuse(`width and height are whole numbers from 1 to ${MOST_SIDE}`);
  if (pixelBytes(pixels) === 0) refuse(`pixels are one of ${PIXELS.map(({ name }) => name).join(", ")}`);
  if (!(Number.isInteger(bytes) && bytes >= 1)) refuse(`a frame has at least one byte, not ${bytes}`);
  if (bytes > MOST_FRAME_BYTES) refuse(`${bytes} bytes; a frame has ${MOST_FRAME_BYTES} at most`);
}

export function writeHeader(memory: Uint8Array, offset: number, header: FrameHeader): void {
  const view = new DataView(memory.buffer, memory.byteOffset + offset, HEADER_BYTES);
  const word = (at: number, value: number): void => view.setUint32(at, value, true);
  word(FRAME.MAGIC, MAGIC);
  word(FRAME.VERSION, VERSION);
  word(FRAME.HEADER_BYTES, HEADER_BYTES);
  word(FRAME.EPOCH, header.epoch);
  writeWide(view, FRAME.NUMBER, header.number);
  writeWide(view, FRAME.SKIPPED, header.skipped);
  writeWide(view, FRAME.AGE_NS, Math.max(0, Math.round(header.ageNs)));
  word(FRAME.WIDTH, header.width);
  word(FRAME.HEIGHT, header.height);
  word(FRAME.PIXELS, PIXELS.find(({ name }) => name === header.pixels)?.code ?? 0);
  word(FRAME.ENCODING, ENCODINGS.indexOf(header.encoding));
  word(FRAME.PAYLOAD_BYTES, header.payloadBytes);
  word(FRAME.RESERVED, 0);
}

/** The header of a message of `length` bytes at `offset`; a text says why these bytes are no frame. */
export function readHeader(memory: Uint8Array, offset: number, length: number): FrameHeader | string {
  if (length < HEADER_BYTES) return `${length} bytes; a frame begins with ${HEADER_BYTES}`;
  const view = new DataView(memory.buffer, memory.byteOffset + offset, HEADER_BYTES);
  const word = (at: number): number => view.getUint32(at, true);
  if (word(FRAME.MAGIC) !== MAGIC) return `it begins with ${hex(word(FRAME.MAGIC))}, not with ${hex(MAGIC)} ("LNRF")`;
  if (word(FRAME.VERSION) !== VERSION) return `version ${word(FRAME.VERSION)}; this is version ${VERSION}`;
  if (word(FRAME.HEADER_BYTES) !== HEADER_BYTES) return `its header has ${word(FRAME.HEADER_BYTES)} bytes`;
  const pixels = PIXELS.find(({ code }) => code === word(FRAME.PIXELS))?.name;
  const encoding = ENCODINGS[word(FRAME.ENCODING)];
  if (pixels === undefined) return `there are no pixels of kind ${word(FRAME.PIXELS)}`;
  if (encoding === undefined) return `there is no encoding ${word(FRAME.ENCODING)}`;
  const header: FrameHeader = {
    epoch: word(FRAME.EPOCH),
    number: readWide(view, FRAME.NUMBER),
    skipped: readWide(view, FRAME.SKIPPED),
    ageNs: readWide(view, FRAME.AGE_NS),
    width: word(FRAME.WIDTH),
    height: word(FRAME.HEIGHT),
    pixels,
    encoding,
    payloadBytes: word(FRAME.PAYLOAD_BYTES),
  };
  return wrongSize(header, length) ?? header;
}

/** Why header and message do not belong together, or nothing. */
function wrongSize(header: FrameHeader, length: number): string | undefined {
  const { width, height, pixels, payloadBytes, encoding, number } = header;
  if (width < 1 || width > MOST_SIDE || height < 1 || height > MOST_SIDE) return `its picture is ${width} x ${height}`;
  if (payloadBytes !== length - HEADER_BYTES) {
    return `frame ${number} announces ${payloadBytes} bytes and brings ${length - HEADER_BYTES}`;
  }
  const raw = frameBytes(header);
  if (encoding !== "raw" || raw === payloadBytes) return undefined;
  return `frame ${number} is ${width} x ${height} ${pixels}, which is ${raw} bytes, and brings ${payloadBytes}`;
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;

/** Whole numbers up to 2^53 as two words, the low one first. */
export function writeWide(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x100000000, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}
export const readWide = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 0x100000000 + view.getUint32(at, true);
