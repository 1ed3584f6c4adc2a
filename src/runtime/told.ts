// What has been said once and need not be said again. Whoever can make a runtime say something new each time (another name,
// another incarnation) cannot make it remember without end: the oldest is forgotten, and may be said once more.

/** What is remembered of each kind. */
const KEPT = 1024;

export class Told {
  readonly #said = new Set<string>();

  /** True at the first time. */
  first(what: string): boolean {
    if (this.#said.has(what)) return false;
    this.#said.add(what);
    for (const oldest of this.#said) {
      if (this.#said.size <= KEPT) break;
      this.#said.delete(oldest);
    }
    return true;
  }
}
