// What channels are called, as far as peers disagree: who named a channel first keeps it, and the subscriptions of the others
// are left out, so that messages of two names never mix. Pure, rebuilt whenever somebody's announcement changes.
import type { Warning } from "../protocol/codes.ts";
import type { Announcement } from "./directory.ts";
import { nameCollision } from "./directory-warnings.ts";
import { TagClaims } from "./tag-claims.ts";

const keyOf = ({ stream, channel }: { readonly stream: string; readonly channel: number }): string =>
  `${stream}\n${channel}`;

export class NameClaims {
  readonly #claims = new TagClaims<string>();

  /** A new round, begun by this runtime's own names. */
  begin({ names = [] }: Announcement): void {
    this.#claims.begin();
    for (const one of names) this.#claims.own(keyOf(one), one.name);
  }

  /** What a peer wants, without the channels that it calls by another name than those who were first. */
  agreed(
    peer: { readonly number: number; readonly endpoint: string },
    { names = [], subscriptions }: Announcement,
    warn: (warning: Warning) => void,
  ): Announcement["subscriptions"] {
    const mixed = new Set<string>();
    for (const one of names) {
      const key = keyOf(one);
      const holder = this.#claims.claim(key, one.name);
      if (holder === null) continue;
      mixed.add(key);
      if (this.#claims.firstTime(`${peer.number} ${key} ${one.name}`)) warn(nameCollision(peer.endpoint, one, holder));
    }
    return mixed.size === 0 ? subscriptions : subscriptions.filter((one) => !mixed.has(keyOf(one)));
  }
}
