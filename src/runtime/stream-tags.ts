// Which stream name of this host owns which 32-bit tag, as long as it is in use: two names with one tag would mix their
// messages. What other hosts use is asked, not kept.
import { InsaneError } from "../protocol/codes.ts";
import { streamTag } from "../protocol/qos.ts";

export class StreamTags {
  /** A stream of another name that peers use this tag for, or undefined. */
  readonly #foreign: (tag: number, name: string) => string | undefined;
  readonly #tags = new Map<number, { readonly name: string; uses: number }>();

  constructor(foreign: (tag: number, name: string) => string | undefined) {
    this.#foreign = foreign;
  }

  /** Once more in use. Throws InsaneError ECOLLISION. */
  claim(name: string): number {
    const tag = streamTag(name);
    const holder = this.#tags.get(tag);
    if (holder && holder.name !== name) {
      throw new InsaneError(
        "ECOLLISION",
        `The stream names ${name} and ${holder.name} have the same tag (${tag}); choose another name.`,
        { name, other: holder.name, tag },
      );
    }
    const foreign = this.#foreign(tag, name);
    if (foreign !== undefined) {
      throw new InsaneError(
        "ECOLLISION",
        `The stream name ${name} has the tag (${tag}) of ${foreign}, which another host uses; choose another name.`,
        { name, other: foreign, tag },
      );
    }
    if (holder) holder.uses++;
    else this.#tags.set(tag, { name, uses: 1 });
    return tag;
  }

  owner(tag: number): string | undefined {
    return this.#tags.get(tag)?.name;
  }

  release(name: string): void {
    const tag = streamTag(name);
    const holder = this.#tags.get(tag);
    if (holder && --holder.uses <= 0) this.#tags.delete(tag);
  }
}
