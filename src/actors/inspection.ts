// One place where every machine's steps can be watched: the states they are in now, and XState's own inspection events
// as they happen. It only listens; nothing here changes what a machine does, nor does what a listener throws.
import type { InspectionEvent, StateValue } from "xstate";

/** A machine and the state it is in, as `insane status --watch` shows it. */
export interface MachineState {
  /** Name of the actor: "session 3", "link 12". */
  readonly actor: string;
  /** Name of its machine: "session", "link". */
  readonly machine: string;
  /** Dotted path: "closing.draining". */
  readonly state: string;
  /** Sessions it belongs to (a direct link: two); empty: none, it belongs to the runtime. */
  readonly sessions: ReadonlyArray<number>;
}

/** What is shown as the last state of a machine that threw. */
const FAILED = "failed";

export const stateText = (value: StateValue): string =>
  typeof value === "string"
    ? value
    : Object.entries(value)
        .map(([key, inner]) => (inner === undefined ? key : `${key}.${stateText(inner)}`))
        .join("+");

export class Inspection {
  readonly #current = new Map<string, MachineState>();
  readonly #watchers = new Set<(state: MachineState) => void>();
  readonly #raw = new Set<(event: InspectionEvent) => void>();

  readonly #defect: (cause: unknown) => void;

  /** `defect`: a listener threw. */
  constructor(defect: (cause: unknown) => void) {
    this.#defect = defect;
  }

  /** The states of all machines that live, in order of their start. */
  get current(): ReadonlyArray<MachineState> {
    return [...this.#current.values()];
  }

  /** Called at each change of a state, and once more when a machine is final. */
  watch(f: (state: MachineState) => void): () => void {
    this.#watchers.add(f);
    return () => this.#watchers.delete(f);
  }

  /** Called with every inspection event of every machine (what Stately's tools understand). */
  subscribe(f: (event: InspectionEvent) => void): () => void {
    this.#raw.add(f);
    return () => this.#raw.delete(f);
  }

  /** The `inspect` option of one actor. */
  observer(actor: string, machine: string, sessions: ReadonlyArray<number>): (event: InspectionEvent) => void {
    return (event) => {
      for (const f of this.#raw) this.#call(f, event);
      if (event.type !== "@xstate.snapshot") return;
      const snapshot = event.snapshot as { readonly value?: StateValue; readonly status: string };
      if (snapshot.value === undefined) return;
      const state = stateText(snapshot.value);
      const before = this.#current.get(actor);
      if (before?.state === state && snapshot.status === "active") return;
      const now: MachineState = { actor, machine, state, sessions };
      if (snapshot.status === "active") this.#current.set(actor, now);
      else this.#current.delete(actor);
      for (const f of this.#watchers) this.#call(f, now);
    };
  }

  /** A machine has thrown, which XState does not show as a step: it is in no state any more. */
  failed(actor: string): void {
    const last = this.#current.get(actor);
    if (!last) return;
    this.#current.delete(actor);
    for (const f of this.#watchers) this.#call(f, { ...last, state: FAILED });
  }

  /** It is called in the middle of a machine's step: what it threw would stop that machine for good. */
  #call<A>(f: (a: A) => void, a: A): void {
    try {
      f(a);
    } catch (cause) {
      this.#defect(cause);
    }
  }
}
