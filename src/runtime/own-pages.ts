// What this runtime says of itself in hello frames: its announcement cut into pages, numbered by version. Changes that come
// close together go out as one. It sends nothing itself.
import type { Clock } from "../actors/clock.ts";
import { type HelloPage, paginate } from "../protocol/hello.ts";
import type { Lane } from "../protocol/lanes.ts";
import { contentOf } from "./announcement.ts";
import type { Announcement } from "./directory.ts";

/** Two announcements are at least so far apart, ms: what changes meanwhile goes out together. */
const ANNOUNCE_GAP_MS = 5;

export interface OwnPagesPorts {
  readonly clock: Clock;
  /** There is a new version; so many subscriptions did not fit it. */
  published(omitted: number): void;
}

export class OwnPages {
  /** Of `pages`. */
  version = 1;
  pages: ReadonlyArray<HelloPage> = paginate({ endpoints: [], technologies: [], streams: [] }).pages;
  /** As it was given last; it may not be in the pages yet. */
  announcement: Announcement = { endpoints: [], subscriptions: [], technologies: [] };
  readonly #ports: OwnPagesPorts;
  /** Our endpoints by lane, and since which version they are announced as they are. */
  readonly #since = new Map<Lane, { readonly text: string; readonly version: number }>();
  #cancel: (() => void) | null = null;
  #publishedAt = Number.NEGATIVE_INFINITY;

  constructor(ports: OwnPagesPorts) {
    this.#ports = ports;
  }

  /** What was announced last is not in the pages yet. */
  get due(): boolean {
    return this.#cancel !== null;
  }

  announce(announcement: Announcement): void {
    this.announcement = announcement;
    if (this.due) return;
    const { clock } = this.#ports;
    const wait = this.#publishedAt + ANNOUNCE_GAP_MS - clock.now();
    if (wait > 0) {
      this.#cancel = clock.after(wait, () => this.#publish());
    } else {
      const immediate = setImmediate(() => this.#publish());
      this.#cancel = () => clearImmediate(immediate);
    }
  }

  /** Publishes at once what is due. */
  flush(): void {
    if (!this.due) return;
    this.#cancel?.();
    this.#publish();
  }

  /** Nothing is published any more. */
  stop(): void {
    this.#cancel?.();
  }

  /** Our endpoints that a peer knows as they are when it has applied that version. */
  knownAt(applied: number): Lane[] {
    return [...this.#since].flatMap(([lane, { version }]) => (version <= applied ? [lane] : []));
  }

  #publish(): void {
    this.#cancel = null;
    this.#publishedAt = this.#ports.clock.now();
    const { pages, omitted } = paginate(contentOf(this.announcement));
    if (JSON.stringify(pages) === JSON.stringify(this.pages)) return;
    this.pages = pages;
    this.version++;
    this.#date();
    this.#ports.published(omitted);
  }

  /** From which version on each of our endpoints is what it is. */
  #date(): void {
    const endpoints = new Map(this.announcement.endpoints.map((one) => [one.lane, JSON.stringify(one)]));
    for (const lane of this.#since.keys()) if (!endpoints.has(lane)) this.#since.delete(lane);
    for (const [lane, text] of endpoints) {
      if (this.#since.get(lane)?.text !== text) this.#since.set(lane, { text, version: this.version });
    }
  }
}
