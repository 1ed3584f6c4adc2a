// Which of a source's last messages nobody took, by token: bounded. What is still out is found among the slots, so that a
// message that arrives leaves no trace here.
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
  /** The low 32 bits of the token that was refused last, by its lowest bits, and why. */
  private readonly tokens = new Int32Array(REMEMBERED);
  private readonly statuses = new Uint8Array(REMEMBERED);

  /** `low`: the low 32 bits of the token. */
  refused(low: number, status: number): void {
    const at = low & MASK;
    this.tokens[at] = low;
    this.statuses[at] = status || STATUS.INVALID;
  }

  /** Status of a settled emission: 0 is sent, or too long ago to know. `latest`: the token given out last. */
  status(token: number, latest: number): number {
    const at = token & MASK;
    return latest - token < REMEMBERED && this.tokens[at] === (token | 0) ? (this.statuses[at] as number) : 0;
  }
}
