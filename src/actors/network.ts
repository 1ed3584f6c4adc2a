// The part of a runtime that reaches other hosts: its engine (supervised), the datapath on it, the directory of other
// runtimes, and the routes that follow from both. Nothing of it exists when the network is not enabled.
import { availableParallelism } from "node:os";
import type { Notice } from "../../models/lifecycle.ts";
import type { RestartPolicy } from "../../models/policy.ts";
import type { EngineEvent } from "../native/engine.ts";
import { InsaneError, WARNING_CODES, type Warning } from "../protocol/codes.ts";
import { STATUS } from "../protocol/layout.ts";
import { type NetworkTechnology, streamTag } from "../protocol/qos.ts";
import type { EngineOptions } from "../runtime/api.ts";
import type { Directory, PeerInfo, PeerReport } from "../runtime/directory.ts";
import { Routes } from "../runtime/routes.ts";
import { EngineActor } from "./engine.ts";
import type { EngineEnd } from "./engine-end.ts";
import type { RuntimeActor } from "./runtime.ts";
import type { SessionActor } from "./session.ts";
import type { Child, Supervisor } from "./supervisor.ts";

/** The datapath that this runtime opens. */
const TECHNOLOGY: NetworkTechnology = "udp";
const ENGINE = "network";
const START_MS = 5000;
/** Least receive buffer of the data socket that is not worth a warning, bytes. */
const RECEIVE_BUFFER = 4 * 2 ** 20;
const POLICY: RestartPolicy = {
  kind: "permanent",
  backoff: { initialMs: 100, factor: 2, maxMs: 3000 },
  intensity: { max: 5, withinMs: 60_000 },
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
  engine: EngineActor | null = null;
  /** UDP port of hello frames; 0 while there is none. */
  port = 0;
  readonly #ports: NetworkPorts;
  readonly #routes: Routes;
  #directoryRuns = false;
  #firstUp: { readonly resolve: () => void; readonly reject: (cause: unknown) => void } | null = null;

  constructor(ports: NetworkPorts) {
    this.#ports = ports;
    this.#routes = new Routes({
      command: (what, send) => {
        const resource = this.engine?.resource;
        return resource
          ? resource.command(what, send)
          : Promise.reject(new InsaneError("ECLOSED", "The engine does not run."));
      },
      datapath: () => {
        const instance = this.engine?.datapathUp ?? null;
        return instance === null ? null : { instance, technology: TECHNOLOGY };
      },
      owner: (tag) => ports.host.tagOwner(tag),
      collision: ({ name }, stream, owner) =>
        this.#warned({
          code: WARNING_CODES.TAG_COLLISION,
          message: `${name} wants stream ${stream}, whose tag is that of stream ${owner} here: nothing is sent to it.`,
          cure: "Give one of the two streams another name.",
        }),
      applied: () => ports.host.broker.reconcile(),
      failed: (cause) => {
        if (!(cause instanceof InsaneError && cause.code === "ECLOSED")) ports.host.world.defect("routes", cause);
      },
    });
  }

  /** The engine's end of links, while it runs. */
  get end(): EngineEnd | undefined {
    return this.up ? this.engine?.end : undefined;
  }

  /** For the thread that embeds the runtime and polls its engine itself; undefined in the other modes. */
  get inline(): { poll(receiveBudget: number): number; release(): void } | undefined {
    if (this.engine?.mode !== "inline") return undefined;
    // Through `this`: after a restart it is another engine.
    return {
      poll: (receiveBudget) => this.engine?.resource?.inline.poll(receiveBudget) ?? 0,
      release: () => this.engine?.resource?.inline.release(),
    };
  }

  get up(): boolean {
    return this.engine?.resource != null && this.engine.life.outcome === null;
  }

  /** A stream of another name that peers use this tag for, or undefined. */
  foreign(tag: number, stream: string): string | undefined {
    return this.#routes.foreign(tag, stream);
  }

  /** What other hosts want and can be given now. */
  get remote(): ReadonlyArray<{ readonly stream: string; readonly channel: number }> {
    return this.engine?.datapathUp == null ? [] : this.#routes.remote;
  }

  get alive(): ReadonlyArray<PeerInfo> {
    return this.#routes.peers;
  }

  get peers(): ReadonlyArray<PeerReport> {
    return this.#directoryRuns ? this.#ports.directory.peers() : [];
  }

  /** Null, or why a technology that this host has is of no use to streams now. */
  unavailable(technology: NetworkTechnology): { readonly reason: string; readonly cure: string } | null {
    if (!this.#ports.host.config.network.enabled) {
      return { reason: "the network is switched off in this runtime's configuration", cure: "Set network.enabled." };
    }
    const datapath = this.engine?.datapaths.get(technology);
    if (datapath && datapath.instance !== null) return null;
    const state = datapath ? `its datapath is ${datapath.state}` : "this runtime has not opened it";
    return { reason: state, cure: datapath ? "It is tried again by itself; the log says why it failed." : "" };
  }

  /** Resolves when the datapath is up and the directory listens. */
  async start(): Promise<void> {
    const { supervisor, host, directory } = this.#ports;
    const up = new Promise<void>((resolve, reject) => {
      this.#firstUp = { resolve, reject };
    });
    const cancel = host.world.clock.after(START_MS, () =>
      this.#firstUp?.reject(
        new InsaneError("ETIMEDOUT", `The datapath ${TECHNOLOGY} did not come up in ${START_MS} ms.`),
      ),
    );
    supervisor.supervise({ name: ENGINE, policy: POLICY, start: () => this.#startEngine() });
    try {
      await up;
    } finally {
      cancel();
      this.#firstUp = null;
    }
    const { port } = await directory.start({
      alive: (info) => this.#routes.set(info),
      silent: (peer) => this.#routes.remove(peer),
      removed: (peer) => this.#routes.remove(peer),
      warning: (warning) => this.#warned(warning),
    });
    this.#directoryRuns = true;
    this.port = port;
    this.#ports.child("peer", "added");
    this.announce();
  }

  /** Tells other runtimes what is wanted here: what the engine delivers, so that no sequence is missed. */
  announce(): void {
    if (!this.#directoryRuns) return;
    const { host, directory } = this.#ports;
    const subscriptions = host.broker.links
      .filter(({ spec, state }) => spec.kind === "ingress" && state === "open")
      .flatMap(({ spec: { stream }, tables, confirmedTables }) => {
        const wanted = new Set(tables.channels.map(({ channel }) => channel));
        return confirmedTables.channels
          .filter(({ channel }) => wanted.has(channel))
          .map(({ channel }) => ({ tag: streamTag(stream), stream, channel }));
      });
    const unique = new Map(subscriptions.map((wanted) => [`${wanted.tag}:${wanted.channel}`, wanted]));
    const datapaths = [...(this.engine?.datapaths.values() ?? [])];
    directory.announce({
      endpoints: datapaths.flatMap(({ technology, instance, endpoint }) =>
        instance === null || !endpoint ? [] : [{ technology, ...endpoint }],
      ),
      subscriptions: [...unique.values()],
      technologies: datapaths.flatMap(({ technology, instance }) => (instance === null ? [] : [technology])),
    });
  }

  addPeer(endpoint: string): void {
    this.#ports.directory.addPeer(endpoint);
  }

  async stopDirectory(): Promise<void> {
    if (!this.#directoryRuns) return;
    this.#directoryRuns = false;
    await this.#ports.directory.stop().catch((cause) => this.#ports.host.world.defect("directory", cause));
    this.#ports.child("peer", "ended");
  }

  async stopEngine(): Promise<void> {
    await this.#ports.supervisor.stop(ENGINE);
  }

  #startEngine(): Child {
    const { host } = this.#ports;
    const { network } = host.config;
    const options = this.#affordable(host.config.engine);
    const engine = new EngineActor({
      world: host.world,
      name: ENGINE,
      options,
      event: (event) => this.#event(event),
      running: () => {
        engine.addDatapath({
          technology: TECHNOLOGY,
          at: { address: network.address, port: network.dataPort },
          probe: () =>
            host.capability(TECHNOLOGY) ?? {
              technology: TECHNOLOGY,
              available: false,
              emulated: false,
              reason: "it was not probed",
              evidence: [],
              cure: "",
            },
          up: () => this.#datapathUp(),
          down: (notice) => this.#datapathDown(notice),
          unavailable: (reason) =>
            this.#firstUp?.reject(new InsaneError("ESYSTEM", `The datapath ${TECHNOLOGY}: ${reason}`)),
          escalated: (notice) => this.#ports.degraded(TECHNOLOGY, notice),
        });
      },
      ended: () => {
        this.#routes.forget();
        this.announce();
      },
    });
    this.engine = engine;
    this.#ports.child("engine", "added");
    engine.life.onEnd(({ quarantined, notice, cause }) => {
      this.#ports.child("engine", "ended", quarantined);
      if (cause !== "requested")
        this.#firstUp?.reject(new InsaneError("ESYSTEM", notice?.message ?? "The engine failed."));
    });
    engine.start();
    return {
      close: () => engine.close(),
      onExit: (f) =>
        engine.life.onEnd(({ how, cause }) =>
          f(how === "quarantined" ? how : cause === "requested" ? "normal" : "failure"),
        ),
    };
  }

  /** A thread that spins leaves no room for others where there is no second core: it yields instead. */
  #affordable(options: EngineOptions): EngineOptions {
    const cores = availableParallelism();
    if (options.idle !== "spin" || options.mode !== "thread" || cores > 1) return options;
    this.#warned({
      code: WARNING_CODES.TOO_MANY_SPINNERS,
      message: `The engine is to spin, and this process may use ${cores} core only: it yields instead.`,
      cure: "Give the process more cores, or set engine.idle to park or yield.",
    });
    return { ...options, idle: "yield" };
  }

  #datapathUp(): void {
    this.#lookAtBuffer();
    this.#firstUp?.resolve();
    this.#ports.restored(TECHNOLOGY);
    // In a turn of its own: the machine has to be up before anybody asks whether it is.
    queueMicrotask(() => {
      void this.#routes.sync();
      this.#ports.host.datapathChanged(null);
    });
  }

  /** The kernel may give less than was asked for, and then bursts are lost without a word. */
  #lookAtBuffer(): void {
    const bytes = this.engine?.datapaths.get(TECHNOLOGY)?.counters()["receive_buffer_bytes"] ?? RECEIVE_BUFFER;
    if (bytes >= RECEIVE_BUFFER) return;
    this.#warned({
      code: WARNING_CODES.RECEIVE_BUFFER,
      message: `The kernel gave the data socket a receive buffer of ${bytes} bytes; bursts larger than that are lost.`,
      cure: `Raise it: \`sysctl net.core.rmem_max=${RECEIVE_BUFFER}\`, or run with CAP_NET_ADMIN.`,
    });
  }

  #datapathDown(notice: Notice): void {
    // The first failure is told to whoever starts the runtime: a port that is taken will not be free in a moment.
    this.#firstUp?.reject(new InsaneError("ESYSTEM", notice.message));
    this.#ports.degraded(TECHNOLOGY, notice);
    queueMicrotask(() => {
      void this.#routes.sync();
      this.#ports.host.datapathChanged({ datapath: TECHNOLOGY, notice });
    });
  }

  #event(event: Exclude<EngineEvent, { readonly type: "ack" | "datapath-down" }>): void {
    const { host } = this.#ports;
    switch (event.type) {
      case "link-fault": {
        const link = host.broker.link(event.link);
        const end = link && (link.spec.kind === "egress" ? link.spec.producer : link.spec.consumer);
        if (!link || !end) return;
        link.violation(link.spec.kind === "egress" ? "producer" : "consumer", "it wrote what may not be on a link");
        host
          .session(end.session)
          ?.violation(`${end.label} broke the contract of the shared memory of ${link.life.name}`);
        return;
      }
      case "lost":
        this.#lost(event.tag, event.channel, event.source, event.count);
        return;
      case "dropped": {
        const link = host.broker.link(event.link);
        const session = link && host.session(link.spec.consumer.session);
        if (!link || !session) return;
        const reason = event.reason === STATUS.NO_CREDIT ? "no-credit" : "wire";
        for (const sink of session.streamNamed(link.spec.stream)?.sinks.values() ?? []) {
          if (sink.spec.channel !== event.channel) continue;
          session.rpc.tell("sink.lost", { sink: sink.spec.id, source: 0, count: event.count, reason });
        }
        return;
      }
      case "stalled-owner":
        return;
    }
  }

  #lost(tag: number, channel: number, source: number, count: number): void {
    for (const session of this.#ports.sessions()) {
      for (const stream of session.streams.values()) {
        if (stream.tag !== tag) continue;
        for (const sink of stream.sinks.values()) {
          if (sink.spec.channel !== channel || sink.closing) continue;
          session.rpc.tell("sink.lost", { sink: sink.spec.id, source, count, reason: "wire" });
        }
      }
    }
  }

  #warned(warning: Warning): void {
    this.#ports.host.log.warn(warning);
  }
}
