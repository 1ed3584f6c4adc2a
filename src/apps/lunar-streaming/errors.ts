// What can go wrong in Lunar Streaming, as one error class with stable codes (docs/lunar-streaming.md lists them). Errors
// of the middleware underneath stay InsaneErrors.

export const STREAMING_CODES = [
  "ENOSERVER",
  "ESERVERGONE",
  "EFORMAT",
  "EFRAMESIZE",
  "EHEADER",
  "EDECODE",
  "EENCODE",
  "ESOURCE",
  "ESTALLED",
  "ETAKEN",
  "ERELEASED",
  "ECLOSED",
] as const;
export type StreamingCode = (typeof STREAMING_CODES)[number];

export class StreamingError extends Error {
  override readonly name = "StreamingError";
  readonly code: StreamingCode;
  /** Further facts, for programs. */
  readonly details: Readonly<Record<string, unknown>>;
  constructor(code: StreamingCode, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
