// What engines tell of messages and links goes to those it concerns: a broken contract to the session that broke it, what was
// lost or dropped to the sinks it was for, the end of flows to whoever waits for it.
import type { EngineEvent } from "../native/engine-events.ts";
import type { Ledger } from "../native/ledger.ts";
import { type Lane, technologyOf } from "../protocol/lanes.ts";
import { STATUS } from "../protocol/layout.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { Losses } from "../runtime/losses.ts";
import { receivesOver } from "../runtime/plan.ts";
import type { Farewells } from "./farewells.ts";
import type { RuntimeActor } from "./runtime.ts";
import type { SessionActor } from "./session.ts";

export type EngineReport = Exclude<EngineEvent, { readonly type: "ack" | "datapath-down" }>;

export interface EngineReportsPorts {
  readonly host: RuntimeActor;
  readonly farewells: Farewells;
  sessions(): Iterable<SessionActor>;
  /** Lanes whose engine runs. */
  running(): ReadonlyArray<Lane>;
}

export class EngineReports {
  readonly #ports: EngineReportsPorts;
  readonly #losses: Losses;

  constructor(ports: EngineReportsPorts) {
    this.#ports = ports;
    const { host } = ports;
    this.#losses = new Losses({
      after: (ms, f) => void host.world.clock.after(ms, f),
      tell: (session, loss) => host.session(session)?.rpc.tell("sink.lost", loss),
    });
  }

  event(lane: Lane, event: EngineReport): void {
    const technology = technologyOf(lane);
    switch (event.type) {
      case "link-fault":
        this.#fault(event.link);
        return;
      case "lost":
        this.lost(technology, event.tag, event.channel, event.source, event.count);
        return;
      case "late": {
        // Once a stream, however many sinks it has there.
        const sinks = this.#sinks(technology, event.tag, event.channel);
        for (const stream of new Set([...sinks].map((one) => one.stream))) stream.late(technology, event);
        return;
      }
      case "dropped":
        this.#dropped(event.link, event.channel, event.count, event.reason);
        return;
      case "marked":
      case "ended":
      case "untold":
        this.#ports.farewells.event(lane, event);
        return;
      case "stalled-owner":
        return;
    }
  }

  /**
   * An engine hangs or is gone. What it had sent is told to the receivers by another one; what it had received is remembered
   * until its senders say how many there were.
   */
  left(lane: Lane, { sent, received }: Ledger): void {
    const { farewells } = this.#ports;
    for (const { tag, channel, source, untold } of received) {
      if (untold > 0) this.lost(technologyOf(lane), tag, channel, source, untold);
    }
    farewells.remember(received);
    for (const flow of sent) farewells.event(lane, { ...flow, type: "untold" });
  }

  /** `technology` null: over one that was left, whichever that was. */
  lost(technology: NetworkTechnology | null, tag: number, channel: number, source: number, count: number): void {
    for (const { session, stream, sink } of this.#sinks(technology, tag, channel)) {
      stream.lost(technology, count);
      this.#losses.add(session.id, { sink: sink.spec.id, source, count, reason: "wire" });
    }
  }

  /** The sinks that get what comes on a channel over a technology; null: over one that was left, whichever that was. */
  *#sinks(technology: NetworkTechnology | null, tag: number, channel: number) {
    for (const session of this.#ports.sessions()) {
      for (const stream of session.streams.values()) {
        if (stream.tag !== tag) continue;
        const over = stream.carriers.flatMap((one) => receivesOver(one, this.#ports.running()));
        if (technology === null ? !stream.left() : !over.includes(technology) && !stream.left(technology)) continue;
        for (const sink of stream.sinks.values()) {
          if (sink.spec.channel === channel && !sink.closing) yield { session, stream, sink };
        }
      }
    }
  }

  #fault(id: number): void {
    const { host } = this.#ports;
    const link = host.broker.link(id);
    const end = link && (link.spec.kind === "egress" ? link.spec.producer : link.spec.consumer);
    if (!link || !end) return;
    link.violation(link.spec.kind === "egress" ? "producer" : "consumer", "it wrote what may not be on a link");
    host.session(end.session)?.violation(`${end.label} broke the contract of the shared memory of ${link.life.name}`);
  }

  #dropped(id: number, channel: number, count: number, status: number): void {
    const { host } = this.#ports;
    const link = host.broker.link(id);
    const session = link && host.session(link.spec.consumer.session);
    if (!link || !session) return;
    const reason = status === STATUS.NO_CREDIT ? "no-credit" : "wire";
    for (const sink of session.streamNamed(link.spec.stream)?.sinks.values() ?? []) {
      if (sink.spec.channel !== channel) continue;
      this.#losses.add(session.id, { sink: sink.spec.id, source: 0, count, reason });
    }
  }
}
