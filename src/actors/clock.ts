// Time as actors and supervisors see it: a monotonic clock and one-shot timers, injected so that tests can turn the
// hands. Nothing else in src/actors asks for the time or sets a timer.

export interface Clock {
  /** Milliseconds of a monotonic clock. */
  now(): number;
  /** Calls `f` once after `ms`; the returned function takes that back. */
  after(ms: number, f: () => void): () => void;
}

/**
 * The machine's own clock. Its timers do not keep a process alive. What falls due waits until the event loop has read its
 * sockets: where an application's thread spins for a second the answer has long come, and is not too late.
 */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after: (ms, f) => {
    let immediate: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      immediate = setImmediate(f);
      immediate.unref();
    }, ms);
    timer.unref();
    return () => {
      clearTimeout(timer);
      clearImmediate(immediate);
    };
  },
};

/** The same, whatever falls due: what that throws, or rejects with, goes to `defect` and does not end the process. */
export const guardedClock = ({ now, after }: Clock, defect: (cause: unknown) => void): Clock => ({
  now,
  after: (ms, f: () => unknown) =>
    after(ms, async () => {
      try {
        await f();
      } catch (cause) {
        defect(cause);
      }
    }),
});

/** A clock that moves only when told to, for tests. */
export class ManualClock implements Clock {
  #now = 0;
  #timers: Array<{ readonly at: number; readonly f: () => void }> = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, f: () => void): () => void {
    const timer = { at: this.#now + ms, f };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Fires what falls due, in order of time, then in order of setting. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = Math.max(this.#now, due.at);
      due.f();
    }
    this.#now = until;
  }
}
