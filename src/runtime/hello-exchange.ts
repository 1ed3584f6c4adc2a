// One conversation of hellos with one peer: which pages of its announcement are here, which of ours it still lacks.
// Pure bookkeeping: no socket, no clock, no machine.
import { assemble, type Content, HELLO_LIMITS, type Hello, type HelloPage } from "../protocol/hello.ts";

/** Pages sent in one go; the next go follows their acknowledgement, so that no socket buffer overflows. */
const BATCH = 64;
/** Incarnations of the past that a late frame may still speak of. */
const RETIRED = 8;

/** Another runtime's announcement, complete. */
export interface Known {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly content: Content;
}

export type Heard =
  /** Of an incarnation that is over, or contradicting itself. */
  | "ignored"
  /** It stops. */
  | "farewell"
  /** Of an incarnation whose announcement is not complete here. */
  | "incomplete"
  /** Of the incarnation that is known, with nothing new. */
  | "heard"
  /** Completes an announcement: `known` is new. */
  | "complete";

export class HelloExchange {
  /** The latest announcement that is complete here. */
  known: Known | null = null;
  /** From which version on the peer takes messages from our endpoints. */
  applied = 0;
  /** The other way round: whose endpoints, of which version, are in force here. */
  #inForce = { id: "", version: 0 };
  #from = "";
  #building: { id: string; version: number; total: number; readonly pages: Map<number, HelloPage> } | null = null;
  readonly #retired: string[] = [];
  /** Pages of ours that the peer is not known to have; of which version of ours, and what is under way. */
  #version = 0;
  #lacking = new Set<number>();
  #underWay = new Set<number>();

  /** Takes one frame in. `own`: who we are and what we announce. */
  receive(hello: Hello, own: { readonly id: string; readonly version: number; readonly pages: number }): Heard {
    if (this.#retired.includes(hello.id)) return "ignored";
    if (hello.bye) {
      if (this.known?.id !== hello.id && this.#building?.id !== hello.id) return "ignored";
      this.forget(hello.id);
      return "farewell";
    }
    if (hello.id !== this.#from) this.applied = 0;
    this.#from = hello.id;
    if (hello.seen?.id === own.id) this.applied = Math.max(this.applied, hello.seen.applied ?? hello.seen.version);
    this.#acknowledge(hello.seen, own);
    return this.#collect(hello);
  }

  /** The acknowledgement that goes with every frame to this peer. */
  seen(): Hello["seen"] {
    const building = this.#building;
    if (building !== null && building.pages.size > 0) {
      const missing: number[] = [];
      for (let page = 0; page < building.total && missing.length < HELLO_LIMITS.MISSING; page++) {
        if (!building.pages.has(page)) missing.push(page);
      }
      return { id: building.id, version: building.version, missing, applied: this.#appliedOf(building.id) };
    }
    const { known } = this;
    return known && { id: known.id, version: known.version, missing: [], applied: this.#appliedOf(known.id) };
  }

  /** Messages from the endpoints of that announcement are taken from now on. */
  inForce(id: string, version: number): void {
    this.#inForce = { id, version };
  }

  #appliedOf(id: string): number {
    return this.#inForce.id === id ? this.#inForce.version : 0;
  }

  /** True while the peer is not known to have all of our announcement. */
  get lacks(): boolean {
    return this.#lacking.size > 0;
  }

  /** True while pages that were sent last are not acknowledged. */
  get waiting(): boolean {
    for (const page of this.#underWay) if (this.#lacking.has(page)) return true;
    return false;
  }

  /** A new announcement of ours: the peer has nothing of it. */
  announce(version: number, pages: number): void {
    this.#version = version;
    this.#lacking = new Set(Array.from({ length: pages }, (_, page) => page));
    this.#underWay = new Set();
  }

  /** The pages to send now. */
  next(): number[] {
    const batch = [...this.#lacking].slice(0, BATCH);
    this.#underWay = new Set(batch);
    return batch;
  }

  /** Drops what is known of an incarnation, whose late frames are ignored from now on. */
  forget(id: string): void {
    this.#retired.push(id);
    if (this.#retired.length > RETIRED) this.#retired.shift();
    if (this.known?.id === id) this.known = null;
    if (this.#building?.id === id) this.#building = null;
    this.#underWay = new Set();
  }

  #acknowledge(
    seen: Hello["seen"],
    own: { readonly id: string; readonly version: number; readonly pages: number },
  ): void {
    if (seen === null || seen.id !== own.id || seen.version !== own.version) {
      // It has nothing of the current version: another incarnation of it, or a version behind.
      if (this.#version !== own.version || this.#lacking.size < own.pages) {
        const underWay = this.#underWay;
        this.announce(own.version, own.pages);
        this.#underWay = underWay;
      }
      return;
    }
    if (this.#version !== own.version) return;
    const missing = new Set(seen.missing);
    // A full list may go on beyond its last entry.
    const end = seen.missing.length < HELLO_LIMITS.MISSING ? Infinity : Math.max(...seen.missing);
    for (const page of this.#lacking) if (page <= end && !missing.has(page)) this.#lacking.delete(page);
  }

  #collect(hello: Hello): Heard {
    const { id, name, version, pages: total, page } = hello;
    const known = this.known;
    let building = this.#building;
    if (known?.id === id && version < known.version) return "heard";
    if (building === null || building.id !== id || building.version < version) {
      if (known?.id === id && known.version === version) return "heard";
      building = { id, version, total, pages: new Map() };
      this.#building = building;
    } else if (building.version > version) {
      return known?.id === id ? "heard" : "incomplete";
    }
    if (building.total !== total) return "ignored";
    if (page !== null) building.pages.set(page.index, page);
    if (building.pages.size < total) return known?.id === id ? "heard" : "incomplete";
    const pages = Array.from({ length: total }, (_, index) => building.pages.get(index)!);
    if (known !== null && known.id !== id) this.forget(known.id);
    this.known = { id, name, version, content: assemble(pages) };
    this.#building = null;
    return "complete";
  }
}
