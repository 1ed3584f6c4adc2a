// The memory of one link: its rings, and the doorbell that its two ends share. The runtime maps the rings as well, to
// hand them to an engine and to see from outside how much is under way; it never writes into them.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import { LINK, linkBytes } from "../protocol/layout.ts";
import type { Quarantine } from "./quarantine.ts";
import { bellPair, type Keepable, type Mapping, mapping, type Segment, sealSeals, segment } from "./segment.ts";

export interface LinkMemory extends Keepable {
  readonly entries: number;
  readonly segment: Segment;
  readonly mapping: Mapping;
  /** The descriptor of each end's half of the doorbell. */
  readonly bells: { readonly producer: number; readonly consumer: number };
  /** Descriptors published so far, modulo 2^32. */
  forwardTail(): number;
  /** Pushed and not returned. Sampled: the two tails are not read at one moment. */
  outstanding(): number;
  /** Everything published when `forwardTail` was read has been returned. Not known, and so false, of memory that is gone. */
  returnedUpTo(forwardTail: number): boolean;
}

export const linkMemory = (
  name: string,
  entries: number,
): Effect.Effect<LinkMemory, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const rings = yield* segment(name, linkBytes(entries));
    const mapped = yield* mapping(name, rings, true);
    // Both ends write it, so nobody may seal it against the other.
    yield* sealSeals(rings.fd);
    const bell = yield* bellPair(name);
    // After the scope the views are empty, and to load from them would throw: nothing is under way in memory that is gone.
    const gone = (): boolean => mapped.u32.length === 0;
    const word = (offset: number): number => (gone() ? 0 : Atomics.load(mapped.u32, offset / 4));
    return {
      entries,
      segment: rings,
      mapping: mapped,
      bells: { producer: bell.ends[0], consumer: bell.ends[1] },
      forwardTail: () => word(LINK.FORWARD_TAIL),
      outstanding: () => {
        const returned = word(LINK.RETURN_TAIL);
        const count = (word(LINK.FORWARD_TAIL) - returned) >>> 0;
        // Tails are written by applications: what cannot be is shown as the most there can be.
        return Math.min(count, entries);
      },
      returnedUpTo: (forwardTail) => !gone() && ((word(LINK.RETURN_TAIL) - forwardTail) | 0) >= 0,
      keepAside: () => {
        mapped.keepAside();
        bell.keepAside();
      },
    } satisfies LinkMemory;
  });
