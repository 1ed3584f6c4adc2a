// What engines tell of flows that end (core/farewell.h): whoever retires a link hears when its receivers have all of it; the
// end of a flow that one engine cannot place, or not tell its receiver of, goes to the others.
import type { EndedFlow, EngineEvent } from "../native/engine-events.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { Clock } from "./clock.ts";
import type { Serving } from "./serving.ts";

/** Ended flows that are remembered, so that a marker that comes twice is dealt with once. */
const REMEMBERED = 4096;
/** Flows that engines which are gone had received: as many as one engine can have. */
const RECEIVED = 16384;
/** How long after its patience an engine may take to say that a link is empty, ms. */
const LATE_MS = 1000;

export interface Marked {
  /** Flows whose receiver did not answer in time. */
  readonly unheard: number;
  /** Messages that receivers found to be missing. */
  readonly lost: number;
}

export const linkOf = (link: number): string => `link ${link}`;
export const routeOf = (lane: Lane, tag: number, channel: number): string => `route ${lane} ${tag} ${channel}`;

export interface FarewellPorts {
  readonly clock: Clock;
  /** How long an engine waits for receivers, ms. */
  readonly patienceMs: number;
  servings(): Iterable<Serving>;
  /** Of a flow that ended, so many messages have not come and are not counted by any engine that runs. */
  missing(flow: EndedFlow, count: number): void;
}

export class Farewells {
  readonly #ports: FarewellPorts;
  readonly #waiting = new Map<string, (marked: Marked) => void>();
  readonly #ended = new Set<string>();
  /** What engines that are gone had received of flows that have not ended yet. */
  readonly #received = new Map<string, number>();

  constructor(ports: FarewellPorts) {
    this.#ports = ports;
  }

  /** Gives an order that is answered by `marked` (when it resolves with 1), and waits for that; null: it did not come. */
  async marked(what: string, order: () => Promise<number>): Promise<Marked | null> {
    const { clock, patienceMs } = this.#ports;
    let cancel = (): void => {};
    const late = new Promise<null>((resolve) => {
      cancel = clock.after(patienceMs + LATE_MS, () => resolve(null));
    });
    const marked = new Promise<Marked>((resolve) => void this.#waiting.set(what, resolve));
    try {
      return (await order()) === 1 ? await Promise.race([marked, late]) : null;
    } finally {
      cancel();
      this.#waiting.delete(what);
    }
  }

  /** An engine is gone: how much of these flows it had received. */
  remember(flows: ReadonlyArray<EndedFlow>): void {
    for (const flow of flows) this.#received.set(keyOf(flow), flow.sent);
    for (const oldest of [...this.#received.keys()].slice(0, Math.max(0, this.#received.size - RECEIVED))) {
      this.#received.delete(oldest);
    }
  }

  event(lane: Lane, event: Extract<EngineEvent, { readonly type: "marked" | "ended" | "untold" }>): void {
    const others = [...this.#ports.servings()].filter((serving) => serving.lane !== lane && serving.runs);
    switch (event.type) {
      case "marked": {
        const { link, tag, channel, unheard, lost } = event;
        const what = link === null ? routeOf(lane, tag, channel) : linkOf(link);
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
    const key = keyOf(flow);
    if (this.#ended.has(key)) return;
    this.#ended.add(key);
    if (this.#ended.size > REMEMBERED) for (const oldest of [...this.#ended].slice(0, 1)) this.#ended.delete(oldest);
    let known = 0;
    for (const { engine } of others) {
      const asked = engine?.resource?.command("an ended flow", (api, handle) => api.accountFlow(handle, flow));
      known += (await asked?.catch(() => 0)) ?? 0;
    }
    if (known > 0) return;
    // None of it, as far as those know that run.
    const missing = flow.sent - (this.#received.get(key) ?? 0);
    this.#received.delete(key);
    if (missing > 0) this.#ports.missing(flow, missing);
  }
}

const keyOf = ({ host, flow, tag, channel }: EndedFlow): string => `${host} ${flow} ${tag} ${channel}`;
