// Which stream name owns which 32-bit tag, and which channel name which channel, so that two names with one number never mix
// their messages. Rebuilt from scratch whenever somebody's subscriptions change: who claims first keeps it. Pure.

export class TagClaims<Key extends number | string = number> {
  #names = new Map<Key, string>();
  /** Collisions that were spoken of, in this round and the one before. */
  #told = new Set<string>();
  #before = new Set<string>();

  /** A new round: nobody owns anything. */
  begin(): void {
    this.#names = new Map();
    this.#before = this.#told;
    this.#told = new Set();
  }

  /** A name of this runtime's own. */
  own(tag: Key, name: string): void {
    if (!this.#names.has(tag)) this.#names.set(tag, name);
  }

  /** Null when the name owns the tag now, else the name that does. */
  claim(tag: Key, name: string): string | null {
    const holder = this.#names.get(tag);
    if (holder === undefined) this.#names.set(tag, name);
    return holder === undefined || holder === name ? null : holder;
  }

  /** Is this collision new? One that went away and comes back is. */
  firstTime(collision: string): boolean {
    const known = this.#before.has(collision) || this.#told.has(collision);
    this.#told.add(collision);
    return !known;
  }
}
