// A small supervisor in the sense of OTP: starts children, waits for the exit of their scopes, and restarts, stops or
// escalates by the arithmetic of models/policy.ts. It restarts on an exit only, never on the wish to stop, so a new
// child never meets the finalizers of the old one. It knows nothing of what its children are.
import { decide, type Exit, type RestartHistory, type RestartPolicy } from "../../models/policy.ts";
import type { Clock } from "./clock.ts";

/** A child that runs. `onExit` calls back once, when its scope has exited, also when it had exited before. */
export interface Child {
  /** Asks it to stop; its exit follows. */
  close(): void;
  onExit(f: (exit: "normal" | "failure" | "quarantined") => void): void;
}

export interface ChildSpec {
  readonly name: string;
  readonly policy: RestartPolicy;
  /** May throw: that is an exit by failure. */
  start(): Child;
}

export interface SupervisorEvents {
  /** Will be started again in `delayMs`. */
  restarting(name: string, attempt: number, delayMs: number): void;
  /** Runs again. */
  restarted(name: string): void;
  /** Ended for good, in order. */
  stopped(name: string, why: string): void;
  /** Cannot be brought back here. Its siblings go on: the one above decides. */
  escalated(name: string, why: string): void;
}

interface Kept {
  readonly spec: ChildSpec;
  child: Child | null;
  history: RestartHistory;
  ordered: boolean;
  cancelRestart: (() => void) | null;
  readonly ended: Array<() => void>;
}

export class Supervisor {
  readonly #clock: Clock;
  readonly #events: SupervisorEvents;
  readonly #children = new Map<string, Kept>();

  constructor(clock: Clock, events: SupervisorEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** Names of those that run or wait for their restart. */
  get names(): string[] {
    return [...this.#children.keys()];
  }

  supervise(spec: ChildSpec): void {
    if (this.#children.has(spec.name)) throw new Error(`the supervisor has a child named ${spec.name} already`);
    const kept: Kept = { spec, child: null, history: [], ordered: false, cancelRestart: null, ended: [] };
    this.#children.set(spec.name, kept);
    this.#start(kept);
  }

  /** Stops one child for good; resolves when its scope has exited. */
  stop(name: string): Promise<void> {
    const kept = this.#children.get(name);
    if (!kept) return Promise.resolve();
    kept.ordered = true;
    return new Promise((resolve) => {
      kept.ended.push(resolve);
      if (kept.cancelRestart) {
        kept.cancelRestart();
        kept.cancelRestart = null;
        this.#end(kept);
        this.#events.stopped(name, "ordered while it waited for its restart");
      } else kept.child?.close();
    });
  }

  /** Stops all, the youngest first, one after the other. */
  async stopAll(): Promise<void> {
    for (const name of this.names.reverse()) await this.stop(name);
  }

  #start(kept: Kept): void {
    let child: Child;
    try {
      child = kept.spec.start();
    } catch {
      this.#exited(kept, "failure");
      return;
    }
    kept.child = child;
    child.onExit((exit) => {
      if (kept.child !== child) return;
      kept.child = null;
      this.#exited(kept, exit);
    });
  }

  #exited(kept: Kept, how: "normal" | "failure" | "quarantined"): void {
    const { name, policy } = kept.spec;
    const exit: Exit = kept.ordered && how !== "quarantined" ? "ordered" : how;
    const verdict = kept.ordered
      ? ({ type: "stop", why: "ordered" } as const)
      : decide(policy, kept.history, exit, this.#clock.now());
    if (verdict.type === "restart") {
      kept.history = verdict.history;
      this.#events.restarting(name, verdict.attempt, verdict.delayMs);
      kept.cancelRestart = this.#clock.after(verdict.delayMs, () => {
        kept.cancelRestart = null;
        this.#start(kept);
        if (kept.child) this.#events.restarted(name);
      });
      return;
    }
    this.#end(kept);
    if (verdict.type === "stop") this.#events.stopped(name, verdict.why);
    else this.#events.escalated(name, verdict.why);
  }

  #end(kept: Kept): void {
    this.#children.delete(kept.spec.name);
    for (const resolve of kept.ended) resolve();
  }
}
