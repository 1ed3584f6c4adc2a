// A consumer as one source sees it: where its messages for it go, what they may take of the link's credits, and what it
// missed. Where several sources share a link to an application, half of the credits are kept in equal shares: what one of
// them has out at a sink that blocks must not stop the others. (Sinks that do not block see to it themselves, sink.ts; the
// network takes what it is given as it comes.)
import type { SinkPolicyRecord } from "../protocol/control.ts";
import type { ReceiverInfo } from "./api.ts";
import type { LinkProducer } from "./link.ts";
import type { ChannelRow, ProducerEnd } from "./producer-end.ts";

/** Of a channel whose policies go without saying. */
const BLOCKS: ReadonlyArray<SinkPolicyRecord> = [{ kind: "block" }];
/** Of one on a link with too many channels for them to be told. */
const UNTOLD: ReadonlyArray<SinkPolicyRecord> = [];

export class Target {
  readonly end: ProducerEnd;
  readonly link: LinkProducer;
  /** Channel index of that link. */
  readonly index: number;
  readonly block: boolean;
  /** Credits that are left when each source has only its share; 0: the source is alone. */
  readonly reserve: number;
  readonly share: number;
  /** Messages that this consumer was not given. */
  missed = 0;
  private readonly policies: ReadonlyArray<SinkPolicyRecord>;
  /** Of its share, what the source may still push before that is counted again. */
  private allowance = 0;

  constructor(end: ProducerEnd, row: ChannelRow) {
    this.end = end;
    this.link = end.link;
    this.index = row.index;
    this.block = row.block;
    this.policies = row.policies ?? (row.block ? BLOCKS : UNTOLD);
    const { entries } = end.link;
    const shared = row.block && end.kind === "direct" && end.sources.size > 1;
    this.reserve = shared ? entries >>> 1 : 0;
    this.share = shared ? Math.max(1, Math.floor((entries >>> 1) / end.sources.size)) : entries;
  }

  /** Whether the source that pushes with `context` has its share while there is little left. To be asked for each message. */
  overdraws(context: number): boolean {
    const { end, link } = this;
    if (this.allowance === 0) {
      end.reclaim();
      if (end.state === "closed") return true;
      if (link.credits > this.reserve) return false;
      this.allowance = Math.max(0, this.share - link.holdingOf(context));
      if (this.allowance === 0) return true;
    }
    this.allowance--;
    return false;
  }

  /** Whether a message of the source could go out now. */
  hasCredit(context: number): boolean {
    const { link } = this;
    if (this.end.state !== "open" || link.credits > this.reserve) return true;
    return link.credits > 0 && link.holdingOf(context) < this.share;
  }

  /** Why there is none, and what to do. */
  get refusal(): string {
    const { end, link, share } = this;
    const who = end.kind === "direct" ? `session ${end.peer.session} (${end.peer.name})` : "the network";
    const held = link.credits === 0 ? `all ${link.entries}` : `this source's share, ${share} of ${link.entries},`;
    return `${who} holds ${held} credits of this link; wait for ready(), or give its sinks another policy.`;
  }

  get info(): ReceiverInfo {
    const { end, link, policies, block, missed } = this;
    return {
      session: end.peer.session,
      name: end.peer.name,
      kind: end.kind === "direct" ? "direct" : "egress",
      policies,
      blocks: block,
      outstanding: link.live,
      entries: link.entries,
      dropped: missed,
    };
  }
}
