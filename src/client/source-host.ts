// What a source asks of its session and of its stream.
import type { Clock } from "./clock.ts";
import type { SlotPool } from "./pools.ts";
import type { EmittingSource } from "./source.ts";

/** How far the session has come with the burst of emits under way: NONE, the next emit begins one; TIMED, it has a time. */
export const BURST = { NONE: 0, BEGUN: 1, TIMED: 2 } as const;

/** What a source asks of its session on the path of a message. */
export interface SourceHost {
  /** BURST. */
  burst: number;
  readonly clock: Clock;
  /** Looks for control frames; takes the time if it is asked for. */
  beginBurst(timed: boolean): void;
  /** The counters have moved. */
  sourceChanged(source: EmittingSource): void;
  /** Something was published for the engine: an inline one sends at once. */
  sendNow(): void;
  /** Takes control frames and what has come back on this stream's links. */
  catchUp(stream: number): void;
  /** Links on which this session emits messages of the stream. */
  linksOf(stream: number): number;
  /** This source had to say EAGAIN. */
  starve(): void;
  awaitCredits(change: 1 | -1): void;
}
/** The stream it belongs to. */
export interface SourceOwner {
  prefault(pool: SlotPool): void;
  closeSource(source: EmittingSource): Promise<void>;
}
