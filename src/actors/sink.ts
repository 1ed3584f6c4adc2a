// A sink made live: it is open when every local source of its channel knows of it (or has been waited for long enough),
// and closes when it has given back what it held. Messages themselves never come by here.
import { sinkMachine } from "../../models/sink.ts";
import type { SinkPolicyRecord } from "../protocol/control.ts";
import { SINK_CONFIRM_MS } from "../protocol/control.ts";
import { type EndpointNumbers, Leaving } from "./endpoint.ts";
import type { Host } from "./host.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import { DRAIN_MS, type LinkActor } from "./link.ts";

export interface SinkSpec extends EndpointNumbers {
  readonly session: number;
  readonly stream: string;
  readonly policy: SinkPolicyRecord;
}

export interface Unconfirmed {
  readonly session: number;
  readonly name: string;
}

export class SinkActor {
  readonly spec: SinkSpec;
  readonly life: Life<typeof sinkMachine>;
  /** Resolves when it is open, with those who had not acknowledged; null when it was closed before. */
  readonly opened: Promise<ReadonlyArray<Unconfirmed> | null>;
  readonly #host: Host;
  readonly #leaving: Leaving;
  #start = (): void => {};
  #missing = new Map<string, Unconfirmed>();

  /** `leaves`: it is `closing` from now on. */
  constructor(host: Host, world: World, spec: SinkSpec, leaves: () => void) {
    this.#host = host;
    this.spec = spec;
    this.life = new Life(world, `sink ${spec.id}`);
    this.#leaving = new Leaving({
      send: (event) => this.life.send(event),
      links: () => this.#links(),
      left: leaves,
      membersChanged: () => host.membersChanged(),
    });
    this.opened = new Promise((resolve) => {
      const machine = sinkMachine.provide({
        actions: {
          ...this.life.actions,
          // In a turn of its own: actions are not the place to start other machines.
          announce: () => this.life.soon(() => this.#announce()),
          publishOpen: (_, { missing }) => resolve(missing.flatMap((name) => this.#missing.get(name) ?? [])),
          drain: () => this.life.soon(() => this.#leaving.drain()),
          abandon: () => {},
        },
      });
      this.life.onEnd(() => resolve(null));
      const patience = { openMs: SINK_CONFIRM_MS, teardownMs: 4 * DRAIN_MS };
      const input = { name: this.life.name, channel: spec.channel, patience };
      this.#start = () => void this.life.start(machine, "sink", input, [spec.session]);
    });
  }

  /** To be called once its stream knows of it: only then can its links be found. */
  start(): void {
    this.#start();
  }

  /** From here on no link is to carry to it. */
  get closing(): boolean {
    return this.#leaving.begun;
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  close(): void {
    this.life.send({ type: "close" });
  }

  died(): void {
    this.#leaving.died();
  }

  #links(): LinkActor[] {
    return this.#host.broker.linksOf("consumer", this.spec.session, this.spec.stream, this.spec.channel);
  }

  #announce(): void {
    this.#host.membersChanged();
    const links = this.#links();
    const who = (link: LinkActor): string => `${link.spec.producer.label} (${link.life.name})`;
    for (const link of links) {
      this.#missing.set(who(link), { session: link.spec.producer.session, name: link.spec.producer.label });
    }
    this.life.send({ type: "announced", sources: links.map(who) });
    for (const link of links) {
      void link.confirmed().then((ready) => {
        this.life.send({ type: ready ? "acknowledged" : "sourceGone", source: who(link) });
      });
    }
  }
}
