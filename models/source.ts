// The life of a source: announced to the sinks that are there, open (with or without anybody listening), and drained
// before it goes. What it had under way when it went is counted as abandoned, never forgotten.
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

export interface SourceContext extends Endpoint {
  /** The links that this source has to be known on are named in `pending`. */
  readonly announced: boolean;
  /** Links whose other end has not acknowledged this source yet. */
  readonly pending: readonly string[];
  /** Links to sinks of this channel, on this host and, by way of an engine, on others. */
  readonly links: readonly string[];
}

export type SourceEvent =
  | StopEvent
  | EndpointEvent
  /** The links that lead to sinks of its channel; their far ends are being told. */
  | { readonly type: "announced"; readonly links: readonly string[] }
  /** A link is there and its far end knows this source; also later, when a sink appears. */
  | { readonly type: "linked"; readonly link: string }
  /** That link is gone: its sink was closed, died, or could not be told. */
  | { readonly type: "unlinked"; readonly link: string };

const unheard = (context: SourceContext): Notice => ({
  code: "W_SOURCE_UNCONFIRMED",
  message: `${context.name}: no acknowledgement within ${context.patience.openMs} ms from ${context.pending.join(", ") || "the runtime"}`,
});

export const sourceMachine = setup({
  types: {
    context: {} as SourceContext,
    events: {} as SourceEvent,
    tags: {} as Mood,
    input: {} as EndpointInput,
  },
  actions: {
    ...lifecycleActions,
    ...endpointActions,
    /** Find the links to sinks of this channel and tell their far ends; answer `announced`, then `linked` for each. */
    announce: effect(),
    /** Tell the application that somebody listens, or that nobody does any more. */
    publishMatched: effect<{ matched: boolean }>(),
  },
  guards: {
    nothingKept,
    acknowledged: ({ context }) => context.announced && context.pending.length === 0,
    matched: ({ context }) => context.links.length > 0,
    unmatched: ({ context }) => context.links.length === 0,
  },
}).createMachine({
  id: "source",
  description: "One writer of one channel of one stream.",
  context: ({ input }) => ({
    ...born(input, { openMs: 100 }),
    channel: input.channel,
    announced: false,
    pending: [],
    links: [],
    abandoned: 0,
  }),
  output: ({ context }) => ({ ...outcome(context), abandoned: context.abandoned }),
  initial: "opening",
  on: {
    ...stops,
    linked: {
      actions: assign(({ context, event }) => ({
        pending: context.pending.filter((link) => link !== event.link),
        links: [...context.links.filter((link) => link !== event.link), event.link],
      })),
    },
    unlinked: {
      actions: assign(({ context, event }) => ({
        pending: context.pending.filter((link) => link !== event.link),
        links: context.links.filter((link) => link !== event.link),
      })),
    },
    died: dies,
  },
  states: {
    opening: {
      description: "The sinks that are there are told of it, and acknowledge.",
      tags: "opening",
      entry: ["announce", armOpen],
      exit: "disarmDeadline",
      always: { guard: "acknowledged", target: "open" },
      on: {
        announced: {
          actions: assign(({ context, event }) => ({
            announced: true,
            pending: event.links.filter((link) => !context.links.includes(link)),
          })),
        },
        deadline: { target: "open", actions: { type: "warn", params: ({ context }) => unheard(context) } },
      },
    },
    open: {
      description: "The application emits.",
      tags: "serving",
      initial: "unmatched",
      states: {
        unmatched: {
          description: "Nobody listens: what is emitted goes nowhere, and its outcome says so.",
          entry: { type: "publishMatched", params: { matched: false } },
          always: { guard: "matched", target: "matched" },
        },
        matched: {
          description: "At least one link leads to a sink of its channel.",
          entry: { type: "publishMatched", params: { matched: true } },
          always: { guard: "unmatched", target: "unmatched" },
        },
      },
    },
    closing: closingEndpoint("source", "Emits nothing more; what is under way comes home."),
    ...ends,
  },
});
