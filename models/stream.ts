// The life of a stream in one session: bound to a datapath by a decision, moved to another while it is open, stopped
// when its sources and sinks have. The decision itself is a pure function elsewhere; this says when it is taken.
import { assign, setup } from "xstate";
import { type ChildEvent, children, lateChild, type Parent } from "./children.ts";
import {
  armOpen,
  born,
  effect,
  end,
  ends,
  type LifecycleInput,
  late,
  lifecycleActions,
  type Mood,
  type Notice,
  nothingKept,
  outcome,
  releasing,
  type StopEvent,
  stopping,
  stops,
  warnEvent,
} from "./lifecycle.ts";

/** Why a stream moves: it was asked for, a better datapath came up, or its QoS was changed. */
export type RebindReason = "requested" | "appeared" | "qos";

export interface StreamContext extends Parent<"source" | "sink"> {
  /** The datapath that carries it to other hosts; null if none does. Co-located endpoints need none. */
  readonly datapath: string | null;
  /** The one that is being opened to carry it next. */
  readonly next: string | null;
  /** What the last decision warned about; empty if the stream has what it asked for. */
  readonly warnings: readonly Notice[];
  /** The warnings of the decision that is being carried out. */
  readonly nextWarnings: readonly Notice[];
  /** A reason to decide again that came at a moment when it could not be followed. */
  readonly again: RebindReason | null;
}

export type StreamEvent =
  | StopEvent
  | ChildEvent<"source" | "sink">
  /** The decision is taken and its datapath is ready for this stream. */
  | ({ readonly type: "bound" } & Decision)
  /** No decision is possible: what was asked for cannot be admitted. */
  | { readonly type: "unbindable"; readonly notice: Notice }
  /** Decide again. Understood at any time, followed when the stream is bound. */
  | { readonly type: "rebind"; readonly reason: RebindReason }
  /** A datapath went down. */
  | { readonly type: "datapathLost"; readonly datapath: string; readonly notice: Notice }
  /** The new decision is taken and its datapath is open for this stream, beside the old one. */
  | ({ readonly type: "prepared" } & Decision)
  /** The new decision is the old one. */
  | { readonly type: "unchanged" }
  /** The old links are at a burst boundary and no longer drained. */
  | { readonly type: "drained" }
  /** Every peer has echoed the marker: what was on the old path has arrived. */
  | { readonly type: "echoed" }
  /** The new links carry the stream. */
  | { readonly type: "switched" };

export interface Decision {
  readonly datapath: string | null;
  readonly warnings: readonly Notice[];
}

const unmoved = (context: StreamContext, why: string): Notice => ({
  code: "W_REBIND_FAILED",
  message: `${context.name} stays on ${context.datapath ?? "no datapath"}: ${why}`,
});

const stranded = (context: StreamContext): Notice => ({
  code: "W_NO_NETWORK",
  message: `${context.name} has lost its datapath and no other can carry it: only co-located endpoints are reached`,
});

/** Nothing is being prepared. */
const settled = { next: null, nextWarnings: [] };

export const streamMachine = setup({
  types: {
    context: {} as StreamContext,
    events: {} as StreamEvent,
    tags: {} as Mood,
    input: {} as LifecycleInput,
  },
  actions: {
    ...lifecycleActions,
    /** Decide, and make the datapath ready for this stream; answer `bound` or `unbindable`. */
    bind: effect(),
    /** Hand the decision to the application. */
    publishBinding: effect<Decision>(),
    /** Decide again and open the new path beside the old one; answer `prepared`, `unchanged` or `unbindable`. */
    prepare: effect(),
    /** Stop draining the old links at a burst boundary; answer `drained`. */
    drain: effect(),
    /** Send a marker on the old path; answer `echoed` when every peer has returned it. */
    mark: effect(),
    /** Let the new links carry the stream and close the old ones; answer `switched`. */
    switch: effect(),
    /** Drain the old links again and close what was prepared. */
    callOff: effect(),
    /** It is bound, as before or anew: whoever waits for that may go on, unless it is to decide again at once. */
    atRest: effect(),
    /** Send `close` to every source and sink; each answers by `childEnded`. */
    closeEndpoints: effect(),
  },
  guards: {
    nothingKept,
    warned: ({ context }) => context.warnings.length > 0,
    decideAgain: ({ context }) => context.again !== null,
    carriesIt: ({ context, event }) => event.type === "datapathLost" && event.datapath === context.datapath,
    isNext: ({ context, event }) => event.type === "datapathLost" && event.datapath === context.next,
    noEndpoints: ({ context }) => context.children.source === 0 && context.children.sink === 0,
  },
}).createMachine({
  id: "stream",
  description: "A quality that was asked for, and the datapath that gives it now.",
  context: ({ input }) => ({
    ...born(input),
    children: { source: 0, sink: 0 },
    datapath: null,
    next: null,
    warnings: [],
    nextWarnings: [],
    again: null,
  }),
  output: ({ context }) => outcome(context),
  initial: "binding",
  on: {
    ...stops,
    ...children,
    rebind: { actions: assign({ again: ({ event }) => event.reason }) },
  },
  states: {
    binding: {
      description: "The QoS is matched with what this host can offer.",
      tags: "opening",
      entry: ["bind", armOpen],
      exit: "disarmDeadline",
      on: {
        bound: {
          target: "bound",
          actions: [
            assign(({ event }) => ({ datapath: event.datapath, warnings: event.warnings })),
            {
              type: "publishBinding",
              params: ({ event }) => ({ datapath: event.datapath, warnings: event.warnings }),
            },
          ],
        },
        unbindable: {
          target: "closing",
          actions: [assign(({ context, event }) => end(context, "failure", event.notice)), warnEvent],
        },
        deadline: { target: "closing", actions: assign(({ context }) => late(context, "not bound")) },
      },
    },
    bound: {
      description: "Messages flow.",
      entry: [assign(settled), "atRest"],
      always: { guard: "decideAgain", target: "rebinding" },
      on: {
        datapathLost: {
          guard: "carriesIt",
          target: "rebinding.replacing",
          actions: warnEvent,
        },
      },
      initial: "asRequested",
      states: {
        asRequested: {
          description: "On the datapath that its QoS asks for.",
          tags: "serving",
          always: { guard: "warned", target: "fallback" },
        },
        fallback: { description: "On less than was asked for; the application was warned.", tags: "trouble" },
      },
    },
    rebinding: {
      description: "Moves to another datapath while it is open.",
      initial: "preparing",
      states: {
        preparing: {
          description: "Decides again and opens the new path beside the old one, which still carries everything.",
          tags: "opening",
          entry: [assign({ again: null }), "prepare", armOpen],
          exit: "disarmDeadline",
          on: {
            prepared: {
              target: "draining",
              actions: assign(({ event }) => ({ next: event.datapath, nextWarnings: event.warnings })),
            },
            unchanged: "#stream.bound",
            unbindable: {
              target: "#stream.bound",
              actions: ["callOff", warnEvent],
            },
            datapathLost: {
              guard: "carriesIt",
              target: "replacing",
              actions: ["callOff", warnEvent],
            },
            deadline: {
              target: "#stream.bound",
              actions: [
                "callOff",
                { type: "warn", params: ({ context }) => unmoved(context, "the new path was not ready in time") },
              ],
            },
          },
        },
        draining: {
          description: "The old links stop at a burst boundary; sources feel back-pressure.",
          tags: "opening",
          entry: ["drain", armOpen],
          exit: "disarmDeadline",
          on: {
            drained: "marking",
            datapathLost: [
              {
                guard: "carriesIt",
                target: "switching",
                actions: warnEvent,
              },
              {
                guard: "isNext",
                target: "#stream.bound",
                actions: ["callOff", warnEvent],
              },
            ],
            deadline: {
              target: "#stream.bound",
              actions: [
                "callOff",
                { type: "warn", params: ({ context }) => unmoved(context, "the old path did not stop in time") },
              ],
            },
          },
        },
        marking: {
          description: "A marker follows the last message on the old path.",
          tags: "opening",
          entry: ["mark", armOpen],
          exit: "disarmDeadline",
          on: {
            echoed: "switching",
            deadline: "switching",
            datapathLost: [
              {
                guard: "carriesIt",
                target: "switching",
                actions: warnEvent,
              },
              {
                guard: "isNext",
                target: "#stream.bound",
                actions: ["callOff", warnEvent],
              },
            ],
          },
        },
        switching: {
          description: "The new links take over.",
          tags: "opening",
          entry: ["switch", armOpen],
          exit: "disarmDeadline",
          on: {
            switched: {
              target: "#stream.bound",
              actions: [
                assign(({ context }) => ({ datapath: context.next, warnings: context.nextWarnings })),
                {
                  type: "publishBinding",
                  params: ({ context }) => ({ datapath: context.datapath, warnings: context.warnings }),
                },
              ],
            },
            datapathLost: {
              guard: "isNext",
              target: "replacing",
              actions: ["callOff", warnEvent],
            },
            deadline: {
              target: "replacing",
              actions: [
                "callOff",
                { type: "warn", params: ({ context }) => unmoved(context, "the new path did not take over in time") },
              ],
            },
          },
        },
        replacing: {
          description: "The old path is gone: decides again and switches at once. Receivers count the gap.",
          tags: "trouble",
          entry: [assign({ ...settled, datapath: null, again: null }), "prepare", armOpen],
          exit: "disarmDeadline",
          on: {
            prepared: {
              target: "switching",
              actions: assign(({ event }) => ({ next: event.datapath, nextWarnings: event.warnings })),
            },
            unbindable: {
              target: "#stream.bound",
              actions: [
                assign(({ context }) => ({ warnings: [stranded(context)] })),
                { type: "warn", params: ({ context }) => stranded(context) },
                {
                  type: "publishBinding",
                  params: ({ context }) => ({ datapath: context.datapath, warnings: context.warnings }),
                },
              ],
            },
            deadline: {
              target: "#stream.bound",
              actions: [
                assign(({ context }) => ({ warnings: [stranded(context)] })),
                { type: "warn", params: ({ context }) => stranded(context) },
                {
                  type: "publishBinding",
                  params: ({ context }) => ({ datapath: context.datapath, warnings: context.warnings }),
                },
              ],
            },
          },
        },
      },
    },
    closing: {
      on: { ...stopping, ...lateChild(".endpoints") },
      initial: "endpoints",
      states: {
        endpoints: {
          description: "Waits until each of its sources and sinks has ended.",
          entry: "closeEndpoints",
          always: { guard: "noEndpoints", target: "releasing" },
        },
        releasing: releasing("stream"),
      },
    },
    ...ends,
  },
});
