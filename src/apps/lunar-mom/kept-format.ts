// What travels on a kept topic, little-endian. From its publisher, on the topic: a header of 16 bytes, then the payload or
// what the publisher says of itself. Back to it, on the topic $back/...: 40 bytes. Pure; docs/lunar-mom.md has the table.

export const HEADER = 16;
export const STATE_BYTES = 32;
export const BACK_BYTES = 40;
export const FRAME = { DATA: 1, STATE: 2 } as const;
export const BACK = { JOIN: 1, ACK: 2, LEAVE: 3 } as const;
/** Of a state: this publisher wants acknowledgements. Of a join: the last message is wanted. Of data: acknowledge it now. */
export const FLAG = 1;
/** How far beyond what it waits for a subscriber says what it has. */
export const MASK_BITS = 64;

export interface Frame {
  readonly kind: number;
  readonly flags: number;
  readonly publisher: number;
  /** Data: its number, from 0. State: the number of the next message. */
  readonly sequence: number;
  /** State: whom it answers (0: nobody in particular), and from which message on that one gets all. */
  readonly subscriber: number;
  readonly from: number;
}
export interface Back {
  readonly kind: number;
  readonly flags: number;
  readonly subscriber: number;
  /** 0: all of the topic. */
  readonly publisher: number;
  /** Acknowledges everything before this. */
  readonly expected: number;
  /** Bit i of both together: message expected + 1 + i is here already. */
  readonly low: number;
  readonly high: number;
}

const TWO_32 = 0x1_0000_0000;

/** Over the pool that was written to, or read from, last: a view for each message is memory to be collected. */
class Views {
  private memory: Uint8Array | undefined;
  private view: DataView = new DataView(new ArrayBuffer(0));
  over(memory: Uint8Array): DataView {
    if (this.memory !== memory) {
      this.memory = memory;
      this.view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    }
    return this.view;
  }
}
const written = new Views();
const read = new Views();
const u64 = (view: DataView, at: number): number => view.getUint32(at + 4, true) * TWO_32 + view.getUint32(at, true);
function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / TWO_32), true);
}

/** Null: none of ours. */
export function readFrame(memory: Uint8Array, offset: number, length: number): Frame | null {
  if (length < HEADER) return null;
  const view = read.over(memory);
  const kind = view.getUint8(offset);
  if (kind !== FRAME.DATA && (kind !== FRAME.STATE || length < STATE_BYTES)) return null;
  const state = kind === FRAME.STATE;
  return {
    kind,
    flags: view.getUint8(offset + 1),
    publisher: view.getUint32(offset + 4, true),
    sequence: u64(view, offset + 8),
    subscriber: state ? view.getUint32(offset + 16, true) : 0,
    from: state ? u64(view, offset + 24) : 0,
  };
}

/** Writes the header, and of a state the rest. */
export function writeFrame(memory: Uint8Array, offset: number, frame: Frame): void {
  const state = frame.kind === FRAME.STATE;
  const view = written.over(memory);
  view.setUint32(offset, frame.kind | (frame.flags << 8), true);
  view.setUint32(offset + 4, frame.publisher, true);
  putU64(view, offset + 8, frame.sequence);
  if (!state) return;
  view.setUint32(offset + 16, frame.subscriber, true);
  view.setUint32(offset + 20, 0, true);
  putU64(view, offset + 24, frame.from);
}

export function readBack(memory: Uint8Array, offset: number, length: number): Back | null {
  if (length < BACK_BYTES) return null;
  const view = read.over(memory);
  const kind = view.getUint8(offset);
  if (kind < BACK.JOIN || kind > BACK.LEAVE) return null;
  return {
    kind,
    flags: view.getUint8(offset + 1),
    subscriber: view.getUint32(offset + 4, true),
    publisher: view.getUint32(offset + 8, true),
    expected: u64(view, offset + 16),
    low: view.getUint32(offset + 24, true),
    high: view.getUint32(offset + 28, true),
  };
}

export function writeBack(memory: Uint8Array, offset: number, back: Back): void {
  const view = written.over(memory);
  view.setUint32(offset, back.kind | (back.flags << 8), true);
  view.setUint32(offset + 4, back.subscriber, true);
  view.setUint32(offset + 8, back.publisher, true);
  view.setUint32(offset + 12, 0, true);
  putU64(view, offset + 16, back.expected);
  view.setUint32(offset + 24, back.low, true);
  view.setUint32(offset + 28, back.high, true);
  putU64(view, offset + 32, 0);
}

/** Whether the message `ahead` places after the awaited one is there already. */
export const has = ({ low, high }: Back, ahead: number): boolean =>
  ahead > 0 && ahead <= MASK_BITS && (((ahead <= 32 ? low : high) >>> ((ahead - 1) & 31)) & 1) === 1;

/** A number that names a publisher or subscriber among those of its topic. */
export const newIdentity = (): number => 1 + Math.floor(Math.random() * 0xfffffffe);
export const backTopic = (topic: string): string => `$back/${topic}`;
