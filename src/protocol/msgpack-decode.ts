// MessagePack from memory that somebody else may have written, and may be writing: every length is held against what is
// left before anything is allocated, every byte is read once, and what is returned shares nothing with the memory.
import { type Area, MAX_DEPTH } from "./msgpack-encode.ts";

/** What was wrong and at which byte, counted from the beginning of the value. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
  readonly offset: number;
  constructor(offset: number, what: string) {
    super(`${what} at byte ${offset}`);
    this.offset = offset;
  }
}

class Unpacker {
  bytes: Buffer = Buffer.alloc(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  start = 0;
  at = 0;
  end = 0;

  fail(what: string, at = this.at): never {
    throw new MalformedError(at - this.start, what);
  }

  take(bytes: number): number {
    const { at } = this;
    if (bytes > this.end - at) this.fail("the value ends too early");
    this.at = at + bytes;
    return at;
  }

  value(depth: number): unknown {
    const tag = this.bytes[this.take(1)] as number;
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.array(tag & 0x0f, depth);
    if (tag < 0xc0) return this.string(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    return this.tagged(tag, depth);
  }

  tagged(tag: number, depth: number): unknown {
    const { view } = this;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.binary(view.getUint8(this.take(1)));
      case 0xc5:
        return this.binary(view.getUint16(this.take(2)));
      case 0xc6:
        return this.binary(view.getUint32(this.take(4)));
      case 0xc7:
        return this.extension(view.getUint8(this.take(1)));
      case 0xca:
        return view.getFloat32(this.take(4));
      case 0xcb:
        return view.getFloat64(this.take(8));
      case 0xcc:
        return view.getUint8(this.take(1));
      case 0xcd:
        return view.getUint16(this.take(2));
      case 0xce:
        return view.getUint32(this.take(4));
      case 0xcf:
        return whole(view.getBigUint64(this.take(8)));
      case 0xd0:
        return view.getInt8(this.take(1));
      case 0xd1:
        return view.getInt16(this.take(2));
      case 0xd2:
        return view.getInt32(this.take(4));
      case 0xd3:
        return whole(view.getBigInt64(this.take(8)));
      case 0xd6:
        return this.extension(4);
      case 0xd7:
        return this.extension(8);
      case 0xd9:
        return this.string(view.getUint8(this.take(1)));
      case 0xda:
        return this.string(view.getUint16(this.take(2)));
      case 0xdb:
        return this.string(view.getUint32(this.take(4)));
      case 0xdc:
        return this.array(view.getUint16(this.take(2)), depth);
      case 0xdd:
        return this.array(view.getUint32(this.take(4)), depth);
      case 0xde:
        return this.map(view.getUint16(this.take(2)), depth);
      case 0xdf:
        return this.map(view.getUint32(this.take(4)), depth);
      default:
        return this.fail(`type 0x${tag.toString(16)} is not supported`, this.at - 1);
    }
  }

  string(size: number): string {
    const from = this.take(size);
    const to = from + size;
    if (size < 24) {
      const { bytes } = this;
      let text = "";
      let at = from;
      for (; at < to; at++) {
        const code = bytes[at] as number;
        if (code >= 0x80) break;
        text += String.fromCharCode(code);
      }
      if (at === to) return text;
    }
    return this.bytes.toString("utf8", from, to);
  }

  binary(size: number): Uint8Array {
    const from = this.take(size);
    return new Uint8Array(this.bytes.subarray(from, from + size));
  }

  array(count: number, depth: number): unknown[] {
    this.deeper(count, depth);
    const list: unknown[] = [];
    for (let i = 0; i < count; i++) list.push(this.value(depth + 1));
    return list;
  }

  map(count: number, depth: number): Record<string, unknown> {
    this.deeper(2 * count, depth);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const before = this.at;
      const key = this.value(depth + 1);
      if (typeof key !== "string") this.fail("a map's key is no string", before);
      if (key === "__proto__") this.fail("the key __proto__ is not allowed", before);
      map[key] = this.value(depth + 1);
    }
    return map;
  }

  /** A member takes a byte at least, so a count beyond what is left is a lie. */
  deeper(members: number, depth: number): void {
    if (depth >= MAX_DEPTH) this.fail(`nested more than ${MAX_DEPTH} deep`);
    if (members > this.end - this.at) this.fail("a count is larger than what follows");
  }

  /** The timestamp (-1) in its three sizes; no other extension. */
  extension(size: number): Date {
    const type = this.view.getInt8(this.take(1));
    if (type !== -1) this.fail(`extension type ${type} is not supported`);
    const { view } = this;
    if (size === 4) return new Date(view.getUint32(this.take(4)) * 1000);
    if (size === 8) {
      const at = this.take(8);
      const high = view.getUint32(at);
      return new Date(((high & 3) * 0x100000000 + view.getUint32(at + 4)) * 1000 + (high >>> 2) / 1e6);
    }
    if (size !== 12) this.fail(`a timestamp of ${size} bytes`);
    const at = this.take(12);
    return new Date(Number(view.getBigInt64(at + 4)) * 1000 + view.getUint32(at) / 1e6);
  }
}

const whole = (value: bigint): number | bigint =>
  value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;

const unpacker = new Unpacker();

/** The one value that fills `area` from `offset` to `end`. Throws MalformedError. */
export function decodeFrom(area: Area, offset: number, end: number): unknown {
  unpacker.bytes = area.bytes;
  unpacker.view = area.view;
  unpacker.start = offset;
  unpacker.at = offset;
  unpacker.end = end;
  const value = unpacker.value(0);
  if (unpacker.at !== end) unpacker.fail(`${end - unpacker.at} bytes too many`);
  return value;
}
