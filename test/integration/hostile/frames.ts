// Frames that are no frames, or hardly: what a hostile application may write to its control socket. Each has its name.

/** A request whose parameters are these bytes. */
const request = (params: ReadonlyArray<number>): Uint8Array =>
  Uint8Array.of(0x94, 0, 7, 0xab, ...Buffer.from("stream.open"), ...params);
const text = (value: string): number[] => [0xa0 | value.length, ...Buffer.from(value)];

export const FRAMES: ReadonlyArray<readonly [string, Uint8Array]> = [
  ["nested without an end", request(new Array(60_000).fill(0x91))],
  ["nested a thousand deep, closed", request([...new Array(1000).fill(0x91), 0xc0])],
  ["with maps nested without an end", request(new Array(20_000).fill([0x81, 0xa1, 0x61]).flat())],
  ["with an array of 2^32 - 1", request([0xdd, 0xff, 0xff, 0xff, 0xff])],
  ["with a map of 2^32 - 1", request([0xdf, 0xff, 0xff, 0xff, 0xff])],
  ["with a map of 2^31", request([0xdf, 0x80, 0, 0, 0])],
  ["with text of 2^32 - 1 bytes", request([0xdb, 0xff, 0xff, 0xff, 0xff])],
  ["with bytes of 2^32 - 1", request([0xc6, 0xff, 0xff, 0xff, 0xff])],
  ["with an extension", request([0xc7, 4, 42, 1, 2, 3, 4])],
  ["with an extension of 2^32 - 1 bytes", request([0xc9, 0xff, 0xff, 0xff, 0xff, 1])],
  ["with a prototype for a key", request([0x81, ...text("__proto__"), 0x81, ...text("qos"), 0xc0])],
  ["with a key that is a map", request([0x81, 0x80, 0xc0])],
  ["with NaN for a number", request([0x81, ...text("stream"), 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0])],
  ["whose name is no UTF-8", request([0x81, ...text("name"), 0xa2, 0xff, 0xfe])],
  ["with a name of 60,000 bytes", request([0x81, ...text("name"), 0xda, 0xea, 0x60, ...new Array(60_000).fill(0x41)])],
  ["whose id is no integer", Uint8Array.of(0x94, 0, 0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0, 0xa1, 0x61, 0x80)],
  ["whose method is a constructor", Uint8Array.of(0x94, 0, 1, 0xab, ...Buffer.from("constructor"), 0x80)],
  ["whose method is a prototype", Uint8Array.of(0x94, 0, 1, 0xa9, ...Buffer.from("__proto__"), 0x80)],
  ["that is an answer with a wild error", Uint8Array.of(0x94, 1, 1, 0x81, ...text("code"), 0xc0, 0xc0)],
  ["of one byte", Uint8Array.of(0xc1)],
  ["of zeros", new Uint8Array(4096)],
  ["larger than a frame may be", new Uint8Array(200_000)],
];
