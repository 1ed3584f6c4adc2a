// How one stream moves from one datapath to another while it is open (docs/decisions/0050-rebinding.md): which links stand
// meanwhile, in which order they are opened, retired, let go and closed, and what the move cost. When each step is taken
// is the machine's business (models/stream.ts).
import { type Lane, laneOf, lanesOf } from "../protocol/lanes.ts";
import { type NetworkTechnology, streamTag } from "../protocol/qos.ts";
import type { MoveCosts, RebindWhy } from "../protocol/rebound.ts";
import type { PlannedMember } from "../runtime/plan.ts";
import type { Host } from "./host.ts";
import type { LinkActor } from "./link.ts";

/** How often something outside is looked at, ms. */
const LOOK_MS = 3;
/** How long the new datapath may take to reach whom the old one reaches, ms. */
const REACH_MS = 1500;
/** How long the links of the last move may take to end before the next one, ms: their own deadlines are shorter. */
const ENDED_MS = 3500;
/** How long losses of a datapath that was left are still this stream's, ms. */
const RECENT_MS = 15_000;
/** Moves that are remembered. */
const HISTORY = 16;

type Counted = { -readonly [cost in keyof MoveCosts]: MoveCosts[cost] };

/** A move that is over, or was given up. Its counts go on for a while: some is found out late. */
export interface MoveRecord extends Counted {
  readonly at: string;
  readonly from: NetworkTechnology | null;
  readonly to: NetworkTechnology | null;
  readonly why: RebindWhy;
}

export interface RebindingPorts {
  readonly host: Host;
  readonly session: number;
  readonly stream: string;
  /** On which it offers something, and takes something. */
  channels(): { readonly sources: ReadonlySet<number>; readonly sinks: ReadonlySet<number> };
}

type Steps = Pick<PlannedMember, "keep" | "held">;

export class Rebinding {
  readonly history: MoveRecord[] = [];
  moved = 0;
  /** Of all its moves. */
  readonly costs: Counted = { pauseMicroseconds: 0, lost: 0, duplicated: 0, reordered: 0 };
  /** For the plan of links; empty when it does not move. */
  steps: Steps = {};
  /** What other hosts are told to send to while it moves; null: to what it is bound to. */
  receives: NetworkTechnology | null = null;
  readonly #ports: RebindingPorts;
  readonly #recent = new Map<NetworkTechnology, number>();
  #move: MoveRecord | null = null;
  #swappedAt = 0;
  #ending: ReadonlyArray<LinkActor> = [];

  constructor(ports: RebindingPorts) {
    this.#ports = ports;
  }

  /** It has left this datapath, or any, a moment ago: what was lost over that was lost to this stream. */
  left(technology?: NetworkTechnology): boolean {
    const now = this.#now();
    return [...this.#recent].some(([one, until]) => (technology ?? one) === one && now < until);
  }

  /**
   * Messages over a technology (null: one that was left) were lost or dropped. They are the move's while it lasts; afterwards
   * those that were under way over what it left.
   */
  count(technology: NetworkTechnology | null, more: Partial<MoveCosts>): void {
    const last = this.history.at(-1);
    const late = last && last.to !== technology && this.left(technology ?? undefined);
    const record = this.#move ?? (late ? last : undefined);
    if (!record) return;
    for (const key of ["pauseMicroseconds", "lost", "duplicated", "reordered"] as const) {
      record[key] += more[key] ?? 0;
      this.costs[key] += more[key] ?? 0;
    }
  }

  /** The links of the last move are over, so that another one may begin. False: they are not, and it may not. */
  async free(): Promise<boolean> {
    const until = this.#now() + ENDED_MS;
    while (this.#ending.some((link) => this.#ends(link))) {
      if (this.#now() > until) return false;
      await this.#look();
    }
    this.#ending = [];
    return true;
  }

  /** Resolves when the new datapath reaches whoever gets messages over the old one (true), or when that takes too long. */
  async reaches(from: NetworkTechnology | null, to: NetworkTechnology): Promise<boolean> {
    const until = this.#now() + REACH_MS;
    while (!this.#reachesNow(from, to)) {
      if (this.#now() > until) return false;
      await this.#look();
    }
    return true;
  }

  /** It could move at this moment. */
  could(from: NetworkTechnology | null, to: NetworkTechnology): boolean {
    return !this.#ending.some((link) => this.#ends(link)) && this.#reachesNow(from, to);
  }

  #reachesNow(from: NetworkTechnology | null, to: NetworkTechnology): boolean {
    const { sources } = this.#ports.channels();
    const wanted = (over: NetworkTechnology | null): Set<number> => {
      const remote = this.#ports.host.remote(over, this.#ports.stream);
      return new Set([...remote].filter((channel) => sources.has(channel)));
    };
    const there = wanted(to);
    return [...wanted(from)].every((channel) => there.has(channel));
  }

  begin(from: NetworkTechnology | null, to: NetworkTechnology | null, why: RebindWhy): void {
    const at = new Date().toISOString();
    this.#move = { at, from, to, why, pauseMicroseconds: 0, lost: 0, duplicated: 0, reordered: 0 };
    if (from !== null) this.#recent.set(from, this.#now() + RECENT_MS);
    this.#swappedAt = 0;
  }

  /**
   * Opens links over the new datapath beside those over the old one. `held`: what is emitted from then on waits on the new
   * ones. Resolves when all are open: one whose application did not answer in time is opened again. `over`: nobody waits any
   * more.
   */
  async open(
    from: NetworkTechnology | null,
    to: NetworkTechnology | null,
    held: boolean,
    over: () => boolean,
  ): Promise<void> {
    this.steps = { keep: from === null ? [] : [from], held };
    this.receives = held ? from : to;
    this.#ports.host.membersChanged();
    if (to === null) return;
    const began = performance.now();
    while (!(await this.#opened(to)) && !over()) await this.#look();
    this.#swappedAt = held ? performance.now() : began;
  }

  /** Whether every link over a datapath stands that there is something for. */
  async #opened(to: NetworkTechnology): Promise<boolean> {
    const { host, stream } = this.#ports;
    const { sources, sinks } = this.#ports.channels();
    const sends = [...host.remote(to, stream)].some((channel) => sources.has(channel));
    const tag = streamTag(stream);
    const lanes = new Set([...sinks].map((channel) => laneOf(to, tag, channel, host.config.network.udp.threads)));
    const receiving = [...lanes].map((lane) => this.#link("ingress", lane));
    const links = [...(sends ? [this.#link("egress", to)] : []), ...receiving];
    return (await Promise.all(links.map((link) => link?.confirmed() ?? false))).every((open) => open);
  }

  /** Lets the old engine empty its link and mark the end; resolves when the receivers have said so or had their time. */
  async retire(from: NetworkTechnology | null, to: NetworkTechnology | null): Promise<void> {
    const { host } = this.#ports;
    const old = this.#link("egress", from);
    // Where nothing takes over from it, what is emitted still goes there: it ends by being closed.
    if (!old || !this.#link("egress", to)) return;
    const marked = await host.retire(old, host.config.rebind.patienceMs);
    if (marked) this.count(from, { lost: marked.lost });
  }

  /** What waits on the new links goes. */
  async release(to: NetworkTechnology | null): Promise<void> {
    const { host } = this.#ports;
    const link = this.#link("egress", to);
    const { held } = this.steps;
    // First: one that is opened from now on does not begin held.
    this.steps = { ...this.steps, held: false };
    // One that somebody has come to want meanwhile is being opened: it holds at the end of that, and would for good.
    if (held && link?.state === "open") await host.release(link);
    else if (held) void link?.confirmed().then((open) => (open ? host.release(link) : undefined));
    this.#pause();
  }

  /** Other hosts are told where to send; resolves when those that are alive do, or have had their time. */
  async receive(from: NetworkTechnology | null, to: NetworkTechnology | null): Promise<void> {
    const { host } = this.#ports;
    this.receives = to;
    if (this.#ports.channels().sinks.size === 0 || this.#receiving(from).length === 0) return;
    host.announce();
    const until = this.#now() + host.config.rebind.patienceMs + 1000;
    do await this.#look();
    while (!host.announced && this.#now() < until);
  }

  /** The old links are closed; nobody waits for that but the next move. */
  end(from: NetworkTechnology | null, to: NetworkTechnology | null): MoveRecord | null {
    if (from !== to) this.#close(from);
    this.steps = {};
    this.receives = null;
    const record = this.#move;
    this.#move = null;
    if (!record) return null;
    this.moved++;
    this.history.push(record);
    if (this.history.length > HISTORY) this.history.shift();
    return record;
  }

  /** It stays where it is. */
  callOff(from: NetworkTechnology | null, to: NetworkTechnology | null): void {
    if (from !== to) this.#close(to);
    this.#move = null;
    this.steps = {};
    this.receives = null;
  }

  /** It closes: others want it no more either. */
  #ends({ life, spec }: LinkActor): boolean {
    return life.outcome === null && this.#link(spec.kind as "egress" | "ingress", spec.lane)?.spec.id !== spec.id;
  }

  /** The next plan closes these. */
  #close(technology: NetworkTechnology | null): void {
    const links = [this.#link("egress", technology), ...this.#receiving(technology)];
    this.#ending = [...this.#ending, ...links].filter((link) => link?.life.outcome === null) as LinkActor[];
  }

  #pause(): void {
    if (this.#move && this.#swappedAt > 0 && this.#ports.channels().sources.size > 0) {
      this.count(null, { pauseMicroseconds: Math.round(1000 * (performance.now() - this.#swappedAt)) });
    }
    this.#swappedAt = 0;
  }

  #link(kind: "egress" | "ingress", lane: Lane | null): LinkActor | undefined {
    const { host, session, stream } = this.#ports;
    return lane === null ? undefined : host.broker.linkOver(kind, session, stream, lane);
  }

  /** The links by which messages come over a datapath. */
  #receiving(technology: NetworkTechnology | null): LinkActor[] {
    return technology === null ? [] : lanesOf(technology).flatMap((lane) => this.#link("ingress", lane) ?? []);
  }

  #now(): number {
    return this.#ports.host.world.clock.now();
  }

  #look(): Promise<void> {
    return new Promise((resolve) => void this.#ports.host.world.clock.after(LOOK_MS, resolve));
  }
}
