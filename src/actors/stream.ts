// A stream of one session made live: the decision it is bound by, the pools its sources emit from, its sources and
// sinks. The decision itself is taken by src/qos; which links there are is the broker's business.
import type { Notice } from "../../models/lifecycle.ts";
import { streamMachine } from "../../models/stream.ts";
import { type ProducerPools, poolClasses, producerPools } from "../effects/producer-pools.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { DecisionRecord, SinkPolicyRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import type { MoveCosts } from "../protocol/rebound.ts";
import { classed } from "../qos/gates.ts";
import { withCure } from "../runtime/cures.ts";
import type { Promised } from "../runtime/gates.ts";
import type { PlannedMember } from "../runtime/plan.ts";
import { identityText, ownIdentity } from "../runtime/trust.ts";
import { type Host, PREPARE_MS } from "./host.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import { Membership } from "./membership.ts";
import type { MoveRecord } from "./rebinding.ts";
import type { SessionActor } from "./session.ts";
import { SinkActor } from "./sink.ts";
import { SourceActor } from "./source.ts";
import { SourceIndices } from "./source-indices.ts";
import { network, StreamMoves } from "./stream-moves.ts";

/** Beyond opening a datapath and the patience with peers: what a step of a move may take, ms. */
const STEPS_MS = 6000;

export class StreamActor {
  readonly id: number;
  readonly name: string;
  readonly tag: number;
  /** As it was opened: its name may follow from it. */
  readonly openedAs: Qos;
  readonly life: Life<typeof streamMachine>;
  readonly sources = new Map<number, SourceActor>();
  readonly sinks = new Map<number, SinkActor>();
  /** How often the session has opened it: it closes with the last one. */
  handles = 1;
  /** It is on its way out. */
  closing = false;
  /** Resolves when it is bound; rejects when it cannot be. */
  readonly bound: Promise<DecisionRecord>;
  readonly #host: Host;
  readonly #session: SessionActor;
  /** The runtime's, but what is warned about here reaches the application as well. */
  readonly #world: World;
  readonly #moves: StreamMoves;
  #qos: Qos;
  /** The technology that an operator has chosen. */
  #forced: NetworkTechnology | null = null;
  readonly #promised: Promised;
  /** Those who wait until it is at rest. */
  readonly #settling = new Set<() => void>();
  #pools: ProducerPools | null = null;
  #poolsMapped = false;
  readonly #indices: SourceIndices;
  readonly #byIndex = new Map<number, SourceActor>();
  readonly #membership: Membership;

  constructor(host: Host, session: SessionActor, id: number, name: string, tag: number, qos: Qos, promised: Promised) {
    this.#promised = promised;
    this.#host = host;
    this.#session = session;
    this.id = id;
    this.name = name;
    this.tag = tag;
    this.#qos = qos;
    this.openedAs = qos;
    this.#indices = new SourceIndices(name);
    this.#membership = new Membership(session.id, name, this.sources, this.sinks);
    this.#moves = new StreamMoves({
      host,
      session: session.id,
      stream: name,
      qos: () => this.#qos,
      whose: () => ({
        stream: name,
        forced: this.#forced,
        trustDomain: session.domain?.label ?? identityText(ownIdentity()),
      }),
      channels: () => ({
        sources: new Set([...this.sources.values()].map(({ spec }) => spec.channel)),
        sinks: new Set([...this.sinks.values()].filter((sink) => !sink.closing).map(({ spec }) => spec.channel)),
      }),
      stranded: () => this.life.actor.getSnapshot().context.datapath === null,
      soon: (work) => this.life.soon(work),
      send: (event) => this.life.send(event),
      confirmed: (decision) => {
        this.#session.rpc.tell("stream.binding", { stream: this.id, decision });
        for (const warning of decision.warnings) this.#deliver(warning);
      },
    });
    this.#world = {
      ...host.world,
      warn: (about, notice) => {
        host.world.warn(about, notice);
        // The first decision carries its own.
        if (this.decision && notice.code.startsWith("W_")) this.#deliver(notice);
      },
    };
    this.life = new Life(this.#world, `stream ${session.id}.${id}`);
    this.bound = new Promise((resolve, reject) => {
      const machine = streamMachine.provide({
        actions: {
          ...this.life.actions,
          bind: () => this.#moves.bind(),
          prepare: () => this.#moves.prepare(),
          publishBinding: (_, { datapath }) => this.#publish(datapath, resolve),
          drain: () => this.#moves.drain(),
          mark: () => this.#moves.mark(),
          switch: () => this.#moves.switch(),
          callOff: () => this.#moves.callOff(),
          atRest: () => this.life.soon(() => this.life.actor.getSnapshot().matches("bound") && this.#settle()),
          closeEndpoints: () => this.#closeEndpoints(),
        },
      });
      this.life.onEnd(({ notice }) => {
        const why = notice?.message ?? `${this.life.name} is closed`;
        reject(new InsaneError("ECLOSED", why));
        this.#moves.stop();
        this.#settle();
        // None, unless its machine threw.
        for (const child of [...this.sources.values(), ...this.sinks.values()]) child.died();
      });
      this.#start = () => {
        // A datapath may have to be opened, another may be waited for: the steps' own deadlines are shorter.
        const patience = { openMs: PREPARE_MS + STEPS_MS + host.config.rebind.patienceMs };
        void this.life.start(machine, "stream", { name: this.life.name, patience }, [session.id]);
      };
    });
    this.bound.catch(() => {});
  }

  #start = (): void => {};

  start(): void {
    this.#start();
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  get qos(): Qos {
    return this.#qos;
  }

  /** How often it has moved. */
  get moved(): number {
    return this.#moves.rebinding.moved;
  }

  /** What all its moves cost. */
  get moveCosts(): Readonly<MoveCosts> {
    return this.#moves.rebinding.costs;
  }

  /** The last moves, the latest last. */
  get moves(): ReadonlyArray<MoveRecord> {
    return this.#moves.rebinding.history;
  }

  /** The datapath at which other hosts are told to reach it. */
  get receives(): NetworkTechnology | null {
    return this.#moves.receives;
  }

  /** Datapaths that it is bound to: two while it moves. */
  get carriers(): ReadonlyArray<NetworkTechnology> {
    return [network(this.decision), this.receives].filter((one) => one !== null);
  }

  /** It has left this datapath (any) a moment ago: what was lost over that was lost to it. */
  left(technology?: NetworkTechnology): boolean {
    return this.#moves.rebinding.left(technology);
  }

  lost(technology: NetworkTechnology | null, count: number): void {
    this.#moves.rebinding.count(technology, { lost: count });
  }

  late(
    technology: NetworkTechnology,
    { count, reordered }: { readonly count: number; readonly reordered: number },
  ): void {
    this.#moves.rebinding.count(technology, { duplicated: count - reordered, reordered });
  }

  get decision(): DecisionRecord | null {
    return this.#moves.decision;
  }

  get pools(): ProducerPools | null {
    return this.#poolsMapped ? this.#pools : null;
  }

  /** Bytes of shared memory that its pools reserve, or would. */
  get poolBytes(): number {
    return poolClasses(this.#qos.maxMessage).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Makes the pools at the first call. */
  openPools(): ProducerPools {
    if (this.#pools) return this.#pools;
    this.#session.reserve(this.poolBytes, `the pools of stream ${this.name}`);
    try {
      this.#pools = this.life.acquire(producerPools(this.life.name, this.#qos.maxMessage));
    } catch (cause) {
      this.#session.unreserve(this.poolBytes);
      throw cause;
    }
    this.life.onEnd(() => this.#session.unreserve(this.poolBytes));
    return this.#pools;
  }

  poolsMapped(): void {
    if (!this.#pools) throw new InsaneError("ESCHEMA", `pool.mapped before pool.open on stream ${this.name}.`);
    if (this.#poolsMapped) return;
    this.life.acquire(this.#pools.seal());
    this.#poolsMapped = true;
  }

  /** `name`: of the channel. */
  addSource(channel: number, name?: string): SourceActor {
    if (!this.#poolsMapped) {
      throw new InsaneError("ESCHEMA", `source.open on stream ${this.name} before pool.open and pool.mapped.`);
    }
    const session = this.#session;
    const unname = this.#host.names.claim(this.name, channel, name, "sources");
    let stats: number | null = null;
    let index: number;
    try {
      stats = session.takeStatsBlock();
      index = this.#indices.take();
    } catch (cause) {
      unname();
      if (stats !== null) session.giveStatsBlock(stats);
      throw cause;
    }
    const id = this.#host.nextEndpoint();
    const spec = { id, channel, stats, index, session: session.id, stream: this.name };
    const source = new SourceActor(this.#host, this.#world, spec, () => this.#membership.changed());
    this.#byIndex.set(index, source);
    source.life.onEnd(() => {
      unname();
      this.#byIndex.delete(index);
      // One that did not close in order leaves no index behind: nobody knows what still bears it.
      if (source.carriers) this.#indices.leave(index, source.carriers);
    });
    this.#adopt(this.sources, source, "source");
    return source;
  }

  addSink(channel: number, policy: SinkPolicyRecord, name?: string): SinkActor {
    const session = this.#session;
    const unname = this.#host.names.claim(this.name, channel, name, "sinks");
    let stats: number;
    try {
      stats = session.takeStatsBlock();
    } catch (cause) {
      unname();
      throw cause;
    }
    const id = this.#host.nextEndpoint();
    const spec = { id, channel, stats, policy, session: session.id, stream: this.name };
    const sink = new SinkActor(this.#host, this.#world, spec, () => this.#membership.changed());
    sink.life.onEnd(unname);
    this.#adopt(this.sinks, sink, "sink");
    return sink;
  }

  /** Its part in the plan: endpoints that are not closing. */
  get member(): PlannedMember {
    // While it moves, where it moves to.
    return this.#membership.at(this.#moves.datapath, this.#moves.rebinding.steps);
  }

  sourceAt(index: number): SourceActor | undefined {
    return this.#byIndex.get(index);
  }

  /** What the host can offer has changed, or what carried it is gone. */
  capabilitiesChanged(lost: { readonly datapath: string; readonly notice: Notice } | null): void {
    if (lost) this.life.send({ type: "datapathLost", ...lost });
    else if (this.decision) this.life.send({ type: "rebind", reason: "appeared" });
  }

  /** Another quality, or the same one looked at again; resolves when it is bound by it. Neither name nor tag changes. */
  async rebind(
    why: "requested" | "qos",
    qos: Qos = this.#qos,
    forced: NetworkTechnology | null = this.#forced,
  ): Promise<DecisionRecord> {
    if (qos.maxMessage !== this.#qos.maxMessage) {
      const why = `maxMessage of stream ${this.name} is ${this.#qos.maxMessage} and cannot change while it is open; open another one.`;
      throw new InsaneError("EVALUE", why, { field: "qos.maxMessage" });
    }
    await this.bound;
    this.#mustLive();
    const changed = await this.#promised.change(classed(qos), this.#host.broker.links, this.#session.id);
    // Nobody would tell those who begin to wait after its end.
    this.#mustLive();
    this.#qos = changed;
    this.#forced = forced;
    const settled = new Promise<void>((resolve) => void this.#settling.add(resolve));
    this.#moves.asked = why;
    this.life.send({ type: "rebind", reason: why });
    await settled;
    this.#mustLive();
    return this.decision as DecisionRecord;
  }

  #mustLive(): void {
    if (!this.closing && this.life.outcome === null && this.decision) return;
    throw new InsaneError("ECLOSED", `Stream ${this.name} was closed meanwhile.`);
  }

  close(): void {
    this.closing = true;
    this.life.send({ type: "close" });
  }

  #publish(datapath: string | null, resolve: (decision: DecisionRecord) => void): void {
    const first = this.decision === null;
    const { decision, move } = this.#moves.settle();
    for (const warning of decision.warnings) {
      this.#host.world.warn(this.life.name, warning);
      if (!first) this.#deliver(warning);
    }
    if (first) {
      resolve(decision);
      return;
    }
    this.#host.log.info("stream moved", { stream: this.name, session: this.#session.id, datapath, ...move });
    this.#session.rpc.tell("stream.binding", { stream: this.id, decision });
    if (move) this.#session.rpc.tell("stream.rebound", { stream: this.id, ...move });
  }

  #deliver({ code, message, ...more }: Notice): void {
    const warning = withCure(code, message, (more as { readonly cure?: string }).cure);
    this.#session.rpc.tell("stream.warning", { stream: this.id, warning });
  }

  #settle(): void {
    this.#moves.asked = null;
    for (const settled of [...this.#settling]) settled();
    this.#settling.clear();
  }

  #adopt<A extends SourceActor | SinkActor>(into: Map<number, A>, child: A, kind: "source" | "sink"): void {
    into.set(child.spec.id, child);
    this.#membership.changed();
    this.life.send({ type: "childAdded", kind });
    child.life.onEnd(() => {
      into.delete(child.spec.id);
      this.#membership.changed();
      this.#session.giveStatsBlock(child.spec.stats);
      this.#host.membersChanged();
    });
    // By itself: whatever goes wrong with the rest, the stream does not wait for a child that has ended.
    child.life.onEnd(({ quarantined }) => this.life.send({ type: "childEnded", kind, quarantined }));
    child.start();
  }

  #closeEndpoints(): void {
    for (const child of [...this.sources.values(), ...this.sinks.values()]) {
      if (this.#session.gone) child.died();
      else child.close();
    }
  }
}
