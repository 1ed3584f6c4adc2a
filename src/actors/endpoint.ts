// What sources and sinks have in common as actors: their numbers, the links they take part in, and how they leave those.
// Which links there are is the broker's business.
import type { EndpointEvent } from "../../models/endpoint.ts";
import type { LinkActor } from "./link.ts";

export interface EndpointNumbers {
  /** Never used again while the runtime lives. */
  readonly id: number;
  readonly channel: number;
  /** Block of the session's statistics page. */
  readonly stats: number;
}

export interface LeavingPorts {
  send(event: EndpointEvent): void;
  /** Those that carry it. */
  links(): LinkActor[];
  /** From now on no link is to carry it: its stream and the broker take note. */
  left(): void;
  membersChanged(): void;
}

/** The end of a source or sink, in order or not. */
export class Leaving {
  readonly #ports: LeavingPorts;
  #begun = false;

  constructor(ports: LeavingPorts) {
    this.#ports = ports;
  }

  get begun(): boolean {
    return this.#begun;
  }

  died(): void {
    this.#begin();
    this.#ports.send({ type: "died", outstanding: underWay(this.#ports.links()) });
  }

  /** `settled`: its links have no part in it any more. */
  async drain(settled?: (links: ReadonlyArray<LinkActor>) => void): Promise<void> {
    const { send, links, membersChanged } = this.#ports;
    const carriers = links();
    this.#begin();
    send({ type: "outstanding", count: underWay(carriers) });
    membersChanged();
    await allSettled(carriers);
    settled?.(carriers);
    send({ type: "outstanding", count: carriers.reduce((sum, link) => sum + link.abandoned, 0) });
    send({ type: "drained" });
  }

  #begin(): void {
    this.#begun = true;
    this.#ports.left();
  }
}

/** Resolves when every one of these links has taken its present tables over, or has ended. */
async function allSettled(links: ReadonlyArray<LinkActor>): Promise<void> {
  await Promise.all(links.map(async (link) => ((await link.confirmed()) ? undefined : link.life.ended)));
}

const underWay = (links: ReadonlyArray<LinkActor>): number => links.reduce((sum, link) => sum + link.outstanding, 0);
