// What sessions are told of messages that did not arrive. Engines count losses by source, and another host can claim any
// number of sources: what one session is told is summed up, so that no flood of losses fills its socket and has it evicted
// for not reading. Sums are kept whatever is left out: beyond a few sources at a time their losses are told under source 0.
import type { RuntimeNotificationTable } from "../protocol/control.ts";

/** After a first word, the next follow together after this, ms. */
export const LOSSES_EVERY_MS = 50;
/** Different sinks, sources and reasons that one session is told of at a time. */
export const LOSSES_AT_ONCE = 32;

export type Loss = RuntimeNotificationTable["sink.lost"]["Type"];

export interface LossPorts {
  /** Calls back after `ms`. */
  after(ms: number, f: () => void): void;
  /** That session may have ended meanwhile. */
  tell(session: number, loss: Loss): void;
}

export class Losses {
  readonly #ports: LossPorts;
  /** Of sessions that were told something a moment ago: what they lost since. */
  readonly #waiting = new Map<number, Map<string, Loss>>();

  constructor(ports: LossPorts) {
    this.#ports = ports;
  }

  add(session: number, loss: Loss): void {
    const sums = this.#waiting.get(session);
    if (sums === undefined) {
      this.#ports.tell(session, loss);
      this.#wait(session);
      return;
    }
    const key = keyOf(loss);
    const of = sums.has(key) || sums.size < LOSSES_AT_ONCE ? loss : { ...loss, source: 0 };
    const before = sums.get(keyOf(of))?.count ?? 0;
    sums.set(keyOf(of), { ...of, count: Math.min(before + of.count, Number.MAX_SAFE_INTEGER) });
  }

  #wait(session: number): void {
    this.#waiting.set(session, new Map());
    this.#ports.after(LOSSES_EVERY_MS, () => this.#flush(session));
  }

  #flush(session: number): void {
    const sums = [...(this.#waiting.get(session)?.values() ?? [])];
    this.#waiting.delete(session);
    if (sums.length === 0) return;
    for (const loss of sums) this.#ports.tell(session, loss);
    this.#wait(session);
  }
}

const keyOf = ({ sink, source, reason }: Loss): string => `${sink} ${source} ${reason}`;
