// The threads of a runtime's engines made live: who serves whom follows src/qos/threads.ts, from the configuration when an engine
// begins to run, and from what threads have worked as long as it runs. Each move is told, and nothing else is done by itself.
import { cpus } from "node:os";
import type { EngineHandle } from "../native/engine.ts";
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { Lane } from "../protocol/lanes.ts";
import { ADVISOR_START, type Advice, type AdvisorState, advise, type Placement, place } from "../qos/threads.ts";
import type { RuntimeConfig, ThreadMoveReport, ThreadReport } from "../runtime/api.ts";
import type { Clock } from "./clock.ts";
import type { Serving } from "./serving.ts";

/** How often it is looked at what threads have worked, ms: the advisor counts in samples. */
const SAMPLE_MS = 1000;
/** Moves that `status` shows. */
const KEPT_MOVES = 16;
const EAGAIN = -11;

export interface ThreadsPorts {
  readonly clock: Clock;
  readonly config: RuntimeConfig;
  servings(): Iterable<Serving>;
  warn(warning: Warning): void;
  info(message: string, fields: Readonly<Record<string, unknown>>): void;
}

interface Sample {
  readonly handle: EngineHandle;
  readonly busyNs: number;
  readonly atMs: number;
}

export class Threads {
  readonly #ports: ThreadsPorts;
  /** As the configuration or the advisor wants it. */
  #placement: Placement = new Map();
  #state: AdvisorState = ADVISOR_START;
  readonly #samples = new Map<Lane, Sample>();
  readonly #loads = new Map<Lane, number>();
  readonly #moves: ThreadMoveReport[] = [];
  /** Threads whose core was asked about. */
  readonly #pinned = new Set<EngineHandle>();
  #stop: (() => void) | null = null;

  constructor(ports: ThreadsPorts) {
    this.#ports = ports;
  }

  /** Engines that run as threads of this process and may share one. */
  get #shareable(): Serving[] {
    const inline = this.#ports.config.engine.mode === "inline";
    return [...this.#ports.servings()].filter(
      ({ runs, engine }) => !inline && runs && engine?.resource?.handle != null,
    );
  }

  /** An engine has begun to run, or is over. */
  changed(): void {
    const there = this.#shareable.map(({ lane }) => lane);
    const known = new Set(this.#placement.keys());
    if (there.length !== known.size || there.some((lane) => !known.has(lane))) {
      const fresh = place(there, this.#ports.config.threads);
      const kept = (lane: Lane): Lane | undefined => {
        const host = this.#placement.get(lane);
        return host !== undefined && there.includes(host) ? host : undefined;
      };
      // Those that were there stay where they are, if whoever serves them does.
      this.#placement = new Map(there.map((lane) => [lane, kept(lane) ?? fresh.get(lane) ?? lane]));
    }
    this.#apply();
    this.#stop ??= this.#ports.clock.after(SAMPLE_MS, () => this.#sample());
  }

  stop(): void {
    this.#stop?.();
    this.#stop = null;
  }

  #apply(): void {
    const servings = this.#shareable;
    const handleOf = (lane: Lane): EngineHandle | null =>
      servings.find((serving) => serving.lane === lane)?.engine?.resource?.handle ?? null;
    const hostOf = (lane: Lane): Lane => this.#placement.get(lane) ?? lane;
    // Those that leave make room for those that come.
    const own = servings.filter(({ lane }) => hostOf(lane) === lane);
    const guests = servings.filter(({ lane }) => hostOf(lane) !== lane);
    for (const { engine } of own) engine?.resource?.serveBy(null);
    for (const { engine, lane } of guests) engine?.resource?.serveBy(handleOf(hostOf(lane)));
  }

  #sample(): void {
    this.#stop = this.#ports.clock.after(SAMPLE_MS, () => this.#sample());
    const now = this.#ports.clock.now();
    for (const { lane, engine } of this.#ports.servings()) {
      const resource = engine?.resource;
      const busyNs = resource?.counters()["busy_ns"];
      if (!resource || busyNs === undefined) {
        this.#samples.delete(lane);
        this.#loads.delete(lane);
        continue;
      }
      const handle = resource.handle ?? 0n;
      const before = this.#samples.get(lane);
      const passed = before && before.handle === handle ? now - before.atMs : 0;
      if (before && passed > 0)
        this.#loads.set(lane, Math.min(1, Math.max(0, (busyNs - before.busyNs) / (passed * 1e6))));
      this.#samples.set(lane, { handle, busyNs, atMs: now });
    }
    this.#lookAtCores();
    this.#advise();
  }

  #advise(): void {
    const { config } = this.#ports;
    const { advisor, map, most } = config.threads;
    if (advisor === "off") return;
    const loads = this.#shareable.map(({ lane, plan }) => ({
      lane,
      load: this.#loads.get(lane) ?? 0,
      parks: plan.engine.idle === "park",
    }));
    // A gate schedule keeps time on its thread: who shares it is for the operator to say.
    const fixed = map !== null || advisor !== "act" || config.network.schedule !== null;
    const { state, advice } = advise(this.#state, {
      placement: this.#placement,
      loads,
      most,
      cores: cpus().length,
      fixed,
    });
    this.#state = state;
    for (const one of advice) this.#follow(one);
  }

  #follow(advice: Advice): void {
    if (advice.kind === "overloaded") {
      this.#ports.warn({
        code: WARNING_CODES.THREAD_OVERLOADED,
        message: `The engine thread of ${advice.thread} has too much to do: ${advice.why}.`,
        cure: "Give engines that share it threads of their own (threads.most, threads.map), pin it to a core that nobody else uses (engine.cpu), or send less.",
      });
      return;
    }
    const { engine, to, why } = advice;
    const from = this.#placement.get(engine) ?? engine;
    this.#placement = new Map(this.#placement).set(engine, to);
    this.#apply();
    this.#moves.push({ at: new Date().toISOString(), engine, from, to, why });
    if (this.#moves.length > KEPT_MOVES) this.#moves.shift();
    const where = to === engine ? "a thread of its own" : `the thread of ${to}`;
    const message = `The engine of ${engine} has moved from the thread of ${from} to ${where}: ${why}.`;
    this.#ports.info(message, { event: "thread-moved", engine, from, to });
  }

  /** Whether threads run where they were to is known once they are there. */
  #lookAtCores(): void {
    for (const { lane, plan, engine } of this.#shareable) {
      const { handle = null } = engine?.resource ?? {};
      if (plan.engine.cpu === null || handle === null || this.#pinned.has(handle)) continue;
      const result = engine?.resource?.pinned() ?? EAGAIN;
      if (result === EAGAIN) continue;
      this.#pinned.add(handle);
      if (result === 0) continue;
      this.#ports.warn({
        code: WARNING_CODES.NOT_PINNED,
        message: `The engine thread of ${lane} may not run on core ${plan.engine.cpu} (errno ${-result}): it runs on any.`,
        cure: "Let the process use that core (taskset, the container's cpuset), or name another one.",
      });
    }
  }

  get moves(): ReadonlyArray<ThreadMoveReport> {
    return this.#moves;
  }

  get report(): ThreadReport[] {
    const servings = [...this.#ports.servings()].filter(({ runs }) => runs);
    const hostOf = (lane: Lane): Lane => this.#placement.get(lane) ?? lane;
    return servings
      .filter(({ lane }) => hostOf(lane) === lane)
      .map(({ lane, plan, engine }) => {
        const served = servings.filter((other) => hostOf(other.lane) === lane);
        const loads = served.map((one) => this.#loads.get(one.lane) ?? 0);
        return {
          name: lane,
          engines: served.map((one) => one.lane),
          mode: engine?.mode ?? "thread",
          idle: plan.engine.idle,
          cpu: plan.engine.cpu,
          duty: Math.min(
            1,
            loads.reduce((sum, load) => sum + load, 0),
          ),
        };
      });
  }
}
