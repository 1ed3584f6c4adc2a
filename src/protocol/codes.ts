// Stable codes of errors and warnings: part of the contract, never renamed. docs/codes.md lists them with causes and cures.

export const ERROR_CODES = {
  /** No slot or no credit now; try again when the sinks have caught up. */
  EAGAIN: "EAGAIN",
  /** Message larger than the stream's maxMessage. */
  EMSGSIZE: "EMSGSIZE",
  /** The buffer, message, source, sink, stream or session is closed, emitted or released already. */
  ECLOSED: "ECLOSED",
  /** Released, emitted or disposed twice. */
  ERELEASED: "ERELEASED",
  /** No runtime listens on the socket. */
  ENORUNTIME: "ENORUNTIME",
  /** The runtime refused the hello: protocol version. */
  EVERSION: "EVERSION",
  /** The runtime refused the hello: shared-memory layout differs. */
  ELAYOUT: "ELAYOUT",
  /** A frame or a field is not what its contract says; the path is in the message. */
  ESCHEMA: "ESCHEMA",
  /** Unknown method. */
  EMETHOD: "EMETHOD",
  /** Frame too large. */
  EFRAME: "EFRAME",
  /** No such stream, source, sink or session. */
  ENOENT: "ENOENT",
  /** Name or tag belongs to something else. */
  ECOLLISION: "ECOLLISION",
  /** Not permitted for this user by the listener's policy. */
  EPERM: "EPERM",
  /** A limit of the runtime is reached. */
  ELIMIT: "ELIMIT",
  /** The other side did not answer in time. */
  ETIMEDOUT: "ETIMEDOUT",
  /** Another runtime holds the socket. */
  EADDRINUSE: "EADDRINUSE",
  /** A time-sensitive stream does not fit the gate schedule; the message has the arithmetic. */
  ESCHEDULE: "ESCHEDULE",
  /** A configuration field is wrong. */
  ECONFIG: "ECONFIG",
  /** Only Linux with glibc. */
  EPLATFORM: "EPLATFORM",
  /** libinsane.so is not there or cannot be loaded. */
  ELIBRARY: "ELIBRARY",
  /** Node is older than 24. */
  ENODE: "ENODE",
  /** The kernel refused something; errno in the message. */
  ESYSTEM: "ESYSTEM",
  /** A value does not fit the channel's schema. */
  EVALUE: "EVALUE",
  /** The runtime failed inside; the log has the cause. */
  EINTERNAL: "EINTERNAL",
} as const;
export type ErrorCode = (typeof ERROR_CODES)[keyof typeof ERROR_CODES];

export const WARNING_CODES = {
  /** Acceleration was asked for and none is available: the stream runs on kernel UDP. */
  FALLBACK_UDP: "W_FALLBACK_UDP",
  /** No network datapath at all: only co-located endpoints can be reached. */
  NO_NETWORK: "W_NO_NETWORK",
  /** A strategy of the user's own answered something impossible: the default strategy decided. */
  STRATEGY: "W_STRATEGY",
  /** Time sensitivity was asked for and the runtime has no gate schedule. */
  NOT_TIME_AWARE: "W_NOT_TIME_AWARE",
  /** Bound beyond loopback without authentication. */
  UNAUTHENTICATED: "W_UNAUTHENTICATED",
  /** A source did not acknowledge a new sink in time. */
  SINK_UNCONFIRMED: "W_SINK_UNCONFIRMED",
  /** A sink that was there was not told of a new source in time. */
  SOURCE_UNCONFIRMED: "W_SOURCE_UNCONFIRMED",
  /** A stream could not move to another datapath and stays where it is. */
  REBIND_FAILED: "W_REBIND_FAILED",
  /** An engine missed the deadline of a command. */
  ENGINE_STALLED: "W_ENGINE_STALLED",
  /** The process of an engine is gone: it crashed, or it hung and was killed. */
  ENGINE_DIED: "W_ENGINE_DIED",
  /** More spinning threads than cores were asked for. */
  TOO_MANY_SPINNERS: "W_TOO_MANY_SPINNERS",
  /** An engine's thread was to run under SCHED_FIFO, and may not. */
  NOT_REALTIME: "W_NOT_REALTIME",
  /** An engine's thread may not run on the core that it was to be pinned to. */
  NOT_PINNED: "W_NOT_PINNED",
  /** An engine's thread works nearly all of its time. */
  THREAD_OVERLOADED: "W_THREAD_OVERLOADED",
  /** The memory lock limit is too low to keep pools resident. */
  MEMLOCK: "W_MEMLOCK",
  /** The kernel gave a smaller receive buffer than asked for. */
  RECEIVE_BUFFER: "W_RECEIVE_BUFFER",
  /** A peer has not been heard of. */
  PEER_SILENT: "W_PEER_SILENT",
  /** A peer cannot be talked to; its hello says why. */
  PEER_REFUSED: "W_PEER_REFUSED",
  /** A runtime that is not listed as a peer greets this one. */
  PEER_UNLISTED: "W_PEER_UNLISTED",
  /** More is announced than hello frames can carry. */
  ANNOUNCEMENT_CUT: "W_ANNOUNCEMENT_CUT",
  /** A peer's stream name has the same tag as another name. */
  TAG_COLLISION: "W_TAG_COLLISION",
  /** A peer's channel has another name than the same channel here. */
  NAME_COLLISION: "W_NAME_COLLISION",
  /** A resource could not be torn down in time and is kept aside. */
  QUARANTINED: "W_QUARANTINED",
  /** A child failed and was restarted. */
  RESTARTED: "W_RESTARTED",
  /** A peer's interface takes datagrams of another size than ours. */
  MTU_MISMATCH: "W_MTU_MISMATCH",
  /** A datapath injects faults, as its configuration asks for: this runtime is under test. */
  FAULTS_INJECTED: "W_FAULTS_INJECTED",
  /** A datapath cannot wake its engine, which therefore looks again and again. */
  CANNOT_PARK: "W_CANNOT_PARK",
  /** There is no memory in which the large messages of a stream could be received: its small ones flow. */
  NO_LARGE_MEMORY: "W_NO_LARGE_MEMORY",
  /** A datapath went down. */
  DATAPATH_DOWN: "W_DATAPATH_DOWN",
  /** The runtime a session is attached to is gone; direct links go on without it. */
  RUNTIME_GONE: "W_RUNTIME_GONE",
  /** Lines of the log were not written, because nobody read them. */
  LOG_DROPPED: "W_LOG_DROPPED",
  /** An application broke the shared-memory contract and was evicted. */
  EVICTED: "W_EVICTED",
} as const;
export type WarningCode = (typeof WARNING_CODES)[keyof typeof WARNING_CODES];

/** A warning as it travels to the application, the log and `explain`. */
export interface Warning {
  readonly code: WarningCode;
  /** One sentence: what happened. */
  readonly message: string;
  /** What an operator or developer can do. */
  readonly cure: string;
}

/** The one error class an application sees: a stable code, what was tried, what to do about it. */
export class InsaneError extends Error {
  override readonly name = "InsaneError";
  readonly code: ErrorCode;
  /** Further facts, for programs: a path in the message, the field, the limit. */
  readonly details: Readonly<Record<string, unknown>>;
  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
