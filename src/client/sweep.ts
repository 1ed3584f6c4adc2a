// Looks at many links for messages so that a message costs the same however many others are open and still: links that had
// something lately are looked at first, and again and again while the others are. A look that finds nothing has been at all.
import type { ConsumerEnd } from "./consumer-end.ts";

/** With so few links all are looked at each time. */
export const FEW = 8;
/** Still links that are looked at before the lively ones are again. */
const SLICE = 8;
/** Still links that are looked at whatever the others have. */
const ALWAYS = 2;
/** Looks in vain after which a link counts as still. */
const STILL_AFTER = 256;

export class Sweep {
  /** The first so many are lively. */
  private lively = 0;
  /** How many there were: when some have come or gone all are as new. */
  private known = 0;
  /** Of the still ones, that to be looked at next. */
  private next = 0;

  /** Takes what there is on lively links and, if they have nothing, on still ones up to the first that has. */
  take(ends: ConsumerEnd[]): number {
    if (ends.length !== this.known) {
      this.known = ends.length;
      this.lively = 0;
    }
    let count = this.ofLively(ends);
    const still = ends.length - this.lively;
    for (let looked = 1; looked <= still && (count === 0 || looked <= ALWAYS); looked++) {
      if (this.next < this.lively || this.next >= ends.length) this.next = this.lively;
      const at = this.next++;
      const taken = (ends[at] as ConsumerEnd).drain();
      count += taken;
      // What a callback has done may have taken links away.
      if (ends.length !== this.known) return count;
      if (taken > 0) this.swap(ends, at, this.lively++);
      else if (count === 0 && looked % SLICE === 0) count += this.ofLively(ends);
    }
    return count;
  }

  private ofLively(ends: ConsumerEnd[]): number {
    let count = 0;
    // From the end, because one that is still now changes places with the last of them.
    for (let i = this.lively - 1; i >= 0; i--) {
      const end = ends[i] as ConsumerEnd;
      const taken = end.drain();
      if (ends.length !== this.known) return count + taken;
      if (taken > 0) end.inVain = 0;
      else if (++end.inVain > STILL_AFTER) {
        end.inVain = 0;
        this.swap(ends, i, --this.lively);
      }
      count += taken;
    }
    return count;
  }

  private swap(ends: ConsumerEnd[], a: number, b: number): void {
    const end = ends[a] as ConsumerEnd;
    ends[a] = ends[b] as ConsumerEnd;
    ends[b] = end;
  }
}
