// An engine made live: its thread or process, its memory, its datapaths, its end of links. It watches what the engine says and how
// soon it acknowledges; what is not acknowledged is kept aside, never unmapped.
import { engineMachine } from "../../models/engine.ts";
import type { Notice } from "../../models/lifecycle.ts";
import { type EngineEvents, type EngineResource, engineResource } from "../effects/engine.ts";
import { engineProcess } from "../effects/engine-process.ts";
import { DEFAULT_ENGINE, type EngineConfig, IDLE, LEASE } from "../native/engine-config.ts";
import type { EngineEvent } from "../native/engine-events.ts";
import type { Ledger } from "../native/ledger.ts";
import { WARNING_CODES } from "../protocol/codes.ts";
import type { EngineOptions } from "../runtime/api.ts";
import { DatapathActor, type DatapathPorts } from "./datapath.ts";
import { EngineEnd } from "./engine-end.ts";
import { stateText } from "./inspection.ts";
import { guarded, Life, type World } from "./life.ts";
import { DRAIN_MS } from "./link.ts";

export interface EnginePorts {
  readonly world: World;
  readonly name: string;
  readonly options: EngineOptions;
  /** In a process of its own; else a thread of this one. */
  readonly process: boolean;
  /** How often it tells its peers that it lives, ms. */
  readonly aliveMs: number;
  /** Memory for the large messages of one stream, bytes. */
  readonly largeBytes: number;
  /** What its receive pool is made of; left out, what suits kernel UDP. */
  readonly receive?: { readonly slots: number; readonly bytes: number };
  event(event: Exclude<EngineEvent, { readonly type: "ack" | "datapath-down" }>): void;
  /** It hangs, or is gone: what it had sent and received, which it cannot tell of any more. */
  left(ledger: Ledger): void;
  /** Its thread runs: datapaths can be opened. */
  running(): void;
  /** It had missed a command's deadline and acknowledges again: what was given up meanwhile is to be said anew. */
  recovered(): void;
  ended(): void;
}

/** How often a thread is asked whether it lives, ms; a process is asked by its own watchdog. */
const WATCH_MS = 1000;
/** How long a process may take to begin, to show a sign of life once it has missed a deadline, and to end, ms. */
const PROCESS_PATIENCE = { openMs: 3000, teardownMs: 3000 };

export function engineConfig({
  options,
  process,
  aliveMs,
  receive,
}: Pick<EnginePorts, "options" | "process" | "aliveMs" | "receive">): EngineConfig {
  const idle = { park: IDLE.PARK, yield: IDLE.YIELD, spin: IDLE.SPIN }[options.idle];
  const lease = options.mode === "inline" && !process ? LEASE.INLINE : LEASE.NONE;
  const { slots: receiveSlots, bytes: receiveBytes } = receive ?? {
    slots: DEFAULT_ENGINE.receiveSlots,
    bytes: DEFAULT_ENGINE.receiveBytes,
  };
  const { spinMicros: spinUs, cpu, fifoPriority } = options;
  // Never one that the kernel moves about: it would take a core from whoever is there.
  const fifo = cpu === null ? 0 : (fifoPriority ?? 0);
  return {
    ...DEFAULT_ENGINE,
    idle,
    lease,
    spinUs,
    cpu: cpu ?? -1,
    receiveSlots,
    receiveBytes,
    aliveMs,
    fifoPriority: fifo,
  };
}

export class EngineActor {
  readonly life: Life<typeof engineMachine>;
  readonly end: EngineEnd;
  readonly datapaths = new Map<string, DatapathActor>();
  readonly mode: EngineOptions["mode"] | "process";
  readonly #ports: EnginePorts;
  #resource: EngineResource | null = null;
  #nextDatapath = 1;

  constructor(ports: EnginePorts) {
    this.#ports = ports;
    // Nobody else's thread can run the turns of another process.
    this.mode = ports.process ? "process" : ports.options.mode;
    this.life = new Life(ports.world, `engine ${ports.name}`);
    this.end = new EngineEnd({
      clock: ports.world.clock,
      name: this.life.name,
      resource: () => this.#resource,
      datapath: () => this.datapathUp,
      drainMs: DRAIN_MS,
      largeBytes: ports.largeBytes,
      warn: (notice) => ports.world.warn(this.life.name, notice),
      scope: () => this.life.subScope(),
    });
  }

  start(): void {
    const machine = engineMachine.provide({
      actions: {
        ...this.life.actions,
        start: () => this.#start(),
        nudge: () => void this.#ping("progressed"),
        resynchronise: () => void this.#ping("recovered"),
        closeDatapaths: (_, { dead }) => this.#closeDatapaths(dead),
        stop: (_, { kill }) => void this.#stop(kill),
        kill: () => this.#resource?.kill(),
      },
    });
    this.life.onEnd(({ how }) => {
      this.#resource = null;
      this.end.end(how === "closed");
      this.#ports.ended();
    });
    const mode = this.mode === "inline" ? "inline" : "shared";
    const { process } = this.#ports;
    const patience = process ? PROCESS_PATIENCE : { teardownMs: 3000 };
    this.life.start(machine, "engine", { name: this.life.name, mode, process, patience });
  }

  get state(): string {
    // Whether it sleeps is looked at when somebody asks: no event a sleep.
    this.life.send({ type: this.#resource?.parked() ? "parked" : "woke" });
    return stateText(this.life.actor.getSnapshot().value);
  }

  get resource(): EngineResource | null {
    return this.#resource;
  }

  /** The instance that egress links leave over. */
  get datapathUp(): number | null {
    for (const datapath of this.datapaths.values()) if (datapath.instance !== null) return datapath.instance;
    return null;
  }

  get counters(): Record<string, number> {
    return this.#resource?.counters() ?? {};
  }

  addDatapath(ports: Omit<DatapathPorts, "world" | "engine" | "nextId">): DatapathActor | null {
    const engine = this.#resource;
    if (!engine) return null;
    const { world } = this.#ports;
    const datapath = new DatapathActor({ ...ports, world, engine, nextId: () => this.#nextDatapath++ });
    this.datapaths.set(ports.technology, datapath);
    this.life.send({ type: "childAdded", kind: "datapath" });
    datapath.life.onEnd(({ quarantined }) => {
      this.datapaths.delete(ports.technology);
      this.life.send({ type: "childEnded", kind: "datapath", quarantined });
    });
    datapath.start();
    return datapath;
  }

  /** The embedding thread begins, or ends, to poll. */
  lease(taken: boolean): void {
    this.life.send(taken ? { type: "leaseTaken" } : { type: "leaseEnded", why: "returned" });
  }

  close(): void {
    this.life.send({ type: "close" });
  }

  #start(): void {
    const events: EngineEvents = {
      event: (event) => this.#guarded(() => this.#event(event)),
      overdue: (command) => this.life.send({ type: "overdue", command }),
      late: () => this.life.send({ type: "progressed" }),
      died: (how) => {
        // Its memory is ours until its scope ends.
        this.#guarded(() => this.#left(this.#resource));
        this.life.send({ type: "died", how });
      },
    };
    const config = engineConfig(this.#ports);
    if (this.#ports.process) {
      void this.life
        .acquireAsync(engineProcess(this.life.name, config, events))
        .then((resource) => this.#started(resource))
        .catch((cause) => this.#failed(cause));
      return;
    }
    try {
      this.#started(this.life.acquire(engineResource(this.life.name, config, events)));
    } catch (cause) {
      this.#failed(cause);
    }
  }

  /** Whether the thread got the priority it was to have is known once it is there. */
  #lookAtPriority(resource: EngineResource): void {
    const { options, world } = this.#ports;
    if (engineConfig(this.#ports).fifoPriority === 0 || resource.counters()["realtime"] === 1) return;
    const message = `${this.life.name} may not run under SCHED_FIFO ${options.fifoPriority}: it is scheduled as any other.`;
    world.warn(this.life.name, { code: WARNING_CODES.NOT_REALTIME, message });
  }

  #started(resource: EngineResource): void {
    this.#resource = resource;
    this.life.send({ type: "started" });
    this.#lookAtPriority(resource);
    if (resource.pid === null) this.#watch(resource);
    // In a turn of its own: the machine has to have heard that it runs.
    this.life.soon(() => this.#ports.running());
  }

  #failed(cause: unknown): void {
    const { code, message } = cause as Notice;
    this.life.send({ type: "failed", notice: { code: code ?? "EINTERNAL", message } });
  }

  #event(event: Exclude<EngineEvent, { readonly type: "ack" }>): void {
    if (event.type === "stalled-owner") this.life.send({ type: "leaseEnded", why: "silent" });
    if (event.type !== "datapath-down") {
      this.#ports.event(event);
      return;
    }
    for (const datapath of this.datapaths.values()) {
      datapath.broke(event.datapath, `the engine found it broken (errno ${-event.status})`);
    }
  }

  /** Asks a thread now and then whether it lives: a hang is found out also when nobody wants anything of it. */
  #watch(resource: EngineResource): void {
    this.#ports.world.clock.after(WATCH_MS, async () => {
      if (this.#resource !== resource) return;
      await resource.command("a ping", (api, engine) => api.ping(engine)).catch(() => {}); // told by the command itself
      this.#watch(resource);
    });
  }

  async #ping(answer: "progressed" | "recovered"): Promise<void> {
    try {
      await this.#resource?.command("a ping", (api, engine) => api.ping(engine));
      this.life.send({ type: answer });
      // In a turn of its own: the machine has to have heard it.
      if (answer === "recovered") this.life.soon(() => this.#ports.recovered());
    } catch {
      // Overdue: the machine was told by the command itself.
    }
  }

  #guarded(work: () => void): void {
    guarded(this.#ports.world, this.life.name, work);
  }

  #left(resource: EngineResource | null): void {
    if (resource) this.#ports.left(resource.ledger());
  }

  #closeDatapaths(dead: boolean): void {
    for (const datapath of [...this.datapaths.values()]) {
      if (dead) datapath.lost();
      else datapath.close();
    }
  }

  async #stop(kill: boolean): Promise<void> {
    const resource = this.#resource;
    if (kill) resource?.kill();
    const stopped = resource ? resource.stop() : true;
    // A thread is joined here and now: its answer must not wait for another turn.
    const ended = typeof stopped === "boolean" ? stopped : await stopped;
    if (resource?.pid === null && this.life.actor.getSnapshot().context.ending?.cause === "failure")
      this.#guarded(() => this.#left(resource));
    if (ended) this.life.send({ type: "stopped" });
    else this.life.send({ type: "quarantine", what: this.life.name });
  }
}
