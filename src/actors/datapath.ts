// A datapath made live: one technology on one engine. Each instance has a scope of its own, so that one that broke is
// gone before the next one opens; when to try again is the machine's business.

import { datapathMachine } from "../../models/datapath.ts";
import type { Notice } from "../../models/lifecycle.ts";
import { type DatapathResource, type DatapathSpec, datapathResource } from "../effects/datapath.ts";
import type { EngineResource } from "../effects/engine.ts";
import { OPEN_MS } from "../effects/engine-process.ts";
import type { Endpoint } from "../native/engine.ts";
import type { InsaneError } from "../protocol/codes.ts";
import type { CapabilityRecord } from "../protocol/control.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { stateText } from "./inspection.ts";
import { Life, type SubScope, type World } from "./life.ts";

export interface DatapathPorts {
  readonly world: World;
  readonly technology: NetworkTechnology;
  /** What it is called by: a technology may be there more than once. */
  readonly lane: Lane;
  /** Where the next instance is to listen; port 0: anywhere. */
  at(): { readonly address: string; readonly port: number };
  /** Of the datapath's `open`. */
  readonly options: string;
  readonly schedule?: DatapathSpec["schedule"];
  readonly engine: EngineResource;
  /** A number for an instance, never used again on this engine. */
  nextId(): number;
  probe(): CapabilityRecord;
  up(endpoint: Endpoint): void;
  /** `refused`: it did not open, with this error; null: it was open. */
  down(notice: Notice, refused: InsaneError | null): void;
  /** The probe says no. */
  unavailable(reason: string): void;
  /** It gave up. */
  escalated(notice: Notice): void;
}

export class DatapathActor {
  readonly life: Life<typeof datapathMachine>;
  readonly lane: Lane;
  readonly technology: NetworkTechnology;
  readonly #ports: DatapathPorts;
  #instance: { readonly scope: SubScope; readonly resource: DatapathResource } | null = null;
  #opening: Promise<void> = Promise.resolve();
  #refused: InsaneError | null = null;

  constructor(ports: DatapathPorts) {
    this.#ports = ports;
    this.lane = ports.lane;
    this.technology = ports.technology;
    this.life = new Life(ports.world, `datapath ${ports.lane}`);
  }

  start(): void {
    const { up, down, escalated, technology } = this.#ports;
    const machine = datapathMachine.provide({
      actions: {
        ...this.life.actions,
        probe: () => this.#probe(),
        publishCapability: () => {},
        open: () => {
          this.#opening = this.#open();
        },
        publishUp: (_, { endpoint }) => up(endpoint),
        publishDown: (_, notice) => down(notice, this.#refused),
        detach: () => void this.#detach(),
        escalate: (_, notice) => escalated(notice),
      },
    });
    // A driver in a process of its own may take longer: when it hangs, the process is killed.
    const patience = { openMs: this.#ports.engine.pid === null ? 3000 : OPEN_MS + 1000, teardownMs: 3000 };
    this.life.start(machine, "datapath", { name: this.life.name, technology, patience });
    this.life.send({ type: "open" });
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  /** The number of the instance that is up, or null. */
  get instance(): number | null {
    return this.life.actor.getSnapshot().matches("up") ? (this.#instance?.resource.id ?? null) : null;
  }

  /** It is a software stand-in. */
  get emulated(): boolean {
    return this.#ports.probe().emulated;
  }

  get endpoint(): Endpoint | null {
    return this.#instance?.resource.endpoint ?? null;
  }

  counters(): Record<string, number> {
    return this.#instance?.resource.counters() ?? {};
  }

  /** The engine says that this instance is broken. */
  broke(id: number, why: string): void {
    if (this.#instance?.resource.id !== id) return;
    this.life.send({ type: "broke", notice: { code: "W_DATAPATH_DOWN", message: why } });
  }

  /** Somebody wants it now: it does not wait until its time has come. */
  again(): void {
    this.life.send({ type: this.life.actor.getSnapshot().matches("unavailable") ? "probe" : "retry" });
  }

  close(): void {
    this.life.send({ type: "close" });
  }

  /** The engine is gone, and with it all that ran on it. */
  lost(): void {
    this.life.send({ type: "lost" });
  }

  #probe(): void {
    const { available, reason, evidence } = this.#ports.probe();
    this.life.send({ type: available ? "available" : "unavailable", evidence: [reason, ...evidence] });
    if (!available) this.#ports.unavailable(reason);
  }

  async #open(): Promise<void> {
    const scope = this.life.subScope();
    const { engine, technology, options, schedule } = this.#ports;
    const at = this.#ports.at();
    try {
      const id = this.#ports.nextId();
      const spec = { id, technology, options, at, ...(schedule === undefined ? {} : { schedule }) };
      const resource = await scope.acquireAsync(datapathResource(engine, spec));
      this.#instance = { scope, resource };
      this.#refused = null;
      this.life.send({ type: "opened", endpoint: resource.endpoint });
    } catch (cause) {
      await scope.release();
      this.#refused = cause as InsaneError;
      const { code, message } = this.#refused;
      this.life.send({ type: "broke", notice: { code, message } });
    }
  }

  async #detach(): Promise<void> {
    // One that opened too late is taken down all the same.
    await this.#opening;
    const instance = this.#instance;
    this.#instance = null;
    await instance?.scope.release();
    this.life.send({ type: "detached", at: this.#ports.world.clock.now() });
  }
}
