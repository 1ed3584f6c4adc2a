// What became of a source's last messages, by token: a bounded private ring. Older tokens than it holds are looked for
// among the slots that are still out.
import { STATUS } from "../protocol/layout.ts";
import type { DropReason } from "./api.ts";

/** Emissions remembered; more than a stream has slots. */
export const REMEMBERED = 4096;
const MASK = REMEMBERED - 1;

export const REASONS: Readonly<Record<number, DropReason>> = {
  [STATUS.NO_SINK]: "no-sink",
  [STATUS.OVERTAKEN]: "overtaken",
  [STATUS.INVALID]: "invalid",
  [STATUS.NO_PEER]: "no-peer",
  [STATUS.TOO_LARGE]: "too-large",
  [STATUS.NETWORK]: "network",
  [STATUS.CLOSED]: "closed",
  [STATUS.NO_CREDIT]: "no-credit",
  [STATUS.ABANDONED]: "abandoned",
};
/** Statuses a consumer may invent count as invalid. */
export const reasonOf = (status: number): DropReason => REASONS[status] ?? "invalid";

/** An emission: place | status << STATUS_SHIFT; status 0 while it is out, or when it was sent. */
const STATUS_SHIFT = 24;
const PLACE = (1 << STATUS_SHIFT) - 1;

export class Outcomes {
  private readonly ring = new Int32Array(REMEMBERED);

  remember(token: number, place: number): void {
    this.ring[token & MASK] = place | 0;
  }

  /** `latest`: the token given out last; `low`: the low 32 bits of the token refused. */
  refused(low: number, status: number, latest: number): void {
    if ((latest - low) >>> 0 >= REMEMBERED) return;
    const at = low & MASK;
    this.ring[at] = ((this.ring[at] as number) & PLACE) | ((status || STATUS.INVALID) << STATUS_SHIFT);
  }

  /** Status of a settled emission: 0 is sent, or too long ago to know. */
  status(token: number, latest: number): number {
    return latest - token < REMEMBERED ? (this.ring[token & MASK] as number) >>> STATUS_SHIFT : 0;
  }

  /** Where it went, or undefined when that is not remembered. */
  place(token: number, latest: number): number | undefined {
    return latest - token < REMEMBERED ? (this.ring[token & MASK] as number) & PLACE : undefined;
  }
}
