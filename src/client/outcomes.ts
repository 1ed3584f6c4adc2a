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

export class Outcomes {
  /** pool << 16 | slot of each remembered emission. */
  private readonly places = new Int32Array(REMEMBERED);
  /** Status with which it ended, 0 while it is out or when it was sent. */
  private readonly statuses = new Uint8Array(REMEMBERED);

  remember(token: number, pool: number, slot: number): void {
    const at = token & MASK;
    this.places[at] = (pool << 16) | slot;
    this.statuses[at] = 0;
  }

  /** `latest`: the token given out last. */
  refused(token: number, status: number, latest: number): void {
    if (latest - token < REMEMBERED) this.statuses[token & MASK] = status === 0 ? STATUS.INVALID : status;
  }

  /** Status of a settled emission: 0 is sent, or too long ago to know. */
  status(token: number, latest: number): number {
    return latest - token < REMEMBERED ? (this.statuses[token & MASK] as number) : 0;
  }

  /** Where it is, if it is out: undefined when that is not remembered. */
  place(token: number, latest: number): { readonly pool: number; readonly slot: number } | undefined {
    if (latest - token >= REMEMBERED) return undefined;
    const place = this.places[token & MASK] as number;
    return { pool: place >>> 16, slot: place & 0xffff };
  }
}
