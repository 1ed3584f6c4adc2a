// The memory that an engine and control both see: receive pool, parked page, counters. The engine writes it; from here it
// is only read, but for an engine whose thread is in this process and works on these very mappings.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { engines } from "../native/engine.ts";
import { type EngineConfig, LATENCIES, receivePoolBytes } from "../native/engine-config.ts";
import { type Ledger, readLedger } from "../native/ledger.ts";
import type { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { COUNTERS, PARKED_PAGE, slotStride } from "../protocol/layout.ts";
import { attempt } from "./attempt.ts";
import type { Quarantine } from "./quarantine.ts";
import { type Mapping, mapping, type Segment, sealWriters, segment } from "./segment.ts";

const WISHES = PARKED_PAGE.WISH_MESSAGES | PARKED_PAGE.WISH_CREDITS;

export interface EngineMemory {
  readonly receivePool: { readonly info: PoolRecord; readonly segment: Segment };
  readonly parkedPage: Segment;
  readonly counterSegment: Segment;
  /** As mapped here; of the receive pool only where the engine is here. */
  readonly mappings: { readonly receivePool: Mapping | null; readonly parked: Mapping; readonly counters: Mapping };
  /** Nobody maps the pool or the page writable from now on; to be done once the engine has. */
  readonly seal: Effect.Effect<void, InsaneError>;
  counters(): Record<string, number>;
  /** When the engine last heard of each of its peers, in ms of CLOCK_MONOTONIC. */
  heard(): ReadonlyMap<number, number>;
  /** A histogram of latencies (`LATENCIES`), by its number. */
  latencies(histogram: number): number[];
  /** What it had sent and received, for when it cannot tell any more. */
  ledger(): Ledger;
  /** It sleeps on its doorbells at this moment. */
  parked(): boolean;
}

/** `here`: the engine's thread is one of this process. */
export const engineMemory = (
  name: string,
  config: EngineConfig,
  here: boolean,
): Effect.Effect<EngineMemory, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const api = yield* attempt("load the engine", engines);
    const received = yield* segment(`${name} receive pool`, receivePoolBytes(config));
    const receivePool = here ? yield* mapping(`the receive pool of ${name}`, received, true) : null;
    const parkedPage = yield* segment(`${name} parked`, PARKED_PAGE.BYTES);
    const parked = yield* mapping(`the parked page of ${name}`, parkedPage, here);
    const counterSegment = yield* segment(`${name} counters`, COUNTERS.BYTES);
    const counters = yield* mapping(`the counters of ${name}`, counterSegment, here);
    const names = api.counterNames();
    return {
      receivePool: {
        info: {
          pool: 0,
          bytes: received.bytes,
          stride: slotStride(config.receiveBytes),
          payload: config.receiveBytes,
          slots: config.receiveSlots,
        },
        segment: received,
      },
      parkedPage,
      counterSegment,
      mappings: { receivePool, parked, counters },
      seal: Effect.andThen(sealWriters(received.fd), sealWriters(parkedPage.fd)),
      counters: () => {
        if (counters.u8.length === 0) return {};
        const values = new BigUint64Array(counters.u8.buffer, COUNTERS.VALUES, names.length);
        return Object.fromEntries(names.map((label, i) => [label, Number(Atomics.load(values, i))]));
      },
      heard: () => {
        const heard = new Map<number, number>();
        if (counters.u8.length === 0) return heard;
        const pairs = new BigUint64Array(counters.u8.buffer, COUNTERS.HEARD, 2 * COUNTERS.HEARD_PEERS);
        for (let i = 0; i < pairs.length; i += 2) {
          const peer = Atomics.load(pairs, i);
          const at = peer === 0n ? 0n : Atomics.load(pairs, i + 1);
          if (at !== 0n) heard.set(Number(peer) - 1, Number(at));
        }
        return heard;
      },
      latencies: (histogram) => {
        if (counters.u8.length === 0) return [];
        const at = COUNTERS.VALUES + 8 * (LATENCIES.FIRST + histogram * LATENCIES.BUCKETS);
        const buckets = new BigUint64Array(counters.u8.buffer, at, LATENCIES.BUCKETS);
        return Array.from(buckets, (_, i) => Number(Atomics.load(buckets, i)));
      },
      ledger: () => readLedger(counters.u8),
      parked: () => ((parked.u32[PARKED_PAGE.WORD / 4] ?? 0) & WISHES) !== 0,
    } satisfies EngineMemory;
  });
