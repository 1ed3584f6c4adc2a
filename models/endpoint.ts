// What the lives of sources and sinks have in common: messages that are under way or held when they stop are drained, and what
// does not come home is counted as abandoned. No machine of its own.
import {
  armTeardown,
  effect,
  end,
  type Lifecycle,
  type LifecycleInput,
  note,
  releasing,
  stopping,
  unanswered,
} from "./lifecycle.ts";

export interface EndpointInput extends LifecycleInput {
  readonly channel: number;
}

export interface Endpoint extends Lifecycle {
  readonly channel: number;
  /** Messages that were under way when it stopped, or that it held, and that nobody accounts for. */
  readonly abandoned: number;
}

export type EndpointEvent =
  /** All that was under way or held is home. */
  | { readonly type: "drained" }
  /** What still is, as sampled from outside. */
  | { readonly type: "outstanding"; readonly count: number }
  /** The application died; nobody but the runtime takes back what was under way or held. */
  | { readonly type: "died"; readonly outstanding: number };

export const endpointActions = {
  /** Emit or take nothing more, then answer `outstanding` as it changes and `drained` at the end. */
  drain: effect(),
  /** Account these messages as abandoned. */
  abandon: effect<{ count: number }>(),
};

type Died = Extract<EndpointEvent, { readonly type: "died" }>;

const diesTo = <Target extends string>(target: Target) =>
  ({
    target,
    actions: [
      note<Died>(({ context, event }) => ({ ...end(context, "death"), abandoned: event.outstanding })),
      { type: "abandon", params: ({ event }: { readonly event: Died }) => ({ count: event.outstanding }) },
    ],
  }) as const;

/** For the root: what it held is reclaimed without the application. */
export const dies = diesTo(".closing.releasing");

/** The state `closing`. `draining`: what the first of its steps is, in words. */
export const closingEndpoint = <Id extends string>(id: Id, draining: string) =>
  ({
    on: { ...stopping, died: {} },
    initial: "draining",
    states: {
      draining: {
        description: draining,
        entry: ["drain", armTeardown],
        exit: "disarmDeadline",
        on: {
          quarantine: unanswered.quarantine,
          outstanding: {
            actions: note<Extract<EndpointEvent, { readonly type: "outstanding" }>>(({ event }) => ({
              abandoned: event.count,
            })),
          },
          died: diesTo("releasing"),
          drained: { target: "releasing", actions: note(() => ({ abandoned: 0 })) },
          deadline: {
            target: "releasing",
            actions: {
              type: "abandon",
              params: ({ context }: { readonly context: Endpoint }) => ({ count: context.abandoned }),
            },
          },
        },
      },
      releasing: releasing(id),
    },
  }) as const;
