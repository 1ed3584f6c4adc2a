// The public module of INSANE: what an application imports; nothing else is public. Importing it loads neither the native
// library nor Effect: the thin client starts in milliseconds, and `Runtime.embed` brings the rest when it is called.
import type { EmbeddedRuntime, EmbedOptions } from "./runtime/api.ts";

export type {
  ClosedEvent,
  ConnectOptions,
  DropReason,
  Emitter,
  LostEvent,
  Message,
  NamedChannel,
  Outcome,
  ReceiverInfo,
  Session,
  Sink,
  SinkOptions,
  SinkStats,
  SlotBuffer,
  Source,
  SourceOptions,
  SourceStats,
  Stream,
  StreamEvents,
  WarningEvent,
} from "./client/api.ts";
export { defaultSocketPath } from "./client/paths.ts";
export { connect } from "./client/session.ts";
export type {
  InvalidEvent,
  Issue,
  StandardResult,
  StandardSchema,
  Typed,
  TypedChannel,
  TypedSink,
  TypedSource,
} from "./client/typed.ts";
export { defineChannel } from "./client/typed.ts";
export { ERROR_CODES, type ErrorCode, InsaneError, WARNING_CODES, type WarningCode } from "./protocol/codes.ts";
export type { CandidateRecord, CapabilityRecord, DecisionRecord, SinkPolicyRecord } from "./protocol/control.ts";
export type { Lane } from "./protocol/lanes.ts";
export type { Acceleration, Consumption, NetworkTechnology, Qos, Technology, TimeSensitivity } from "./protocol/qos.ts";
export type { RebindWhy, ReboundEvent } from "./protocol/rebound.ts";
export type { EmbeddedRuntime, EmbedOptions, RuleStrategy, RuntimeConfig, Strategy } from "./runtime/api.ts";

/** The runtime: normally a daemon (`insane up`), here in this very process; other processes can attach to it as well. */
export const Runtime = {
  /** Starts one. Errors: ECONFIG (with the field), EADDRINUSE, ESYSTEM, EPLATFORM, ENODE, ELIBRARY. */
  async embed(options: EmbedOptions = {}): Promise<EmbeddedRuntime> {
    const { embed } = await import("./runtime/embed.ts");
    return embed(options);
  },
} as const;
