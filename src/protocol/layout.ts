// The shared-memory layout: the one source from which both the TypeScript constants and the C header
// (src/native/core/layout.h, written by scripts/layout.ts) come. Offsets and sizes are bytes unless a name
// ends in WORD (an index into a Uint32Array). All shared words are little-endian u32 unless said otherwise.
// Changing anything here changes LAYOUT_HASH, and with it who may attach to whom.

/** Version of the layout as people speak of it; the hash is what the hello compares. */
export const LAYOUT_VERSION = 1;

/**
 * A link: one memfd of `linkBytes(entries)`, mapped read-write by its two ends.
 * The producer writes the forward tail and the forward ring, the consumer the return tail and the return ring; each
 * keeps its own indices privately. Heads are not shared: entries are credits, so neither ring can overflow.
 */
export const LINK = {
  /** u32: descriptors published by the producer, modulo 2^32. */
  FORWARD_TAIL: 128,
  /** u32: returns published by the consumer, modulo 2^32. */
  RETURN_TAIL: 256,
  /** First descriptor; `entries` descriptors of DESCRIPTOR_BYTES follow, then `entries` u32 returns. */
  RING: 512,
  DESCRIPTOR_BYTES: 16,
  RETURN_BYTES: 4,
  /** Entries are a power of two between these. */
  MIN_ENTRIES: 16,
  MAX_ENTRIES: 32768,
  DEFAULT_ENTRIES: 1024,
} as const;

/**
 * A descriptor is four u32:
 * word 0: entry (16 bits) | pool << 16 (8 bits) | flags << 24 (8 bits);
 * word 1: offset of the payload in the pool's segment; word 2: payload length;
 * word 3: channel index (16 bits) | source index << 16 (both agreed for this link by control messages).
 */
export const DESCRIPTOR = {
  ENTRY_MASK: 0xffff,
  POOL_SHIFT: 16,
  POOL_MASK: 0xff,
  FLAGS_SHIFT: 24,
  CHANNEL_MASK: 0xffff,
  SOURCE_SHIFT: 16,
  /** Flag: re-binding marker, carries no payload (reserved). */
  FLAG_MARKER: 1,
  /** Flag: the payload was copied out of a shared receive slot (reserved). */
  FLAG_COPIED: 2,
  /** Flag: the first message of a flow that came from another host: what other links of the stream had before goes first. */
  FLAG_FIRST: 4,
} as const;

/** A return is one u32: entry (16 bits) | status << 16 (8 bits). */
export const RETURN = { ENTRY_MASK: 0xffff, STATUS_SHIFT: 16, STATUS_MASK: 0xff } as const;

/** Why a message came back. 0 is success; everything else is a drop with its reason. */
export const STATUS = {
  /** Consumed by the sink, or handed to the network. */
  DONE: 0,
  /** The consumer has no sink on that channel any more. */
  NO_SINK: 1,
  /** The sink keeps only the last n, and this one was overtaken. */
  OVERTAKEN: 2,
  /** The consumer found the descriptor invalid. */
  INVALID: 3,
  /** The engine knows no peer with a sink for the channel. */
  NO_PEER: 4,
  /** Too large for the datapath that the stream is bound to. */
  TOO_LARGE: 5,
  /** The datapath refused it (an errno that is not back-pressure). */
  NETWORK: 6,
  /** The link or the session closed before it was consumed. */
  CLOSED: 7,
  /** Producer side only: no credit on a link whose sink drops the newest. */
  NO_CREDIT: 8,
  /** Producer side only: reclaimed after the consumer died. */
  ABANDONED: 9,
} as const;

/**
 * A pool: one memfd of `slots * stride` bytes. A slot is HEADER_ROOM bytes and then the payload, so payloads are
 * cache-line aligned; the last META.BYTES of the room are the message's metadata.
 */
export const POOL = {
  HEADER_ROOM: 64,
  /** Pools a producer may have on one link (word 0 has 8 bits; the rest is spare). */
  MAX_POOLS: 16,
  MAX_SLOTS: 65536,
  MAX_MESSAGE: 134217728,
  DEFAULT_MAX_MESSAGE: 65536,
} as const;

/** The size classes below a stream's maxMessage: payload bytes and number of slots of each. */
export const POOL_CLASSES = [
  { bytes: 2048, slots: 2048 },
  { bytes: 16384, slots: 256 },
  { bytes: 65536, slots: 64 },
] as const;

/**
 * Metadata in front of a payload (at payload offset - META.BYTES), host byte order, possibly unaligned in receive
 * slots. Field offsets equal those of the wire header, which the engine rewrites in place on arrival.
 */
export const META = {
  BYTES: 48,
  /** u64 ns of CLOCK_MONOTONIC, under FLAG_FIRST only: when the engine handed the message on. */
  BEGAN: 0,
  /** u64 ns since 1970: when an engine took the message from the network; not written for messages of this host. */
  RECEIVE_TIME: 8,
  SOURCE: 16,
  FLOW: 20,
  SEQUENCE: 24,
  EMIT_TIME: 32,
  LENGTH: 40,
} as const;

/** The control page of a session: written by the runtime, read-only for the application. */
export const CONTROL_PAGE = {
  BYTES: 8192,
  MAGIC: 0,
  MAGIC_VALUE: 0x494e5343,
  /** u32: changes when another runtime process serves the session. */
  EPOCH: 4,
  /** u32: SESSION_STATE. */
  STATE: 8,
  /** u32: control frames the runtime has sent on the session's socket; a spinning client compares it each burst. */
  CONTROL_TAIL: 12,
  /** u32 LINK_STATE for link index i at LINKS + 4 * i. */
  LINKS: 256,
  MAX_LINKS: 1984,
} as const;

export const SESSION_STATE = { OPEN: 1, CLOSING: 2, EVICTED: 3 } as const;
export const LINK_STATE = { NONE: 0, OPEN: 1, DRAINING: 2, CLOSED: 3 } as const;

/**
 * The parked page of a sleeper (a session thread or an engine): only the sleeper writes it, everyone who may have to
 * ring its bell maps it read-only. The word is generation << 2 | wishes; a ringer rings once per value of the word.
 * Producer and consumer pair as: publish tail, full fence, read word, ring if it wishes; sleeper: write word, full
 * fence, look at the tails again, sleep.
 */
export const PARKED_PAGE = { BYTES: 4096, WORD: 0, WISH_MESSAGES: 1, WISH_CREDITS: 2, GENERATION_SHIFT: 2 } as const;

/**
 * The statistics page of a session: written by the application, read by the runtime for display only. Each source and
 * sink has a block of BLOCK_BYTES: float64 counters (exact to 2^53), in the order of SOURCE_STATS and SINK_STATS.
 */
export const STATS_PAGE = { BYTES: 262144, BLOCK_BYTES: 128, MAX_BLOCKS: 2048 } as const;
/** Counters of a source's block, by index. `pushed` counts (message, link) pairs. */
export const SOURCE_STATS = {
  EMITTED: 0,
  PUSHED: 1,
  CONSUMED: 2,
  DROPPED: 3,
  ABANDONED: 4,
  AGAIN_SLOT: 5,
  AGAIN_CREDIT: 6,
  UNMATCHED: 7,
  BYTES: 8,
  OUTSTANDING: 9,
} as const;
/** Counters of a sink's block, by index. `copied`: held when their link was abandoned, and copied out of its memory. */
export const SINK_STATS = { RECEIVED: 0, CONSUMED: 1, DROPPED: 2, LOST: 3, HELD: 4, BYTES: 5, COPIED: 6 } as const;

/**
 * A segment of labelled u64 counters: labels (NUL-padded ASCII) first, then the values. Behind them an engine keeps when
 * it last heard of each of its peers: HEARD_PEERS pairs of u64, the peer's id + 1 (0: none) and CLOCK_MONOTONIC in ms
 * (0: never heard of). Then what control reads of an engine that is gone: RECORDS records of flows that it sends, and of
 * those that it receives (ledger.h).
 */
export const COUNTERS = {
  MAX: 1024,
  LABEL_BYTES: 64,
  VALUES: 65536,
  HEARD: 73728,
  HEARD_BYTES: 16,
  HEARD_PEERS: 1024,
  SENT: 90112,
  RECEIVED: 614400,
  RECORDS: 16384,
  RECORD_BYTES: 32,
  BYTES: 1138688,
} as const;

/** Bytes of a link's segment, a multiple of the page. */
export const linkBytes = (entries: number): number =>
  Math.ceil((LINK.RING + entries * (LINK.DESCRIPTOR_BYTES + LINK.RETURN_BYTES)) / 4096) * 4096;
/** Distance between slots whose payload is `bytes` at most, a multiple of the cache line. */
export const slotStride = (bytes: number): number => POOL.HEADER_ROOM + Math.ceil(bytes / 64) * 64;
/** Bytes of a pool's segment, a multiple of the page. */
export const poolBytes = (slots: number, stride: number): number => Math.ceil((slots * stride) / 4096) * 4096;

/** The groups that go into the C header and into the hash, in order. */
export const GROUPS = {
  LINK,
  DESCRIPTOR,
  RETURN,
  STATUS,
  POOL,
  META,
  CONTROL_PAGE,
  SESSION_STATE,
  LINK_STATE,
  PARKED_PAGE,
  STATS_PAGE,
  SOURCE_STATS,
  SINK_STATS,
  COUNTERS,
} as const;

/** FNV-1a over the names and values above: two programs with the same hash agree on every offset. */
export const LAYOUT_HASH: number = (() => {
  const text = JSON.stringify([LAYOUT_VERSION, GROUPS, POOL_CLASSES]);
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
})();
