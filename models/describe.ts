// A machine as plain data: its states, its transitions, its events and actions. For diagrams, tables and the CLI.
// Pure; it knows nothing of any particular machine. Ids are those of XState (`session.closing.releasing`).
import type { AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from "xstate";
import type { Mood } from "./lifecycle.ts";

export interface StateDescription {
  /** Without the machine's id: `closing.releasing`. */
  readonly path: string;
  /** With it: what a live view highlights. */
  readonly id: string;
  /** The last part of the path. */
  readonly key: string;
  /** Path of the state around it; empty for a state of the first level. */
  readonly parent: string;
  readonly kind: "atomic" | "compound" | "parallel" | "final";
  readonly description: string;
  readonly final: boolean;
  /** How it goes, from the tags of the state or of one around it; `idle` if nothing is said. */
  readonly mood: Mood | "idle" | "closing" | "closed" | "quarantined";
  /** Entered when the state around it is entered without saying which. */
  readonly initial: boolean;
  /** Names of actions on entry and exit, without assignments. */
  readonly entry: readonly string[];
  readonly exit: readonly string[];
}

export interface TransitionDescription {
  /** Path; empty for one that holds in every state of the machine that does not override it. */
  readonly from: string;
  /** Empty if it is taken at once when its guard holds; `done` when the state's children are done. */
  readonly event: string;
  /** Path; null if the state stays as it is. */
  readonly to: string | null;
  /** `else`: taken when the guards of the branches before it do not hold. */
  readonly guard: string | null;
  readonly actions: readonly string[];
  /** It stays, but leaves and enters the state again. */
  readonly reenter: boolean;
  /** It only says that the event has no effect here. */
  readonly ignored: boolean;
}

export interface MachineDescription {
  readonly id: string;
  readonly description: string;
  readonly states: readonly StateDescription[];
  readonly transitions: readonly TransitionDescription[];
  /** Sorted. */
  readonly events: readonly string[];
  /** Sorted. */
  readonly actions: readonly string[];
}

const pathOf = (node: AnyStateNode): string => node.path.join(".");

const nameOf = (part: unknown): string => {
  if (typeof part === "string") return part;
  if (typeof part === "function" && "name" in part) return part.name;
  return (part as { readonly type?: string } | null)?.type ?? "";
};

/** Names of actions that mean something outside; assignments and the like have none. */
const actionNames = (actions: readonly unknown[]): readonly string[] =>
  actions.map(nameOf).filter((name) => name !== "" && !name.startsWith("xstate.") && name !== "assign");

const guardName = (guard: unknown): string | null => {
  if (guard === undefined || guard === null) return null;
  const composed = guard as { readonly check?: unknown; readonly guards?: readonly unknown[] };
  if (typeof guard === "function" && composed.guards !== undefined) {
    const parts = composed.guards.map(guardName);
    return nameOf(guard).startsWith("not") ? `not ${parts[0]}` : parts.join(" and ");
  }
  return nameOf(guard);
};

const eventName = (event: string): string => (event.startsWith("xstate.done.state.") ? "done" : event);

const nodesOf = (node: AnyStateNode): readonly AnyStateNode[] => [
  node,
  ...Object.values(node.states as Record<string, AnyStateNode>)
    .sort((a, b) => a.order - b.order)
    .flatMap(nodesOf),
];

const moodOf = (node: AnyStateNode): StateDescription["mood"] => {
  const [first] = node.path;
  if (first === "closing" || first === "closed" || first === "quarantined") return first;
  for (let at: AnyStateNode | undefined = node; at !== undefined; at = at.parent) {
    const [tag] = at.tags;
    if (tag !== undefined) return tag as Mood;
  }
  return "idle";
};

const describeState = (node: AnyStateNode): StateDescription => ({
  path: pathOf(node),
  id: node.id,
  key: node.key,
  parent: node.parent ? pathOf(node.parent) : "",
  kind: node.type as StateDescription["kind"],
  description: node.description ?? "",
  final: node.type === "final",
  mood: moodOf(node),
  initial: node.parent?.type === "compound" && node.parent.initial.target?.includes(node) === true,
  entry: actionNames(node.entry),
  exit: actionNames(node.exit),
});

const describeBranch = (
  node: AnyStateNode,
  transition: AnyTransitionDefinition,
  branch: number,
): readonly TransitionDescription[] => {
  const common = {
    from: pathOf(node),
    event: eventName(transition.eventType),
    guard: guardName(transition.guard) ?? (branch > 0 ? "else" : null),
    actions: actionNames(transition.actions),
    reenter: transition.reenter === true,
    ignored: transition.target === undefined && transition.actions.length === 0,
  };
  const targets = transition.target ?? [];
  return targets.length === 0
    ? [{ ...common, to: null }]
    : targets.map((target) => ({ ...common, to: pathOf(target as AnyStateNode) }));
};

const describeTransitions = (node: AnyStateNode): readonly TransitionDescription[] =>
  [...node.transitions.values(), node.always ?? []].flatMap((branches) =>
    branches.flatMap((transition, branch) => describeBranch(node, transition, branch)),
  );

/** Everything that a reader of the machine would ask about, as data that can be sent and compared. */
export const describe = (machine: AnyStateMachine): MachineDescription => {
  const nodes = nodesOf(machine.root);
  const states = nodes.filter((node) => node.parent !== undefined).map(describeState);
  const transitions = nodes.flatMap(describeTransitions);
  const named = [
    ...transitions.flatMap((transition) => transition.actions),
    ...states.flatMap((state) => [...state.entry, ...state.exit]),
  ];
  return {
    id: machine.id,
    description: machine.root.description ?? "",
    states,
    transitions,
    events: [...new Set(transitions.map((transition) => transition.event))]
      .filter((event) => event !== "" && event !== "done")
      .sort(),
    actions: [...new Set(named)].sort(),
  };
};
