// The gate schedule as streams meet it: what time-sensitive streams are promised of its windows (one message of the largest
// size a cycle each), and what `explain` says of it. A stream that does not fit is refused when it opens.
import { InsaneError } from "../protocol/codes.ts";
import type { DecisionRecord } from "../protocol/control.ts";
import type { NetworkTechnology, Qos } from "../protocol/qos.ts";
import { type GatePort, refusalOf, reservationOf, trafficClassOf, windowsOf } from "../qos/gates.ts";
import type { ScheduleReport } from "./api.ts";

export interface GatesPorts {
  /** What a stream of this quality will be bound to. */
  decide(qos: Qos): DecisionRecord;
  /** What a technology sends by; null: first in, first out. */
  port(technology: NetworkTechnology): GatePort | null;
}

export class Gates {
  readonly #ports: GatesPorts;
  /** ns of each cycle, by traffic class. */
  readonly #promised = new Map<number, number>();

  constructor(ports: GatesPorts) {
    this.#ports = ports;
  }

  /** Promises a time-sensitive stream its part; the result takes that back. Throws ESCHEDULE with the arithmetic. */
  admit(stream: string, qos: Qos): () => void {
    const port = qos.timeSensitivity === "best-effort" ? null : this.#portOf(this.#ports.decide(qos));
    if (port === null) return () => {};
    const trafficClass = trafficClassOf(qos);
    const refusal = refusalOf(port, qos, this.#promisedTo(trafficClass));
    if (refusal !== null) {
      const why = `Stream ${stream} does not fit the gate schedule: ${refusal}.`;
      throw new InsaneError("ESCHEDULE", why, { stream, trafficClass });
    }
    const ns = reservationOf(port, qos);
    this.#promised.set(trafficClass, this.#promisedTo(trafficClass) + ns);
    let given = true;
    return () => {
      if (given) this.#promised.set(trafficClass, this.#promisedTo(trafficClass) - ns);
      given = false;
    };
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
