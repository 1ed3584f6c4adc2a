// The indices of a session's sources on one stream, as descriptors carry them. One that was used is used again only when
// no message bears it any more and no end of a link knows it: else an old message would be taken for one of the new source.
import { InsaneError } from "../protocol/codes.ts";

/** Sources that there can be at once: for each link an engine keeps a table of so many (INS_LINK_SOURCES). */
export const MAX_SOURCES = 4096;

/** Where messages with an index may still be: a link, and how far its producer had got. */
export interface Carrier {
  readonly link: { isRidOf(index: number, mark: number): boolean };
  readonly mark: number;
}

interface Left {
  readonly index: number;
  carriers: ReadonlyArray<Carrier>;
}

export class SourceIndices {
  readonly #stream: string;
  /** Of sources that are closed, the oldest first. */
  readonly #left: Left[] = [];
  #next = 0;
  #looked = 0;

  constructor(stream: string) {
    this.#stream = stream;
  }

  /** Throws ELIMIT. */
  take(): number {
    if (this.#next < MAX_SOURCES) return this.#next++;
    const free = this.#left.findIndex((left) => isFree(left));
    const [left] = free < 0 ? [] : this.#left.splice(free, 1);
    if (left) return left.index;
    const waiting = this.#left.length;
    const but = waiting === 0 ? "" : `, and ${waiting} of them are closed but have messages under way`;
    throw new InsaneError(
      "ELIMIT",
      `A session can have ${MAX_SOURCES} sources on one stream (${this.#stream}) at once${but}; close some, or open another stream.`,
      { stream: this.#stream, limit: MAX_SOURCES },
    );
  }

  /** Its source has closed. */
  leave(index: number, carriers: ReadonlyArray<Carrier>): void {
    this.#left.push({ index, carriers });
    // Links that are over are not kept for those who may never ask: two others are looked at for each that comes.
    for (let i = 0; i < 2; i++) {
      const left = this.#left[this.#looked++ % this.#left.length];
      if (left) isFree(left);
    }
  }
}

function isFree(left: Left): boolean {
  left.carriers = left.carriers.filter(({ link, mark }) => !link.isRidOf(left.index, mark));
  return left.carriers.length === 0;
}
