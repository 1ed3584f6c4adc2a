// One place where every machine's steps can be watched: the states they are in now, and XState's own inspection events
// as they happen. It only listens; nothing here changes what a machine does.
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
      for (const f of this.#raw) f(event);
      if (event.type !== "@xstate.snapshot") return;
      const snapshot = event.snapshot as { readonly value?: StateValue; readonly status: string };
      if (snapshot.value === undefined) return;
      const state = stateText(snapshot.value);
      const before = this.#current.get(actor);
      if (before?.state === state && snapshot.status === "active") return;
      const now: MachineState = { actor, machine, state, sessions };
      if (snapshot.status === "active") this.#current.set(actor, now);
      else this.#current.delete(actor);
      for (const f of this.#watchers) f(now);
    };
  }
}
