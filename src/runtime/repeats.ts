// The same thing said again and again, said once with a count: within a second so many lines of one kind are let through, the
// others are summed up when the second is over. Whoever can make a runtime log something cannot make it log much.
import type { Clock } from "../actors/clock.ts";

/** Lines of one kind that are let through in a row. */
export const REPEATS_SAID = 20;
/** How long their number counts, ms. */
export const REPEATS_MS = 1000;
/** Kinds that are told apart at once; what comes beyond is one kind. */
const KINDS = 256;

interface Kind {
  said: number;
  held: number;
  /** Says how many were held back, as the last of them would have been said. */
  sum: (held: number) => void;
}

export class Repeats {
  readonly #clock: Clock;
  readonly #kinds = new Map<string, Kind>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True: say it. False: `sum` is called in a while with how many were held back, this one among them. */
  may(key: string, sum: (held: number) => void): boolean {
    const known = this.#kinds.has(key) || this.#kinds.size < KINDS ? key : "";
    const kind = this.#kinds.get(known) ?? this.#begin(known);
    kind.sum = sum;
    if (kind.said < REPEATS_SAID) {
      kind.said++;
      return true;
    }
    kind.held++;
    return false;
  }

  /** Says what was held back so far, for an end that does not wait. */
  flush(): void {
    for (const kind of this.#kinds.values()) tell(kind);
  }

  #begin(key: string): Kind {
    const kind: Kind = { said: 0, held: 0, sum: () => {} };
    this.#kinds.set(key, kind);
    this.#clock.after(REPEATS_MS, () => {
      this.#kinds.delete(key);
      tell(kind);
    });
    return kind;
  }
}

function tell(kind: Kind): void {
  const { held } = kind;
  kind.held = 0;
  if (held > 0) kind.sum(held);
}
