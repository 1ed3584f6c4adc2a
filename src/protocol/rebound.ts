// What an application is told when its stream has moved to another datapath. Types only.
import type { Technology } from "./qos.ts";

/**
 * requested: an operator asked. qos: its quality was changed. appeared: a better datapath came up. failed: what carried it
 * did not any more.
 */
export type RebindWhy = "requested" | "qos" | "appeared" | "failed";

/** What is counted of a move, for one stream of one session. */
export interface MoveCosts {
  /** How long what was emitted waited, in microseconds; 0: nothing had to wait. */
  readonly pauseMicroseconds: number;
  /** Messages found missing by then, by the sinks here and by the receivers of the sources here. */
  readonly lost: number;
  /** Messages for the sinks here that were dropped meanwhile because they came twice, or after later ones. */
  readonly duplicated: number;
  readonly reordered: number;
}

export interface ReboundEvent extends MoveCosts {
  readonly from: Technology | null;
  readonly to: Technology | null;
  readonly why: RebindWhy;
}
