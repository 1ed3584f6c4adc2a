// The pools of one session on one stream: which size classes, and their segments. The session maps them writable; then
// they are sealed, and only then given to consumers. Slots are the session's own business.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { POOL_CLASSES, poolBytes, slotStride } from "../protocol/layout.ts";
import type { Quarantine } from "./quarantine.ts";
import { type Mapping, mapping, type Segment, sealWriters, segment } from "./segment.ts";

/** Most bytes of a class of its own for large messages, unless its fewest slots need more. */
const LARGE_CLASS_BYTES = 512 * 1024 * 1024;
const FEWEST_LARGE_SLOTS = 4;

/** The classes of a stream: those below its largest message, and one for that. */
export function poolClasses(maxMessage: number): PoolRecord[] {
  const below = POOL_CLASSES.filter(({ bytes }) => bytes < maxMessage);
  const next = POOL_CLASSES.find(({ bytes }) => bytes >= maxMessage);
  const stride = slotStride(maxMessage);
  const most = POOL_CLASSES[POOL_CLASSES.length - 1]?.slots ?? FEWEST_LARGE_SLOTS;
  const slots = next?.slots ?? Math.max(FEWEST_LARGE_SLOTS, Math.min(most, Math.floor(LARGE_CLASS_BYTES / stride)));
  return [...below, { bytes: maxMessage, slots }].map(({ bytes, slots }, pool) => ({
    pool,
    bytes: poolBytes(slots, slotStride(bytes)),
    stride: slotStride(bytes),
    payload: bytes,
    slots,
  }));
}

export interface ProducerPools {
  readonly infos: ReadonlyArray<PoolRecord>;
  readonly segments: ReadonlyArray<Segment>;
  readonly bytes: number;
  /** The session has mapped them. */
  seal(): Effect.Effect<void, InsaneError>;
}

export const producerPools = (
  name: string,
  maxMessage: number,
): Effect.Effect<ProducerPools, InsaneError, Scope.Scope> =>
  Effect.gen(function* () {
    const infos = poolClasses(maxMessage);
    const segments: Segment[] = [];
    for (const { bytes, payload } of infos) segments.push(yield* segment(`${name} pool ${payload}`, bytes));
    return {
      infos,
      segments,
      bytes: infos.reduce((sum, { bytes }) => sum + bytes, 0),
      seal: () => Effect.forEach(segments, ({ fd }) => sealWriters(fd), { discard: true }),
    };
  });

/** Read-only mappings of pools, for an engine that sends from them. */
export const readablePools = (
  name: string,
  pools: ProducerPools,
): Effect.Effect<ReadonlyArray<Mapping>, InsaneError, Scope.Scope | Quarantine> =>
  Effect.forEach(pools.segments, (of, index) => mapping(`pool ${index} of ${name}`, of, false));
