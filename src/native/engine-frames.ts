// The frames between the runtime and an engine process, as in native/process/frame.h. Encoding and decoding only.

/** Kinds of requests; from PING on each is acknowledged by the engine. */
export const FRAME = {
  BEGIN: 1,
  OPEN: 2,
  CLOSE: 3,
  STATS: 4,
  STOP: 5,
  PING: 16,
  ADD_DATAPATH: 17,
  REMOVE_DATAPATH: 18,
  SET_PEER: 19,
  REMOVE_PEER: 20,
  ADD_ROUTE: 21,
  REMOVE_ROUTE: 22,
  ADD_EGRESS: 23,
  ADD_POOL: 24,
  REMOVE_POOL: 25,
  ADD_SOURCE: 26,
  REMOVE_SOURCE: 27,
  ADD_INGRESS: 28,
  SUBSCRIBE: 29,
  UNSUBSCRIBE: 30,
  REMOVE_LINK: 31,
  MUTE_PEER: 32,
  RESUME_PEER: 33,
  ADD_ROUTES: 34,
  REMOVE_ROUTES: 35,
  SET_SCHEDULE: 36,
  SET_CLASS: 37,
  HOLD_LINK: 38,
  RETIRE_LINK: 39,
  MOVE_ROUTE: 40,
  ACCOUNT_FLOW: 41,
  TELL_FLOW: 42,
  ADD_DOMAIN: 43,
  REMOVE_DOMAIN: 44,
  SET_DOMAIN: 45,
  ADD_ASSEMBLY: 46,
  REMOVE_ASSEMBLY: 47,
  SET_ASSEMBLY: 48,
  SET_BATCHING: 49,
} as const;

/** Types of answers that are no events of the engine. */
export const ANSWER = { BEGUN: 64, OPENED: 65, CLOSED: 66, STATS: 67 } as const;

const WORDS = 12;
const HEADER_BYTES = 64;
const DATA_BYTES = 2560;
const ANSWER_BYTES = 32;
const STAT_BYTES = 64;
const STAT_NAME_BYTES = 56;
const STATS_MOST = 64;

/** The longest frame an engine process sends. */
export const LONGEST_ANSWER = ANSWER_BYTES + STATS_MOST * STAT_BYTES;

export function encodeFrame(
  kind: number,
  sequence: number,
  words: ReadonlyArray<number>,
  bytes = 0,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  if (words.length > WORDS || data.byteLength > DATA_BYTES) throw new RangeError("the frame is too long");
  const frame = new Uint8Array(HEADER_BYTES + data.byteLength);
  const view = new DataView(frame.buffer);
  view.setUint32(0, kind, true);
  view.setUint32(4, sequence, true);
  words.forEach((word, i) => {
    view.setUint32(8 + 4 * i, word, true);
  });
  view.setBigUint64(8 + 4 * WORDS, BigInt(bytes), true);
  frame.set(data, HEADER_BYTES);
  return frame;
}

/** Texts one after the other, each with its final 0. */
export const encodeTexts = (...texts: ReadonlyArray<string>): Uint8Array =>
  new TextEncoder().encode(texts.map((text) => `${text}\0`).join(""));

/** The counters in an answer of type STATS. */
export function decodeStats(answer: DataView): Record<string, number> {
  const text = new TextDecoder();
  const count = Math.min(answer.getUint32(12, true), STATS_MOST, (answer.byteLength - ANSWER_BYTES) / STAT_BYTES);
  const stats: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const at = answer.byteOffset + ANSWER_BYTES + i * STAT_BYTES;
    const name = new Uint8Array(answer.buffer, at, STAT_NAME_BYTES);
    const end = name.indexOf(0);
    const value = answer.getBigUint64(ANSWER_BYTES + i * STAT_BYTES + STAT_NAME_BYTES, true);
    stats[text.decode(name.subarray(0, end < 0 ? STAT_NAME_BYTES : end))] = Number(value);
  }
  return stats;
}
