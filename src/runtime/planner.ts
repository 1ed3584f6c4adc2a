// The plan of links (plan.ts), kept up to date: it remembers who produces and consumes what, finds what has changed since
// it looked last, and plans anew only the links which that concerns. Members are compared by identity: one that has changed
// is another object. Pure: no actor, no memory, no clock.
import type { Lane } from "../protocol/lanes.ts";
import {
  direct,
  type Ends,
  type ExistingLink,
  egress,
  ingress,
  type LinkKind,
  linkKey,
  offeredChannels,
  type Plan,
  type PlannedMember,
  type PlannedSink,
  type PlannedSource,
  samePolicy,
  sameTables,
  type WantedLink,
  wantedLink,
} from "./plan.ts";

/** What peers that are alive want, and over which datapath of ours they can be reached. */
export interface RemoteWishes {
  /** Another number whenever anything at all, or what is wanted of one stream, is something else. */
  readonly version: number;
  versionOf(lane: Lane, stream: string): number;
  has(lane: Lane, stream: string, channel: number): boolean;
}

export interface PlannerInput {
  readonly members: ReadonlyArray<PlannedMember>;
  readonly remote: RemoteWishes;
  /** See PlanInput. */
  readonly networks: ReadonlyArray<Lane>;
  readonly spread?: number;
}

/** What is known of a link that is there. */
type Existing = (key: string) => ExistingLink | undefined;

interface Known {
  member: PlannedMember;
  /** Channels of its sources and of its sinks. */
  readonly offered: Set<number>;
  readonly taken: Set<number>;
  /** The round in which it was seen last. */
  seen: number;
}

interface OfStream {
  readonly members: Map<number, Known>;
  /** Channel -> sessions. */
  readonly producers: Map<number, Set<number>>;
  readonly consumers: Map<number, Set<number>>;
  /** What peers want of it, as last looked at. */
  readonly remote: Map<Lane, number>;
}

const NOBODY: ReadonlySet<number> = new Set();

export class Planner {
  readonly #streams = new Map<string, OfStream>();
  readonly #byMember = new Map<PlannedMember, Known>();
  /** Links there should be. */
  readonly #wanted = new Map<string, WantedLink>();
  /** Links that what has changed concerns. */
  readonly #touched = new Map<string, Ends>();
  /** Links that are wanted and were not there when last looked. */
  readonly #unmet = new Set<string>();
  #networks: ReadonlyArray<Lane> = [];
  /** The same as long as a runtime lives. */
  #spread = 1;
  #remote: RemoteWishes | null = null;
  #remoteVersion = Number.NaN;
  #round = 0;

  /** What to open, change and close so that the links become what they should be; what is not done is said again. */
  plan(input: PlannerInput, existing: Existing): Plan {
    this.#look(input);
    const update: WantedLink[] = [];
    const close: string[] = [];
    for (const [key, ends] of this.#touched) {
      const before = existing(key);
      const link = this.#link(ends, existing);
      if (link === null) {
        this.#wanted.delete(key);
        this.#unmet.delete(key);
        if (before) close.push(key);
        continue;
      }
      this.#wanted.set(key, link);
      if (!before) this.#unmet.add(key);
      else if (!sameTables(before.tables, link.tables)) update.push(link);
    }
    this.#touched.clear();
    const open: WantedLink[] = [];
    for (const key of this.#unmet) {
      const link = this.#wanted.get(key);
      if (link && !existing(key)) open.push(link);
      else this.#unmet.delete(key);
    }
    return { open, update, close };
  }

  /** A link has ended that was not to be closed: if it is still wanted it is another one. */
  lost(key: string): void {
    const link = this.#wanted.get(key);
    if (!link) return;
    const { kind, stream, producer, consumer, lane } = link;
    this.#touched.set(key, { kind, stream, producer, consumer, lane });
  }

  /** How many links there would be more if this member were as given. */
  more(member: PlannedMember, input: PlannerInput, existing: Existing): number {
    this.#look(input);
    const { session, stream, sinks } = member;
    const of = this.#streams.get(stream);
    const offered = offeredChannels(member);
    const taken = new Set(sinks.map(({ channel }) => channel));
    const keys = new Set<string>();
    for (const channel of offered) {
      for (const other of of?.consumers.get(channel) ?? NOBODY) {
        if (other !== session) keys.add(linkKey("direct", stream, session, other, null));
      }
      if (taken.has(channel)) keys.add(linkKey("direct", stream, session, session, null));
    }
    for (const channel of taken) {
      for (const other of of?.producers.get(channel) ?? NOBODY) {
        if (other !== session) keys.add(linkKey("direct", stream, other, session, null));
      }
    }
    for (const lane of this.#networks) {
      for (const kind of ["egress", "ingress"] as const) {
        const [producer, consumer] = kind === "egress" ? [session, null] : [null, session];
        const ends = { kind, stream, producer, consumer, lane };
        const link = wantedLink(ends, this.#request(ends, member), existing);
        if (link) keys.add(link.key);
      }
    }
    return [...keys].filter((key) => !existing(key)).length;
  }

  /** Finds what has changed. */
  #look({ members, remote, networks, spread = 1 }: PlannerInput): void {
    this.#spread = spread;
    this.#remote = remote;
    const round = ++this.#round;
    let seen = 0;
    for (const member of members) {
      const known = this.#byMember.get(member) ?? this.#changed(member);
      known.seen = round;
      seen++;
    }
    if (seen < this.#byMember.size) {
      for (const [member, known] of this.#byMember) if (known.seen !== round) this.#gone(member);
    }
    this.#lookAtNetworks(networks);
    if (remote.version === this.#remoteVersion) return;
    this.#remoteVersion = remote.version;
    for (const [stream, of] of this.#streams) {
      for (const lane of networks) {
        const version = remote.versionOf(lane, stream);
        if (of.remote.get(lane) === version) continue;
        of.remote.set(lane, version);
        for (const session of of.members.keys()) this.#touchLink("egress", stream, session, null, lane);
      }
    }
  }

  #lookAtNetworks(networks: ReadonlyArray<Lane>): void {
    const before = this.#networks;
    if (before.length === networks.length && before.every((lane) => networks.includes(lane))) return;
    this.#networks = [...networks];
    for (const member of this.#byMember.keys()) {
      for (const lane of new Set([...before, ...networks])) {
        this.#touchNetwork("egress", member, lane);
        this.#touchNetwork("ingress", member, lane);
      }
    }
  }

  /** A member that is new, or takes the place of what it was. */
  #changed(member: PlannedMember): Known {
    const { session, stream } = member;
    let of = this.#streams.get(stream);
    if (!of) {
      of = { members: new Map(), producers: new Map(), consumers: new Map(), remote: new Map() };
      this.#streams.set(stream, of);
      // Whoever looks at it first does not know what peers want of it.
      this.#remoteVersion = Number.NaN;
    }
    let known = of.members.get(session);
    const before = known?.member ?? null;
    if (known) this.#byMember.delete(known.member);
    else {
      known = { member, offered: new Set(), taken: new Set(), seen: this.#round };
      of.members.set(session, known);
    }
    known.member = member;
    this.#byMember.set(member, known);
    this.#replace(of, known, before, member);
    return known;
  }

  #gone(member: PlannedMember): void {
    const { session, stream } = member;
    const known = this.#byMember.get(member);
    const of = this.#streams.get(stream);
    this.#byMember.delete(member);
    if (!of || !known) return;
    this.#replace(of, known, member, null);
    of.members.delete(session);
    if (of.members.size === 0) this.#streams.delete(stream);
  }

  /** Brings what is known of a member up to date, and touches the links which that concerns. */
  #replace(of: OfStream, known: Known, before: PlannedMember | null, after: PlannedMember | null): void {
    const { session, stream } = known.member;
    const offers = changedChannels(before?.sources, after?.sources, sameSource);
    const takes = changedChannels(before?.sinks, after?.sinks, sameSink);
    // Its own links count in both directions: they are found before the index changes, or after.
    this.#touch(of, session, stream, offers, takes);
    for (const channel of offers) {
      const offered = after?.sources.some((source) => source.channel === channel) === true;
      if (offered) known.offered.add(channel);
      else known.offered.delete(channel);
      index(of.producers, channel, session, offered);
    }
    for (const channel of takes) {
      const taken = after?.sinks.some((sink) => sink.channel === channel) === true;
      if (taken) known.taken.add(channel);
      else known.taken.delete(channel);
      index(of.consumers, channel, session, taken);
    }
    this.#touch(of, session, stream, offers, takes);
    const moved = !before || !after || !sameBinding(before, after);
    for (const lane of this.#networks) {
      if (moved || offers.size > 0) this.#touchNetwork("egress", known.member, lane);
      if (moved || takes.size > 0) this.#touchNetwork("ingress", known.member, lane);
    }
  }

  #touch(of: OfStream, session: number, stream: string, offers: ReadonlySet<number>, takes: ReadonlySet<number>): void {
    for (const channel of offers) {
      for (const other of of.consumers.get(channel) ?? NOBODY) this.#touchLink("direct", stream, session, other, null);
    }
    for (const channel of takes) {
      for (const other of of.producers.get(channel) ?? NOBODY) this.#touchLink("direct", stream, other, session, null);
    }
  }

  #touchNetwork(kind: "egress" | "ingress", { stream, session }: PlannedMember, lane: Lane): void {
    if (kind === "egress") this.#touchLink(kind, stream, session, null, lane);
    else this.#touchLink(kind, stream, null, session, lane);
  }

  #touchLink(
    kind: LinkKind,
    stream: string,
    producer: number | null,
    consumer: number | null,
    lane: Lane | null,
  ): void {
    const key = linkKey(kind, stream, producer, consumer, lane);
    if (!this.#touched.has(key)) this.#touched.set(key, { kind, stream, producer, consumer, lane });
  }

  /** One link as it should be, or null. */
  #link(ends: Ends, existing: Existing): WantedLink | null {
    const of = this.#streams.get(ends.stream);
    const producer = ends.producer === null ? undefined : of?.members.get(ends.producer);
    const consumer = ends.consumer === null ? undefined : of?.members.get(ends.consumer);
    if (ends.kind === "direct") {
      const request = producer && consumer ? direct(producer.member, consumer.member, producer.offered) : null;
      return wantedLink(ends, request, existing);
    }
    const member = (producer ?? consumer)?.member;
    return member ? wantedLink(ends, this.#request(ends, member), existing) : null;
  }

  /** What is to go over a link to or from an engine, if this is the member at its other end. */
  #request({ kind, stream, lane }: Ends, member: PlannedMember): ReturnType<typeof egress> {
    if (lane === null) return null;
    if (kind === "ingress") return ingress(member, lane, this.#networks, this.#spread);
    const isWanted = (channel: number): boolean => this.#remote?.has(lane, stream, channel) === true;
    return egress(member, lane, this.#networks, isWanted);
  }
}

/** They are bound the same way, and are at the same step of a move. */
function sameBinding(a: PlannedMember, b: PlannedMember): boolean {
  const [keptByA, keptByB] = [a.keep ?? [], b.keep ?? []];
  return (
    a.datapath === b.datapath &&
    (a.held ?? false) === (b.held ?? false) &&
    keptByA.length === keptByB.length &&
    keptByA.every((lane) => keptByB.includes(lane))
  );
}

function index(sessionsOf: Map<number, Set<number>>, channel: number, session: number, there: boolean): void {
  const sessions = sessionsOf.get(channel);
  if (there) {
    if (sessions) sessions.add(session);
    else sessionsOf.set(channel, new Set([session]));
    return;
  }
  sessions?.delete(session);
  if (sessions?.size === 0) sessionsOf.delete(channel);
}

const sameSource = (a: PlannedSource, b: PlannedSource): boolean =>
  a.id === b.id && a.index === b.index && a.channel === b.channel;
const sameSink = (a: PlannedSink, b: PlannedSink): boolean =>
  a.channel === b.channel && a.block === b.block && samePolicy(a.policy, b.policy);

/**
 * Channels on which two lists may differ. What they have in common at the beginning and at the end is passed over: of
 * thousands of endpoints one has come or gone, as a rule.
 */
function changedChannels<T extends { readonly channel: number }>(
  before: ReadonlyArray<T> = [],
  after: ReadonlyArray<T> = [],
  same: (a: T, b: T) => boolean,
): Set<number> {
  const equal = (i: number, j: number): boolean => {
    const [a, b] = [before[i], after[j]];
    return a !== undefined && b !== undefined && (a === b || same(a, b));
  };
  let first = 0;
  while (first < before.length && equal(first, first)) first++;
  let [i, j] = [before.length - 1, after.length - 1];
  for (; i >= first && j >= first && equal(i, j); i--) j--;
  const changed = new Set<number>();
  for (const { channel } of before.slice(first, i + 1)) changed.add(channel);
  for (const { channel } of after.slice(first, j + 1)) changed.add(channel);
  return changed;
}
