// What a source's consumers did not get, by reason.
import { STATUS } from "../protocol/layout.ts";
import type { DropReason } from "./api.ts";
import { reasonOf } from "./outcomes.ts";

export class Drops {
  /** (message, consumer) pairs that came back without having been consumed, and those abandoned among them. */
  returned = 0;
  abandoned = 0;
  /** Pairs that never went out. */
  noCredit = 0;
  private readonly counts = new Map<DropReason, number>();

  cameBack(status: number): void {
    this.returned++;
    if (status === STATUS.ABANDONED) this.abandoned++;
    else this.tally(reasonOf(status), 1);
  }

  passedOver(count: number): void {
    this.noCredit += count;
    this.tally("no-credit", count);
  }

  /** All but those abandoned. */
  get byReason(): Partial<Record<DropReason, number>> {
    return Object.fromEntries(this.counts);
  }

  private tally(reason: DropReason, count: number): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + count);
  }
}
