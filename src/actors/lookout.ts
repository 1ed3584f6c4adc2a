// Looks at the host again while somebody goes without what it could not offer: a device that was plugged in, an interface that
// another process has left, a datapath that was given up. Seldom, and more seldom the longer nothing comes of it. Knows neither
// streams nor technologies.
import type { Clock } from "./clock.ts";

export const LOOK_FIRST_MS = 5000;
export const LOOK_LAST_MS = 160_000;

export interface LookoutPorts {
  readonly clock: Clock;
  /** Somebody goes without. */
  wanted(): boolean;
  /** Looks; true: something has changed. */
  look(): boolean;
}

export class Lookout {
  readonly #ports: LookoutPorts;
  #cancel: (() => void) | null = null;
  #waitMs = LOOK_FIRST_MS;

  constructor(ports: LookoutPorts) {
    this.#ports = ports;
  }

  /** Something has changed by itself: soon is a good time. */
  soon(): void {
    this.#waitMs = LOOK_FIRST_MS;
    if (this.#cancel) this.start();
  }

  start(): void {
    this.stop();
    this.#cancel = this.#ports.clock.after(this.#waitMs, () => {
      if (this.#ports.wanted()) {
        const changed = this.#ports.look();
        this.#waitMs = changed ? LOOK_FIRST_MS : Math.min(2 * this.#waitMs, LOOK_LAST_MS);
      } else this.#waitMs = LOOK_FIRST_MS;
      if (this.#cancel) this.start();
    });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }
}
