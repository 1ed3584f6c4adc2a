// The control contracts: every method and notification between an application and its runtime, as Effect Schemas.
// MessagePack-RPC carries them (docs/protocol.md) over one SOCK_SEQPACKET socket a session; file descriptors travel with
// the frame whose `fds` comment names them, in that order. Clients import types only, never this file's values.
import * as Schema from "effect/Schema";
import { LINK, POOL } from "./layout.ts";

const u32 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffffffff }));
const u16 = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff }));
const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));
/** Names are for people: 1 to 200 bytes, no control characters. */
export const Name = Schema.String.check(
  Schema.isPattern(/^[^\p{Cc}]{1,200}$/u),
  Schema.makeFilter((name: string) => new TextEncoder().encode(name).length <= 200, { expected: "at most 200 bytes" }),
);
export const Channel = u32;
/** A channel that somebody named, on a stream; how many sources and sinks there are, each other host that has some as one. */
export const NamedChannel = Schema.Struct({ stream: Name, channel: Channel, name: Name, sources: count, sinks: count });

export const Qos = Schema.Struct({
  acceleration: Schema.Literals(["none", "fast"]),
  consumption: Schema.Literals(["low", "high"]),
  timeSensitivity: Schema.Literals(["best-effort", "time-sensitive"]),
  maxMessage: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: POOL.MAX_MESSAGE })),
  /** Of time-sensitive streams only. */
  trafficClass: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 7 }))),
  batching: Schema.optionalKey(Schema.Boolean),
});

export const Technology = Schema.Literals(["shm", "udp", "xdp", "dpdk", "rdma"]);
export const Warning = Schema.Struct({ code: Schema.String, message: Schema.String, cure: Schema.String });

/** What a probe found, for people and programs. */
export const Capability = Schema.Struct({
  technology: Technology,
  available: Schema.Boolean,
  /** A software stand-in: never chosen by the default strategy. */
  emulated: Schema.Boolean,
  reason: Schema.String,
  evidence: Schema.Array(Schema.String),
  cure: Schema.String,
  /** What does it, where there are several that do not understand each other: of rdma, the provider. */
  provider: Schema.optionalKey(Schema.String),
});

/** One line of a decision: why a candidate was taken or rejected. */
export const Candidate = Schema.Struct({
  technology: Technology,
  verdict: Schema.Literals(["chosen", "rejected", "co-located"]),
  /** Stable name of the rule, e.g. `acceleration-none`, `not-available`, `resources-concern`. */
  rule: Schema.String,
  why: Schema.String,
  evidence: Schema.Array(Schema.String),
  cure: Schema.String,
});
/** The decision record of a stream (architecture, section 5). */
export const Decision = Schema.Struct({
  /** The datapath for other hosts, or null when there is none. */
  datapath: Schema.NullOr(Technology),
  /** Always shared memory. */
  local: Schema.Literal("shm"),
  strategy: Schema.String,
  qos: Qos,
  candidates: Schema.Array(Candidate),
  warnings: Schema.Array(Warning),
  /** How the serving thread waits: inline, park, yield or spin; with cpu when pinned. */
  wait: Schema.String,
  trustDomain: Schema.String,
  decidedAt: Schema.String,
});

export const PoolInfo = Schema.Struct({
  /** Index in descriptors. */
  pool: u16,
  bytes: count,
  stride: u32,
  /** Largest payload of a slot. */
  payload: u32,
  slots: u32,
});

export const SinkPolicy = Schema.Union([
  /** A full link makes the source's emit say EAGAIN. */
  Schema.Struct({ kind: Schema.Literal("block") }),
  /** A full link drops the new message for this sink, counted at the source as NO_CREDIT. */
  Schema.Struct({ kind: Schema.Literal("drop-newest") }),
  /** The sink keeps the last `depth`, dropping older ones as it drains (OVERTAKEN); a full link drops the newest. */
  Schema.Struct({
    kind: Schema.Literal("keep-last"),
    depth: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: LINK.MAX_ENTRIES })),
  }),
]);

/**
 * A channel as a producer sees it on a link: `index` goes into descriptors, `block` says whether a full link blocks, and
 * `policies` what each sink at the other end asked for (none: the network's).
 */
export const LinkChannel = Schema.Struct({
  index: u16,
  channel: Channel,
  block: Schema.Boolean,
  policies: Schema.optional(Schema.Array(SinkPolicy)),
});
/** A source as a consumer sees it on a direct link. */
export const LinkSource = Schema.Struct({ index: u16, source: u32, channel: Channel });

/** An actor, the machine it runs, and the state that is in, as a dotted path. */
export const MachineState = Schema.Struct({
  actor: Schema.String,
  machine: Schema.String,
  state: Schema.String,
  /** Sessions it belongs to; empty: none, it belongs to the runtime. */
  sessions: Schema.Array(u32),
});

const empty = Schema.Struct({});
const method = <P extends Schema.Top, R extends Schema.Top>(params: P, result: R) => ({ params, result });

/** Application (or operator) -> runtime. */
export const ClientMethods = {
  /**
   * First frame. An operator gets no pages and may only ask. fds of the result (application): control page (read-only),
   * parked page (to be mapped writable at once), statistics page (writable).
   */
  hello: method(
    Schema.Struct({
      protocol: Schema.Int,
      layout: u32,
      role: Schema.Literals(["application", "operator"]),
      name: Name,
      version: Schema.String,
    }),
    Schema.Struct({
      session: u32,
      epoch: u32,
      runtime: Schema.Struct({ id: Schema.String, name: Schema.String, version: Schema.String, pid: Schema.Int }),
      maxFrame: u32,
    }),
  ),
  /** The parked and statistics pages are mapped: the runtime may seal and share them. */
  "session.mapped": method(empty, empty),
  "stream.open": method(
    Schema.Struct({ name: Schema.optionalKey(Name), qos: Qos }),
    Schema.Struct({ stream: u32, name: Schema.String, tag: u32, decision: Decision }),
  ),
  /**
   * Another quality for an open stream, whose name and tag stay; it moves if another datapath gives it. Answered when it is
   * bound by it, or stays where it is.
   */
  "stream.setQos": method(Schema.Struct({ stream: u32, qos: Qos }), Schema.Struct({ decision: Decision })),
  /**
   * Operators: the same for the stream of any session, by name; what is left out stays. `technology` is used whatever the
   * strategy says, as long as it is available, until it is "auto". With nothing it decides again.
   */
  "stream.rebind": method(
    Schema.Struct({
      session: u32,
      stream: Name,
      acceleration: Schema.optionalKey(Qos.fields.acceleration),
      consumption: Schema.optionalKey(Qos.fields.consumption),
      technology: Schema.optionalKey(Schema.Literals(["auto", "udp", "xdp", "dpdk", "rdma"])),
    }),
    Schema.Struct({ decision: Decision }),
  ),
  "stream.close": method(Schema.Struct({ stream: u32 }), empty),
  /** The size classes of this session on this stream. fds: one segment a pool, to be mapped writable. Idempotent. */
  "pool.open": method(Schema.Struct({ stream: u32 }), Schema.Struct({ pools: Schema.Array(PoolInfo) })),
  /** The pools are mapped: the runtime seals them against any further writer. Must precede source.open. */
  "pool.mapped": method(Schema.Struct({ stream: u32 }), empty),
  /** Resolves once every consumer there is now has its link open (link.open to this session comes first). */
  "source.open": method(
    Schema.Struct({ stream: u32, channel: Channel, name: Schema.optionalKey(Name) }),
    Schema.Struct({ source: u32, index: u16, stats: u16 }),
  ),
  "source.close": method(Schema.Struct({ source: u32 }), empty),
  /** Resolves when every local source has acknowledged, or after the deadline with those that did not. */
  "sink.open": method(
    Schema.Struct({ stream: u32, channel: Channel, policy: SinkPolicy, name: Schema.optionalKey(Name) }),
    Schema.Struct({
      sink: u32,
      stats: u16,
      unconfirmed: Schema.Array(Schema.Struct({ session: u32, name: Schema.String })),
    }),
  ),
  "sink.close": method(Schema.Struct({ sink: u32 }), empty),
  /**
   * Named channels, here and on other hosts: first all there are by `channels.changed`, then the answer, then what changes.
   * Asked again it tells all again; `on` false ends it.
   */
  "channels.watch": method(Schema.Struct({ on: Schema.Boolean }), empty),
  /** Orderly end; the runtime then closes the socket. */
  "session.close": method(empty, empty),
  /**
   * What `insane status`, `doctor` and `explain` show; shapes in src/runtime/api.ts. A report that is too large for one
   * frame comes in parts (src/protocol/parts.ts), which are asked for one by one.
   */
  status: method(Schema.Struct({ part: Schema.optionalKey(u32) }), Schema.Unknown),
  doctor: method(empty, Schema.Array(Capability)),
  explain: method(
    Schema.Struct({ stream: Schema.optionalKey(Schema.String), part: Schema.optionalKey(u32) }),
    Schema.Unknown,
  ),
  /** Operators: the machines of one session (0: all) and their states now; `machine.state` tells of each change. */
  watch: method(Schema.Struct({ session: u32 }), Schema.Struct({ machines: Schema.Array(MachineState) })),
} as const;

/** Runtime -> application, each to be answered. */
export const RuntimeMethods = {
  /**
   * A link begins. fds: link segment (writable), the session's end of the doorbell shared with the other end, the other
   * end's parked page (read-only), then, for a consumer, one read-only segment a pool. `link` indexes the control page.
   */
  "link.open": method(
    Schema.Struct({
      link: u16,
      role: Schema.Literals(["producer", "consumer"]),
      kind: Schema.Literals(["direct", "egress", "ingress"]),
      stream: u32,
      entries: u32,
      bytes: count,
      peer: Schema.Struct({ session: u32, name: Schema.String }),
      /** To a producer: from now on this link carries what the one of that index did, which gets nothing more. */
      replaces: Schema.optionalKey(u16),
      pools: Schema.Array(PoolInfo),
      channels: Schema.Array(LinkChannel),
      sources: Schema.Array(LinkSource),
    }),
    empty,
  ),
  /** Replaces the channel and source tables of a link. */
  "link.update": method(
    Schema.Struct({ link: u16, channels: Schema.Array(LinkChannel), sources: Schema.Array(LinkSource) }),
    empty,
  ),
  /** More pools of an open link, to its consumer. fds: one read-only segment a pool. Answered when they are mapped. */
  "link.pools": method(Schema.Struct({ link: u16, pools: Schema.Array(PoolInfo) }), empty),
  /**
   * drain: the producer pushes no more and answers when every entry has come home; the consumer answers when it has
   * returned everything. abandon: the other end is gone; the producer reclaims at once. Answers count what was abandoned.
   */
  "link.close": method(
    Schema.Struct({ link: u16, mode: Schema.Literals(["drain", "abandon"]), reason: Schema.String }),
    Schema.Struct({ abandoned: count }),
  ),
} as const;

/** Runtime -> application, not answered. */
export const RuntimeNotifications = {
  "stream.warning": Schema.Struct({ stream: u32, warning: Warning }),
  "stream.binding": Schema.Struct({ stream: u32, decision: Decision }),
  /** It has moved: src/protocol/rebound.ts. */
  "stream.rebound": Schema.Struct({
    stream: u32,
    at: Schema.String,
    from: Schema.NullOr(Technology),
    to: Schema.NullOr(Technology),
    why: Schema.Literals(["requested", "qos", "appeared", "failed"]),
    pauseMicroseconds: count,
    lost: count,
    duplicated: count,
    reordered: count,
  }),
  /** Messages that did not reach a sink of this session: on the wire, or for want of credit on an ingress link. */
  "sink.lost": Schema.Struct({
    sink: u32,
    source: u32,
    count,
    reason: Schema.Literals(["wire", "no-credit"]),
  }),
  /** To a session that watches: these are so now; one without sources and sinks is gone. */
  "channels.changed": Schema.Struct({ channels: Schema.Array(NamedChannel) }),
  "runtime.closing": Schema.Struct({ reason: Schema.String }),
  /** A frame of this session was bad and had no answer of its own; who keeps on is evicted. An RpcError. */
  "protocol.error": Schema.Struct({
    code: Schema.String,
    message: Schema.String,
    details: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown)),
  }),
  /** To an operator that asked by `watch`: this machine is in this state now. */
  "machine.state": MachineState,
} as const;

/** Application -> runtime, not answered. */
export const ClientNotifications = {
  /** The other end of a link broke the shared-memory contract. */
  "link.fault": Schema.Struct({ link: u16, what: Schema.String }),
} as const;

/** Wire form of an error in a response. */
export const RpcError = Schema.Struct({
  code: Schema.String,
  message: Schema.String,
  details: Schema.optionalKey(Schema.Record(Schema.String, Schema.Unknown)),
});

/** Values that clients need as well live where no Effect is imported. */
export { MAX_FRAME, PROTOCOL_VERSION } from "./rpc.ts";
/** How long sink.open waits for the acknowledgements of local sources, in ms. */
export const SINK_CONFIRM_MS = 100;

type Methods = Record<string, { readonly params: Schema.Top; readonly result: Schema.Top }>;
export type Params<M extends Methods, K extends keyof M> = M[K]["params"]["Type"];
export type Result<M extends Methods, K extends keyof M> = M[K]["result"]["Type"];
export type ClientMethodName = keyof typeof ClientMethods;
export type RuntimeMethodName = keyof typeof RuntimeMethods;
export type ClientMethodTable = typeof ClientMethods;
export type RuntimeMethodTable = typeof RuntimeMethods;
export type RuntimeNotificationName = keyof typeof RuntimeNotifications;
export type RuntimeNotificationTable = typeof RuntimeNotifications;
export type DecisionRecord = typeof Decision.Type;
export type CapabilityRecord = typeof Capability.Type;
export type CandidateRecord = typeof Candidate.Type;
export type PoolRecord = typeof PoolInfo.Type;
export type NamedChannelRecord = typeof NamedChannel.Type;
export type SinkPolicyRecord = typeof SinkPolicy.Type;
