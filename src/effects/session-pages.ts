// The three pages of a session: the control page, which the runtime writes; the parked page and the statistics page,
// which the application writes. Ownership of each word is in src/protocol/layout.ts.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import { CONTROL_PAGE, type LINK_STATE, PARKED_PAGE, SESSION_STATE, STATS_PAGE } from "../protocol/layout.ts";
import type { Quarantine } from "./quarantine.ts";
import { mapping, type Segment, sealWriters, segment } from "./segment.ts";

type ValueOf<T> = T[keyof T];

export interface SessionPages {
  readonly control: Segment;
  readonly parked: Segment;
  readonly stats: Segment;
  setState(state: ValueOf<typeof SESSION_STATE>): void;
  setLink(index: number, state: ValueOf<typeof LINK_STATE>): void;
  /** One more control frame has been sent: whoever spins on the page looks at its socket. */
  bumpControlTail(): void;
  /** The application has mapped what it writes: from now on nobody else can. */
  seal(): Effect.Effect<void, InsaneError>;
  /** The counters of one block, in the order of SOURCE_STATS or SINK_STATS. */
  stats64(block: number): Float64Array;
}

export const sessionPages = (
  name: string,
  epoch: number,
): Effect.Effect<SessionPages, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const control = yield* segment(`${name} control`, CONTROL_PAGE.BYTES);
    const parked = yield* segment(`${name} parked`, PARKED_PAGE.BYTES);
    const stats = yield* segment(`${name} statistics`, STATS_PAGE.BYTES);
    const page = yield* mapping(`${name} control`, control, true);
    yield* sealWriters(control.fd);
    const shown = yield* mapping(`${name} statistics`, stats, false);
    const store = (offset: number, value: number): void => void Atomics.store(page.u32, offset / 4, value);
    store(CONTROL_PAGE.EPOCH, epoch);
    store(CONTROL_PAGE.STATE, SESSION_STATE.OPEN);
    store(CONTROL_PAGE.MAGIC, CONTROL_PAGE.MAGIC_VALUE);
    return {
      control,
      parked,
      stats,
      // After the scope the views are empty, and stores to them would throw: the last word has been said by then.
      setState: (state) => page.u32.length > 0 && store(CONTROL_PAGE.STATE, state),
      setLink: (index, state) => page.u32.length > 0 && store(CONTROL_PAGE.LINKS + 4 * index, state),
      bumpControlTail: () => {
        if (page.u32.length > 0) Atomics.add(page.u32, CONTROL_PAGE.CONTROL_TAIL / 4, 1);
      },
      seal: () => Effect.andThen(sealWriters(parked.fd), sealWriters(stats.fd)),
      stats64: (block) =>
        shown.u8.length === 0
          ? new Float64Array(STATS_PAGE.BLOCK_BYTES / 8)
          : new Float64Array(shown.u8.buffer, block * STATS_PAGE.BLOCK_BYTES, STATS_PAGE.BLOCK_BYTES / 8),
    } satisfies SessionPages;
  });
