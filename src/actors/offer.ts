// What this host offers to streams: what the probes found, as far as it serves it. Looked at when somebody asks, and again while
// somebody goes without (Lookout). Decides nothing.
import type { CapabilityRecord } from "../protocol/control.ts";
import { technologyOf } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { keepUp } from "../qos/capabilities.ts";
import type { Clock } from "./clock.ts";
import { Lookout } from "./lookout.ts";
import type { Network } from "./network.ts";

export interface OfferPorts {
  readonly clock: Clock;
  /** `rdma`: what is known of it, when it is not to be asked: that loads a library in a process of its own, and waits for it. */
  probe(rdma?: CapabilityRecord): ReadonlyArray<CapabilityRecord>;
  network(): Network;
  /** A stream asked for more than it has. */
  fallenBack(): boolean;
  /** More or less is offered than before. */
  changed(): void;
}

export class Offer {
  readonly #ports: OfferPorts;
  readonly lookout: Lookout;
  #records: ReadonlyArray<CapabilityRecord> = [];

  constructor(ports: OfferPorts) {
    this.#ports = ports;
    this.lookout = new Lookout({
      clock: ports.clock,
      wanted: () => ports.fallenBack() || ports.network().resting.length > 0,
      look: () => this.#lookAgain(),
    });
  }

  /** Looks at the host, read-only, and says what is true of it now, whatever streams may count on. */
  look(rdma?: CapabilityRecord): ReadonlyArray<CapabilityRecord> {
    const network = this.#ports.network();
    const now = this.#ports.probe(rdma);
    this.#records = keepUp(now, this.#records, network.up);
    return now.map((record) => network.served(record));
  }

  /** What is up again was found missing while it was not. */
  refresh(): void {
    const stale = this.#ports.network().up.some((lane) => this.of(technologyOf(lane))?.available === false);
    if (stale) this.look(this.of("rdma")?.available ? this.of("rdma") : undefined);
  }

  of(technology: NetworkTechnology): CapabilityRecord | undefined {
    return this.#records.find((record) => record.technology === technology);
  }

  /** What a stream can be bound to now. `soon`: as if all were up that can be opened. */
  for(soon: boolean, stream?: string): ReadonlyArray<CapabilityRecord> {
    return this.#records.map((record) => {
      if (record.technology === "shm" || !record.available) return record;
      const why = this.#ports.network().unavailable(record.technology, soon, stream);
      return why === null ? record : { ...record, available: false, reason: why.reason, cure: why.cure };
    });
  }

  #lookAgain(): boolean {
    const network = this.#ports.network();
    const found = (): string => this.#records.map(({ available }) => Number(available)).join("");
    const before = found();
    this.look(this.of("rdma"));
    // Those that were given up, and could be opened now; streams are told when they are up.
    for (const technology of network.resting) if (this.of(technology)?.available) void network.prepare(technology);
    if (found() === before) return false;
    this.#ports.changed();
    return true;
  }
}
