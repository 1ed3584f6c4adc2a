// What server and clients tell each other besides frames: the server announces what it streams, clients report how they
// fare. 64 bytes each, laid out like the frame header, on a stream of its own. Pure.
import type { Qos } from "../../index.ts";
import {
  ENCODINGS,
  type Encoding,
  type FrameFormat,
  HEADER_BYTES,
  MOST_FRAME_BYTES,
  type PixelFormat,
  readWide,
  VERSION,
  writeWide,
} from "./frame-header.ts";

export const RECORD_BYTES = HEADER_BYTES;
/** Streams and channels of a server called NAME. */
export const streamNames = (name: string): { readonly frames: string; readonly control: string } => ({
  frames: `lunar-stream/${name}`,
  control: `lunar-stream/${name}/control`,
});
export const CHANNELS = { frames: 1, announcements: 1, reports: 2 } as const;

/** "LNRA" and "LNRC" as little-endian words. */
const ANNOUNCEMENT = 0x41524e4c;
const REPORT = 0x43524e4c;
const LOSSLESS = 1;
const ENDED = 2;
const PIXEL_NAMES: ReadonlyArray<PixelFormat> = ["rgb8", "rgba8", "gray8"];

export interface Announcement extends FrameFormat {
  readonly epoch: number;
  /** The server waits for its clients instead of skipping frames; their sinks block. */
  readonly lossless: boolean;
  /** The server has closed in order: this is its last word. */
  readonly ended: boolean;
  /** Largest frame without its header: what receivers make room for. */
  readonly maxFrame: number;
  readonly encoding: Encoding;
  /** Frames a second, 0: as they come. */
  readonly fps: number;
  /** Milliseconds between announcements. */
  readonly intervalMs: number;
  /** Of the next frame. */
  readonly number: number;
  readonly quality: Pick<Qos, "acceleration" | "consumption">;
}

export interface Report {
  readonly epoch: number;
  readonly client: number;
  /** The client's last word. */
  readonly leaving: boolean;
  /** Since it connected. */
  readonly received: number;
  readonly lost: number;
  /** Of the last frame it had. */
  readonly number: number;
  /** Median from capture to receipt of its last frames, microseconds. */
  readonly latencyUs: number;
}

const words = (memory: Uint8Array, offset: number): DataView =>
  new DataView(memory.buffer, memory.byteOffset + offset, RECORD_BYTES);

function begin(view: DataView, magic: number, flags: number, epoch: number): void {
  for (let at = 0; at < RECORD_BYTES; at += 4) view.setUint32(at, 0, true);
  [magic, VERSION, RECORD_BYTES, flags, epoch].forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
}

export function writeAnnouncement(memory: Uint8Array, offset: number, of: Announcement): void {
  const view = words(memory, offset);
  begin(view, ANNOUNCEMENT, (of.lossless ? LOSSLESS : 0) | (of.ended ? ENDED : 0), of.epoch);
  const { acceleration, consumption } = of.quality;
  const rest = [
    of.maxFrame,
    of.width,
    of.height,
    PIXEL_NAMES.indexOf(of.pixels) + 1,
    ENCODINGS.indexOf(of.encoding),
    Math.round(of.fps * 1000),
    of.intervalMs,
  ];
  rest.forEach((word, i) => {
    view.setUint32(20 + 4 * i, word, true);
  });
  writeWide(view, 48, of.number);
  view.setUint32(56, acceleration === "fast" ? 1 : 0, true);
  view.setUint32(60, consumption === "high" ? 1 : 0, true);
}

/** undefined: these bytes are no announcement of this version. */
export function readAnnouncement(memory: Uint8Array, offset: number, length: number): Announcement | undefined {
  const view = ours(memory, offset, length, ANNOUNCEMENT);
  if (view === undefined) return undefined;
  const word = (at: number): number => view.getUint32(at, true);
  const pixels = PIXEL_NAMES[word(32) - 1];
  const encoding = ENCODINGS[word(36)];
  const maxFrame = word(20);
  if (pixels === undefined || encoding === undefined || maxFrame < 1 || maxFrame > MOST_FRAME_BYTES) return undefined;
  return {
    epoch: word(16),
    lossless: (word(12) & LOSSLESS) !== 0,
    ended: (word(12) & ENDED) !== 0,
    maxFrame,
    width: word(24),
    height: word(28),
    pixels,
    encoding,
    fps: word(40) / 1000,
    intervalMs: word(44),
    number: readWide(view, 48),
    quality: { acceleration: word(56) === 1 ? "fast" : "none", consumption: word(60) === 1 ? "high" : "low" },
  };
}

export function writeReport(memory: Uint8Array, offset: number, of: Report): void {
  const view = words(memory, offset);
  begin(view, REPORT, of.leaving ? ENDED : 0, of.epoch);
  view.setUint32(20, of.client, true);
  writeWide(view, 24, of.received);
  writeWide(view, 32, of.lost);
  writeWide(view, 40, of.number);
  view.setUint32(48, Math.min(0xffffffff, Math.round(of.latencyUs)), true);
}

/** undefined: these bytes are no report of this version. */
export function readReport(memory: Uint8Array, offset: number, length: number): Report | undefined {
  const view = ours(memory, offset, length, REPORT);
  if (view === undefined) return undefined;
  return {
    epoch: view.getUint32(16, true),
    client: view.getUint32(20, true),
    leaving: (view.getUint32(12, true) & ENDED) !== 0,
    received: readWide(view, 24),
    lost: readWide(view, 32),
    number: readWide(view, 40),
    latencyUs: view.getUint32(48, true),
  };
}

function ours(memory: Uint8Array, offset: number, length: number, magic: number): DataView | undefined {
  if (length !== RECORD_BYTES) return undefined;
  const view = words(memory, offset);
  const known = view.getUint32(0, true) === magic && view.getUint32(4, true) === VERSION;
  return known && view.getUint32(8, true) === RECORD_BYTES ? view : undefined;
}
