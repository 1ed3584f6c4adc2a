// A source made live: it is open when the links to the sinks of its channel are, and closes when what it has under way
// is home. Messages themselves never come by here.
import { sourceMachine } from "../../models/source.ts";
import { type EndpointNumbers, Leaving } from "./endpoint.ts";
import type { Host } from "./host.ts";
import { stateText } from "./inspection.ts";
import { Life, type World } from "./life.ts";
import { DRAIN_MS, type LinkActor } from "./link.ts";
import type { Carrier } from "./source-indices.ts";

export interface SourceSpec extends EndpointNumbers {
  /** Index among the sources of its session and stream. */
  readonly index: number;
  readonly session: number;
  readonly stream: string;
}

export class SourceActor {
  readonly spec: SourceSpec;
  readonly life: Life<typeof sourceMachine>;
  /** Resolves when it is open (true) or was closed before (false). */
  readonly opened: Promise<boolean>;
  /** The links that carried it when it closed, and how far their producer had got by then; null: it did not close. */
  carriers: ReadonlyArray<Carrier> | null = null;
  readonly #host: Host;
  readonly #leaving: Leaving;
  #start = (): void => {};

  /** `leaves`: it is `closing` from now on. */
  constructor(host: Host, world: World, spec: SourceSpec, leaves: () => void) {
    this.#host = host;
    this.spec = spec;
    this.life = new Life(world, `source ${spec.id}`);
    this.#leaving = new Leaving({
      send: (event) => this.life.send(event),
      links: () => this.#links(),
      left: leaves,
      membersChanged: () => host.membersChanged(),
    });
    this.opened = new Promise((resolve) => {
      const machine = sourceMachine.provide({
        actions: {
          ...this.life.actions,
          // In a turn of its own: actions are not the place to start other machines.
          announce: () => this.life.soon(() => this.#announce()),
          publishMatched: () => resolve(true),
          drain: () => this.life.soon(() => this.#drain()),
          abandon: () => {},
        },
      });
      this.life.onEnd(() => resolve(false));
      const patience = { openMs: 1200, teardownMs: 4 * DRAIN_MS };
      const input = { name: this.life.name, channel: spec.channel, patience };
      this.#start = () => void this.life.start(machine, "source", input, [spec.session]);
    });
  }

  /** To be called once its stream knows of it: only then can its links be found. */
  start(): void {
    this.#start();
  }

  /** From here on no link is to carry it. */
  get closing(): boolean {
    return this.#leaving.begun;
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  /** A link that carries it is ready, or is over. */
  linked(link: LinkActor, ready: boolean): void {
    this.life.send(ready ? { type: "linked", link: link.life.name } : { type: "unlinked", link: link.life.name });
  }

  close(): void {
    this.life.send({ type: "close" });
  }

  died(): void {
    this.#leaving.died();
  }

  #links(): LinkActor[] {
    return this.#host.broker.linksOf("producer", this.spec.session, this.spec.stream, this.spec.channel);
  }

  #announce(): void {
    this.#host.membersChanged();
    const links = this.#links();
    this.life.send({ type: "announced", links: links.map((link) => link.life.name) });
    for (const link of links) void link.confirmed().then((ready) => this.linked(link, ready));
  }

  async #drain(): Promise<void> {
    // Once they are settled, its producer pushes nothing more for it.
    await this.#leaving.drain((links) => {
      this.carriers = links.map((link) => ({ link, mark: link.mark }));
    });
  }
}
