// What sessions, streams, sources and sinks need of the runtime they belong to. The runtime's actor implements it; tests
// may as well.
import type { Notice } from "../../models/lifecycle.ts";
import type { Credentials } from "../effects/connection.ts";
import type { CapabilityRecord, DecisionRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import type { ExplainReport, RuntimeConfig, StatusReport } from "../runtime/api.ts";
import type { Broker } from "../runtime/broker.ts";
import type { ChannelNames } from "../runtime/channel-names.ts";
import type { Gates } from "../runtime/gates.ts";
import type { Log } from "../runtime/log.ts";
import type { StreamTags } from "../runtime/stream-tags.ts";
import type { Marked } from "./farewells.ts";
import type { World } from "./life.ts";
import type { LinkActor } from "./link.ts";
import type { SessionActor } from "./session.ts";

/** How long a stream waits for a datapath to be opened before it is bound to another. */
export const PREPARE_MS = 3000;

export interface RuntimeIdentity {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly pid: number;
}

/** Whom a decision is for. */
export interface Whose {
  /** The stream's name, for what depends on who else has a part in it. */
  readonly stream: string;
  /** The technology that an operator has chosen for it. */
  readonly forced: NetworkTechnology | null;
  /** Who its session is, as far as trust goes: "user 1000, group 1000". */
  readonly trustDomain: string;
}

export interface Host {
  readonly world: World;
  readonly config: RuntimeConfig;
  readonly identity: RuntimeIdentity;
  readonly epoch: number;
  readonly log: Log;
  readonly broker: Broker;
  readonly gates: Gates;
  /** Which stream name owns which tag, as long as somebody uses it. */
  readonly tags: StreamTags;
  /** A number for a source or sink, never used again while the runtime lives. */
  nextEndpoint(): number;
  /** Null, or why this user may not attach. */
  refusal(who: Credentials): Notice | null;
  decide(qos: Qos, whose: Whose): DecisionRecord;
  /** Opens what a stream of this quality would be bound to; null when nothing is to be opened. Never rejects. */
  prepare(qos: Qos, whose: Whose): Promise<void> | null;
  /** Names of channels, here and on other hosts. */
  readonly names: ChannelNames;
  /** Sources, sinks or pools have changed: links follow, and so does what other hosts are told. */
  membersChanged(): void;
  /** Channels of a stream that other hosts want and that can be sent to them over this datapath now. */
  remote(over: NetworkTechnology | null, stream: string): ReadonlyArray<number>;
  /** Lets its engine empty an egress link and tell the receivers; resolves when they have answered, null when nobody can. */
  retire(link: LinkActor, patienceMs: number): Promise<Marked | null>;
  /** What waits on an egress link that began held goes. */
  release(link: LinkActor): Promise<void>;
  /** Other hosts are told what is wanted here. */
  announce(): void;
  /** Those that are alive follow what they were told last. */
  readonly announced: boolean;
  /** A session that this runtime serves, or undefined. */
  session(id: number): SessionActor | undefined;
  status(): StatusReport;
  doctor(): ReadonlyArray<CapabilityRecord>;
  explain(stream?: string): ReadonlyArray<ExplainReport>;
}
