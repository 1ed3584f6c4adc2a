// The gate schedule as streams meet it: what time-sensitive streams are promised of its windows (one message of the largest
// size a cycle each), and what `explain` says of it. A stream that does not fit is refused when it opens.
import type { LinkActor } from "../actors/link.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { DecisionRecord } from "../protocol/control.ts";
import { batches, type NetworkTechnology, type Qos } from "../protocol/qos.ts";
import { type GatePort, refusalOf, reservationOf, trafficClassOf, windowsOf } from "../qos/gates.ts";
import type { ScheduleReport } from "./api.ts";

export interface GatesPorts {
  /** What a stream of this quality will be bound to. */
  decide(qos: Qos): DecisionRecord;
  /** What a technology sends by; null: first in, first out. */
  port(technology: NetworkTechnology): GatePort | null;
}

/** What a stream is promised, as long as it is open. */
export interface Promised {
  /** For another quality, which its links follow; the old promise stays when that is refused. */
  change(qos: Qos, links: ReadonlyArray<LinkActor>, session: number): Promise<Qos>;
  release(): void;
}

interface Held {
  readonly trafficClass: number;
  readonly ns: number;
}
const NOTHING: Held = { trafficClass: 0, ns: 0 };

/** Links that stay where they are change their class and whether they batch; others are opened with it. */
async function retune(
  links: ReadonlyArray<LinkActor>,
  session: number,
  stream: string,
  tune: (spec: LinkActor["spec"]) => Promise<void> | undefined,
): Promise<void> {
  const mine = links.filter(
    ({ spec }) => spec.kind === "egress" && spec.stream === stream && spec.producer.session === session,
  );
  // One that is busy at this moment or on its way out keeps what it has: what it sends waits for another window.
  await Promise.all(mine.map(({ spec }) => tune(spec)?.catch(() => {})));
}

export class Gates {
  readonly #ports: GatesPorts;
  /** ns of each cycle, by traffic class. */
  readonly #promised = new Map<number, number>();

  constructor(ports: GatesPorts) {
    this.#ports = ports;
  }

  /** Promises a time-sensitive stream its part. Throws ESCHEDULE with the arithmetic, ESCHEMA. */
  admit(stream: string, qos: Qos): Promised {
    let held = this.#promise(stream, qos);
    let now = qos;
    let over = false;
    return {
      change: async (to, links, session) => {
        // Nobody would give back what is promised to a stream that has ended.
        if (over) throw new InsaneError("ECLOSED", `Stream ${stream} is closed.`, { stream });
        const before = held;
        this.#add(before, -1);
        try {
          held = this.#promise(stream, to);
        } catch (cause) {
          this.#add(before, 1);
          throw cause;
        }
        if (batches(to) !== batches(now)) {
          await retune(links, session, stream, ({ id, consumer }) => consumer.rebatch?.(id, batches(to)));
        }
        if (trafficClassOf(to) !== trafficClassOf(now)) {
          await retune(links, session, stream, ({ id, consumer }) => consumer.reclass?.(id, trafficClassOf(to)));
        }
        now = to;
        return to;
      },
      release: () => {
        over = true;
        this.#add(held, -1);
        held = NOTHING;
      },
    };
  }

  #promise(stream: string, qos: Qos): Held {
    if (qos.timeSensitivity === "best-effort") {
      if (qos.trafficClass === undefined) return NOTHING;
      const why = `trafficClass ${qos.trafficClass} is for time-sensitive streams; best effort is always class 0.`;
      throw new InsaneError("ESCHEMA", why, { field: "qos.trafficClass" });
    }
    const port = this.#portOf(this.#ports.decide(qos));
    if (port === null) return NOTHING;
    const trafficClass = trafficClassOf(qos);
    const refusal = refusalOf(port, qos, this.#promisedTo(trafficClass));
    if (refusal !== null) {
      const why = `Stream ${stream} does not fit the gate schedule: ${refusal}.`;
      throw new InsaneError("ESCHEDULE", why, { stream, trafficClass });
    }
    const held = { trafficClass, ns: reservationOf(port, qos) };
    this.#add(held, 1);
    return held;
  }

  #add({ trafficClass, ns }: Held, sign: 1 | -1): void {
    this.#promised.set(trafficClass, this.#promisedTo(trafficClass) + sign * ns);
  }

  /** What a stream that is bound so is sent by; null: first in, first out. */
  report(decision: DecisionRecord): ScheduleReport | null {
    const port = this.#portOf(decision);
    if (port === null) return null;
    const { schedule, mtu } = port;
    const trafficClass = trafficClassOf(decision.qos);
    const longestWindowNs = Math.min(windowsOf(schedule, trafficClass).longest, schedule.cycleNs);
    return { ...schedule, trafficClass, mtu, longestWindowNs, promisedNs: this.#promisedTo(trafficClass) };
  }

  #portOf({ datapath }: DecisionRecord): GatePort | null {
    return datapath === null || datapath === "shm" ? null : this.#ports.port(datapath);
  }

  #promisedTo(trafficClass: number): number {
    return this.#promised.get(trafficClass) ?? 0;
  }
}
