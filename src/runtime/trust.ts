// Who may read what arrived for others: the daemon's own trust domain reads received messages in place, all others get
// copies in a pool of their domain (docs/decisions/0090-trust-domains.md). Pure.
import type { RuntimeConfig } from "./api.ts";

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** A foreign domain. */
export interface TrustDomain {
  readonly key: string;
  /** "user 1000, group 1000" */
  readonly label: string;
}

export const identityText = ({ uid, gid }: Identity): string => `user ${uid}, group ${gid}`;

/** Null: as trusted as the daemon itself. */
export function trustDomain(who: Identity, own: Identity, trust: RuntimeConfig["trust"]): TrustDomain | null {
  const ours = who.uid === own.uid && who.gid === own.gid;
  if (ours || trust.uids.includes(who.uid) || trust.gids.includes(who.gid)) return null;
  return { key: `${who.uid}:${who.gid}`, label: identityText(who) };
}

/** Of this process, as the kernel tells it of its sockets. */
export const ownIdentity = (): Identity => ({ uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 });
