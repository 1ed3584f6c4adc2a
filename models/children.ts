// Counting children: what machines with children share. A parent leaves a step of its teardown only when the children
// of that step have ended, and each child ends by its own deadlines, so a parent needs none for them.
import { type ActionFunction, assign } from "xstate";
import { keep, type Lifecycle } from "./lifecycle.ts";

export type ChildEvent<Kind extends string> =
  /** A child is created. Sent before the child can do anything. */
  | { readonly type: "childAdded"; readonly kind: Kind }
  /** A child is final; `quarantined` is that of its outcome. A child that is restarted has not ended. */
  | { readonly type: "childEnded"; readonly kind: Kind; readonly quarantined: readonly string[] };

/** The part of a parent's context that counts children that have not ended. */
export interface Parent<Kind extends string> extends Lifecycle {
  readonly children: Readonly<Record<Kind, number>>;
}

interface Args<Event> {
  readonly context: Parent<string>;
  readonly event: Event;
}
// See lifecycle.ts: a part that fits into machines of different contexts.
// biome-ignore lint/suspicious/noExplicitAny: the part itself is typed by its argument
type PartAction = ActionFunction<any, any, any, undefined, never, any, any, never, never>;

const add = ({ context, event }: Args<{ readonly kind: string }>) => ({
  children: { ...context.children, [event.kind]: (context.children[event.kind] ?? 0) + 1 },
});

const remove = ({ context, event }: Args<{ readonly kind: string; readonly quarantined: readonly string[] }>) => ({
  children: { ...context.children, [event.kind]: Math.max(0, (context.children[event.kind] ?? 0) - 1) },
  ...keep(context, ...event.quarantined),
});

export const counted = assign(add as never) as PartAction;

/** For the root of a parent: children come and end in any state. */
export const children = {
  childAdded: { actions: counted },
  childEnded: { actions: assign(remove as never) as PartAction },
} as const;

/** A child that was created while its parent began to close: the teardown starts over, so that it is told as well. */
export const lateChild = <Target extends string>(target: Target) =>
  ({ childAdded: { target, actions: counted } }) as const;
