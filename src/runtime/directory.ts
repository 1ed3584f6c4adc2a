// The port through which a runtime learns of other runtimes: who is there, at which endpoints, wanting what. The default
// is a static list with hello frames (hello-directory.ts); beyond one rack another engine can stand behind it. Types only.
import type { Warning } from "../protocol/codes.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";

/** A sink somewhere: messages of (tag, channel) are wanted. The name travels so that tag collisions are found. */
export interface Subscription {
  readonly tag: number;
  readonly stream: string;
  readonly channel: number;
  /** The endpoint at which they are wanted: that of the lane by which what the sink's stream is bound to takes this channel. */
  readonly lane: Lane;
}

/** A channel's name, and whether sources and sinks bear it. */
export interface ChannelName {
  readonly stream: string;
  readonly channel: number;
  readonly name: string;
  readonly sources: boolean;
  readonly sinks: boolean;
}

export interface DataEndpoint {
  /** A technology may have several, each known by its lane. */
  readonly lane: Lane;
  /** Dotted IPv4. */
  readonly address: string;
  readonly port: number;
  readonly mtu: number;
  /** False: who sends over kernel UDP must not send it trains (GSO), which it would lose. */
  readonly trains?: boolean;
  /** Of rdma: what it is done with. Only equal ones understand each other. */
  readonly provider?: string;
}

/** What a runtime tells others about itself. */
export interface Announcement {
  readonly endpoints: ReadonlyArray<DataEndpoint>;
  readonly subscriptions: ReadonlyArray<Subscription>;
  /** Technologies this host can offer. */
  readonly technologies: ReadonlyArray<NetworkTechnology>;
  /** Left out: none. */
  readonly names?: ReadonlyArray<ChannelName>;
}

/** What is known of another runtime. `peer` is this runtime's small number for it, never reused while it runs. */
export interface PeerInfo extends Announcement {
  readonly peer: number;
  readonly id: string;
  readonly name: string;
  /** Control endpoint, "address:port". */
  readonly endpoint: string;
  /** Lanes of ours from whose endpoints it takes messages by now. */
  readonly knows: ReadonlyArray<Lane>;
}

export interface PeerReport {
  readonly peer: number;
  readonly id: string;
  readonly name: string;
  readonly endpoint: string;
  /** State of the peer's machine: greeting, alive, silent … */
  readonly state: string;
  readonly subscriptions: number;
  readonly lastHeardMs: number;
}

/** Called on the control thread, in order. */
export interface DirectoryEvents {
  /**
   * Heard for the first time, heard again after silence, or changed: the whole truth each time. Resolves when its
   * endpoints are in force, which the peer is then told.
   */
  alive(info: PeerInfo): Promise<void> | void;
  /** Not heard of for too long: messages to it stop, until `alive` or `removed` follows. */
  silent(peer: number): void;
  /** Milliseconds since an engine heard of it; Infinity: none ever did. */
  heardMs(peer: number): number;
  /** Gone for good, or replaced by a new incarnation (then `alive` follows with another number). */
  removed(peer: number): void;
  warning(warning: Warning): void;
}

export interface Directory {
  /** Begins to listen and to greet; resolves with the UDP port taken. */
  start(events: DirectoryEvents): Promise<{ readonly port: number }>;
  /** Tells everybody soon (coalesced); the last announcement counts. */
  announce(announcement: Announcement): void;
  /** Every peer that is alive does what was announced last: it sends where that says. */
  readonly inForce: boolean;
  addPeer(endpoint: string): void;
  peers(): ReadonlyArray<PeerReport>;
  stop(): Promise<void>;
}
