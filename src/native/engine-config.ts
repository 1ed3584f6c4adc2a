// How an engine is to be made: struct ins_engine_config of core/engine.h, its constants, and what it takes of memory. Pure.
/** Histograms of latencies in the counter segment: u64 from index FIRST on, BUCKETS each; below 2, 4, ... 32768 us, and more. */
export const LATENCIES = { FIRST: 512, BUCKETS: 16 } as const;

export const IDLE = { PARK: 0, YIELD: 1, SPIN: 2 } as const;
export const LEASE = { NONE: 0, INLINE: 1 } as const;

/** As in engine.h, in its order. */
export interface EngineConfig {
  /** `IDLE`: what the thread does when there is nothing to do. */
  readonly idle: number;
  /** Parking: how long it looks before it sleeps. */
  readonly spinUs: number;
  /** A core, or -1: not pinned. */
  readonly cpu: number;
  /** `LEASE`. */
  readonly lease: number;
  /** How long an inline owner may be away. */
  readonly takeoverUs: number;
  /** First heartbeat after the last message of a flow, then doubled, six times. 0: none. */
  readonly heartbeatMs: number;
  readonly receiveSlots: number;
  /** Payload bytes of a receive slot; trains are received as such only into slots of 65536. */
  readonly receiveBytes: number;
  /** Descriptors taken from one link in one turn, at most 64. */
  readonly linkBurst: number;
  /** Datagrams received in one turn, at most 64. */
  readonly receiveBurst: number;
  /** How often each peer gets a heartbeat, whatever else it gets. 0: never. */
  readonly aliveMs: number;
  /** SCHED_FIFO priority of its thread, 1 to 99, where that is permitted (counter `realtime`); 0: as any thread. */
  readonly fifoPriority: number;
}

export const DEFAULT_ENGINE: EngineConfig = {
  idle: IDLE.PARK,
  spinUs: 50,
  cpu: -1,
  lease: LEASE.NONE,
  takeoverUs: 1000,
  heartbeatMs: 10,
  receiveSlots: 512,
  receiveBytes: 65536,
  linkBurst: 64,
  receiveBurst: 32,
  aliveMs: 1000,
  fifoPriority: 0,
};

/** Bytes of the receive pool's segment for a configuration. */
export const receivePoolBytes = (config: Pick<EngineConfig, "receiveSlots" | "receiveBytes">): number =>
  Math.ceil((config.receiveSlots * (64 + Math.ceil(config.receiveBytes / 64) * 64)) / 4096) * 4096;

/** A configuration as `struct ins_engine_config`. */
export const configWords = (config: EngineConfig): Uint32Array =>
  Uint32Array.of(
    config.idle,
    config.spinUs,
    config.cpu + 1,
    config.lease,
    config.takeoverUs,
    config.heartbeatMs,
    config.receiveSlots,
    config.receiveBytes,
    config.linkBurst,
    config.receiveBurst,
    config.aliveMs,
    config.fifoPriority,
  );
