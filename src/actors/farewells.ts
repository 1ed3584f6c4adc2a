// What engines tell of flows that end (core/farewell.h): whoever retires a link hears when its receivers have all of it; the
// end of a flow that one engine cannot place, or not tell its receiver of, goes to the others.
import type { EndedFlow, EngineEvent } from "../native/engine-events.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import type { Serving } from "./serving.ts";

/** Ended flows that are remembered, so that a marker that comes twice is dealt with once. */
const REMEMBERED = 4096;

export interface Marked {
  /** Flows whose receiver did not answer in time. */
  readonly unheard: number;
  /** Messages that receivers found to be missing. */
  readonly lost: number;
}

export const linkOf = (link: number): string => `link ${link}`;
export const routeOf = (technology: NetworkTechnology, tag: number, channel: number): string =>
  `route ${technology} ${tag} ${channel}`;

export interface FarewellPorts {
  servings(): Iterable<Serving>;
  /** No engine of ours knows this flow: nothing of it has come. */
  unknown(flow: EndedFlow): void;
}

export class Farewells {
  readonly #ports: FarewellPorts;
  readonly #waiting = new Map<string, (marked: Marked) => void>();
  readonly #ended = new Set<string>();

  constructor(ports: FarewellPorts) {
    this.#ports = ports;
  }

  /** To be called before a link is retired or a route is moved; resolves with what its engine tells. */
  marked(what: string): Promise<Marked> {
    return new Promise((resolve) => void this.#waiting.set(what, resolve));
  }

  /** Nobody waits any more. */
  forget(what: string): void {
    this.#waiting.delete(what);
  }

  event(
    technology: NetworkTechnology,
    event: Extract<EngineEvent, { readonly type: "marked" | "ended" | "untold" }>,
  ): void {
    const others = [...this.#ports.servings()].filter((serving) => serving.technology !== technology && serving.runs);
    switch (event.type) {
      case "marked": {
        const { link, tag, channel, unheard, lost } = event;
        const what = link === null ? routeOf(technology, tag, channel) : linkOf(link);
        this.#waiting.get(what)?.({ unheard, lost });
        this.#waiting.delete(what);
        return;
      }
      case "untold":
        void this.#tell(others, event);
        return;
      case "ended":
        void this.#account(others, event);
        return;
    }
  }

  async #tell(others: ReadonlyArray<Serving>, flow: EndedFlow): Promise<void> {
    for (const { engine } of others.filter(({ endpoint }) => endpoint !== null)) {
      try {
        await engine?.resource?.command("the end of a flow", (api, handle) => api.tellFlow(handle, flow));
        return;
      } catch {
        // The next one, if there is any. Its receiver finds out when the sender's messages come over another path.
      }
    }
  }

  async #account(others: ReadonlyArray<Serving>, flow: EndedFlow): Promise<void> {
    const key = `${flow.host} ${flow.flow} ${flow.tag} ${flow.channel}`;
    if (this.#ended.has(key)) return;
    this.#ended.add(key);
    if (this.#ended.size > REMEMBERED) for (const oldest of [...this.#ended].slice(0, 1)) this.#ended.delete(oldest);
    let known = 0;
    for (const { engine } of others) {
      const asked = engine?.resource?.command("an ended flow", (api, handle) => api.accountFlow(handle, flow));
      known += (await asked?.catch(() => 0)) ?? 0;
    }
    if (known === 0) this.#ports.unknown(flow);
  }
}
