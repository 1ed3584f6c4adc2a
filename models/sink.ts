// The life of a sink: it asks every local source of its channel for an acknowledgement, so that an application knows
// from when on nothing passes it by; it says who did not answer; and it gives back what it holds before it goes.
import { assign, setup } from "xstate";
import {
  armOpen,
  armTeardown,
  born,
  effect,
  end,
  ends,
  type Lifecycle,
  type LifecycleInput,
  lifecycleActions,
  type Mood,
  type Notice,
  nothingKept,
  outcome,
  releasing,
  type StopEvent,
  stopping,
  stops,
  unanswered,
} from "./lifecycle.ts";

export interface SinkInput extends LifecycleInput {
  readonly channel: number;
}

export interface SinkContext extends Lifecycle {
  readonly channel: number;
  /** The sources that must acknowledge are named in `missing`. */
  readonly announced: boolean;
  /** Local sources that have not acknowledged this sink yet. */
  readonly missing: readonly string[];
  /** Messages it was given and never consumed. */
  readonly abandoned: number;
}

export type SinkEvent =
  | StopEvent
  /** The local sources of its channel; they are being told. */
  | { readonly type: "announced"; readonly sources: readonly string[] }
  /** A source emits to this sink from now on. */
  | { readonly type: "acknowledged"; readonly source: string }
  /** A source went before it answered. */
  | { readonly type: "sourceGone"; readonly source: string }
  /** All that it held is given back. */
  | { readonly type: "drained" }
  /** What it still holds, as sampled from outside. */
  | { readonly type: "outstanding"; readonly count: number }
  /** The application died; what it held is reclaimed without it. */
  | { readonly type: "died"; readonly outstanding: number };

const silent = (context: SinkContext): Notice => ({
  code: "W_SINK_UNCONFIRMED",
  message: `${context.name}: no acknowledgement within ${context.patience.openMs} ms from ${context.missing.join(", ") || "the runtime"}`,
});

export const sinkMachine = setup({
  types: {
    context: {} as SinkContext,
    events: {} as SinkEvent,
    tags: {} as Mood,
    input: {} as SinkInput,
  },
  actions: {
    ...lifecycleActions,
    /** Tell every local source of this channel; answer `announced`, then `acknowledged` for each. */
    announce: effect(),
    /** Resolve the application's createSink; `missing` did not acknowledge yet. */
    publishOpen: effect<{ missing: readonly string[] }>(),
    /** Take no more, give back what was not consumed; answer `outstanding` as it changes and `drained` at the end. */
    drain: effect(),
    /** Account these messages as abandoned. */
    abandon: effect<{ count: number }>(),
  },
  guards: {
    nothingKept,
    acknowledged: ({ context }) => context.announced && context.missing.length === 0,
  },
}).createMachine({
  id: "sink",
  description: "One reader of one channel of one stream.",
  context: ({ input }) => ({
    ...born(input, { openMs: 100 }),
    channel: input.channel,
    announced: false,
    missing: [],
    abandoned: 0,
  }),
  output: ({ context }) => ({ ...outcome(context), abandoned: context.abandoned }),
  initial: "opening",
  on: {
    ...stops,
    announced: {
      actions: assign(({ event }) => ({ announced: true, missing: [...event.sources] })),
    },
    acknowledged: {
      actions: assign({
        missing: ({ context, event }) => context.missing.filter((source) => source !== event.source),
      }),
    },
    sourceGone: {
      actions: assign({
        missing: ({ context, event }) => context.missing.filter((source) => source !== event.source),
      }),
    },
    died: {
      target: ".closing.releasing",
      actions: [
        assign(({ context, event }) => ({ ...end(context, "death"), abandoned: event.outstanding })),
        { type: "abandon", params: ({ event }) => ({ count: event.outstanding }) },
      ],
    },
  },
  states: {
    opening: {
      description: "Every local source of its channel is told, and acknowledges.",
      tags: "opening",
      entry: ["announce", armOpen],
      exit: "disarmDeadline",
      always: {
        guard: "acknowledged",
        target: "open.confirmed",
        actions: { type: "publishOpen", params: { missing: [] } },
      },
      on: {
        deadline: {
          target: "open.unconfirmed",
          actions: [
            { type: "warn", params: ({ context }) => silent(context) },
            { type: "publishOpen", params: ({ context }) => ({ missing: context.missing }) },
          ],
        },
      },
    },
    open: {
      description: "The application consumes.",
      initial: "confirmed",
      states: {
        confirmed: { description: "Every source that was there when it opened emits to it.", tags: "serving" },
        unconfirmed: {
          description: "Some sources have not acknowledged; the application was told which.",
          tags: "trouble",
          always: { guard: "acknowledged", target: "confirmed" },
        },
      },
    },
    closing: {
      on: { ...stopping, died: {} },
      initial: "draining",
      states: {
        draining: {
          description: "Takes nothing more and gives back what it holds.",
          entry: ["drain", armTeardown],
          exit: "disarmDeadline",
          on: {
            quarantine: unanswered.quarantine,
            outstanding: { actions: assign({ abandoned: ({ event }) => event.count }) },
            died: {
              target: "releasing",
              actions: [
                assign(({ context, event }) => ({ ...end(context, "death"), abandoned: event.outstanding })),
                { type: "abandon", params: ({ event }) => ({ count: event.outstanding }) },
              ],
            },
            drained: { target: "releasing", actions: assign({ abandoned: 0 }) },
            deadline: {
              target: "releasing",
              actions: { type: "abandon", params: ({ context }) => ({ count: context.abandoned }) },
            },
          },
        },
        releasing: releasing("sink"),
      },
    },
    ...ends,
  },
});
