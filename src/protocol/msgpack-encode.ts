// MessagePack into memory that is already there: a slot of a pool, or a frame's buffer. Written here because libraries
// encode into buffers of their own, which would cost a copy a message. Encodes JSON-like values, bytes, bigint and Date.
import { InsaneError } from "./codes.ts";

/** Memory to encode into or decode from, seen in the two ways the codec needs; made once per segment, not per message. */
export interface Area {
  readonly bytes: Buffer;
  readonly view: DataView;
}

export const areaOf = (memory: Uint8Array): Area => ({
  bytes: Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength),
  view: new DataView(memory.buffer, memory.byteOffset, memory.byteLength),
});

/** Nesting beyond this is refused, cycles with it. */
export const MAX_DEPTH = 64;
/** What `encodeInto` returns when the value does not fit. */
export const TOO_LONG = -1;
/** Strings up to this many characters are cheaper to encode in JavaScript than by a call into Node. */
const SHORT = 40;

/** Thrown inside and caught by `encodeInto`: running out of room is an answer, not an error. */
const OVERFLOW = new Error("out of room");

class Packer {
  bytes: Buffer = Buffer.alloc(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  at = 0;
  end = 0;

  room(bytes: number): number {
    const { at } = this;
    if (at + bytes > this.end) throw OVERFLOW;
    this.at = at + bytes;
    return at;
  }

  value(value: unknown, depth: number, path: string): void {
    switch (typeof value) {
      case "string":
        this.string(value);
        return;
      case "number":
        this.number(value);
        return;
      case "boolean":
        this.bytes[this.room(1)] = value ? 0xc3 : 0xc2;
        return;
      case "undefined":
        this.bytes[this.room(1)] = 0xc0;
        return;
      case "bigint":
        this.bigint(value, path);
        return;
      case "object":
        if (value === null) {
          this.bytes[this.room(1)] = 0xc0;
          return;
        }
        this.object(value, depth, path);
        return;
      default:
        throw refused(path, `a ${typeof value} cannot be encoded`);
    }
  }

  number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      const at = this.room(9);
      this.bytes[at] = 0xcb;
      this.view.setFloat64(at + 1, value);
    } else if (value >= 0) {
      if (value < 0x80) this.bytes[this.room(1)] = value;
      else if (value < 0x100) this.u8(0xcc, value);
      else if (value < 0x10000) this.u16(0xcd, value);
      else if (value < 0x100000000) this.u32(0xce, value);
      else this.pair(0xcf, Math.floor(value / 0x100000000), value);
    } else if (value >= -0x20) this.bytes[this.room(1)] = value;
    else if (value >= -0x80) this.u8(0xd0, value);
    else if (value >= -0x8000) this.u16(0xd1, value);
    else if (value >= -0x80000000) this.u32(0xd2, value);
    else this.pair(0xd3, Math.floor(value / 0x100000000), value);
  }

  bigint(value: bigint, path: string): void {
    if (value > 0xffffffffffffffffn || value < -0x8000000000000000n)
      throw refused(path, "the bigint has more than 64 bits");
    const at = this.room(9);
    this.bytes[at] = value < 0n ? 0xd3 : 0xcf;
    this.view.setBigUint64(at + 1, BigInt.asUintN(64, value));
  }

  string(value: string): void {
    const { length } = value;
    if (length <= SHORT) {
      // Written as if it were ASCII; the first character that is not sends it the long way.
      const start = this.at;
      const head = length < 32 ? 1 : 2;
      if (start + head + length <= this.end) {
        const { bytes } = this;
        let at = start + head;
        let i = 0;
        for (; i < length; i++) {
          const code = value.charCodeAt(i);
          if (code >= 0x80) break;
          bytes[at++] = code;
        }
        if (i === length) {
          if (head === 1) bytes[start] = 0xa0 | length;
          else {
            bytes[start] = 0xd9;
            bytes[start + 1] = length;
          }
          this.at = at;
          return;
        }
      }
    }
    const size = Buffer.byteLength(value);
    if (size < 32) this.bytes[this.room(1)] = 0xa0 | size;
    else this.head(0xd9, 0xda, 0xdb, size);
    this.bytes.write(value, this.room(size), size, "utf8");
  }

  object(value: object, depth: number, path: string): void {
    if (depth >= MAX_DEPTH) throw refused(path, `nested more than ${MAX_DEPTH} deep, or in a cycle`);
    if (Array.isArray(value)) {
      if (value.length < 16) this.bytes[this.room(1)] = 0x90 | value.length;
      else if (value.length < 0x10000) this.u16(0xdc, value.length);
      else this.u32(0xdd, value.length);
      for (let i = 0; i < value.length; i++) this.value(value[i], depth + 1, `${path}/${i}`);
    } else if (ArrayBuffer.isView(value)) {
      const { byteLength } = value;
      this.head(0xc4, 0xc5, 0xc6, byteLength);
      this.bytes.set(new Uint8Array(value.buffer, value.byteOffset, byteLength), this.room(byteLength));
    } else if (value instanceof Date) this.date(value, path);
    else this.map(value as Record<string, unknown>, depth, path);
  }

  map(value: Record<string, unknown>, depth: number, path: string): void {
    const keys = Object.keys(value);
    let count = 0;
    for (const key of keys) if (value[key] !== undefined) count++;
    if (count < 16) this.bytes[this.room(1)] = 0x80 | count;
    else if (count < 0x10000) this.u16(0xde, count);
    else this.u32(0xdf, count);
    for (const key of keys) {
      const member = value[key];
      if (member === undefined) continue;
      if (key === "__proto__") throw refused(path, "the key __proto__ is not allowed");
      this.string(key);
      this.value(member, depth + 1, typeof member === "object" ? `${path}/${key}` : path);
    }
  }

  /** Timestamp extension (-1) of 96 bits: nanoseconds, then seconds since 1970. */
  date(value: Date, path: string): void {
    const ms = value.getTime();
    if (Number.isNaN(ms)) throw refused(path, "the date is invalid");
    const seconds = Math.floor(ms / 1000);
    const at = this.room(15);
    this.bytes[at] = 0xc7;
    this.bytes[at + 1] = 12;
    this.bytes[at + 2] = 0xff;
    this.view.setUint32(at + 3, (ms - seconds * 1000) * 1e6);
    this.view.setBigInt64(at + 7, BigInt(seconds));
  }

  /** Header of a string or bytes: size in 8, 16 or 32 bits. */
  head(tag8: number, tag16: number, tag32: number, size: number): void {
    if (size < 0x100) this.u8(tag8, size);
    else if (size < 0x10000) this.u16(tag16, size);
    else this.u32(tag32, size);
  }
  u8(tag: number, value: number): void {
    const at = this.room(2);
    this.bytes[at] = tag;
    this.bytes[at + 1] = value;
  }
  u16(tag: number, value: number): void {
    const at = this.room(3);
    this.bytes[at] = tag;
    this.view.setUint16(at + 1, value);
  }
  u32(tag: number, value: number): void {
    const at = this.room(5);
    this.bytes[at] = tag;
    this.view.setUint32(at + 1, value);
  }
  pair(tag: number, high: number, low: number): void {
    const at = this.room(9);
    this.bytes[at] = tag;
    this.view.setUint32(at + 1, high);
    this.view.setUint32(at + 5, low);
  }
}

const packer = new Packer();

/**
 * Encodes `value` into `area` from `offset` and not beyond `end`; returns where it ended, or TOO_LONG. The memory may
 * have been written to in any case. Throws EVALUE, with the path, for what MessagePack cannot say.
 */
export function encodeInto(value: unknown, area: Area, offset: number, end: number): number {
  packer.bytes = area.bytes;
  packer.view = area.view;
  packer.at = offset;
  packer.end = end;
  try {
    packer.value(value, 0, "");
    return packer.at;
  } catch (error) {
    if (error === OVERFLOW) return TOO_LONG;
    throw error;
  }
}

const refused = (path: string, why: string): InsaneError =>
  new InsaneError("EVALUE", `${path || "/"}: ${why}.`, { path: path || "/" });
