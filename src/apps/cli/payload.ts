// How a terminal shows the bytes of a message: as text when they are some, as a value when they are MessagePack, else in
// hexadecimal. Pure.
import { decode } from "@msgpack/msgpack";

const strict = new TextDecoder("utf-8", { fatal: true });
const HEX_BYTES = 32;

/** The payload as text, or null when it is none that a terminal should see. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    const decoded = strict.decode(bytes);
    return /[\p{Cc}]/u.test(decoded.replaceAll(/[\n\t]/g, "")) ? null : decoded;
  } catch {
    return null;
  }
}

const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes)
    .toString("hex")
    .replaceAll(/(..)(?=.)/g, "$1 ");

/** For people; at most `size` bytes of it, and says how long it is when that is not all. */
export function shown(all: Uint8Array, size: number): string {
  const bytes = all.subarray(0, size);
  const length = ` ... (${all.length} bytes)`;
  const text = textOf(bytes) ?? hex(bytes.subarray(0, HEX_BYTES)) + (bytes.length > HEX_BYTES ? length : "");
  return text + (all.length > size ? length : "");
}

/** For programs: `text`, or `base64`. */
export function fields(all: Uint8Array, size: number): { readonly text: string } | { readonly base64: string } {
  const bytes = all.subarray(0, size);
  const text = textOf(bytes);
  return text === null ? { base64: Buffer.from(bytes).toString("base64") } : { text };
}

/** A map or list that a typed topic carries, or undefined: a number alone would be any byte. */
export function messagePackOf(bytes: Uint8Array): unknown {
  try {
    const value = decode(bytes);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
