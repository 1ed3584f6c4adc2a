// Puts together what other runtimes are told: where this one is reached, and which channels its engines deliver. What
// changes in quick succession goes out together.
import { type Lane, technologyOf } from "../protocol/lanes.ts";
import type { Announcement, ChannelName, DataEndpoint, Subscription } from "../runtime/directory.ts";
import type { Clock } from "./clock.ts";
import type { LinkActor } from "./link.ts";

/** Announcements are put together at most so often, ms, and take at most a tenth of the time, as long as that is not long. */
const GAP_MS = 2;
const SHARE = 10;
const LONGEST_GAP_MS = 20;

export interface AnnouncerPorts {
  readonly clock: Clock;
  links(): ReadonlyArray<LinkActor>;
  /** Messages are to come by this lane: while a stream moves it has two links, and one of them is right. */
  isReceived(link: LinkActor["spec"], lane: Lane): boolean;
  endpoints(): ReadonlyArray<DataEndpoint>;
  names(): ReadonlyArray<ChannelName>;
  announce(announcement: Announcement): void;
}

export class Announcer {
  readonly #ports: AnnouncerPorts;
  /** Not before that. */
  #at = Number.NEGATIVE_INFINITY;
  #waiting = false;
  #stopped = false;

  constructor(ports: AnnouncerPorts) {
    this.#ports = ports;
  }

  /** What was asked for has not been announced yet. */
  get waits(): boolean {
    return this.#waiting;
  }

  announce(): void {
    if (this.#waiting || this.#stopped) return;
    const { clock } = this.#ports;
    const wait = this.#at - clock.now();
    if (wait <= 0) {
      this.#now();
      return;
    }
    this.#waiting = true;
    clock.after(wait, () => {
      this.#waiting = false;
      if (!this.#stopped) this.#now();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #now(): void {
    const { clock } = this.#ports;
    const began = clock.now();
    const endpoints = this.#ports.endpoints();
    const subscriptions = this.#subscriptions();
    const technologies = [...new Set(endpoints.map(({ lane }) => technologyOf(lane)))];
    this.#ports.announce({ endpoints, subscriptions, technologies, names: this.#ports.names() });
    const took = clock.now() - began;
    this.#at = clock.now() + Math.min(LONGEST_GAP_MS, Math.max(GAP_MS, SHARE * took));
  }

  /** What the engines deliver, so that no sequence is missed. */
  #subscriptions(): Subscription[] {
    const all = this.#ports.links().flatMap((link) => {
      const { kind, stream, lane } = link.spec;
      if (kind !== "ingress" || lane === null || link.state !== "open") return [];
      if (!this.#ports.isReceived(link.spec, lane)) return [];
      const { tag } = link;
      const wanted = new Set(link.tables.channels.map(({ channel }) => channel));
      return link.confirmedTables.channels
        .filter(({ channel }) => wanted.has(channel))
        .map(({ channel }) => ({ tag, stream, channel, lane }));
    });
    return [...new Map(all.map((one) => [`${one.lane}:${one.tag}:${one.channel}`, one])).values()];
  }
}
