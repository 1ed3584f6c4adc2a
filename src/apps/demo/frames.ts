// Frames cut into messages and put together again. Until the runtime fragments large messages by itself, an application
// that sends frames of several MB does this; a piece says where it belongs, so pieces may come in any order.
import { createHash } from "node:crypto";

/** Pixels' bytes in one message: with its headers a piece fits one jumbo frame, and the page that XDP has for a frame. */
export const PIECE_BYTES = 3_584;
/** frame, piece, pieces, width, height (u32 little-endian), sha-256 of the frame at 32. */
export const PIECE_HEADER = 64;

export interface Frame {
  readonly number: number;
  readonly width: number;
  readonly height: number;
  /** Raw RGB, width x height x 3 bytes. */
  readonly pixels: Uint8Array;
}

export const digest = (pixels: Uint8Array): Buffer => createHash("sha256").update(pixels).digest();
export const pieceCount = (frame: Frame): number => Math.ceil(frame.pixels.length / PIECE_BYTES);
export const pieceLength = (frame: Frame, piece: number): number =>
  PIECE_HEADER + Math.min(PIECE_BYTES, frame.pixels.length - piece * PIECE_BYTES);

/** Writes piece number `piece` of the frame straight into a slot. */
export function writePiece(into: Uint8Array, frame: Frame, piece: number, hash: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, PIECE_HEADER);
  view.setUint32(0, frame.number, true);
  view.setUint32(4, piece, true);
  view.setUint32(8, pieceCount(frame), true);
  view.setUint32(12, frame.width, true);
  view.setUint32(16, frame.height, true);
  into.set(hash, 32);
  into.set(frame.pixels.subarray(piece * PIECE_BYTES, piece * PIECE_BYTES + PIECE_BYTES), PIECE_HEADER);
}

export interface ReceivedFrame extends Frame {
  /** The sender's hash equals ours. */
  readonly intact: boolean;
}

/** Puts frames together; a frame that a later one overtakes before it is complete is given up and counted. */
export class FrameAssembler {
  private pixels = new Uint8Array(0);
  private have = new Uint8Array(0);
  private missing = 0;
  private number = -1;
  private readonly done: (frame: ReceivedFrame) => void;
  incomplete = 0;

  constructor(done: (frame: ReceivedFrame) => void) {
    this.done = done;
  }

  /** Whether these bytes begin a frame that was not under way. */
  starting(bytes: Uint8Array): boolean {
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true) !== this.number;
  }

  /** Takes one message's bytes; they may be released afterwards. */
  add(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const number = view.getUint32(0, true);
    const piece = view.getUint32(4, true);
    const pieces = view.getUint32(8, true);
    const width = view.getUint32(12, true);
    const height = view.getUint32(16, true);
    if (number !== this.number) this.begin(number, pieces, width * height * 3);
    if (piece >= this.have.length || this.have[piece] === 1) return;
    this.have[piece] = 1;
    this.pixels.set(bytes.subarray(PIECE_HEADER), piece * PIECE_BYTES);
    if (--this.missing > 0) return;
    const intact = digest(this.pixels).equals(bytes.subarray(32, PIECE_HEADER));
    this.done({ number, width, height, pixels: this.pixels, intact });
  }

  private begin(number: number, pieces: number, bytes: number): void {
    if (this.missing > 0) this.incomplete++;
    if (this.pixels.length !== bytes) this.pixels = new Uint8Array(bytes);
    this.have = new Uint8Array(pieces);
    this.missing = pieces;
    this.number = number;
  }
}
