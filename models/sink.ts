// The life of a sink: it asks every local source of its channel for an acknowledgement, so that an application knows
// from when on nothing passes it by; it says who did not answer; and it gives back what it holds before it goes.
import { assign, setup } from "xstate";
import {
  closingEndpoint,
  dies,
  type Endpoint,
  type EndpointEvent,
  type EndpointInput,
  endpointActions,
} from "./endpoint.ts";
import {
  armOpen,
  born,
  effect,
  ends,
  lifecycleActions,
  type Mood,
  type Notice,
  nothingKept,
  outcome,
  type StopEvent,
  stops,
} from "./lifecycle.ts";

export interface SinkContext extends Endpoint {
  /** The sources that must acknowledge are named in `missing`. */
  readonly announced: boolean;
  /** Local sources that have not acknowledged this sink yet. */
  readonly missing: readonly string[];
}

export type SinkEvent =
  | StopEvent
  | EndpointEvent
  /** The local sources of its channel; they are being told. */
  | { readonly type: "announced"; readonly sources: readonly string[] }
  /** A source emits to this sink from now on. */
  | { readonly type: "acknowledged"; readonly source: string }
  /** A source went before it answered. */
  | { readonly type: "sourceGone"; readonly source: string };

const silent = (context: SinkContext): Notice => ({
  code: "W_SINK_UNCONFIRMED",
  message: `${context.name}: no acknowledgement within ${context.patience.openMs} ms from ${context.missing.join(", ") || "the runtime"}`,
});

export const sinkMachine = setup({
  types: {
    context: {} as SinkContext,
    events: {} as SinkEvent,
    tags: {} as Mood,
    input: {} as EndpointInput,
  },
  actions: {
    ...lifecycleActions,
    ...endpointActions,
    /** Tell every local source of this channel; answer `announced`, then `acknowledged` for each. */
    announce: effect(),
    /** Resolve the application's createSink; `missing` did not acknowledge yet. */
    publishOpen: effect<{ missing: readonly string[] }>(),
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
    died: dies,
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
    closing: closingEndpoint("sink", "Takes nothing more and gives back what it holds."),
    ...ends,
  },
});
