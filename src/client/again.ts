// Why a source said EAGAIN last, how often it did, and whether it would now.
import { InsaneError } from "../protocol/codes.ts";
import type { SlotPool } from "./pools.ts";
import type { Target } from "./target.ts";

export class Again {
  reason = "";
  /** How often there was no slot, and no credit. */
  slots = 0;
  credits = 0;
  private pool: SlotPool | undefined;
  private target: Target | undefined;

  noSlot(pool: SlotPool): void {
    this.slots++;
    this.pool = pool;
    this.reason = `All ${pool.slots} slots of ${pool.payload} bytes are out; wait for ready(), or release messages sooner.`;
  }

  noCredit(target: Target): void {
    this.credits++;
    this.target = target;
    this.reason = target.refusal;
  }

  error(details: Readonly<Record<string, unknown>>): InsaneError {
    return new InsaneError("EAGAIN", this.reason, details);
  }
  /** Whose credits were missing. */
  get whose(): { readonly session: number | undefined } {
    return { session: this.target?.end.peer.session };
  }

  /** What was missing last is there for the source that pushes with `context`. */
  isOver(context: number): boolean {
    const { pool, target } = this;
    return (pool === undefined || pool.freeCount > 0) && (target === undefined || target.hasCredit(context));
  }
}
