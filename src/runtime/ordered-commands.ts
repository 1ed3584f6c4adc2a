// Commands to one engine that leave in the order they are given, a bounded number of them before the first is
// acknowledged: what is given for one peer waits for the few before it, not for all that another needs.
import type { Command } from "../effects/engine.ts";
import { InsaneError } from "../protocol/codes.ts";

/** Commands under way at a time; the engine's queue holds 256, and links need it as well. */
const UNDER_WAY = 32;

/** Resolves when acknowledged. */
type Order = (what: string, send: Command) => Promise<number>;

export class OrderedCommands {
  readonly #order: Order;
  readonly #waiting: Array<{ send(): void; abandon(): void }> = [];
  #underWay = 0;

  constructor(order: Order) {
    this.#order = order;
  }

  send(what: string, send: Command): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        send: () => {
          this.#underWay++;
          const over = (): void => {
            this.#underWay--;
            this.#next();
          };
          const acknowledged = this.#order(what, send);
          acknowledged.then(resolve, reject);
          acknowledged.then(over, over);
        },
        abandon: () => reject(new InsaneError("ECLOSED", `The engine is gone (${what}).`)),
      });
      this.#next();
    });
  }

  /** The engine is gone: what was not sent is not. */
  abandon(): void {
    for (const { abandon } of this.#waiting.splice(0)) abandon();
  }

  #next(): void {
    while (this.#underWay < UNDER_WAY && this.#waiting.length > 0) this.#waiting.shift()?.send();
  }
}
