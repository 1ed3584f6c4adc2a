// The link broker's arithmetic: from who produces and consumes what, here and on other hosts, to the links there should
// be and the difference from those there are. Pure: no actor, no memory, no clock. This is the whole plan, which says what
// is right; planner.ts comes to the same by looking only at what has changed, and src/runtime/broker.ts acts on that.
import type { SinkPolicyRecord } from "../protocol/control.ts";
import { type Lane, laneOf, technologyOf } from "../protocol/lanes.ts";
import { type NetworkTechnology, streamTag } from "../protocol/qos.ts";

export type LinkKind = "direct" | "egress" | "ingress";

/** A source that takes part: its session's pools are mapped and sealed. */
export interface PlannedSource {
  readonly id: number;
  /** Index among the sources of its session and stream, as descriptors carry it. */
  readonly index: number;
  readonly channel: number;
}
export interface PlannedSink {
  readonly channel: number;
  /** Its policy lets a full link block the source. */
  readonly block: boolean;
  /** As its source is to know it. */
  readonly policy?: SinkPolicyRecord;
}
/** One session's part in one stream. */
export interface PlannedMember {
  readonly session: number;
  readonly stream: string;
  /** What it is bound to across hosts; null: nothing. */
  readonly datapath: NetworkTechnology | null;
  /** While it moves: links that stand over these stay, and no others are opened. */
  readonly keep?: ReadonlyArray<NetworkTechnology>;
  /** While it moves: what it sends over the new datapath waits until what it sent before has arrived. */
  readonly held?: boolean;
  readonly sources: ReadonlyArray<PlannedSource>;
  readonly sinks: ReadonlyArray<PlannedSink>;
}
export interface PlanInput {
  readonly members: ReadonlyArray<PlannedMember>;
  /** What peers that are alive want, and over which datapath of ours they can be reached. */
  readonly remote: ReadonlyArray<{
    readonly lane: Lane;
    readonly stream: string;
    readonly channel: number;
  }>;
  /** Lanes that there is an engine for. */
  readonly networks: ReadonlyArray<Lane>;
  /** Lanes that messages over kernel UDP are spread over, whether or not their engines run; left out: 1. */
  readonly spread?: number;
}

/** What the sinks of a channel at one end of a link ask for together. */
export interface ChannelWish {
  /** One of them blocks. */
  readonly block: boolean;
  /** Of those whose policy is known, in the order in which they opened. */
  readonly policies: ReadonlyArray<SinkPolicyRecord>;
}
export interface ChannelEntry extends ChannelWish {
  readonly index: number;
  readonly channel: number;
}
export interface SourceEntry {
  readonly index: number;
  readonly source: number;
  readonly channel: number;
}
/** What both ends of a link must agree on. */
export interface LinkTables {
  readonly channels: ReadonlyArray<ChannelEntry>;
  readonly sources: ReadonlyArray<SourceEntry>;
}
export interface WantedLink {
  readonly key: string;
  readonly kind: LinkKind;
  readonly stream: string;
  /** Whose engine is the other end; null for direct links. */
  readonly lane: Lane | null;
  /** Session ids; null is the engine. */
  readonly producer: number | null;
  readonly consumer: number | null;
  readonly tables: LinkTables;
  /** The index that the next new channel gets: indices are not used again while messages with them may be under way. */
  readonly nextIndex: number;
  /** Channels that it carried before, and their indices: an end may know them yet, and they may come back. */
  readonly former: ReadonlyMap<number, number>;
  /** A stream moves to it: one to the network begins held (PlannedMember). */
  readonly held: boolean;
}
/** What is known of a link that is there. */
export interface ExistingLink {
  readonly key: string;
  readonly tables: LinkTables;
  readonly nextIndex: number;
  readonly former: ReadonlyMap<number, number>;
}
export interface Plan {
  readonly open: ReadonlyArray<WantedLink>;
  readonly update: ReadonlyArray<WantedLink>;
  readonly close: ReadonlyArray<string>;
}

const MAX_INDEX = 0x10000;
/** Most channels of the past whose indices a link remembers. */
const MOST_FORMER = 4096;

export const linkKey = (
  kind: LinkKind,
  stream: string,
  producer: number | null,
  consumer: number | null,
  lane: Lane | null,
): string => `${kind}:${producer ?? lane}>${consumer ?? lane}:${stream}`;

/**
 * Over which datapaths a member bound to one takes messages. A sender chooses by itself, so where there is RDMA everybody
 * takes from it, and who is bound to it takes datagrams of those who are not.
 */
export function receivesOver(
  datapath: NetworkTechnology,
  networks: ReadonlyArray<Lane>,
): ReadonlyArray<NetworkTechnology> {
  if (!networks.includes("rdma")) return [datapath];
  return datapath === "rdma" ? networks.filter((one) => one === "rdma" || one === "udp") : [datapath, "rdma"];
}

/** Who a link is between. */
export type Ends = Pick<WantedLink, "kind" | "stream" | "lane" | "producer" | "consumer">;

/** What is to go over a link, if anything is. */
export interface Request {
  readonly channels: ReadonlyMap<number, ChannelWish>;
  readonly sources: ReadonlyArray<PlannedSource>;
  /** One that stands stays, another is not opened. */
  readonly onlyIfThere?: boolean;
  readonly held?: boolean;
}

export const direct = (
  producer: PlannedMember,
  consumer: PlannedMember,
  offered = offeredChannels(producer),
): Request => ({
  channels: sinkChannels(consumer, offered),
  sources: producer.sources,
});

/** What goes to other hosts waits for the network. */
const NETWORK: ChannelWish = { block: true, policies: [] };

/** To other hosts over a lane, where `isWanted` says what they want of the member's stream. */
export function egress(
  producer: PlannedMember,
  over: Lane,
  networks: ReadonlyArray<Lane>,
  isWanted: (channel: number) => boolean,
): Request | null {
  const leaving = over !== producer.datapath;
  if (!networks.includes(over) || (leaving && !producer.keep?.some((kept) => kept === over))) return null;
  const channels = new Map([...offeredChannels(producer)].filter(isWanted).map((channel) => [channel, NETWORK]));
  return { channels, sources: producer.sources, onlyIfThere: leaving, held: !leaving && producer.held === true };
}

/** From other hosts over a lane: of kernel UDP, the channels that come by it. */
export function ingress(
  consumer: PlannedMember,
  over: Lane,
  networks: ReadonlyArray<Lane>,
  spread: number,
): Request | null {
  const technology = technologyOf(over);
  const isFrom = (bound: NetworkTechnology | null): boolean =>
    bound !== null &&
    networks.includes(bound) &&
    networks.includes(over) &&
    receivesOver(bound, networks).includes(technology);
  const now = isFrom(consumer.datapath);
  if (!now && !consumer.keep?.some(isFrom)) return null;
  const all = sinkChannels(consumer, null);
  return {
    channels: spread === 1 && over === technology ? all : onLane(all, consumer.stream, over, spread),
    sources: [],
    onlyIfThere: !now,
    held: now && consumer.held === true,
  };
}

function onLane(
  channels: ReadonlyMap<number, ChannelWish>,
  stream: string,
  lane: Lane,
  spread: number,
): Map<number, ChannelWish> {
  const [technology, tag] = [technologyOf(lane), streamTag(stream)];
  return new Map([...channels].filter(([channel]) => laneOf(technology, tag, channel, spread) === lane));
}

/** The link between these ends as it should be, or null. */
export function wantedLink(
  ends: Ends,
  request: Request | null,
  existing: (key: string) => ExistingLink | undefined,
): WantedLink | null {
  if (!request || request.channels.size === 0) return null;
  const { kind, stream, producer, consumer, lane } = ends;
  const { channels, sources, onlyIfThere, held = false } = request;
  const key = linkKey(kind, stream, producer, consumer, lane);
  const before = existing(key);
  if (onlyIfThere && !before) return null;
  const { entries, ...numbers } = number(channels, before);
  const mine = sources
    .filter((source) => channels.has(source.channel))
    .map((source) => ({ index: source.index, source: source.id, channel: source.channel }))
    .sort((a, b) => a.index - b.index);
  const tables = { channels: entries, sources: mine };
  return { key, kind, stream, lane, producer, consumer, tables, ...numbers, held };
}

export const offeredChannels = ({ sources }: PlannedMember): Set<number> =>
  new Set(sources.map((source) => source.channel));

/** All links there should be, by key, with channel indices that continue those of `existing`. */
export function wantedLinks(input: PlanInput, existing: ReadonlyMap<string, ExistingLink>): Map<string, WantedLink> {
  const wanted = new Map<string, WantedLink>();
  const want = (ends: Ends, request: Request | null): void => {
    const link = wantedLink(ends, request, (key) => existing.get(key));
    if (link) wanted.set(link.key, link);
  };

  const byStream = new Map<string, PlannedMember[]>();
  for (const member of input.members) {
    const list = byStream.get(member.stream);
    if (list) list.push(member);
    else byStream.set(member.stream, [member]);
  }
  const remote = new Set(input.remote.map(({ lane, stream, channel }) => `${lane}:${channel}:${stream}`));
  const { networks, spread = 1 } = input;
  for (const [stream, members] of byStream) {
    for (const member of members) {
      const { session } = member;
      for (const other of members) {
        const ends = { stream, producer: session, consumer: other.session, lane: null };
        want({ kind: "direct", ...ends }, direct(member, other));
      }
      for (const lane of networks) {
        const isWanted = (channel: number): boolean => remote.has(`${lane}:${channel}:${stream}`);
        const out = { stream, producer: session, consumer: null, lane };
        want({ kind: "egress", ...out }, egress(member, lane, networks, isWanted));
        const back = { stream, producer: null, consumer: session, lane };
        want({ kind: "ingress", ...back }, ingress(member, lane, networks, spread));
      }
    }
  }
  return wanted;
}

/** What to open, change and close so that the links become what they should be. */
export function plan(input: PlanInput, existing: ReadonlyMap<string, ExistingLink>): Plan {
  const wanted = wantedLinks(input, existing);
  const open: WantedLink[] = [];
  const update: WantedLink[] = [];
  for (const link of wanted.values()) {
    const before = existing.get(link.key);
    if (!before) open.push(link);
    else if (!sameTables(before.tables, link.tables)) update.push(link);
  }
  const close = [...existing.keys()].filter((key) => !wanted.has(key));
  return { open, update, close };
}

export function sameTables(a: LinkTables, b: LinkTables): boolean {
  return (
    a.channels.length === b.channels.length &&
    a.sources.length === b.sources.length &&
    a.channels.every((x, i) => {
      const y = b.channels[i];
      return y !== undefined && x.index === y.index && x.channel === y.channel && sameWish(x, y);
    }) &&
    a.sources.every((x, i) => {
      const y = b.sources[i];
      return y !== undefined && x.index === y.index && x.source === y.source && x.channel === y.channel;
    })
  );
}

function sameWish(a: ChannelWish, b: ChannelWish): boolean {
  return (
    a.block === b.block &&
    a.policies.length === b.policies.length &&
    a.policies.every((policy, i) => samePolicy(policy, b.policies[i]))
  );
}

export function samePolicy(a: SinkPolicyRecord | undefined, b: SinkPolicyRecord | undefined): boolean {
  const depth = (of: SinkPolicyRecord | undefined): number => (of?.kind === "keep-last" ? of.depth : 0);
  return a?.kind === b?.kind && depth(a) === depth(b);
}

/**
 * The tables that let both the old and the new be understood: what a consumer holds while its producer changes from one
 * to the other.
 */
export function unionTables(before: LinkTables, after: LinkTables): LinkTables {
  const channels = new Map(before.channels.map((entry) => [entry.index, entry]));
  for (const entry of after.channels) channels.set(entry.index, entry);
  const sources = new Map(before.sources.map((entry) => [entry.index, entry]));
  for (const entry of after.sources) sources.set(entry.index, entry);
  return {
    channels: [...channels.values()].sort((a, b) => a.index - b.index),
    sources: [...sources.values()].sort((a, b) => a.index - b.index),
  };
}

/** The channels of a member's sinks (those of `offered`, or all), and what those ask for. */
function sinkChannels(member: PlannedMember, offered: ReadonlySet<number> | null): Map<number, ChannelWish> {
  const channels = new Map<number, { block: boolean; policies: SinkPolicyRecord[] }>();
  for (const { channel, block, policy } of member.sinks) {
    if (offered && !offered.has(channel)) continue;
    const wish = channels.get(channel) ?? { block: false, policies: [] };
    wish.block ||= block;
    if (policy) wish.policies.push(policy);
    channels.set(channel, wish);
  }
  return channels;
}

const NONE: ReadonlyMap<number, number> = new Map();

/**
 * Gives each channel its index: the one it has or had, else the next that is free. With another one a channel that comes
 * back before both ends know that it was gone would be two things to an engine, which knows its sources by it.
 */
function number(
  channels: ReadonlyMap<number, ChannelWish>,
  before: ExistingLink | undefined,
): { entries: ChannelEntry[]; nextIndex: number; former: ReadonlyMap<number, number> } {
  const known = new Map(before?.former);
  for (const { channel, index } of before?.tables.channels ?? []) known.set(channel, index);
  const taken = new Set(known.values());
  let nextIndex = before?.nextIndex ?? 0;
  const entries: ChannelEntry[] = [];
  for (const [channel, { block, policies }] of channels) {
    let index = known.get(channel);
    if (index === undefined) {
      while (taken.has(nextIndex)) nextIndex = (nextIndex + 1) % MAX_INDEX;
      index = nextIndex;
      taken.add(index);
      nextIndex = (nextIndex + 1) % MAX_INDEX;
    }
    entries.push({ index, channel, block, policies });
  }
  entries.sort((a, b) => a.index - b.index);
  const gone = [...known].filter(([channel]) => !channels.has(channel));
  return { entries, nextIndex, former: gone.length === 0 ? NONE : new Map(gone.slice(-MOST_FORMER)) };
}
