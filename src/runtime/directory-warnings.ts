// What the directory of peers warns of, and what can be done about each. Words only.
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";

export const unauthenticated = (address: string): Warning => ({
  code: WARNING_CODES.UNAUTHENTICATED,
  message: `This runtime exchanges messages on ${address} without authentication or encryption: whoever can send from the address of a peer can pose as it.`,
  cure: "Use a network that only your hosts are on, or filter its UDP ports; bind to a loopback address when no other host is needed.",
});

export const announcementCut = (omitted: number): Warning => ({
  code: WARNING_CODES.ANNOUNCEMENT_CUT,
  message: `${omitted} subscriptions do not fit the hello frames: other hosts will not send messages of those channels here.`,
  cure: "Open fewer channels, or spread them over several runtimes.",
});

export const peerUnlisted = (name: string, from: string): Warning => ({
  code: WARNING_CODES.PEER_UNLISTED,
  message: `The runtime "${name}" at ${from} greets this one, which does not list it: no message goes there.`,
  cure: `If it belongs here, add "${from}" to network.peers.`,
});

export const tagCollision = (endpoint: string, tag: number, stream: string, holder: string): Warning => ({
  code: WARNING_CODES.TAG_COLLISION,
  message: `Peer ${endpoint} subscribes to stream "${stream}", whose tag ${tag} is that of stream "${holder}": its subscription is refused.`,
  cure: "Rename one of the two streams.",
});

export const nameCollision = (
  endpoint: string,
  { stream, channel, name }: { readonly stream: string; readonly channel: number; readonly name: string },
  holder: string,
): Warning => ({
  code: WARNING_CODES.NAME_COLLISION,
  message: `Peer ${endpoint} calls channel ${channel} of stream "${stream}" "${name}", which is called "${holder}": its subscription is refused.`,
  cure: "Rename one of the two.",
});

/** Of what the machine of a peer says. */
export function cureOf(code: string, about: string): string {
  switch (code) {
    case WARNING_CODES.PEER_SILENT:
      return `See whether the runtime of ${about} runs, lists this one among its peers, and can be reached by UDP. It is used again as soon as it is heard of.`;
    case WARNING_CODES.PEER_REFUSED:
      return "Run the same version of INSANE on both hosts.";
    default:
      return "";
  }
}
