// The public contract of the runtime: what `Runtime.embed` and the daemon are given and give. Types only.
import type { Session } from "../client/api.ts";
import type { CapabilityRecord, DecisionRecord, MachineState } from "../protocol/control.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { NetworkTechnology, Technology } from "../protocol/qos.ts";
import type { MoveCosts, ReboundEvent } from "../protocol/rebound.ts";
import type { GateSchedule } from "../qos/gates.ts";
import type { RuleStrategy, Strategy } from "../qos/strategy.ts";
import type { RdmaProvider } from "./rdma.ts";

export type { GateSchedule, RuleStrategy, Strategy };

/** How an engine's thread lives (architecture, section 4, Engine). */
export interface EngineOptions {
  /** inline: the embedding thread polls while it likes, the engine's thread stands by. thread: it polls by itself. */
  readonly mode: "inline" | "thread";
  readonly idle: "park" | "yield" | "spin";
  /** How long a parking thread looks before it sleeps, in microseconds. */
  readonly spinMicros: number;
  /** Pin to this core, or null. */
  readonly cpu: number | null;
  /** SCHED_FIFO priority, 1 to 99, of a thread that is pinned; null: as any thread. */
  readonly fifoPriority: number | null;
}

/** Kernel UDP, which is there wherever there is a network. */
export interface UdpOptions {
  /** Threads that receive: each has an engine and a port of its own, and takes the channels that fall to it. */
  readonly threads: number;
  /** Datagrams of one size leave together (GSO) where the kernel can. */
  readonly trains: boolean;
}

/** AF_XDP beside kernel UDP, on an engine of its own. */
export interface XdpOptions {
  /** auto: opened by the first stream that is bound to it, if this host can. true: opened at the start, or no start. */
  readonly enabled: "auto" | boolean;
  /** Null: the interface that carries `network.address`. */
  readonly interface: string | null;
  /** UDP port of its data endpoint; 0: any. */
  readonly port: number;
  /** skb works on any driver, slower. */
  readonly mode: "native" | "skb";
  /** Only this receive queue, to which the operator steers the port; null: all. */
  readonly queue: number | null;
  /** Largest IP datagram; null: the interface's, at most 3820. Beyond that a slot takes several pages. */
  readonly mtu: number | null;
  /** Frames of time-sensitive streams carry their traffic class in an IEEE 802.1Q tag (VLAN 0), for switches that look at it. */
  readonly priorityTags: boolean;
  /** Slots of its receive pool; null: 2048, or 256 where the application polls the engine and soon comes back to it. */
  readonly slots: number | null;
  /** How its engine's thread waits; null: as `engine.idle`. */
  readonly idle: EngineOptions["idle"] | null;
  /** Pin its engine's thread to this core, or null. */
  readonly cpu: number | null;
}

/** DPDK on a device and an address of its own, on an engine of its own. */
export interface DpdkOptions {
  /** auto: opened by the first stream that is bound to it, if this host can. true: opened at the start, or no start. */
  readonly enabled: "auto" | boolean;
  /** Short for an af_packet device on this interface; null: see `device`. */
  readonly interface: string | null;
  /** A virtual device with its arguments, or a PCI address. Without an interface or a device there is no DPDK. */
  readonly device: string | null;
  /** Its IPv4 address, which no interface of the kernel may have. */
  readonly address: string | null;
  /** Length of the network's prefix. */
  readonly prefix: number;
  /** For other networks, or null: they are out of reach. */
  readonly gateway: string | null;
  /** UDP port of its data endpoint; 0: any. */
  readonly port: number;
  /** Largest IP datagram; null: the device's. */
  readonly mtu: number | null;
  /** As `xdp.priorityTags`. */
  readonly priorityTags: boolean;
  /** auto: if enough of them are free. */
  readonly hugepages: "auto" | boolean;
  /** MiB for DPDK's own use without huge pages. */
  readonly memory: number;
  /** Slots of its receive pool; null: 512, or 256 where the application polls the engine. */
  readonly slots: number | null;
  /** How its engine's thread waits; null: as `engine.idle`. It cannot be woken: parked, it looks every 50 us. */
  readonly idle: EngineOptions["idle"] | null;
  /** Pin its engine's thread to this core, or null. */
  readonly cpu: number | null;
}

/** RDMA by libfabric, on an engine of its own. Open from the start where there is any: peers must know before they choose. */
export interface RdmaOptions {
  /** auto: where there is any. true: or no start. */
  readonly enabled: "auto" | boolean;
  /** Null: RDMA hardware. A software provider is for tests: shown as emulated, and taken only by strategies that say so. */
  readonly provider: RdmaProvider | null;
  /** Port of its data endpoint, of the provider's kind; 0: any. */
  readonly port: number;
  /** Slots of its receive pool; null: 256. */
  readonly slots: number | null;
  /** How its engine's thread waits; null: as `engine.idle`. */
  readonly idle: EngineOptions["idle"] | null;
  /** Pin its engine's thread to this core, or null. */
  readonly cpu: number | null;
}

/** Everything a runtime can be configured with; `insane up --print-config` prints it with its defaults. */
export interface RuntimeConfig {
  readonly name: string;
  /** Path of the Unix socket, or null: nobody but the embedding process can attach. */
  readonly socket: string | null;
  /** Permission bits of the socket, e.g. 0o600. */
  readonly socketMode: number;
  /** Users and groups that may attach; empty: whoever the socket's permissions let in. */
  readonly allow: { readonly uids: ReadonlyArray<number>; readonly gids: ReadonlyArray<number> };
  /** Users and groups besides the runtime's own whose applications read received messages in place; others get copies. */
  readonly trust: { readonly uids: ReadonlyArray<number>; readonly gids: ReadonlyArray<number> };
  readonly network: {
    /** False: no engine, shared memory only. */
    readonly enabled: boolean;
    /** IPv4 address that others reach this host by. */
    readonly address: string;
    /** UDP port of hello frames; 0: any. */
    readonly port: number;
    /** UDP port of the data endpoint; 0: any. */
    readonly dataPort: number;
    /** Control endpoints of other runtimes, "address:port". */
    readonly peers: ReadonlyArray<string>;
    readonly helloIntervalMs: number;
    /** Without a hello for so long a peer is silent. */
    readonly silentAfterMs: number;
    readonly udp: UdpOptions;
    readonly xdp: XdpOptions;
    readonly dpdk: DpdkOptions;
    readonly rdma: RdmaOptions;
    /** When which traffic class may send (IEEE 802.1Qbv, docs/scheduling.md); null: first in, first out. */
    readonly schedule: GateSchedule | null;
    /** For testing: faults to inject into a datapath, such as `{ udp: "loss=0.01,seed=7" }` (docs/configuration.md). */
    readonly faults: Readonly<Partial<Record<NetworkTechnology, string>>> | null;
  };
  readonly engine: EngineOptions;
  readonly engines: {
    /** Which technologies have their engine in a process of its own, that a crash or a hang of a driver cannot leave. */
    readonly process: Readonly<Record<NetworkTechnology, boolean>>;
  };
  /** Which engines of this process share a thread (docs/threads.md). */
  readonly threads: {
    /** Engine threads at most; null: one for each engine. */
    readonly most: number | null;
    /** Technologies with the same number share a thread, by the strategy of the first of them; null: as `most` allows. */
    readonly map: Readonly<Partial<Record<NetworkTechnology, number>>> | null;
    /** What is done about a thread that has too much to do, or hardly anything: nothing, tell, or move engines as well. */
    readonly advisor: "off" | "recommend" | "act";
  };
  /** How streams move between datapaths while they are open. */
  readonly rebind: {
    /** A datapath that had failed is taken again when it has been up for so long, seconds. */
    readonly holdSeconds: number;
    /** How long messages may wait on the new path for those on the old one, ms. */
    readonly patienceMs: number;
  };
  readonly limits: {
    readonly sessions: number;
    /** Of one user, but for the runtime's own process. */
    readonly sessionsPerUser: number;
    readonly streamsPerSession: number;
    readonly endpointsPerSession: number;
    /** Bytes of shared memory a session may make us reserve. */
    readonly bytesPerSession: number;
    /** Bytes of memory in which an engine puts the large messages of one stream together. */
    readonly largeBytesPerStream: number;
  };
  readonly link: { readonly entries: number };
  readonly log: { readonly level: "silent" | "error" | "warn" | "info" | "debug"; readonly pretty: boolean };
  /** Rules instead of the paper's strategy, or null. */
  readonly strategy: RuleStrategy | null;
}

/** Nested partial: what a user writes. */
export type Settings<T> = {
  readonly [K in keyof T]?: T[K] extends ReadonlyArray<unknown> ? T[K] : T[K] extends object ? Settings<T[K]> : T[K];
};
export interface EmbedOptions extends Omit<Settings<RuntimeConfig>, "strategy"> {
  readonly strategy?: Strategy | RuleStrategy | null;
}

export interface EmbeddedRuntime extends AsyncDisposable {
  readonly id: string;
  /** Where other processes can attach, or null. */
  readonly socket: string | null;
  /** UDP port of hello frames (useful when 0 was asked for). */
  readonly port: number;
  /** A session in this process; with engine mode inline its `poll` runs the engine. */
  connect(options?: { readonly name?: string }): Promise<Session>;
  /** Adds a peer while running. */
  addPeer(endpoint: string): void;
  status(): StatusReport;
  doctor(): ReadonlyArray<CapabilityRecord>;
  explain(stream?: string): ReadonlyArray<ExplainReport>;
  /** Calls back with every machine's state as it changes, and first with all there are now; the result ends that. */
  watch(listener: (state: MachineRecord) => void): () => void;
  close(): Promise<void>;
}

/** An actor (`session 3`), the machine it runs (`session`), the state that is in, the sessions it belongs to. */
export type MachineRecord = typeof MachineState.Type;

/** The gate schedule by which a stream is sent, for its class. */
export interface ScheduleReport extends GateSchedule {
  readonly trafficClass: number;
  readonly mtu: number;
  readonly longestWindowNs: number;
  /** ns of each cycle that the class has promised to streams. */
  readonly promisedNs: number;
}

/** How long time-sensitive messages waited, emission to hand-over: an upper bound for half of them, and so on. */
export interface LatencyReport {
  readonly count: number;
  /** Null: more than the histogram reaches. */
  readonly p50BelowUs: number | null;
  readonly p99BelowUs: number | null;
  readonly p999BelowUs: number | null;
  /** Below 2, 4, ... 32768 us, and more. */
  readonly buckets: ReadonlyArray<number>;
}

/** An engine thread: its name is that of the first engine it serves. */
export interface ThreadReport {
  readonly name: Lane;
  readonly engines: ReadonlyArray<Lane>;
  /** inline, thread or process. */
  readonly mode: string;
  readonly idle: string;
  readonly cpu: number | null;
  /** Part of the last second that it worked, 0 to 1; turns that an inline owner polls are not its own. */
  readonly duty: number;
}
/** An engine that the advisor has given to another thread. */
export interface ThreadMoveReport {
  readonly at: string;
  readonly engine: Lane;
  readonly from: Lane;
  readonly to: Lane;
  readonly why: string;
}

export interface ExplainReport {
  readonly stream: string;
  readonly tag: number;
  /** `domain`: whose trust domain a session belongs to; `copies`: it is a foreign one, which gets copies. */
  readonly sessions: ReadonlyArray<{
    readonly session: number;
    readonly name: string;
    readonly domain: string;
    readonly copies: boolean;
  }>;
  readonly decision: DecisionRecord;
  /** How often it has moved between datapaths, for each session that has it open, and what that cost in all. */
  readonly moved: ReadonlyArray<MoveCosts & { readonly session: number; readonly times: number }>;
  /** The last moves, the latest last. */
  readonly moves: ReadonlyArray<ReboundEvent & { readonly session: number; readonly at: string }>;
  /** Null: first in, first out. */
  readonly schedule: ScheduleReport | null;
  /** The thread that serves its datapath; null: none does. */
  readonly thread: ThreadReport | null;
  /** Other threads that receive for it: kernel UDP is spread over several (network.udp.threads). */
  readonly receivers: ReadonlyArray<ThreadReport>;
  readonly links: ReadonlyArray<{
    readonly kind: "direct" | "egress" | "ingress";
    /** By whose engine messages go or come; null: direct, over shared memory. */
    readonly lane: Lane | null;
    readonly producer: string;
    readonly consumer: string;
    readonly outstanding: number;
    /** Of an egress link of a time-sensitive stream. */
    readonly latency: LatencyReport | null;
  }>;
  readonly peers: ReadonlyArray<{
    readonly name: string;
    readonly state: string;
    readonly technology: Technology;
    readonly here: string;
    /** What the peer's stream is bound to: which of its endpoints messages go to, by its lane. */
    readonly thereLane: Lane;
    readonly there: string;
    /** False: that endpoint would lose datagrams that leave in trains (GSO), so they leave one by one. */
    readonly trains: boolean;
  }>;
}

export interface EndpointReport {
  readonly id: number;
  readonly channel: number;
  readonly state: string;
  readonly stats: Readonly<Record<string, number>>;
}
export interface StatusReport {
  readonly runtime: {
    readonly id: string;
    readonly name: string;
    readonly version: string;
    readonly pid: number;
    readonly state: string;
    readonly uptimeMs: number;
    readonly epoch: number;
  };
  readonly sessions: ReadonlyArray<{
    readonly id: number;
    readonly name: string;
    readonly pid: number;
    readonly uid: number;
    readonly state: string;
    readonly streams: ReadonlyArray<{
      readonly id: number;
      readonly name: string;
      readonly state: string;
      readonly datapath: Technology | null;
      /** How often it has moved from one datapath to another. */
      readonly moves: number;
      /** What all of them cost together. */
      readonly moveCosts: MoveCosts;
      readonly sources: ReadonlyArray<EndpointReport>;
      readonly sinks: ReadonlyArray<EndpointReport>;
    }>;
  }>;
  readonly links: ReadonlyArray<{
    readonly id: number;
    readonly kind: string;
    readonly state: string;
    readonly producer: string;
    readonly consumer: string;
    readonly entries: number;
    readonly outstanding: number;
  }>;
  readonly engines: ReadonlyArray<{
    readonly name: string;
    readonly state: string;
    /** inline, thread or process. */
    readonly mode: string;
    /** Of a process of its own; null: a thread of the runtime, or not running now. */
    readonly pid: number | null;
    readonly counters: Readonly<Record<string, number>>;
  }>;
  readonly threads: ReadonlyArray<ThreadReport>;
  /** The last moves of engines between threads, the latest last. */
  readonly threadMoves: ReadonlyArray<ThreadMoveReport>;
  readonly datapaths: ReadonlyArray<{
    /** A software stand-in, for tests. */
    readonly emulated: boolean;
    /** Its technology's name; kernel UDP may be there several times. */
    readonly lane: Lane;
    readonly state: string;
    readonly endpoint: string;
    readonly counters: Readonly<Record<string, number>>;
  }>;
  readonly peers: ReadonlyArray<{
    readonly id: string;
    readonly name: string;
    readonly endpoint: string;
    readonly state: string;
    readonly subscriptions: number;
    readonly lastHeardMs: number;
  }>;
  readonly slots: { readonly total: number; readonly outstanding: number };
  readonly quarantined: number;
}
