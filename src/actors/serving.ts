// One lane as this runtime serves it: an engine of its own (supervised), the datapath on it, and the routes to
// peers. It costs nothing until it is opened; then it stays, and comes back by itself when it fails.
import { availableParallelism } from "node:os";
import type { Notice } from "../../models/lifecycle.ts";
import type { RestartPolicy } from "../../models/policy.ts";
import type { Endpoint } from "../native/engine.ts";
import type { EngineEvent } from "../native/engine-events.ts";
import type { Ledger } from "../native/ledger.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { CapabilityRecord } from "../protocol/control.ts";
import { type Lane, technologyOf } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { baseTimeNs, type GateSchedule } from "../qos/gates.ts";
import { roomToSpin } from "../qos/threads.ts";
import type { EngineOptions } from "../runtime/api.ts";
import type { PeerInfo } from "../runtime/directory.ts";
import { enginePeers, Routes } from "../runtime/routes.ts";
import type { DatapathActor } from "./datapath.ts";
import { EngineActor } from "./engine.ts";
import { guarded, type World } from "./life.ts";
import type { Child, Supervisor } from "./supervisor.ts";

const POLICY: RestartPolicy = {
  kind: "permanent",
  backoff: { initialMs: 100, factor: 2, maxMs: 3000 },
  intensity: { max: 5, withinMs: 60_000 },
};

/** How a lane is served: what its engine and its datapath are made of. */
export interface ServingPlan {
  readonly lane: Lane;
  /** The engine's name. */
  readonly name: string;
  readonly engine: EngineOptions;
  /** Its engine is a process of its own; left out, a thread of this one. */
  readonly process?: boolean;
  /** How often its engine tells peers that it lives, ms. */
  readonly aliveMs: number;
  /** Memory in which its engine puts the large messages of one stream together, bytes. */
  readonly largeBytes: number;
  /** Of the datapath's `open`. */
  readonly options: string;
  readonly at: { readonly address: string; readonly port: number };
  /** By which it sends; left out, first in, first out. */
  readonly schedule?: GateSchedule;
  /** What its receive pool is made of; left out, the engine's default. */
  readonly receive?: { readonly slots: number; readonly bytes: number };
}

export interface ServingPorts {
  readonly world: World;
  readonly supervisor: Supervisor;
  probe(): CapabilityRecord;
  /** How long messages may wait for what was sent before them. */
  readonly patienceMs: number;
  /** The stream of this host that has a tag. */
  owner(tag: number): string | undefined;
  collision(peer: PeerInfo, stream: string, owner: string): void;
  /** Moves a route by `order`; resolves when what was sent by then has arrived, or had its time. */
  moving(tag: number, channel: number, order: () => Promise<number>): Promise<void>;
  /** See EnginePorts. */
  left(ledger: Ledger): void;
  event(event: Exclude<EngineEvent, { readonly type: "ack" | "datapath-down" }>): void;
  up(): void;
  /** `served`: it had been up since it was opened. */
  down(notice: Notice, served: boolean): void;
  escalated(notice: Notice): void;
  /** Peers, routes or links of its engine may be others. */
  changed(): void;
  child(change: "added" | "ended", quarantined?: readonly string[]): void;
}

export class Serving {
  readonly plan: ServingPlan;
  engine: EngineActor | null = null;
  readonly routes: Routes;
  /** What the last instance failed of; null while it is up or was never opened. */
  failure: Notice | null = null;
  readonly #ports: ServingPorts;
  /** Of the last endpoint that was up; null: as the plan says. */
  #port: number | null = null;
  #served = false;
  /** Part of an engine could not be torn down: what it held is still taken, and another would not get it. */
  #keptAside = false;
  /** Since when it is up; and whether it had failed before, after it had served. */
  #upAt = 0;
  #failed = false;
  readonly #waiting = new Set<{ resolve(): void; reject(cause: InsaneError): void }>();

  constructor(plan: ServingPlan, ports: ServingPorts) {
    this.plan = plan;
    this.#ports = ports;
    this.routes = new Routes({
      lane: this.lane,
      command: (what, send) => {
        const resource = this.engine?.resource;
        return resource
          ? resource.command(what, send)
          : Promise.reject(new InsaneError("ECLOSED", "The engine does not run."));
      },
      datapath: () => {
        const datapath = this.datapath;
        const [instance, endpoint] = [datapath?.instance, datapath?.endpoint];
        return instance == null || endpoint == null ? null : { instance, endpoint };
      },
      provider: () => this.provider,
      owner: ports.owner,
      moving: ports.moving,
      patienceMs: ports.patienceMs,
      collision: ports.collision,
      refused: (code, message) => ports.world.warn("routes", { code, message }),
      applied: () => guarded(ports.world, "routes", ports.changed),
      failed: (cause) => {
        // Of what is late the engine's machine has warned; it is said anew when that has recovered, or there is another.
        const told = cause instanceof InsaneError && (cause.code === "ECLOSED" || cause.code === "ETIMEDOUT");
        if (!told) ports.world.defect("routes", cause);
      },
    });
  }

  /** Somebody looks after its engine: it runs, or is about to. One that was given up begins anew when it is wanted. */
  get #supervised(): boolean {
    return this.#ports.supervisor.names.includes(this.plan.name);
  }

  get technology(): NetworkTechnology {
    return technologyOf(this.lane);
  }

  get lane(): Lane {
    return this.plan.lane;
  }

  /** What it is done with, where only equal ones understand each other. */
  get provider(): string | undefined {
    return this.#ports.probe().provider;
  }

  get datapath(): DatapathActor | undefined {
    return this.engine?.datapaths.get(this.technology);
  }

  /** Where it is reached; null while it is not up. */
  get endpoint(): Endpoint | null {
    const datapath = this.datapath;
    return datapath && datapath.instance !== null ? datapath.endpoint : null;
  }

  /** How it is served now; null: nobody has asked for it. */
  get text(): string | null {
    const { datapath, endpoint, failure } = this;
    if (endpoint) return `serves it at ${endpoint.address}:${endpoint.port}`;
    if (!this.#supervised && !this.failure) return null;
    return `does not serve it now (${datapath?.state ?? "its engine does not run"})${failure ? `: ${failure.message}` : ""}`;
  }

  /** Its engine runs. */
  get runs(): boolean {
    return this.engine?.resource != null && this.engine.life.outcome === null;
  }

  /** Milliseconds since its engine heard of a peer; Infinity: it never did. */
  heardMs(peer: number): number {
    const heard = this.engine?.resource?.heard();
    const { first, count } = enginePeers(peer);
    const times = Array.from({ length: count }, (_, i) => heard?.get(first + i) ?? Number.NEGATIVE_INFINITY);
    // The same clock as the engine's, which is good to a tick of the kernel.
    return Math.max(0, Number(process.hrtime.bigint()) / 1e6 - Math.max(...times));
  }

  /** For how long it is not to be trusted yet, ms: it had failed, and has been up for less than `holdMs` since. */
  unsteady(holdMs: number): number {
    if (!this.#failed || this.technology === "udp") return 0;
    return Math.max(0, this.#upAt + holdMs - this.#ports.world.clock.now());
  }

  /** Resolves when it is up; rejects with what the attempt failed of, or after `ms`. It goes on trying by itself. */
  async open(ms: number): Promise<void> {
    if (this.endpoint !== null) return;
    const { world, supervisor } = this.#ports;
    let cancel = (): void => {};
    const up = new Promise<void>((resolve, reject) => {
      const waiter = {
        resolve: (): void => {
          this.#waiting.delete(waiter);
          resolve();
        },
        reject: (cause: InsaneError): void => {
          this.#waiting.delete(waiter);
          reject(cause);
        },
      };
      this.#waiting.add(waiter);
      const late = `The datapath ${this.lane} did not come up in ${ms} ms.`;
      cancel = world.clock.after(ms, () => waiter.reject(new InsaneError("ETIMEDOUT", late)));
    });
    if (this.#supervised || this.#keptAside) this.datapath?.again();
    else supervisor.supervise({ name: this.plan.name, policy: POLICY, start: () => this.#start() });
    try {
      await up;
    } finally {
      cancel();
    }
  }

  async stop(): Promise<void> {
    if (!this.#supervised) return;
    this.#settle(new InsaneError("ECLOSED", "The runtime stops."));
    await this.#ports.supervisor.stop(this.plan.name);
  }

  #settle(cause: InsaneError | null): void {
    for (const { resolve, reject } of [...this.#waiting]) {
      if (cause) reject(cause);
      else resolve();
    }
  }

  #start(): Child {
    const { world } = this.#ports;
    const { name, receive, aliveMs, largeBytes } = this.plan;
    const engine = new EngineActor({
      world,
      name,
      options: this.plan.engine,
      process: this.plan.process ?? false,
      aliveMs,
      largeBytes,
      ...(receive === undefined ? {} : { receive }),
      event: (event) => this.#ports.event(event),
      left: (ledger) => this.#ports.left(ledger),
      running: () => this.#openDatapath(engine),
      recovered: () => {
        void this.routes.sync();
        this.#ports.changed();
      },
      ended: () => {
        this.routes.forget();
        this.#ports.changed();
      },
    });
    this.engine = engine;
    this.#ports.child("added");
    engine.life.onEnd(({ quarantined, notice, cause }) => {
      this.#ports.child("ended", quarantined);
      this.#keptAside ||= quarantined.length > 0;
      if (cause === "requested") return;
      this.failure = notice ?? { code: "EINTERNAL", message: "The engine failed." };
      this.#settle(new InsaneError("ESYSTEM", this.failure.message));
      // Its datapath may have had no word left to say: streams on it would wait for good.
      this.#ports.down(this.failure, this.#served);
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

  #openDatapath(engine: EngineActor): void {
    const { technology, lane } = this;
    const { at, options, schedule } = this.plan;
    // What peers sent to an engine of RDMA that died waits in their libraries for its endpoint, and would come to its
    // successor after all that was sent over another path meanwhile, counted as lost already.
    let kept = technology === "rdma" ? null : this.#port;
    engine.addDatapath({
      ...(schedule === undefined ? {} : { schedule: { ...schedule, baseNs: baseTimeNs(schedule) } }),
      technology,
      lane,
      at: () => {
        // Another engine's first instance is where the last one's was, if that can be had: peers need not be told, and nobody
        // takes for lost what the engine before had delivered.
        const port = kept ?? at.port;
        kept = null;
        return { ...at, port };
      },
      options,
      probe: () => this.#ports.probe(),
      up: ({ port }) => {
        this.#port = port;
        this.failure = null;
        this.#served = true;
        this.#upAt = this.#ports.world.clock.now();
        this.#ports.up();
        // In a turn of its own: the machine has to be up before anybody asks whether it is.
        engine.life.soon(() => {
          void this.routes.sync();
          this.#settle(null);
          this.#ports.changed();
        });
      },
      down: (notice, refused) => {
        this.failure = notice;
        this.#failed ||= this.#served;
        this.#ports.down(notice, this.#served);
        this.#settle(refused ?? new InsaneError("ESYSTEM", notice.message));
        engine.life.soon(() => {
          void this.routes.sync();
          this.#ports.changed();
        });
      },
      unavailable: (reason) => {
        this.failure = { code: "ESYSTEM", message: reason };
        this.#settle(new InsaneError("ESYSTEM", `The datapath ${this.lane}: ${reason}`));
      },
      escalated: (notice) => {
        this.failure = notice;
        this.#ports.escalated(notice);
      },
    });
  }
}

/** Engines that spin, at the least, when that of this lane does. */
const SPINNERS: Readonly<Record<Lane, number>> = {
  udp: 1,
  xdp: 2,
  dpdk: 2,
  rdma: 2,
  "udp-2": 2,
  "udp-3": 3,
  "udp-4": 4,
};

/** A thread that spins leaves no room for others where there is no core for it: it yields instead. */
export function affordable(options: EngineOptions, lane: Lane): EngineOptions {
  const fits =
    options.idle !== "spin" || options.mode !== "thread" || roomToSpin(availableParallelism(), SPINNERS[lane]);
  return fits ? options : { ...options, idle: "yield" };
}
