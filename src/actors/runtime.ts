// The root of the tree: one runtime, its listeners and sessions, its links, its engine with datapaths, and what it knows
// of other runtimes. It wires them together; what each does is in its own file.
import { randomBytes, randomUUID } from "node:crypto";
import type { Notice } from "../../models/lifecycle.ts";
import { runtimeMachine } from "../../models/runtime.ts";
import type { Credentials } from "../effects/connection.ts";
import { listener } from "../effects/listener.ts";
import { ownConnection } from "../effects/own-connection.ts";
import { closeDescriptor } from "../effects/segment.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { CapabilityRecord, DecisionRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import { VERSION } from "../protocol/version.ts";
import { decide } from "../qos/decide.ts";
import { forcedStrategy } from "../qos/strategy.ts";
import { refusalOf } from "../runtime/admission.ts";
import type { ExplainReport, RuleStrategy, RuntimeConfig, StatusReport, Strategy } from "../runtime/api.ts";
import { Broker } from "../runtime/broker.ts";
import { ChannelNames } from "../runtime/channel-names.ts";
import { withCure } from "../runtime/cures.ts";
import type { Directory } from "../runtime/directory.ts";
import { Gates } from "../runtime/gates.ts";
import type { Log } from "../runtime/log.ts";
import { explainReport, type Reported, statusReport } from "../runtime/status.ts";
import { StreamTags } from "../runtime/stream-tags.ts";
import { identityText, ownIdentity } from "../runtime/trust.ts";
import { guardedClock, SYSTEM_CLOCK } from "./clock.ts";
import type { Marked } from "./farewells.ts";
import type { Host, RuntimeIdentity, Whose } from "./host.ts";
import { Inspection, stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import type { LinkActor } from "./link.ts";
import { Network } from "./network.ts";
import { Offer } from "./offer.ts";
import { SessionActor } from "./session.ts";
import type { StreamActor } from "./stream.ts";
import { Supervisor } from "./supervisor.ts";

/** Sockets that may be connected beyond the sessions: operators, and those that are being refused. */
const SPARE_CONNECTIONS = 32;
/** Complaints of the listener are at least so far apart, ms. */
const COMPLAINT_MS = 10_000;

export interface RuntimeOptions {
  readonly config: RuntimeConfig;
  readonly strategy: Strategy | RuleStrategy | null;
  readonly log: Log;
  /** `rdma`: what is known of it, where it is not to be asked. */
  probe(rdma?: CapabilityRecord): ReadonlyArray<CapabilityRecord>;
  directory(identity: RuntimeIdentity, world: World): Directory;
}

export class RuntimeActor implements Host {
  readonly config: RuntimeConfig;
  readonly identity: RuntimeIdentity;
  readonly epoch = randomBytes(4).readUInt32LE();
  readonly log: Log;
  readonly world: World;
  readonly life: Life<typeof runtimeMachine>;
  readonly broker: Broker;
  readonly network: Network;
  readonly names = new ChannelNames();
  readonly gates = new Gates({
    decide: (qos) => this.#decide(qos, true),
    port: (technology) => this.network.gates(technology),
  });
  readonly tags = new StreamTags((tag, name) => this.network.foreign(tag, name));
  readonly #options: RuntimeOptions;
  readonly #offer: Offer;
  readonly #supervisor: Supervisor;
  readonly #sessions = new Map<number, SessionActor>();
  readonly #startedAt: number;
  #nextSession = 1;
  #nextEndpoint = 1;
  #quarantined = 0;
  #accepting = true;
  #complainedAt = Number.NEGATIVE_INFINITY;
  #started: { readonly resolve: () => void; readonly reject: (error: InsaneError) => void } | null = null;

  constructor(options: RuntimeOptions) {
    const { config, log } = options;
    this.#options = options;
    this.config = config;
    this.log = log;
    this.identity = { id: randomUUID(), name: config.name, version: VERSION, pid: process.pid };
    this.world = {
      clock: guardedClock(SYSTEM_CLOCK, (cause) => this.world.defect("a timer", cause)),
      inspection: new Inspection((cause) => this.world.defect("a listener of machines", cause)),
      warn: (about, { code, message, ...more }) => {
        if (code === "W_QUARANTINED") this.#quarantined++;
        const text = message.startsWith(about) ? message : `${about}: ${message}`;
        // Codes of warnings begin with W_; an end by a typed failure is told as what it is.
        if (code.startsWith("W_")) this.log.warn(withCure(code, text, (more as { readonly cure?: string }).cure));
        else this.log.info(text, { code });
      },
      defect: (about, cause) => {
        const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
        this.log.error("EINTERNAL", `${about} failed inside`, { cause: what });
      },
    };
    this.#startedAt = this.world.clock.now();
    this.life = new Life(this.world, "runtime");
    this.#supervisor = new Supervisor(this.world.clock, {
      restarting: (name, attempt, delayMs) =>
        this.world.warn(name, {
          code: "W_RESTARTED",
          message: `${name} failed; restart ${attempt + 1} in ${delayMs} ms`,
        }),
      restarted: (name) => this.life.send({ type: "restored", what: name }),
      stopped: () => {},
      escalated: (name, why) => this.#degraded(name, { code: "W_RESTARTED", message: `${name} is given up: ${why}` }),
    });
    this.#offer = new Offer({
      clock: this.world.clock,
      probe: (rdma) => options.probe(rdma),
      network: () => this.network,
      fallenBack: () => this.#fallenBack(),
      changed: () => this.datapathChanged(null),
    });
    this.network = new Network({
      host: this,
      directory: options.directory(this.identity, this.world),
      supervisor: this.#supervisor,
      sessions: () => this.#sessions.values(),
      degraded: (what, notice) => this.#degraded(what, notice),
      restored: (what) => this.life.send({ type: "restored", what }),
      child: (kind, change, quarantined = []) =>
        this.life.send(change === "added" ? { type: "childAdded", kind } : { type: "childEnded", kind, quarantined }),
    });
    this.broker = new Broker({
      world: this.world,
      entries: config.link.entries,
      input: () => ({
        members: this.#members(),
        remote: this.network.remote,
        networks: this.network.running,
        spread: config.network.udp.threads,
      }),
      end: (session) => this.#linkable(session),
      engine: (lane) => this.network.end(lane),
      accused: (link, end, message) => {
        this.world.warn(link.life.name, { code: "W_EVICTED", message: `is closed for good: ${end.label}: ${message}` });
      },
      added: () => {
        this.life.send({ type: "childAdded", kind: "link" });
        this.network.linksChanged();
      },
      changed: (link, ready) => {
        for (const { index } of link.sourcesToTell(ready)) this.#sourceOf(link.spec, index)?.linked(link, ready);
        if (link.spec.kind === "ingress") this.network.announce();
      },
      ended: (link) => {
        const quarantined = link.life.outcome?.quarantined ?? [];
        this.life.send({ type: "childEnded", kind: "link", quarantined });
        for (const { index } of link.tables.sources) this.#sourceOf(link.spec, index)?.linked(link, false);
        if (link.spec.kind === "ingress") this.network.announce();
        this.network.linksChanged();
      },
    });
  }

  /** Resolves when it serves; rejects with what went wrong, after everything has been released. */
  start(): Promise<void> {
    const machine = runtimeMachine.provide({
      actions: {
        ...this.life.actions,
        // In a turn of its own: actions are not the place to start other machines.
        start: () => this.life.soon(() => this.#start()),
        stopListening: () => this.#stopListening(),
        closeChildren: (_, { kinds }) => {
          if (kinds.includes("session")) this.#closeSessions();
          if (kinds.includes("peer")) void this.network.stopDirectory();
          if (kinds.includes("engine")) void this.network.stopEngines();
        },
      },
    });
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.life.onEnd(({ notice }) => {
        const { code, message } = notice ?? { code: "ECLOSED", message: "The runtime was closed." };
        reject(new InsaneError(code as InsaneError["code"], message));
      });
      this.life.start(machine, "runtime", { name: "runtime" });
    });
  }

  /** Resolves when everything has ended. */
  async close(): Promise<void> {
    this.life.send({ type: "close" });
    await this.life.ended;
  }

  get state(): string {
    return this.life.outcome?.how ?? stateText(this.life.actor.getSnapshot().value);
  }

  nextEndpoint(): number {
    return this.#nextEndpoint++;
  }

  refusal(who: Credentials): Notice | null {
    const attached = [...this.#sessions.values()].filter((session) => session.attached);
    return refusalOf(
      who,
      attached.map((session) => session.who),
      this.config,
      process.pid,
    );
  }

  decide(qos: Qos, whose: Whose): DecisionRecord {
    return this.#decide(qos, false, whose);
  }

  prepare(qos: Qos, whose: Whose): Promise<void> | null {
    // Looking costs a few milliseconds: only for those who might get it, and only until it is up.
    const wanted = whose.forced ?? (qos.acceleration === "fast" ? "xdp" : null);
    if (wanted !== null && this.network.unavailable(wanted, false) !== null) this.doctor();
    const { datapath } = this.#decide(qos, true, whose);
    return datapath === null || datapath === "shm" ? null : this.network.prepare(datapath);
  }

  /** `soon`: as if all were up that can be opened. */
  #decide(qos: Qos, soon: boolean, whose?: Whose): DecisionRecord {
    const decision = decide({
      qos,
      capabilities: this.#offer.for(soon, whose?.stream),
      strategy: whose?.forced ? forcedStrategy(whose.forced) : this.#options.strategy,
      wait: "",
      trustDomain: whose?.trustDomain ?? identityText(ownIdentity()),
      now: new Date(),
      timeAware: this.config.network.schedule !== null,
    });
    const { mode, idle, cpu } =
      this.network.waits(decision.datapath === "shm" ? null : decision.datapath) ?? this.config.engine;
    const pinned = cpu === null ? "" : ` on cpu ${cpu}`;
    return { ...decision, wait: `${mode === "inline" ? "inline" : idle}${pinned}` };
  }

  membersChanged(): void {
    this.broker.reconcile();
    this.network.announce();
  }

  /** A control socket for this process itself: it attaches like any other, and is found by nobody else. */
  connectHere(): number {
    const { client, server } = this.life.acquire(ownConnection);
    this.#accept(server);
    return client;
  }

  remote(over: NetworkTechnology | null, stream: string): ReadonlyArray<number> {
    return over === null ? [] : this.network.wanted(over, stream);
  }

  retire(link: LinkActor, patienceMs: number): Promise<Marked | null> {
    return this.network.retire(link, patienceMs);
  }

  async release(link: LinkActor): Promise<void> {
    const { lane, id } = link.spec;
    // An engine that cannot be asked any more has let go of everything.
    await (lane && this.network.end(lane))?.hold(id, false).catch(() => {});
  }

  announce(): void {
    this.network.announce();
  }

  get announced(): boolean {
    return this.network.announced;
  }

  session(id: number): SessionActor | undefined {
    return this.#sessions.get(id);
  }

  status(): StatusReport {
    return statusReport(this.#reported());
  }

  doctor(): ReadonlyArray<CapabilityRecord> {
    return this.#offer.look();
  }

  explain(stream?: string): ReadonlyArray<ExplainReport> {
    return explainReport(this.#reported(), stream);
  }

  /** The probe of one technology, for its datapath. */
  capability(technology: NetworkTechnology): CapabilityRecord | undefined {
    return this.#offer.of(technology);
  }

  /** A datapath has come up or gone: streams decide again. */
  datapathChanged(lost: { readonly datapath: NetworkTechnology; readonly notice: Notice } | null): void {
    if (lost) this.#offer.lookout.soon();
    else this.#offer.refresh();
    for (const session of this.#sessions.values()) {
      for (const stream of session.streams.values()) stream.capabilitiesChanged(lost);
    }
    this.membersChanged();
  }

  async #start(): Promise<void> {
    const { config } = this;
    try {
      this.#offer.look();
      const accept = (fd: number): void => this.#accept(fd);
      const failed = (cause: unknown): void => this.#nobodyAccepted(cause);
      const { socket, socketMode } = config;
      if (socket !== null) this.life.acquire(listener(socket, socketMode, accept, failed));
      if (config.network.enabled) await this.network.start();
      // Looking takes milliseconds, which a thread that polls does not have.
      if (config.network.enabled && config.engine.mode !== "inline") this.#offer.lookout.start();
    } catch (cause) {
      const { code, message } =
        cause instanceof Error ? (cause as InsaneError) : { code: "EINTERNAL", message: String(cause) };
      this.life.send({ type: "failed", notice: { code: code ?? "EINTERNAL", message } });
      return;
    }
    this.log.info("runtime is up", { id: this.identity.id, socket: config.socket, port: this.network.port });
    this.life.send({ type: "started" });
    this.#started?.resolve();
  }

  /** The listener tries again by itself; the log hears of it once in a while. */
  #nobodyAccepted(cause: unknown): void {
    const now = this.world.clock.now();
    if (now - this.#complainedAt < COMPLAINT_MS) return;
    this.#complainedAt = now;
    const why = cause instanceof Error ? cause.message : String(cause);
    this.log.error("ESYSTEM", `Nobody can attach for the moment: ${why}`);
  }

  #accept(fd: number): void {
    const limit = this.config.limits.sessions + SPARE_CONNECTIONS;
    if (!this.#accepting || this.#sessions.size >= limit) {
      closeDescriptor(fd);
      return;
    }
    const id = this.#nextSession++;
    const session = new SessionActor(this, id);
    this.#sessions.set(id, session);
    this.life.send({ type: "childAdded", kind: "session" });
    session.life.onEnd(({ quarantined }) => {
      this.#sessions.delete(id);
      this.broker.forget(id);
      this.life.send({ type: "childEnded", kind: "session", quarantined });
    });
    session.life.onEnd(() => this.membersChanged());
    session.start(fd);
  }

  #stopListening(): void {
    this.#offer.lookout.stop();
    this.#accepting = false;
  }

  #closeSessions(): void {
    for (const session of [...this.#sessions.values()]) session.close("the runtime stops");
    if (this.#sessions.size === 0) this.broker.stop("the runtime stops");
  }

  #linkable(id: number): SessionActor["end"] | undefined {
    const session = this.#sessions.get(id);
    return session && !session.gone && session.mapped && session.end.responsive ? session.end : undefined;
  }

  #members() {
    return [...this.#sessions.values()]
      .filter((session) => session.mapped && !session.gone)
      .flatMap((session) => [...session.streams.values()].map((stream) => stream.member));
  }

  #sourceOf(link: { readonly producer: { readonly session: number }; readonly stream: string }, index: number) {
    const stream = this.#sessions.get(link.producer.session)?.streamNamed(link.stream);
    return stream?.sourceAt(index);
  }

  #fallenBack(): boolean {
    const fallen = (code: string): boolean => code === "W_FALLBACK_UDP" || code === "W_NO_NETWORK";
    const has = ({ decision }: StreamActor): boolean => decision?.warnings.some(({ code }) => fallen(code)) === true;
    return [...this.#sessions.values()].some(({ streams }) => [...streams.values()].some(has));
  }

  #degraded(what: string, notice: Notice): void {
    this.life.send({ type: "degraded", what, notice });
  }

  #reported(): Reported {
    return {
      host: this,
      state: this.state,
      startedAt: this.#startedAt,
      sessions: [...this.#sessions.values()],
      engines: this.network.engines,
      peers: this.network.peers,
      alive: this.network.alive,
      quarantined: this.#quarantined,
      threads: this.network.threads.report,
      threadMoves: this.network.threads.moves,
    };
  }
}
