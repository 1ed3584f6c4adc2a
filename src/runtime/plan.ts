// The link broker's arithmetic: from who produces and consumes what, here and on other hosts, to the links there should
// be and the difference from those there are. Pure: no actor, no memory, no clock. src/runtime/broker.ts acts on it.
import type { NetworkTechnology } from "../protocol/qos.ts";

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
    readonly technology: NetworkTechnology;
    readonly stream: string;
    readonly channel: number;
  }>;
  /** Datapaths that there is an engine for. */
  readonly networks: ReadonlyArray<NetworkTechnology>;
}

export interface ChannelEntry {
  readonly index: number;
  readonly channel: number;
  readonly block: boolean;
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
  readonly technology: NetworkTechnology | null;
  /** Session ids; null is the engine. */
  readonly producer: number | null;
  readonly consumer: number | null;
  readonly tables: LinkTables;
  /** The index that the next new channel gets: indices are not used again while messages with them may be under way. */
  readonly nextIndex: number;
  /** It begins held (PlannedMember). */
  readonly held: boolean;
}
/** What is known of a link that is there. */
export interface ExistingLink {
  readonly key: string;
  readonly tables: LinkTables;
  readonly nextIndex: number;
}
export interface Plan {
  readonly open: ReadonlyArray<WantedLink>;
  readonly update: ReadonlyArray<WantedLink>;
  readonly close: ReadonlyArray<string>;
}

const MAX_INDEX = 0x10000;

export const linkKey = (
  kind: LinkKind,
  stream: string,
  producer: number | null,
  consumer: number | null,
  technology: NetworkTechnology | null,
): string => `${kind}:${producer ?? technology}>${consumer ?? technology}:${stream}`;

/**
 * Over which datapaths a member bound to one takes messages. A sender chooses by itself, so where there is RDMA everybody
 * takes from it, and who is bound to it takes datagrams of those who are not.
 */
export function receivesOver(
  datapath: NetworkTechnology,
  networks: ReadonlyArray<NetworkTechnology>,
): ReadonlyArray<NetworkTechnology> {
  if (!networks.includes("rdma")) return [datapath];
  return datapath === "rdma" ? networks.filter((one) => one === "rdma" || one === "udp") : [datapath, "rdma"];
}

/** All links there should be, by key, with channel indices that continue those of `existing`. */
export function wantedLinks(input: PlanInput, existing: ReadonlyMap<string, ExistingLink>): Map<string, WantedLink> {
  const wanted = new Map<string, WantedLink>();
  const want = (
    kind: LinkKind,
    stream: string,
    producer: number | null,
    consumer: number | null,
    technology: NetworkTechnology | null,
    channels: ReadonlyMap<number, boolean>,
    sources: ReadonlyArray<PlannedSource>,
    how: { readonly onlyIfThere?: boolean; readonly held?: boolean } = {},
  ) => {
    if (channels.size === 0) return;
    const key = linkKey(kind, stream, producer, consumer, technology);
    if (how.onlyIfThere && !existing.has(key)) return;
    const before = existing.get(key);
    const { entries, nextIndex } = number(channels, before);
    const mine = sources
      .filter((source) => channels.has(source.channel))
      .map((source) => ({ index: source.index, source: source.id, channel: source.channel }))
      .sort((a, b) => a.index - b.index);
    const tables = { channels: entries, sources: mine };
    const held = how.held ?? false;
    wanted.set(key, { key, kind, stream, technology, producer, consumer, tables, nextIndex, held });
  };

  const byStream = new Map<string, PlannedMember[]>();
  for (const member of input.members) {
    const list = byStream.get(member.stream);
    if (list) list.push(member);
    else byStream.set(member.stream, [member]);
  }
  const remote = new Map<string, Set<number>>();
  for (const { technology, stream, channel } of input.remote) {
    const key = `${technology}:${stream}`;
    const set = remote.get(key);
    if (set) set.add(channel);
    else remote.set(key, new Set([channel]));
  }

  for (const [stream, members] of byStream) {
    for (const producer of members) {
      const offered = new Set(producer.sources.map((source) => source.channel));
      for (const consumer of members) {
        const channels = sinkChannels(consumer, offered);
        want("direct", stream, producer.session, consumer.session, null, channels, producer.sources);
      }
      for (const over of new Set([producer.datapath, ...(producer.keep ?? [])])) {
        if (over === null || !input.networks.includes(over)) continue;
        const leaving = over !== producer.datapath;
        const elsewhere = remote.get(`${over}:${stream}`);
        if (elsewhere) {
          const channels = new Map([...offered].filter((channel) => elsewhere.has(channel)).map((c) => [c, true]));
          const how = { onlyIfThere: leaving, held: !leaving && producer.held === true };
          want("egress", stream, producer.session, null, over, channels, producer.sources, how);
        }
      }
      const from = (over: NetworkTechnology | null): ReadonlyArray<NetworkTechnology> =>
        over === null || !input.networks.includes(over) ? [] : receivesOver(over, input.networks);
      const wantedFrom = new Set(from(producer.datapath));
      for (const over of new Set([...wantedFrom, ...(producer.keep ?? []).flatMap(from)])) {
        const how = { onlyIfThere: !wantedFrom.has(over) };
        want("ingress", stream, null, producer.session, over, sinkChannels(producer, null), [], how);
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
      return y !== undefined && x.index === y.index && x.channel === y.channel && x.block === y.block;
    }) &&
    a.sources.every((x, i) => {
      const y = b.sources[i];
      return y !== undefined && x.index === y.index && x.source === y.source && x.channel === y.channel;
    })
  );
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

/** The channels of a member's sinks (those of `offered`, or all), and whether a full link blocks for one of them. */
function sinkChannels(member: PlannedMember, offered: ReadonlySet<number> | null): Map<number, boolean> {
  const channels = new Map<number, boolean>();
  for (const sink of member.sinks) {
    if (offered && !offered.has(sink.channel)) continue;
    channels.set(sink.channel, (channels.get(sink.channel) ?? false) || sink.block);
  }
  return channels;
}

/** Gives each channel its index: the one it has, else the next that is free. */
function number(
  channels: ReadonlyMap<number, boolean>,
  before: ExistingLink | undefined,
): { entries: ChannelEntry[]; nextIndex: number } {
  const known = new Map(before?.tables.channels.map((entry) => [entry.channel, entry.index]));
  const taken = new Set(known.values());
  let nextIndex = before?.nextIndex ?? 0;
  const entries: ChannelEntry[] = [];
  for (const [channel, block] of channels) {
    let index = known.get(channel);
    if (index === undefined) {
      while (taken.has(nextIndex)) nextIndex = (nextIndex + 1) % MAX_INDEX;
      index = nextIndex;
      taken.add(index);
      nextIndex = (nextIndex + 1) % MAX_INDEX;
    }
    entries.push({ index, channel, block });
  }
  entries.sort((a, b) => a.index - b.index);
  return { entries, nextIndex };
}
