// The link broker: keeps the links there are equal to the links there should be (planner.ts). It makes their actors, tells
// them of changed tables, closes them, and waits before it tries again what failed.
import type { World } from "../actors/life.ts";
import { LinkActor } from "../actors/link.ts";
import type { EndRole, LinkEnd } from "../actors/link-end.ts";
import type { Lane } from "../protocol/lanes.ts";
import { linkKey, type PlannedMember, type WantedLink } from "./plan.ts";
import { Planner, type PlannerInput } from "./planner.ts";

/** Waits before a link that failed is tried again, ms: doubled each time, while somebody wants it. */
const RETRY_FIRST_MS = 250;
const RETRY_LAST_MS = 8000;

export interface BrokerPorts {
  readonly world: World;
  readonly entries: number;
  /** Who produces and consumes what, here and elsewhere, at this moment. */
  input(): PlannerInput;
  /** A session's side of links; undefined while there is none. */
  end(session: number): LinkEnd | undefined;
  /** The side of a lane's engine. */
  engine(lane: Lane): LinkEnd | undefined;
  /** That end broke the contract of the shared memory on this link. */
  accused(link: LinkActor, end: LinkEnd, message: string): void;
  added(link: LinkActor): void;
  /** A link has taken its tables over (ready), or is over. */
  changed(link: LinkActor, ready: boolean): void;
  ended(link: LinkActor): void;
}

interface Entry {
  readonly key: string;
  readonly link: LinkActor;
  wanted: WantedLink;
}

export class Broker {
  readonly #ports: BrokerPorts;
  /** Links that should be there, by key. */
  readonly #current = new Map<string, Entry>();
  /** The same by the sessions at their ends. */
  readonly #bySession = new Map<number, Set<Entry>>();
  readonly #planner = new Planner();
  /** All that have not ended, those that close included. */
  readonly #all = new Map<number, LinkActor>();
  readonly #failures = new Map<string, { count: number; until: number }>();
  #nextId = 1;
  #stopped = false;
  #reconciling = false;
  #again = false;

  constructor(ports: BrokerPorts) {
    this.#ports = ports;
  }

  /** Every link that has not ended. */
  get links(): ReadonlyArray<LinkActor> {
    return [...this.#all.values()];
  }

  link(id: number): LinkActor | undefined {
    return this.#all.get(id);
  }

  /** The links by which a session produces or consumes one channel of a stream, those that close excluded. */
  linksOf(role: EndRole, session: number, stream: string, channel: number): LinkActor[] {
    return [...(this.#bySession.get(session) ?? [])]
      .filter(({ wanted, link }) => {
        if (wanted[role] !== session || wanted.stream !== stream) return false;
        return link.tables.channels.some((entry) => entry.channel === channel);
      })
      .map(({ link }) => link);
  }

  /** The link of this kind between a session and the engine of a lane, unless it closes. */
  linkOver(kind: "egress" | "ingress", session: number, stream: string, lane: Lane): LinkActor | undefined {
    const [producer, consumer] = kind === "egress" ? [session, null] : [null, session];
    return this.#current.get(linkKey(kind, stream, producer, consumer, lane))?.link;
  }

  /** How many links there would be more if this member were as given. */
  cost(member: PlannedMember): number {
    return this.#planner.more(member, this.#ports.input(), this.#existing);
  }

  /**
   * Links follow what should be. What this brings about may ask for it again before it is done, when a link ends at once
   * for instance: then it is done once more, by nobody twice, so that no link is opened that is there already.
   */
  reconcile(): void {
    this.#again = true;
    if (this.#reconciling) return;
    this.#reconciling = true;
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        this.#follow();
      }
    } finally {
      this.#reconciling = false;
    }
  }

  #follow(): void {
    const { open, update, close } = this.#planner.plan(this.#ports.input(), this.#existing);
    for (const key of close) this.#close(key);
    for (const wanted of update) {
      const entry = this.#current.get(wanted.key);
      if (!entry) continue;
      entry.wanted = wanted;
      entry.link.setTables(wanted.tables);
      this.#announce(entry.link);
    }
    const now = this.#ports.world.clock.now();
    for (const wanted of open) {
      if ((this.#failures.get(wanted.key)?.until ?? 0) <= now) this.#open(wanted);
    }
  }

  /** Closes everything and opens nothing more. */
  stop(reason: string): void {
    this.#stopped = true;
    for (const link of this.links) link.close(reason);
    this.#current.clear();
    this.#bySession.clear();
  }

  /** A session, or its stream of this name, has ended: what was remembered of those links is forgotten. */
  forget(session: number, stream?: string): void {
    for (const key of this.#failures.keys()) {
      const [kind = "", ends = ""] = key.split(":", 2);
      const of = key.slice(kind.length + ends.length + 2);
      if (ends.split(">").includes(String(session)) && (stream ?? of) === of) this.#failures.delete(key);
    }
  }

  readonly #existing = (key: string): WantedLink | undefined => this.#current.get(key)?.wanted;

  #add(entry: Entry): void {
    this.#current.set(entry.key, entry);
    for (const session of endsOf(entry)) {
      const entries = this.#bySession.get(session);
      if (entries) entries.add(entry);
      else this.#bySession.set(session, new Set([entry]));
    }
  }

  #take(key: string): Entry | undefined {
    const entry = this.#current.get(key);
    if (!entry) return undefined;
    this.#current.delete(key);
    for (const session of endsOf(entry)) {
      const entries = this.#bySession.get(session);
      entries?.delete(entry);
      if (entries?.size === 0) this.#bySession.delete(session);
    }
    return entry;
  }

  #open(wanted: WantedLink): void {
    const { key, kind, stream, lane, tables, held } = wanted;
    const engine = lane === null ? undefined : this.#ports.engine(lane);
    const producer = wanted.producer === null ? engine : this.#ports.end(wanted.producer);
    const consumer = wanted.consumer === null ? engine : this.#ports.end(wanted.consumer);
    if (!producer || !consumer) return;
    const id = this.#nextId++;
    const link = new LinkActor(
      this.#ports.world,
      {
        id,
        key,
        kind,
        stream,
        lane,
        entries: this.#ports.entries,
        producer,
        consumer,
        tables,
        held,
        replaces: () => this.#replacedBy(wanted)?.spec.id ?? null,
      },
      {
        accuse: (end, _, message) => {
          // Between these two there is no trust left, and the runtime cannot know who is right: not again on this stream.
          this.#failures.set(key, { count: 0, until: Number.POSITIVE_INFINITY });
          this.#ports.accused(link, end, message);
        },
        ended: () => this.#ended(link),
      },
    );
    this.#all.set(id, link);
    this.#add({ key, link, wanted });
    this.#ports.added(link);
    link.start();
    this.#announce(link);
  }

  /** The egress link over another lane that a new one takes over from: a stream moves. */
  #replacedBy({ kind, stream, lane, producer }: WantedLink): LinkActor | undefined {
    if (kind !== "egress") return undefined;
    return [...(this.#bySession.get(producer ?? 0) ?? [])]
      .map(({ link }) => link)
      .find(
        ({ spec, state }) =>
          spec.kind === kind &&
          spec.stream === stream &&
          spec.producer.session === producer &&
          spec.lane !== lane &&
          state === "open",
      );
  }

  #announce(link: LinkActor): void {
    link.life.soon(async () => {
      const ready = await link.confirmed();
      if (ready) this.#failures.delete(link.spec.key);
      this.#ports.changed(link, ready);
    });
  }

  #close(key: string): void {
    this.#take(key)?.link.close("no source or sink uses it any more");
  }

  #ended(link: LinkActor): void {
    this.#all.delete(link.spec.id);
    const { key } = link.spec;
    // One that was not told to close has failed, or lost an end: the plan may want it again.
    if (this.#current.get(key)?.link === link) {
      this.#take(key);
      this.#planner.lost(key);
      if (link.life.outcome?.cause === "failure") this.#later(key);
    }
    this.#ports.ended(link);
    this.reconcile();
  }

  #later(key: string): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    const { clock } = this.#ports.world;
    const wait = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** (count - 1));
    const before = this.#failures.get(key)?.until ?? 0;
    this.#failures.set(key, { count, until: Math.max(before, clock.now() + wait) });
    clock.after(wait + 1, () => this.reconcile());
  }
}

const endsOf = ({ wanted: { producer, consumer } }: Entry): number[] =>
  [...new Set([producer, consumer])].filter((session) => session !== null);
