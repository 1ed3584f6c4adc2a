// Answers that are larger than a control frame (reports for operators, mostly) travel in parts: the first answer says how
// many there are, the others are asked for by number, and together they are the MessagePack of the result. No Effect.
import { InsaneError } from "./codes.ts";
import { decodeFrom } from "./msgpack-decode.ts";
import { areaOf, encodeInto, TOO_LONG } from "./msgpack-encode.ts";
import { MAX_FRAME } from "./rpc.ts";

export interface Part {
  readonly part: number;
  readonly parts: number;
  readonly data: Uint8Array;
}

/** Room for the frame around a result, and for that around a part. */
const MARGIN = 256;
const PART_BYTES = MAX_FRAME - MARGIN;
const LARGEST = 64 * 2 ** 20;

/** One element: the value itself, when it fits a frame. Throws EFRAME beyond 64 MiB. */
export function inParts(value: unknown): ReadonlyArray<unknown> {
  const bytes = encode(value);
  if (bytes.length <= PART_BYTES) return [value];
  const parts = Math.ceil(bytes.length / PART_BYTES);
  return Array.from(
    { length: parts },
    (_, part): Part => ({ part, parts, data: bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES) }),
  );
}

export const isPart = (result: unknown): result is Part =>
  typeof result === "object" && result !== null && "parts" in result && "data" in result;

/** The value that `inParts` cut, from all its parts in order. */
export function joinParts(parts: ReadonlyArray<Part>): unknown {
  const bytes = Buffer.concat(parts.map(({ data }) => data));
  return decodeFrom(areaOf(bytes), 0, bytes.length);
}

function encode(value: unknown): Uint8Array {
  for (let room = 2 * MAX_FRAME; room <= LARGEST; room *= 4) {
    const area = areaOf(new Uint8Array(room));
    const end = encodeInto(value, area, 0, room);
    if (end !== TOO_LONG) return area.bytes.subarray(0, end);
  }
  throw new InsaneError("EFRAME", `An answer of more than ${LARGEST} bytes.`, { limit: LARGEST });
}
