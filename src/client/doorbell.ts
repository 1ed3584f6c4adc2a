// Ringing the other end of a link: only when it sleeps and wishes for what was done, and once for each time it lies down.
import type { Platform } from "../native/platform.ts";
import type { Mapping } from "../native/views.ts";
import { PARKED_PAGE } from "../protocol/layout.ts";
import { load } from "./link.ts";

/** The other end's doorbell: its parked word, read-only, and our end of the socket pair, by which it wakes us as well. */
export class Doorbell {
  readonly fd: number;
  private readonly word: Int32Array;
  private readonly mapping: Mapping;
  private readonly raw: Platform["raw"];
  private open = true;
  /** The value of the word that was rung for last. */
  private rung = 0;

  constructor(platform: Platform, fd: number, mapping: Mapping) {
    this.raw = platform.raw;
    this.fd = fd;
    this.mapping = mapping;
    this.word = new Int32Array(mapping.buffer, PARKED_PAGE.WORD, 1);
  }

  /** After publishing, which was a full fence: wakes the other end if it sleeps and wishes for this. */
  ring(wish: number): void {
    if (!this.open) return;
    // Pairs with the sleeper's stores of its word; see Sleeper.
    const value = load(this.word, 0);
    if ((value & wish) === 0 || value === this.rung) return;
    this.rung = value;
    this.raw.bellRing(this.fd);
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.raw.fdClose(this.fd);
    this.mapping.unmap();
  }
}
