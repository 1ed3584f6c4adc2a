// Wire v1: the datagram header to the byte (docs/wire.md tells it in prose). Network byte order on the wire; the C side
// gets these constants through scripts/layout.ts. Field offsets are shared with the in-memory metadata (layout META).

/** Header of every datagram; HEADER bytes, then the body. */
export const WIRE = {
  MAGIC_VALUE: 0x494e,
  VERSION_VALUE: 1,
  /** u16 "IN". */
  MAGIC: 0,
  /** u8. */
  VERSION: 2,
  /** u8 WIRE_TYPE. */
  TYPE: 3,
  /** u16; unknown flags are ignored unless in FLAG_MUST. */
  FLAGS: 4,
  /** u16 payload bytes of every fragment but the last; 0 when not fragmented. */
  FRAGMENT_SIZE: 6,
  /** u32 hash of the stream's name. */
  TAG: 8,
  /** u32 channel id given by the application. */
  CHANNEL: 12,
  /** u32 source id, unique in the sending runtime's life. */
  SOURCE: 16,
  /** u32 flow: one (source, peer) pair at the sender; a new subscription is a new flow, whose sequence begins at 0. */
  FLOW: 20,
  /** u64 sequence within the flow. */
  SEQUENCE: 24,
  /** u64 nanoseconds since 1970 (CLOCK_REALTIME of the sender) when the message was emitted. */
  EMIT_TIME: 32,
  /** u32 bytes of the whole message. */
  LENGTH: 40,
  /** u32 index of this fragment; 0 when not fragmented. */
  FRAGMENT_INDEX: 44,
  HEADER: 48,
  /** A datagram with a flag in this mask that the receiver does not know is dropped. */
  FLAG_MUST: 0xff00,
  /** Of a marker: it does not come on the path that its flow's messages took. */
  FLAG_ELSEWHERE: 0x0001,
  /** Of a fragment: no earlier message of its flow is under way any more. */
  FLAG_FIRST: 0x0002,
  /** Largest payload of one datagram: 65507 bytes of UDP less the header. */
  MAX_PAYLOAD: 65459,
  /** Payload that goes in one datagram over every path. */
  ALWAYS_WHOLE: 512,
} as const;

export const WIRE_TYPE = {
  DATA: 1,
  COALESCED: 2,
  FRAGMENT: 3,
  HELLO: 4,
  HEARTBEAT: 5,
  STATUS: 6,
  /** A flow has ended: its header is that of the message that will not come. */
  MARKER: 7,
  /** The receiver has dealt with a marker and all that came before it. */
  MARKER_ECHO: 8,
  /** Announces a message in fragments, or asks what has come of it: the header of the last fragment sent, without its body. */
  ASK: 9,
} as const;

/**
 * Coalesced data: the body is a row of items, each a header of HEADER bytes and its payload, filled up with zeros to a
 * multiple of ALIGN. In received memory the engine has turned an item's header into what its message's metadata is read
 * by: DELTA in host order and BACK, the bytes from the first item's header, before which the datagram's metadata lie.
 */
export const ITEM = {
  HEADER: 8,
  ALIGN: 8,
  /** u16 bytes of the payload; the u16 behind it is 0. */
  LENGTH: 0,
  /** u32 nanoseconds of the emit time beyond that of the datagram's header. */
  DELTA: 4,
  /** In received memory: u32 DELTA and u32 BACK, so many bytes before the payload. */
  META_DELTA: 8,
  META_BACK: 4,
} as const;

/** Hello bodies are MessagePack, sent between the control endpoints of runtimes. */
export const HELLO = { MAX_BYTES: 1400 } as const;

/** The body of a status (docs/wire.md): two u64, u32, u16, and a bitmap of what is missing. */
export const RECEIPT = {
  CONSUMED: 0,
  WINDOW: 8,
  FIRST: 16,
  BYTES: 20,
  BITMAP: 22,
  MAX_BITMAP: 1024,
} as const;

/** A heartbeat's body: records of (flow, tag, channel, source: u32; next sequence: u64). LENGTH counts body bytes. */
export const HEARTBEAT = {
  RECORD_BYTES: 24,
  FLOW: 0,
  TAG: 4,
  CHANNEL: 8,
  SOURCE: 12,
  NEXT: 16,
  MAX_RECORDS: 48,
} as const;
