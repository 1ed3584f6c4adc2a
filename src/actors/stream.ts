// A stream of one session made live: the decision it is bound by, the pools its sources emit from, its sources and
// sinks. The decision itself is taken by src/qos; which links there are is the broker's business.
import type { Notice } from "../../models/lifecycle.ts";
import { streamMachine } from "../../models/stream.ts";
import { type ProducerPools, poolClasses, producerPools } from "../effects/producer-pools.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { DecisionRecord, SinkPolicyRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import { withCure } from "../runtime/cures.ts";
import type { PlannedMember } from "../runtime/plan.ts";
import { type Host, PREPARE_MS } from "./host.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import type { SessionActor } from "./session.ts";
import { SinkActor } from "./sink.ts";
import { SourceActor } from "./source.ts";

const MAX_SOURCE_INDEX = 0xffff;

export class StreamActor {
  readonly id: number;
  readonly name: string;
  readonly tag: number;
  readonly qos: Qos;
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
    this.qos = qos;
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
          prepare: () => this.life.soon(() => this.#decide("prepared")),
          publishBinding: (_, { datapath }) => this.#publish(datapath, resolve),
          // Links are opened and closed by the broker as the decision changes: nothing is drained or marked yet.
          drain: () => this.life.send({ type: "drained" }),
          mark: () => this.life.send({ type: "echoed" }),
          switch: () => this.#switch(),
          callOff: () => {
            this.#next = null;
          },
          closeEndpoints: () => this.#closeEndpoints(),
        },
      });
      this.life.onEnd(({ notice }) => {
        const why = notice?.message ?? `${this.life.name} is closed`;
        reject(new InsaneError("ECLOSED", why));
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

  get decision(): DecisionRecord | null {
    return this.#decision;
  }

  get pools(): ProducerPools | null {
    return this.#poolsMapped ? this.#pools : null;
  }

  /** Bytes of shared memory that its pools reserve, or would. */
  get poolBytes(): number {
    return poolClasses(this.qos.maxMessage).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Makes the pools at the first call. */
  openPools(): ProducerPools {
    if (this.#pools) return this.#pools;
    this.#session.reserve(this.poolBytes, `the pools of stream ${this.name}`);
    try {
      this.#pools = this.life.acquire(producerPools(this.life.name, this.qos.maxMessage));
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
    else this.life.send({ type: "rebind", reason: "appeared" });
  }

  close(): void {
    this.closing = true;
    this.life.send({ type: "close" });
  }

  /** What it would be bound to is opened first. A stream that is bound already does not wait: it is told when that is up. */
  #bind(): void {
    const opening = this.#host.prepare(this.qos, this.name);
    if (opening) void opening.then(() => this.#decide("bound"));
    else this.#decide("bound");
  }

  #decide(answer: "bound" | "prepared"): void {
    const decision = this.#host.decide(this.qos, this.name);
    if (answer === "prepared" && decision.datapath === this.#decision?.datapath) {
      // Where it was lost with its datapath, the same answer means that nothing else can carry it.
      const gone = this.life.actor.getSnapshot().context.datapath === null && decision.datapath === null;
      this.life.send(gone ? { type: "unbindable", notice: NOTHING } : { type: "unchanged" });
      return;
    }
    this.#next = decision;
    this.life.send({ type: answer, datapath: decision.datapath, warnings: decision.warnings });
  }

  #publish(datapath: string | null, resolve: (decision: DecisionRecord) => void): void {
    const first = this.#decision === null;
    this.#decision = this.#next ?? this.#host.decide(this.qos, this.name);
    this.#next = null;
    this.#moving = null;
    for (const warning of this.#decision.warnings) {
      this.#host.world.warn(this.life.name, warning);
      if (!first) this.#deliver(warning);
    }
    if (first) resolve(this.#decision);
    else {
      this.#host.log.info("stream moved", { stream: this.name, session: this.#session.id, datapath });
      this.#session.rpc.tell("stream.binding", { stream: this.id, decision: this.#decision });
    }
  }

  #deliver({ code, message, ...more }: Notice): void {
    const warning = withCure(code, message, (more as { readonly cure?: string }).cure);
    this.#session.rpc.tell("stream.warning", { stream: this.id, warning });
  }

  #switch(): void {
    this.#moving = this.#next;
    this.#host.membersChanged();
    this.life.send({ type: "switched" });
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
