// Hello frames between the control endpoints of runtimes (docs/hello.md): wire header, then a MessagePack map.
// Codec and paging only, pure; when which frame is sent is the directory's business (runtime/hello-directory.ts).
import { decode, encode } from "@msgpack/msgpack";
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import { HELLO, WIRE, WIRE_TYPE } from "./wire.ts";

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }));
const u32 = whole(0, 0xffffffff);
const text = (pattern: RegExp) => Schema.String.check(Schema.isPattern(pattern));
/** Of streams and channels, as control takes them (control.ts, Name): what is told of them must fit its frames. */
const name = text(/^[^\p{Cc}]{1,200}$/u).check(
  Schema.makeFilter((one: string) => Buffer.byteLength(one) <= 200, { expected: "at most 200 bytes" }),
);
const list = <S extends Schema.Top>(item: S, max: number) => Schema.Array(item).check(Schema.isMaxLength(max));

/** Limits that bound what a peer can make us keep. */
export const HELLO_LIMITS = {
  /** Pages of one announcement. */
  PAGES: 1024,
  /** Page numbers that an acknowledgement lists as missing; the rest is asked for next time. */
  MISSING: 32,
  ENDPOINTS: 8,
  /** Bytes of a runtime's name in a hello; longer ones are cut. */
  NAME_BYTES: 64,
} as const;

const Id = text(/^[\x21-\x7e]{1,64}$/);
const Endpoint = Schema.Struct({
  /** One that the receiver does not know is passed over. */
  lane: text(/^[a-z0-9-]{1,16}$/),
  address: text(/^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/),
  port: whole(1, 65535),
  mtu: whole(576, 65535),
  /** Whether it takes trains (GSO) that a virtual link hands over in one piece; left out: it does. */
  trains: Schema.optionalKey(Schema.Boolean),
  /** Of rdma: only equal ones understand each other. */
  provider: Schema.optionalKey(text(/^[\x21-\x7e]{1,32}$/)),
});
/**
 * A stream with the channels on which sinks want its messages, and the lane of the endpoint where they want them; without
 * one, `udp`.
 */
const StreamEntry = Schema.Tuple([u32, name, Schema.Array(u32), Schema.optionalKey(text(/^[a-z0-9-]{1,16}$/))]);

/** Named channels of a stream: number, name, and whether there are sources (1), sinks (2) or both (3). */
const NamesEntry = Schema.Tuple([name, Schema.Array(Schema.Tuple([u32, name, whole(1, 3)]))]);

const Page = Schema.Struct({
  /** From 0. */
  index: whole(0, HELLO_LIMITS.PAGES - 1),
  /** Page 0 only; empty on the others. */
  endpoints: list(Endpoint, HELLO_LIMITS.ENDPOINTS),
  technologies: list(text(/^[a-z0-9-]{1,16}$/), HELLO_LIMITS.ENDPOINTS),
  streams: Schema.Array(StreamEntry),
  names: Schema.optionalKey(Schema.Array(NamesEntry)),
});

const Body = Schema.Struct({
  /** Incarnation: chosen anew each time a runtime starts. */
  id: Id,
  name: text(/^[^\p{Cc}]{1,200}$/u),
  /** Version of the sender's announcement, and how many pages it has. */
  version: whole(1, 0xffffffff),
  pages: whole(1, HELLO_LIMITS.PAGES),
  /**
   * What the sender has of the receiver's announcement: incarnation, version, and pages of it that are missing; and from
   * the endpoints of which version on it takes messages (0: of none; left out: of the version that it has).
   */
  seen: Schema.NullOr(
    Schema.Struct({
      id: Id,
      version: whole(1, 0xffffffff),
      missing: list(whole(0, HELLO_LIMITS.PAGES - 1), HELLO_LIMITS.MISSING),
      applied: Schema.optionalKey(u32),
    }),
  ),
  /** One page of the announcement; null in a bare hello. */
  page: Schema.NullOr(Page),
  /** The sender stops. */
  bye: Schema.Boolean,
}).check(
  Schema.makeFilter((body: { readonly pages: number; readonly page: { readonly index: number } | null }) =>
    body.page === null || body.page.index < body.pages ? undefined : "a page beyond the number of pages",
  ),
);

export type Hello = typeof Body.Type;
export type HelloPage = typeof Page.Type;
export type HelloStream = typeof StreamEntry.Type;
export type HelloNames = typeof NamesEntry.Type;

/** Why a datagram is not a hello; each is counted by itself. */
export type HelloFault = "short" | "magic" | "version" | "type" | "flags" | "length" | "body";
export type HelloResult =
  | { readonly hello: Hello; readonly fault: null }
  | { readonly hello: null; readonly fault: HelloFault; readonly why: string };

/** `at`: nanoseconds since 1970. Throws RangeError beyond HELLO.MAX_BYTES, which pages made by `paginate` never reach. */
export function encodeHello(hello: Hello, sequence: bigint, at: bigint): Uint8Array {
  const body = encode({ ...hello, name: cut(hello.name, HELLO_LIMITS.NAME_BYTES) });
  const frame = new Uint8Array(WIRE.HEADER + body.length);
  if (frame.length > HELLO.MAX_BYTES) throw new RangeError(`a hello of ${frame.length} bytes`);
  const view = new DataView(frame.buffer);
  view.setUint16(WIRE.MAGIC, WIRE.MAGIC_VALUE);
  view.setUint8(WIRE.VERSION, WIRE.VERSION_VALUE);
  view.setUint8(WIRE.TYPE, WIRE_TYPE.HELLO);
  view.setBigUint64(WIRE.SEQUENCE, sequence);
  view.setBigUint64(WIRE.EMIT_TIME, at);
  view.setUint32(WIRE.LENGTH, body.length);
  frame.set(body, WIRE.HEADER);
  return frame;
}

const decodeBody = Schema.decodeUnknownResult(Body);

/** Never throws, whatever the bytes are. */
export function decodeHello(frame: Uint8Array): HelloResult {
  const bad = (fault: HelloFault, why: string): HelloResult => ({ hello: null, fault, why });
  if (frame.length < WIRE.HEADER) return bad("short", `${frame.length} bytes`);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.getUint16(WIRE.MAGIC) !== WIRE.MAGIC_VALUE) return bad("magic", "not a frame of this protocol");
  const version = view.getUint8(WIRE.VERSION);
  if (version !== WIRE.VERSION_VALUE) return bad("version", `wire version ${version}`);
  const type = view.getUint8(WIRE.TYPE);
  if (type !== WIRE_TYPE.HELLO) return bad("type", `type ${type}`);
  const flags = view.getUint16(WIRE.FLAGS);
  if ((flags & WIRE.FLAG_MUST) !== 0) return bad("flags", `flags ${flags}`);
  const length = view.getUint32(WIRE.LENGTH);
  if (length !== frame.length - WIRE.HEADER || frame.length > HELLO.MAX_BYTES) {
    return bad("length", `${length} bytes announced, ${frame.length - WIRE.HEADER} there`);
  }
  let value: unknown;
  try {
    value = decode(frame.subarray(WIRE.HEADER));
  } catch (cause) {
    return bad("body", cause instanceof Error ? cause.message : String(cause));
  }
  const result = decodeBody(value);
  return Result.isSuccess(result)
    ? { hello: result.success, fault: null }
    : bad("body", String(result.failure.message).replaceAll("\n", " ").slice(0, 300));
}

/** What a runtime tells, before it is cut into pages. */
export interface Content {
  readonly endpoints: HelloPage["endpoints"];
  readonly technologies: HelloPage["technologies"];
  readonly streams: ReadonlyArray<HelloStream>;
  readonly names?: ReadonlyArray<HelloNames>;
}

/** Bytes of a body besides its streams, names, endpoints and technologies: keys and small fields, two ids, name, missing. */
const OVERHEAD = 125 + 9 + 13 + 2 * 66 + (HELLO_LIMITS.NAME_BYTES + 2) + 3 * (HELLO_LIMITS.MISSING + 1);
/** Of one endpoint or technology, keys included. */
const ENDPOINT_BYTES = 83;
const TECHNOLOGY_BYTES = 17;
const CHANNEL_BYTES = 5;
type BeingMade = Omit<HelloPage, "streams" | "names"> & { streams: HelloStream[]; names?: HelloNames[] };
/** Channels of a stream that are worth the repetition of its name on a page that has others already. */
const WORTH_SPLITTING = 16;

/**
 * Cuts an announcement into pages that each fit a frame. A stream with many channels may span several pages. What is
 * beyond HELLO_LIMITS.PAGES pages is left out and counted in `omitted` (channels; names too, which come last).
 */
export function paginate({ endpoints, technologies, streams, names = [] }: Content): {
  readonly pages: ReadonlyArray<HelloPage>;
  readonly omitted: number;
} {
  const full = HELLO.MAX_BYTES - WIRE.HEADER - OVERHEAD;
  let page: BeingMade = { index: 0, endpoints, technologies, streams: [] };
  let room = full - ENDPOINT_BYTES * endpoints.length - TECHNOLOGY_BYTES * technologies.length;
  const pages: HelloPage[] = [page];
  let omitted = 0;
  for (const [tag, name, channels, at] of streams) {
    const head = 5 + 3 + Buffer.byteLength(name) + 3 + 1 + (at === undefined ? 0 : TECHNOLOGY_BYTES);
    let rest = channels;
    while (rest.length > 0) {
      const fit = Math.floor((room - head) / CHANNEL_BYTES);
      if (fit >= rest.length || fit >= WORTH_SPLITTING || (fit > 0 && room === full)) {
        const part = rest.slice(0, fit);
        page.streams.push(at === undefined ? [tag, name, part] : [tag, name, part, at]);
        room -= head + CHANNEL_BYTES * part.length;
        rest = rest.slice(part.length);
      } else if (room === full || pages.length === HELLO_LIMITS.PAGES) {
        omitted += rest.length;
        rest = [];
      } else {
        page = { index: pages.length, endpoints: [], technologies: [], streams: [] };
        room = full;
        pages.push(page);
      }
    }
  }
  let list: Array<HelloNames[1][number]> | null = null;
  for (const [stream, channels] of names) {
    list = null;
    const head = 3 + Buffer.byteLength(stream) + 3;
    for (const one of channels) {
      const bytes = 1 + CHANNEL_BYTES + 3 + Buffer.byteLength(one[1]) + 1;
      if (bytes + (list === null ? head : 0) > room) {
        if (pages.length === HELLO_LIMITS.PAGES) {
          omitted++;
          continue;
        }
        page = { index: pages.length, endpoints: [], technologies: [], streams: [] };
        room = full;
        pages.push(page);
        list = null;
      }
      if (list === null) {
        list = [];
        page.names ??= [];
        page.names.push([stream, list]);
        room -= head;
      }
      list.push(one);
      room -= bytes;
    }
  }
  return { pages, omitted };
}

/** The content of a complete set of pages; a stream that spans pages is one again. */
export function assemble(pages: ReadonlyArray<HelloPage>): Content {
  const streams = new Map<string, [number, string, number[], string?]>();
  for (const page of pages) {
    for (const [tag, name, channels, at] of page.streams) {
      const key = `${tag} ${at} ${name}`;
      const stream = streams.get(key);
      if (stream === undefined)
        streams.set(key, at === undefined ? [tag, name, [...channels]] : [tag, name, [...channels], at]);
      else stream[2].push(...channels);
    }
  }
  return {
    endpoints: pages.flatMap(({ endpoints }) => endpoints),
    technologies: pages.flatMap(({ technologies }) => technologies),
    streams: [...streams.values()],
    names: pages.flatMap(({ names = [] }) => names),
  };
}

/** Shortens to at most `bytes` bytes of UTF-8 without cutting a character in two. */
function cut(name: string, bytes: number): string {
  let kept = name;
  while (Buffer.byteLength(kept) > bytes) kept = [...kept].slice(0, -1).join("");
  return kept;
}
