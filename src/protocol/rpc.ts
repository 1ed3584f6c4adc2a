// MessagePack-RPC framing, the same for both sides of the control socket: [0, id, method, params], [1, id, error, result]
// and [2, method, params], one frame a packet. Shapes are checked here, contents by the contracts (control.ts). No Effect.
import { ERROR_CODES, type ErrorCode, InsaneError } from "./codes.ts";
import { decodeFrom, MalformedError } from "./msgpack-decode.ts";
import { areaOf, encodeInto, TOO_LONG } from "./msgpack-encode.ts";

export const PROTOCOL_VERSION = 1;
/** Largest frame in bytes, either way. */
export const MAX_FRAME = 65536;

/** An error as it travels (control.ts RpcError). */
export interface RpcFailure {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
export interface RequestFrame {
  readonly type: "request";
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}
export interface ResponseFrame {
  readonly type: "response";
  readonly id: number;
  /** null: success. */
  readonly error: RpcFailure | null;
  readonly result: unknown;
}
export interface NotificationFrame {
  readonly type: "notification";
  readonly method: string;
  readonly params: unknown;
}
export type Frame = RequestFrame | ResponseFrame | NotificationFrame;

const scratch = areaOf(new Uint8Array(MAX_FRAME));

/** All encoders throw EFRAME (larger than MAX_FRAME) and EVALUE (not encodable); what they return is the caller's. */
export const encodeRequest = (id: number, method: string, params: unknown): Uint8Array =>
  pack([0, id, method, params], method);
export const encodeResponse = (id: number, result: unknown): Uint8Array => pack([1, id, null, result], `answer ${id}`);
export const encodeFailure = (id: number, error: RpcFailure): Uint8Array => {
  const message = error.message.length > 4000 ? `${error.message.slice(0, 4000)}...` : error.message;
  const brief = { code: error.code, message };
  try {
    return pack([1, id, error.details === undefined ? brief : { ...brief, details: error.details }, null], "error");
  } catch {
    return pack([1, id, brief, null], "error");
  }
};
export const encodeNotification = (method: string, params: unknown): Uint8Array => pack([2, method, params], method);

function pack(frame: ReadonlyArray<unknown>, what: string): Uint8Array {
  const end = encodeInto(frame, scratch, 0, MAX_FRAME);
  if (end === TOO_LONG) {
    throw new InsaneError("EFRAME", `The frame of ${what} is larger than ${MAX_FRAME} bytes.`, { limit: MAX_FRAME });
  }
  return new Uint8Array(scratch.bytes.subarray(0, end));
}

/** Throws EFRAME (too large) or ESCHEMA (no frame), saying what was wrong; nothing of the result points into `bytes`. */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.byteLength > MAX_FRAME) {
    throw new InsaneError("EFRAME", `A frame of ${bytes.byteLength} bytes; ${MAX_FRAME} are allowed.`, {
      limit: MAX_FRAME,
      bytes: bytes.byteLength,
    });
  }
  let value: unknown;
  try {
    value = decodeFrom(areaOf(bytes), 0, bytes.byteLength);
  } catch (error) {
    if (error instanceof MalformedError) throw wrong("", `not MessagePack: ${error.message}`);
    throw error;
  }
  if (!Array.isArray(value)) throw wrong("", `expected an array, got ${kind(value)}`);
  const list = value as ReadonlyArray<unknown>;
  switch (list[0]) {
    case 0:
      count(list, 4);
      return { type: "request", id: identifier(list[1]), method: name(list[2], "/2"), params: list[3] };
    case 1:
      count(list, 4);
      return { type: "response", id: identifier(list[1]), error: failure(list[2]), result: list[3] };
    case 2:
      count(list, 3);
      return { type: "notification", method: name(list[1], "/1"), params: list[2] };
    default:
      throw wrong("/0", `expected the type 0 (request), 1 (response) or 2 (notification), got ${kind(list[0])}`);
  }
}

/** The error of a failed response, as the caller sees it. */
export const toInsaneError = (failure: RpcFailure): InsaneError => {
  const known = Object.hasOwn(ERROR_CODES, failure.code);
  const code: ErrorCode = known ? (failure.code as ErrorCode) : "EINTERNAL";
  return new InsaneError(code, known ? failure.message : `${failure.code}: ${failure.message}`, failure.details ?? {});
};

/** The wire form of any error: an InsaneError as it is, all else as EINTERNAL without its inside. */
export const toFailure = (error: unknown): RpcFailure =>
  error instanceof InsaneError
    ? { code: error.code, message: error.message, details: error.details }
    : { code: "EINTERNAL", message: error instanceof Error ? error.message : String(error) };

function count(list: ReadonlyArray<unknown>, expected: number): void {
  if (list.length !== expected) throw wrong("", `expected ${expected} elements, got ${list.length}`);
}
function identifier(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return value;
  throw wrong("/1", `expected an id from 0 to 4294967295, got ${kind(value)}`);
}
function name(value: unknown, path: string): string {
  if (typeof value === "string" && value.length > 0 && value.length <= 200) return value;
  throw wrong(path, `expected a method name of 1 to 200 characters, got ${kind(value)}`);
}
function failure(value: unknown): RpcFailure | null {
  if (value === null) return null;
  if (typeof value !== "object" || Array.isArray(value))
    throw wrong("/2", `expected null or an error, got ${kind(value)}`);
  const { code, message, details } = value as Record<string, unknown>;
  if (typeof code !== "string") throw wrong("/2/code", `expected a string, got ${kind(code)}`);
  if (typeof message !== "string") throw wrong("/2/message", `expected a string, got ${kind(message)}`);
  if (details === undefined) return { code, message };
  if (typeof details !== "object" || details === null || Array.isArray(details)) {
    throw wrong("/2/details", `expected a map, got ${kind(details)}`);
  }
  return { code, message, details: details as Record<string, unknown> };
}

/** What a value is, for a message: its value when short. */
function kind(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return value instanceof Uint8Array ? "bytes" : `a ${typeof value}`;
}
const wrong = (path: string, what: string): InsaneError =>
  new InsaneError("ESCHEMA", `Control frame${path && ` at ${path}`}: ${what}.`, { path: path || "/" });
