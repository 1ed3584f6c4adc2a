// What one engine is to send to peers, of all that they ask for: what they take from here, of streams that are the same
// here, and no more than leaves room for others. What is left out is told, once a peer and reason.
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";
import { type Lane, receivesOnly } from "../protocol/lanes.ts";
import type { PeerInfo } from "./directory.ts";
import { addRoute, type RouteTable } from "./route-table.ts";
import { Told } from "./told.ts";

export interface WishPorts {
  /** The engine's. */
  readonly lane: Lane;
  /** The stream of this host that has a tag, if one does: a peer's stream of another name and the same tag is not it. */
  owner(tag: number): string | undefined;
  /** A peer wants a stream whose tag is another stream's here; told once a peer and name. */
  collision(peer: PeerInfo, stream: string, owner: string): void;
  /** A peer gets no messages, or not those of all channels that it wants; told once a peer and code. */
  refused(code: Warning["code"], message: string): void;
}

/** Channels that messages are sent to one peer on: an engine has room for so many, and others need theirs. */
export const ROUTES_A_PEER = 16_384;

export class Wishes {
  readonly #ports: WishPorts;
  readonly #collisions = new Told();
  readonly #refused = new Told();

  constructor(ports: WishPorts) {
    this.#ports = ports;
  }

  /** The routes to an endpoint of a peer. `collides`: another name had the tag of one. */
  of(info: PeerInfo, lane: Lane): { readonly wanted: RouteTable; readonly collides: boolean } {
    const wanted: RouteTable = new Map();
    let collides = false;
    // A peer that does not take what comes from here would lose it.
    if (receivesOnly(this.#ports.lane) || !info.knows.includes(this.#ports.lane)) return { wanted, collides };
    let asked = 0;
    for (const one of info.subscriptions) {
      if (one.lane !== lane) continue;
      if (!this.#isOurs(info, one.tag, one.stream)) collides = true;
      else if (++asked <= ROUTES_A_PEER) addRoute(wanted, one);
    }
    if (asked > ROUTES_A_PEER) {
      const why = `wants messages of ${asked} channels, and gets those of ${ROUTES_A_PEER}`;
      this.refuse(info, WARNING_CODES.ANNOUNCEMENT_CUT, why);
    }
    return { wanted, collides };
  }

  refuse({ peer, name, endpoint }: PeerInfo, code: Warning["code"], why: string): void {
    if (this.#refused.first(`${peer} ${code}`)) this.#ports.refused(code, `Peer ${name} at ${endpoint} ${why}.`);
  }

  #isOurs(info: PeerInfo, tag: number, stream: string): boolean {
    const owner = this.#ports.owner(tag);
    if (owner === undefined || owner === stream) return true;
    if (this.#collisions.first(`${info.peer}:${stream}`)) this.#ports.collision(info, stream, owner);
    return false;
  }
}
