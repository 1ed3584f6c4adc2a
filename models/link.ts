// The life of a link: one producer session or engine, one consumer session or engine, one stream. Both ends are told
// before anything flows and both are done before anything is unmapped. A link never changes its ends.
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
  stopsTo,
  unanswered,
} from "./lifecycle.ts";

export type End = "producer" | "consumer";

export interface LinkInput extends LifecycleInput {
  /** Names of the two ends. */
  readonly producer: string;
  readonly consumer: string;
  /** Entries, which are credits: the most that can be under way. */
  readonly credits: number;
}

export interface LinkContext extends Lifecycle {
  readonly producer: string;
  readonly consumer: string;
  readonly credits: number;
  /** Ends that have mapped it and know what it is for. */
  readonly accepted: Readonly<Record<End, boolean>>;
  /** Ends that are gone: no answer will come from them. */
  readonly dead: Readonly<Record<End, boolean>>;
  /** Entries that were reclaimed and not returned. */
  readonly abandoned: number;
}

export type LinkEvent =
  | StopEvent
  /** Its rings exist. */
  | { readonly type: "allocated" }
  /** That end has mapped it. */
  | { readonly type: "accepted"; readonly end: End }
  /** That end cannot or will not. */
  | { readonly type: "refused"; readonly end: End; readonly notice: Notice }
  /** That end put an index where none may be; it closed the link. */
  | { readonly type: "violation"; readonly end: End; readonly notice: Notice }
  /** That end's process or engine is gone. */
  | { readonly type: "died"; readonly end: End }
  /** The producer has every slot back; so many entries were reclaimed rather than returned. */
  | { readonly type: "reclaimed"; readonly abandoned: number }
  /** The consumer holds no entry any more and has unmapped it. */
  | { readonly type: "returned" };

const unanswering = (context: LinkContext): Notice => {
  const missing = (["producer", "consumer"] as const).filter((side) => !context.accepted[side]);
  return {
    code: "ETIMEDOUT",
    message: `${context.name}: not accepted within ${context.patience.openMs} ms by ${missing.map((side) => `its ${side} ${context[side]}`).join(" and ")}`,
  };
};

const refusal = (context: LinkContext, event: { readonly end: End; readonly notice: Notice }): Notice => ({
  code: event.notice.code,
  message: `${context.name}: its ${event.end} ${context[event.end]}: ${event.notice.message}`,
});

export const linkMachine = setup({
  types: {
    context: {} as LinkContext,
    events: {} as LinkEvent,
    tags: {} as Mood,
    input: {} as LinkInput,
  },
  actions: {
    ...lifecycleActions,
    /** Make the rings; answer `allocated` or `failed`. */
    allocate: effect(),
    /** Tell both ends, consumer first, and give them the mapping; each answers `accepted` or `refused`. */
    offer: effect(),
    /** Both ends may use it: the producer pushes from now on. */
    publishOpen: effect(),
    /** Whoever supervises that end should evict it. */
    accuse: effect<{ end: End; notice: Notice }>(),
    /** Tell the living ends that it closes; the producer answers `reclaimed`, the consumer `returned`. */
    closeEnds: effect<{ dead: Readonly<Record<End, boolean>> }>(),
  },
  guards: {
    nothingKept,
    isProducer: ({ event }) => "end" in event && event.end === "producer",
    isConsumer: ({ event }) => "end" in event && event.end === "consumer",
    producerDead: ({ context }) => context.dead.producer,
    consumerDead: ({ context }) => context.dead.consumer,
  },
}).createMachine({
  id: "link",
  description: "Descriptors one way, credits the other, between one producer and one consumer.",
  context: ({ input }) => ({
    ...born(input),
    producer: input.producer,
    consumer: input.consumer,
    credits: input.credits,
    accepted: { producer: false, consumer: false },
    dead: { producer: false, consumer: false },
    abandoned: 0,
  }),
  output: ({ context }) => ({ ...outcome(context), abandoned: context.abandoned }),
  initial: "proposed",
  on: {
    ...stops,
    refused: {
      target: ".closing",
      actions: [
        assign(({ context, event }) => end(context, "failure", refusal(context, event))),
        { type: "warn", params: ({ context, event }) => refusal(context, event) },
      ],
    },
    violation: {
      target: ".closing",
      actions: [
        assign(({ context, event }) => end(context, "failure", event.notice)),
        { type: "accuse", params: ({ event }) => ({ end: event.end, notice: event.notice }) },
      ],
    },
    died: {
      target: ".closing",
      actions: assign(({ context, event }) => ({
        ...end(context, "death"),
        dead: { ...context.dead, [event.end]: true },
      })),
    },
  },
  states: {
    proposed: {
      description: "Wanted: its rings are being made, neither end knows of it.",
      tags: "opening",
      entry: ["allocate", armOpen],
      exit: "disarmDeadline",
      on: {
        ...stopsTo("closing.releasing"),
        allocated: "offered",
        died: { target: "closing.releasing", actions: assign(({ context }) => end(context, "death")) },
        deadline: {
          target: "closing.releasing",
          actions: assign(({ context }) => end(context, "failure", unanswering(context))),
        },
      },
    },
    offered: {
      description: "Both ends are being told.",
      tags: "opening",
      entry: ["offer", armOpen],
      exit: "disarmDeadline",
      type: "parallel",
      states: {
        producer: {
          initial: "told",
          states: {
            told: {
              on: {
                accepted: {
                  guard: "isProducer",
                  target: "ready",
                  actions: assign({ accepted: ({ context }) => ({ ...context.accepted, producer: true }) }),
                },
              },
            },
            ready: { type: "final" },
          },
        },
        consumer: {
          initial: "told",
          states: {
            told: {
              on: {
                accepted: {
                  guard: "isConsumer",
                  target: "ready",
                  actions: assign({ accepted: ({ context }) => ({ ...context.accepted, consumer: true }) }),
                },
              },
            },
            ready: { type: "final" },
          },
        },
      },
      onDone: "open",
      on: {
        deadline: {
          target: "closing",
          actions: [
            assign(({ context }) => end(context, "failure", unanswering(context))),
            { type: "warn", params: ({ context }) => unanswering(context) },
          ],
        },
      },
    },
    open: {
      description: "Descriptors flow; none of our threads is on the path between co-located ends.",
      tags: "serving",
      entry: "publishOpen",
    },
    closing: {
      on: { ...stopping, refused: {}, violation: {}, died: {} },
      initial: "ends",
      states: {
        ends: {
          description: "Each end lets go of what it holds; a dead one is done at once.",
          entry: [{ type: "closeEnds", params: ({ context }) => ({ dead: context.dead }) }, armTeardown],
          exit: "disarmDeadline",
          type: "parallel",
          states: {
            producer: {
              initial: "reclaiming",
              states: {
                reclaiming: {
                  description: "Scans its shadow until every slot is home.",
                  always: { guard: "producerDead", target: "done" },
                  on: {
                    reclaimed: { target: "done", actions: assign({ abandoned: ({ event }) => event.abandoned }) },
                  },
                },
                done: { type: "final" },
              },
            },
            consumer: {
              initial: "returning",
              states: {
                returning: {
                  description: "Returns or drops what it has, then unmaps.",
                  always: { guard: "consumerDead", target: "done" },
                  on: { returned: "done" },
                },
                done: { type: "final" },
              },
            },
          },
          onDone: "releasing",
          on: {
            ...unanswered,
            died: { actions: assign({ dead: ({ context, event }) => ({ ...context.dead, [event.end]: true }) }) },
          },
        },
        releasing: releasing("link"),
      },
    },
    ...ends,
  },
});
