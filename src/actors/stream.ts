// A stream of one session made live: the decision it is bound by, the pools its sources emit from, its sources and
// sinks. The decision itself is taken by src/qos; which links there are is the broker's business.
import type { Notice } from "../../models/lifecycle.ts";
import { streamMachine } from "../../models/stream.ts";
import { type ProducerPools, poolClasses, producerPools } from "../effects/producer-pools.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { DecisionRecord, SinkPolicyRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import type { RebindWhy } from "../protocol/rebound.ts";
import { withCure } from "../runtime/cures.ts";
import type { PlannedMember } from "../runtime/plan.ts";
import { type Host, PREPARE_MS } from "./host.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import { type MoveRecord, Rebinding } from "./rebinding.ts";
import type { SessionActor } from "./session.ts";
import { SinkActor } from "./sink.ts";
import { SourceActor } from "./source.ts";

const MAX_SOURCE_INDEX = 0xffff;

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
  readonly #rebinding: Rebinding;
  #qos: Qos;
  /** Why it moves, or will. */
  #why: RebindWhy = "requested";
  /** Counts what the machine asked for that takes time: an answer to what is over does not count. */
  #step = 0;
  readonly #settling = new Set<() => void>();
  #decision: DecisionRecord | null = null;
  #next: DecisionRecord | null = null;
  /** The decision that links follow already, before it is published. */
  #moving: DecisionRecord | null = null;
  #pools: ProducerPools | null = null;
  #poolsMapped = false;
  #nextIndex = 0;

  constructor(host: Host, session: SessionActor, id: number, name: string, tag: number, qos: Qos) {
    this.#host = host;
    this.#session = session;
    this.id = id;
    this.name = name;
    this.tag = tag;
    this.#qos = qos;
    this.openedAs = qos;
    this.#rebinding = new Rebinding({
      host,
      session: session.id,
      stream: name,
      channels: () => ({
        sources: new Set([...this.sources.values()].map(({ spec }) => spec.channel)),
        sinks: this.sinks.size > 0,
      }),
    });
    this.#world = {
      ...host.world,
      warn: (about, notice) => {
        host.world.warn(about, notice);
        // The first decision carries its own.
        if (this.#decision && notice.code.startsWith("W_")) this.#deliver(notice);
      },
    };
    this.life = new Life(this.#world, `stream ${session.id}.${id}`);
    this.bound = new Promise((resolve, reject) => {
      const machine = streamMachine.provide({
        actions: {
          ...this.life.actions,
          bind: () => this.#bind(),
          // In a turn of its own: until an action is over the machine still shows the state before.
          prepare: () => this.#within(() => this.#prepare()),
          publishBinding: (_, { datapath }) => this.#publish(datapath, resolve),
          drain: () => this.#within((over) => this.#drain(over)),
          mark: () => this.#within((over) => this.#mark(over)),
          switch: () => this.#within((over) => this.#switch(over)),
          callOff: () => this.#callOff(),
          atRest: () => this.life.soon(() => this.life.actor.getSnapshot().matches("bound") && this.#settle()),
          closeEndpoints: () => this.#closeEndpoints(),
        },
      });
      this.life.onEnd(({ notice }) => {
        const why = notice?.message ?? `${this.life.name} is closed`;
        reject(new InsaneError("ECLOSED", why));
        this.#settle();
      });
      this.#start = () => {
        // Before it is bound its datapath may have to be opened.
        const patience = { openMs: PREPARE_MS + 1000 };
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

  /** Moves that are over, the latest last. */
  get moves(): ReadonlyArray<MoveRecord> {
    return this.#rebinding.history;
  }

  /** The datapath at which other hosts are told to reach it. */
  get receives(): NetworkTechnology | null {
    return this.#rebinding.receives ?? network(this.#moving ?? this.#decision);
  }

  /** Datapaths that it is bound to: two while it moves. */
  get carriers(): ReadonlyArray<NetworkTechnology> {
    return [network(this.#decision), this.receives].filter((one) => one !== null);
  }

  /** It has left this datapath (any) a moment ago: what was lost over that was lost to it. */
  left(technology?: NetworkTechnology): boolean {
    return this.#rebinding.left(technology);
  }

  lost(count: number): void {
    this.#rebinding.lost(count);
  }

  get decision(): DecisionRecord | null {
    return this.#decision;
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

  addSource(channel: number): SourceActor {
    if (!this.#poolsMapped) {
      throw new InsaneError("ESCHEMA", `source.open on stream ${this.name} before pool.open and pool.mapped.`);
    }
    const session = this.#session;
    const stats = session.takeStatsBlock();
    const id = this.#host.nextEndpoint();
    const source = new SourceActor(this.#host, this.#world, {
      id,
      channel,
      stats,
      index: this.#takeIndex(),
      session: session.id,
      stream: this.name,
    });
    this.#adopt(this.sources, source, "source");
    return source;
  }

  addSink(channel: number, policy: SinkPolicyRecord): SinkActor {
    const session = this.#session;
    const stats = session.takeStatsBlock();
    const id = this.#host.nextEndpoint();
    const sink = new SinkActor(this.#host, this.#world, {
      id,
      channel,
      stats,
      policy,
      session: session.id,
      stream: this.name,
    });
    this.#adopt(this.sinks, sink, "sink");
    return sink;
  }

  /** Its part in the plan: endpoints that are not closing. */
  get member(): PlannedMember {
    return {
      session: this.#session.id,
      stream: this.name,
      // While it moves, where it moves to.
      datapath: network(this.#moving ?? this.#decision),
      ...this.#rebinding.steps,
      sources: [...this.sources.values()]
        .filter((source) => !source.closing)
        .map(({ spec: { id, index, channel } }) => ({ id, index, channel })),
      sinks: [...this.sinks.values()]
        .filter((sink) => !sink.closing)
        .map(({ spec: { channel, policy } }) => ({ channel, block: policy.kind === "block" })),
    };
  }

  /** What the host can offer has changed, or what carried it is gone. */
  capabilitiesChanged(lost: { readonly datapath: string; readonly notice: Notice } | null): void {
    if (lost) this.life.send({ type: "datapathLost", ...lost });
    else if (this.#decision) this.#again("appeared");
  }

  /** Another quality, or the same one looked at again; resolves when it is bound by it. Neither name nor tag changes. */
  async rebind(why: "requested" | "qos", qos: Qos = this.#qos): Promise<DecisionRecord> {
    if (qos.maxMessage !== this.#qos.maxMessage) {
      throw new InsaneError(
        "EVALUE",
        `Stream ${this.name} was opened for messages of at most ${this.#qos.maxMessage} bytes, which cannot change; open another stream.`,
      );
    }
    await this.bound;
    this.#qos = qos;
    const settled = new Promise<void>((resolve) => void this.#settling.add(resolve));
    this.#again(why);
    await settled;
    const decision = this.#decision;
    if (this.closing || !decision) throw new InsaneError("ECLOSED", `Stream ${this.name} was closed meanwhile.`);
    return decision;
  }

  #again(why: Exclude<RebindWhy, "failed">): void {
    this.#why = why;
    this.life.send({ type: "rebind", reason: why });
  }

  close(): void {
    this.closing = true;
    this.life.send({ type: "close" });
  }

  /** What it would be bound to is opened first. A stream that is bound already does not wait: it is told when that is up. */
  #bind(): void {
    const opening = this.#host.prepare(this.#qos, this.name);
    if (opening) void opening.then(() => this.#decide("bound"));
    else this.#decide("bound");
  }

  #decide(answer: "bound" | "prepared", decision = this.#host.decide(this.#qos, this.name)): void {
    this.#next = decision;
    this.life.send({ type: answer, datapath: decision.datapath, warnings: decision.warnings });
  }

  /** Does what the machine has asked for, unless it asks for something else before that is done. */
  #within(work: (over: () => boolean) => Promise<void>): void {
    const step = ++this.#step;
    // In a turn of its own: until an action is over the machine still shows the state before.
    this.life.soon(() => work(() => this.#step !== step));
  }

  async #prepare(): Promise<void> {
    const step = this.#step;
    const failed = this.life.actor.getSnapshot().context.datapath === null && this.#decision?.datapath != null;
    const from = network(this.#decision);
    if (!failed) await this.#host.prepare(this.#qos, this.name);
    const decision = this.#host.decide(this.#qos, this.name);
    const to = network(decision);
    if (this.#step !== step) return;
    if (!failed && to === from) {
      this.#confirm(decision);
      this.life.send({ type: "unchanged" });
      return;
    }
    // Lost with its datapath, and no other can carry it.
    if (failed && to === null) {
      this.life.send({ type: "unbindable", notice: NOTHING });
      return;
    }
    if (!failed) {
      const free = await this.#rebinding.free();
      const reached = free && (to === null || (await this.#rebinding.reaches(from, to)));
      if (this.#step !== step) return;
      // What came up by itself is not worth losing anybody for; what was asked for is done.
      if (!free || (!reached && this.#why === "appeared")) {
        const why = free ? `not everybody is reached over ${to}` : "its links of before have not ended yet";
        this.life.send({ type: "unbindable", notice: { code: "W_REBIND_FAILED", message: `it stays: ${why}` } });
        return;
      }
    }
    this.#rebinding.begin(from, to, failed ? "failed" : this.#why);
    this.#decide("prepared", decision);
  }

  /** The same datapath by another decision. */
  #confirm(decision: DecisionRecord): void {
    if (JSON.stringify(decision.qos) === JSON.stringify(this.#decision?.qos)) return;
    this.#decision = decision;
    this.#session.rpc.tell("stream.binding", { stream: this.id, decision });
    for (const warning of decision.warnings) this.#deliver(warning);
  }

  #publish(datapath: string | null, resolve: (decision: DecisionRecord) => void): void {
    const first = this.#decision === null;
    const [from, to] = [network(this.#decision), network(this.#moving)];
    this.#decision = this.#next ?? this.#host.decide(this.#qos, this.name);
    this.#next = null;
    this.#moving = null;
    const move = first ? null : this.#rebinding.end(from, to);
    if (move) this.#host.membersChanged();
    for (const warning of this.#decision.warnings) {
      this.#host.world.warn(this.life.name, warning);
      if (!first) this.#deliver(warning);
    }
    if (first) resolve(this.#decision);
    else {
      this.#host.log.info("stream moved", { stream: this.name, session: this.#session.id, datapath, ...move });
      this.#session.rpc.tell("stream.binding", { stream: this.id, decision: this.#decision });
      if (move) this.#session.rpc.tell("stream.rebound", { stream: this.id, ...move });
    }
  }

  #deliver({ code, message, ...more }: Notice): void {
    const warning = withCure(code, message, (more as { readonly cure?: string }).cure);
    this.#session.rpc.tell("stream.warning", { stream: this.id, warning });
  }

  async #drain(over: () => boolean): Promise<void> {
    const from = network(this.#decision);
    this.#moving = this.#next;
    await this.#rebinding.open(from, network(this.#moving), true);
    if (!over()) this.life.send({ type: "drained" });
  }

  async #mark(over: () => boolean): Promise<void> {
    await this.#rebinding.retire(network(this.#decision), network(this.#moving));
    if (!over()) this.life.send({ type: "echoed" });
  }

  async #switch(over: () => boolean): Promise<void> {
    const from = network(this.#decision);
    const failed = this.#moving !== this.#next;
    this.#moving = this.#next;
    const to = network(this.#moving);
    if (failed) await this.#rebinding.open(from, to, false);
    else {
      await this.#rebinding.release(to);
      await this.#rebinding.receive(from, to);
    }
    if (!over()) this.life.send({ type: "switched" });
  }

  #callOff(): void {
    this.#step++;
    this.#rebinding.callOff(network(this.#moving));
    this.#moving = null;
    this.#next = null;
    this.#host.membersChanged();
  }

  #settle(): void {
    for (const settled of [...this.#settling]) settled();
    this.#settling.clear();
  }

  #takeIndex(): number {
    if (this.#nextIndex > MAX_SOURCE_INDEX) {
      throw new InsaneError(
        "ELIMIT",
        `Stream ${this.name} has had ${MAX_SOURCE_INDEX + 1} sources; close and open it.`,
      );
    }
    return this.#nextIndex++;
  }

  #adopt<A extends SourceActor | SinkActor>(into: Map<number, A>, child: A, kind: "source" | "sink"): void {
    into.set(child.spec.id, child);
    this.life.send({ type: "childAdded", kind });
    child.life.onEnd(({ quarantined }) => {
      into.delete(child.spec.id);
      this.#session.giveStatsBlock(child.spec.stats);
      this.#host.membersChanged();
      this.life.send({ type: "childEnded", kind, quarantined });
    });
    child.start();
  }

  #closeEndpoints(): void {
    for (const child of [...this.sources.values(), ...this.sinks.values()]) {
      if (this.#session.gone) child.died();
      else child.close();
    }
  }
}

/** Co-located endpoints need no decision. */
const network = (decision: DecisionRecord | null): NetworkTechnology | null =>
  decision === null || decision.datapath === "shm" ? null : decision.datapath;

const NOTHING: Notice = { code: "W_NO_NETWORK", message: "no datapath can carry it now" };
