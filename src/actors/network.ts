// The part of a runtime that reaches other hosts: the technologies it serves, each with an engine and a datapath, and the
// directory of other runtimes. Nothing of it exists when the network is not enabled.
import type { Notice } from "../../models/lifecycle.ts";
import type { CapabilityRecord } from "../protocol/control.ts";
import { type Lane, receivesOnly, technologyOf } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { type GatePort, type GateSchedule, shareOf, USUAL_MTU } from "../qos/gates.ts";
import type { DataEndpoint, Directory, PeerInfo, PeerReport } from "../runtime/directory.ts";
import { NetworkWarnings } from "../runtime/network-warnings.ts";
import { receivesOver } from "../runtime/plan.ts";
import type { RemoteWishes } from "../runtime/planner.ts";
import { missing, unprobed } from "../runtime/probe.ts";
import { streamsWithoutRdma, type Unavailable, withoutRdma } from "../runtime/reach.ts";
import type { Reached } from "../runtime/reached.ts";
import { servingPlans } from "../runtime/servings.ts";
import { Announcer } from "./announcer.ts";
import type { EngineActor } from "./engine.ts";
import type { EngineEnd } from "./engine-end.ts";
import { EngineReports } from "./engine-reports.ts";
import { Farewells, linkOf, type Marked, routeOf } from "./farewells.ts";
import { PREPARE_MS } from "./host.ts";
import { InlineLease } from "./inline-lease.ts";
import type { LinkActor } from "./link.ts";
import type { RuntimeActor } from "./runtime.ts";
import { affordable, Serving, type ServingPlan } from "./serving.ts";
import type { SessionActor } from "./session.ts";
import type { Supervisor } from "./supervisor.ts";
import { Threads } from "./threads.ts";

/** How long a start waits for a datapath, ms. */
const START_MS = 5000;
/**
 * And for the one that there is no doing without: the kernel is asked about its interfaces, and answers nobody for seconds
 * while others take namespaces down. What fails is told at once.
 */
const UDP_START_MS = 15_000;

/** A stream does not wait for it for as long as a driver may take. */
const OPENING: Unavailable = {
  reason: "it is being opened, and its driver has not answered yet",
  cure: "Wait: the stream moves there when it is up, and `insane doctor` says what became of it.",
};

export interface NetworkPorts {
  readonly host: RuntimeActor;
  readonly directory: Directory;
  readonly supervisor: Supervisor;
  sessions(): Iterable<SessionActor>;
  degraded(what: string, notice: Notice): void;
  restored(what: string): void;
  child(kind: "engine" | "peer", change: "added" | "ended", quarantined?: readonly string[]): void;
}

export class Network {
  /** UDP port of hello frames; 0 while there is none. */
  port = 0;
  readonly #ports: NetworkPorts;
  readonly #servings: ReadonlyMap<Lane, Serving>;
  readonly #lease: InlineLease;
  readonly #alive = new Map<number, PeerInfo>();
  readonly #warnings: NetworkWarnings;
  /** The streams that cannot have RDMA because of a peer, as last looked at. */
  #withoutKey = "";
  #directoryRuns = false;
  /** That the inline engines are looked at again is on its way. */
  #following = false;
  readonly #reports: EngineReports;
  readonly #announcer: Announcer;
  /** By which each engine sends: together they do not use more than the line. */
  readonly #schedule: GateSchedule | null;
  readonly #farewells: Farewells;
  readonly threads: Threads;

  constructor(ports: NetworkPorts) {
    this.#ports = ports;
    this.#announcer = new Announcer({
      clock: ports.host.world.clock,
      links: () => ports.host.broker.links,
      isReceived: ({ consumer, stream }, lane) => {
        const member = ports.host.session(consumer.session)?.streamNamed(stream);
        const over = member?.receives;
        return !member || (over != null && receivesOver(over, this.running).includes(technologyOf(lane)));
      },
      endpoints: () => this.#endpoints,
      names: () => ports.host.names.own,
      announce: (announcement) => ports.directory.announce(announcement),
    });
    this.#farewells = new Farewells({
      clock: ports.host.world.clock,
      patienceMs: ports.host.config.rebind.patienceMs,
      servings: () => this.#servings.values(),
      missing: ({ tag, channel, source }, count) => this.#reports.lost(null, tag, channel, source, count),
    });
    this.#reports = new EngineReports({
      host: ports.host,
      farewells: this.#farewells,
      sessions: () => ports.sessions(),
      running: () => this.running,
    });
    this.#warnings = new NetworkWarnings((warning) => ports.host.log.warn(warning));
    const { config } = ports.host;
    const plans = servingPlans(config);
    this.#schedule = shareOf(config.network.schedule, plans.length);
    this.#servings = new Map(plans.map((plan) => [plan.lane, this.#serving(plan)]));
    this.#warnings.faults(config.network.faults);
    this.threads = new Threads({
      clock: ports.host.world.clock,
      config,
      servings: () => this.#servings.values(),
      warn: (warning) => ports.host.log.warn(warning),
      info: (message, fields) => ports.host.log.info(message, fields),
    });
    this.#lease = new InlineLease(() => this.#servings.values());
  }

  /** All that run, or did and are being restarted. */
  get engines(): EngineActor[] {
    return [...this.#servings.values()].flatMap(({ engine }) => (engine ? [engine] : []));
  }

  /** The engine of kernel UDP. */
  get engine(): EngineActor | null {
    return this.#servings.get("udp")?.engine ?? null;
  }

  /** An engine's end of links, while it runs. */
  end(lane: Lane): EngineEnd | undefined {
    const serving = this.#servings.get(lane);
    return serving?.runs ? serving.engine?.end : undefined;
  }

  /** Where this host receives now. */
  get #endpoints(): DataEndpoint[] {
    return [...this.#servings.values()].flatMap(({ lane, endpoint, provider }) =>
      endpoint === null ? [] : [{ lane, ...endpoint, ...(provider === undefined ? {} : { provider }) }],
    );
  }

  /** Lanes whose engine runs. */
  get running(): Lane[] {
    return [...this.#servings.values()].filter(({ runs }) => runs).map(({ lane }) => lane);
  }

  /** Lanes whose datapath carries messages. */
  get up(): Lane[] {
    return this.#endpoints.map(({ lane }) => lane);
  }

  /** Technologies that somebody has asked for and that are not up. */
  get resting(): NetworkTechnology[] {
    return [...this.#servings.values()].flatMap(({ lane, technology, endpoint, text }) =>
      endpoint !== null || text === null || receivesOnly(lane) ? [] : [technology],
    );
  }

  /** What was found of a technology, and how it is served now where somebody has asked for it. */
  served(record: CapabilityRecord): CapabilityRecord {
    const text = this.#servings.get(record.technology as Lane)?.text;
    return text ? { ...record, evidence: [...record.evidence, `this runtime: ${text}`] } : record;
  }

  /** Those that are alive follow what they were told last. */
  get announced(): boolean {
    return !this.#directoryRuns || (!this.#announcer.waits && this.#ports.directory.inForce);
  }

  /** See Host. */
  async retire(link: LinkActor, patienceMs: number): Promise<Marked | null> {
    const { id, lane } = link.spec;
    const end = lane === null ? undefined : this.end(lane);
    if (!end) return null;
    return await this.#farewells.marked(linkOf(id), async () => {
      await end.retire(id, patienceMs);
      return 1;
    });
  }

  get #holdMs(): number {
    return 1000 * this.#ports.host.config.rebind.holdSeconds;
  }

  /** For the thread that embeds the runtime and polls its engines itself; undefined in the other modes. */
  get inline(): InlineLease | undefined {
    return this.#ports.host.config.engine.mode === "inline" && this.engine ? this.#lease : undefined;
  }

  /** Links have come or gone: whoever polls inline polls the engines of its own. */
  linksChanged(): void {
    if (!this.#lease.taken || this.#following) return;
    this.#following = true;
    this.#ports.host.life.soon(() => {
      this.#following = false;
      this.#lease.follow(this.mainLinks);
    });
  }

  /** Links but those that take what comes otherwise than over the stream's own datapath: nobody's thread polls for them. */
  get mainLinks(): ReadonlyArray<LinkActor> {
    const { host } = this.#ports;
    return host.broker.links.filter(({ spec: { kind, stream, lane, consumer } }) => {
      if (kind !== "ingress") return true;
      const over = lane && technologyOf(lane);
      return host.session(consumer.session)?.streamNamed(stream)?.member.datapath === over;
    });
  }

  /** A stream of another name that peers use this tag for, or undefined. */
  foreign(tag: number, stream: string): string | undefined {
    for (const { routes } of this.#servings.values()) {
      const name = routes.foreign(tag, stream);
      if (name !== undefined) return name;
    }
    return undefined;
  }

  /** What other hosts want and can be given now. */
  get remote(): RemoteWishes {
    const servings = [...this.#servings.values()];
    const changes = servings.reduce((sum, { routes }) => sum + routes.reached.changes, 0);
    return {
      // Changes only become more; which datapaths are up is told by the bits below them.
      version: servings.reduce((bits, { endpoint }) => 2 * bits + Number(endpoint !== null), changes),
      versionOf: (technology, stream) => this.#reached(technology)?.version(stream) ?? -1,
      has: (technology, stream, channel) => this.#reached(technology)?.has(stream, channel) === true,
    };
  }

  /** The channels of a stream that are wanted over a technology. */
  wanted(technology: NetworkTechnology, stream: string): ReadonlyArray<number> {
    return [...(this.#reached(technology)?.channels(stream) ?? [])];
  }

  /** Who is reached over a technology that is up. */
  #reached(lane: Lane): Reached | undefined {
    const serving = this.#servings.get(lane);
    return serving === undefined || serving.endpoint === null ? undefined : serving.routes.reached;
  }

  get alive(): ReadonlyArray<PeerInfo> {
    return [...this.#alive.values()];
  }

  get peers(): ReadonlyArray<PeerReport> {
    return this.#directoryRuns ? this.#ports.directory.peers() : [];
  }

  /**
   * Null, or why a technology that this host has is of no use to streams now. `soon`: one that can be opened is of use;
   * kernel UDP is opened at the start, and comes back by itself.
   */
  unavailable(technology: NetworkTechnology, soon: boolean, stream?: string): Unavailable | null {
    if (!this.#ports.host.config.network.enabled) {
      return { reason: "the network is switched off in this runtime's configuration", cure: "Set network.enabled." };
    }
    const serving = this.#servings.get(technology);
    if (!serving) return { reason: "this runtime does not serve it", cure: "" };
    const unsteady = serving.endpoint === null ? 0 : serving.unsteady(this.#holdMs);
    if (unsteady > 0) {
      const reason = `it had failed and is up again: it is used when it has stayed up for another ${Math.ceil(unsteady / 1000)} s`;
      return { reason, cure: "Wait, or set rebind.holdSeconds." };
    }
    if (serving.endpoint !== null || (soon && technology !== "udp")) {
      return technology === "rdma" && stream !== undefined ? withoutRdma(stream, serving.provider, this.alive) : null;
    }
    if (!serving.failure && serving.text === null) return { reason: "this runtime has not opened it", cure: "" };
    if (!serving.failure) return OPENING;
    return {
      reason: `it could not be opened: ${serving.failure.message}`,
      cure: "See `insane doctor`; the next stream that asks for it tries again.",
    };
  }

  /** How the engine of a technology waits. */
  waits(technology: NetworkTechnology | null): ServingPlan["engine"] | undefined {
    return technology === null ? undefined : this.#servings.get(technology)?.plan.engine;
  }

  /** What a technology sends by; null: first in, first out. */
  gates(technology: NetworkTechnology): GatePort | null {
    const { enabled } = this.#ports.host.config.network;
    if (!enabled || this.#schedule === null) return null;
    return { schedule: this.#schedule, mtu: this.#servings.get(technology)?.endpoint?.mtu ?? USUAL_MTU };
  }

  /** Makes a technology ready for streams, as far as that is possible; null when nothing is to be done. */
  prepare(technology: NetworkTechnology): Promise<void> | null {
    const serving = this.#servings.get(technology);
    if (!serving || serving.endpoint !== null || technology === "udp") return null;
    // What went wrong is in `unavailable`, and the stream is warned of it.
    return serving.open(PREPARE_MS).catch(() => {});
  }

  /** Resolves when the datapath is up and the directory listens. */
  async start(): Promise<void> {
    const { host, directory } = this.#ports;
    const udp = [...this.#servings.values()].filter(({ technology }) => technology === "udp");
    await Promise.all(udp.map((serving) => serving.open(UDP_START_MS)));
    for (const technology of ["xdp", "dpdk", "rdma"] as const) {
      if (host.config.network[technology].enabled !== true) continue;
      const record = host.capability(technology);
      const serving = this.#servings.get(technology);
      if (!serving || record?.available !== true) throw missing(technology, record);
      await serving.open(START_MS);
    }
    // Peers choose it only when they have been told where it is.
    const rdma = host.capability("rdma")?.available ? this.#servings.get("rdma") : undefined;
    await rdma?.open(START_MS).catch(() => {});
    const { port } = await directory.start({
      alive: async (info) => {
        this.#alive.set(info.peer, info);
        host.names.peer(info.peer, info.names ?? []);
        this.#warnings.reach(info, this.#endpoints);
        this.#lookAtRdma();
        await Promise.all([...this.#servings.values()].map(({ routes }) => routes.set(info)));
      },
      silent: (peer) => {
        this.#alive.delete(peer);
        host.names.peer(peer, []);
        this.#lookAtRdma();
        for (const { routes } of this.#servings.values()) routes.silence(peer);
      },
      removed: (peer) => {
        this.#alive.delete(peer);
        host.names.peer(peer, []);
        this.#lookAtRdma();
        for (const { routes } of this.#servings.values()) routes.remove(peer);
      },
      heardMs: (peer) => Math.min(...[...this.#servings.values()].map((serving) => serving.heardMs(peer))),
      warning: (warning) => host.log.warn(warning),
    });
    this.#directoryRuns = true;
    this.port = port;
    this.#ports.child("peer", "added");
    this.announce();
  }

  /** Tells other runtimes what is wanted here: what the engine delivers, so that no sequence is missed. */
  announce(): void {
    if (this.#directoryRuns) this.#announcer.announce();
  }

  addPeer(endpoint: string): void {
    this.#ports.directory.addPeer(endpoint);
  }

  async stopDirectory(): Promise<void> {
    if (!this.#directoryRuns) return;
    this.#directoryRuns = false;
    this.#announcer.stop();
    await this.#ports.directory.stop().catch((cause) => this.#ports.host.world.defect("directory", cause));
    this.#ports.child("peer", "ended");
  }

  async stopEngines(): Promise<void> {
    this.threads.stop();
    await Promise.all([...this.#servings.values()].map((serving) => serving.stop()));
  }

  /** Peers that have come, changed or gone may change whether streams can have RDMA. */
  #lookAtRdma(): void {
    if (!this.#servings.has("rdma")) return;
    const key = streamsWithoutRdma(this.#servings.get("rdma")?.provider, this.alive).join("\n");
    if (key === this.#withoutKey) return;
    this.#withoutKey = key;
    this.#ports.host.life.soon(() => this.#ports.host.datapathChanged(null));
  }

  #serving(asked: ServingPlan): Serving {
    const { host, supervisor } = this.#ports;
    const { lane } = asked;
    const technology = technologyOf(lane);
    const engine = affordable(asked.engine, lane);
    if (engine !== asked.engine) this.#warnings.noCoreLeft(lane);
    const restored = (): void => {
      this.#ports.restored(lane);
      host.life.soon(() => host.datapathChanged(null));
    };
    return new Serving(
      { ...asked, engine, ...(this.#schedule === null ? {} : { schedule: this.#schedule }) },
      {
        world: host.world,
        supervisor,
        probe: () => host.capability(technology) ?? unprobed(technology),
        patienceMs: host.config.rebind.patienceMs,
        owner: (tag) => host.tags.owner(tag),
        moving: async (tag, channel, order) => void (await this.#farewells.marked(routeOf(lane, tag, channel), order)),
        collision: ({ name }, stream, owner) => this.#warnings.collision(name, stream, owner),
        event: (event) => this.#reports.event(lane, event),
        left: (ledger) => this.#reports.left(lane, ledger),
        up: () => {
          const serving = this.#servings.get(lane);
          if (technology === "udp") this.#warnings.receiveBuffer(serving?.datapath?.counters()["receive_buffer_bytes"]);
          if (engine.idle === "park") this.#warnings.parking(technology);
          restored();
          const unsteady = serving?.unsteady(this.#holdMs) ?? 0;
          if (unsteady > 0) host.world.clock.after(unsteady + 1, () => host.datapathChanged(null));
        },
        down: (notice, served) => {
          // One that never came up has served nobody: those who asked for it are told.
          if (served || technology === "udp") this.#ports.degraded(lane, notice);
          // One lane of several fails by itself: its channels wait for it, and streams stay where they are.
          const lost = receivesOnly(lane) ? null : { datapath: technology, notice };
          host.life.soon(() => host.datapathChanged(lost));
        },
        escalated: (notice) => this.#ports.degraded(lane, notice),
        changed: () => {
          this.announce();
          host.broker.reconcile();
          this.linksChanged();
          this.threads.changed();
        },
        child: (change, quarantined) => this.#ports.child("engine", change, quarantined),
      },
    );
  }
}
