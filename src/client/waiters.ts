// Promises that resolve when a condition holds, looked at again whenever something has changed. Those that depend on
// returned credits make the session ask for being woken.

export interface Patience {
  readonly signal?: AbortSignal;
}
/** Told that one more waits (1), or one less (-1). */
export type Wanted = (change: 1 | -1) => void;
interface Waiter {
  readonly holds: () => boolean;
  resolve(): void;
}

export class Waiters {
  private readonly wanted: Wanted;
  private readonly list = new Set<Waiter>();

  constructor(wanted: Wanted) {
    this.wanted = wanted;
  }

  wait(holds: () => boolean, { signal }: Patience, credits: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (holds()) {
        resolve();
        return;
      }
      const end = (): void => {
        this.list.delete(waiter);
        signal?.removeEventListener("abort", aborted);
        if (credits) this.wanted(-1);
      };
      const aborted = (): void => {
        end();
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        holds,
        resolve: () => {
          end();
          resolve();
        },
      };
      this.list.add(waiter);
      signal?.addEventListener("abort", aborted);
      if (credits) this.wanted(1);
    });
  }

  look(): void {
    if (this.list.size === 0) return;
    for (const waiter of [...this.list]) if (waiter.holds()) waiter.resolve();
  }
}
