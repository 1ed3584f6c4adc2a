// The life of a runtime: it comes up, serves (degraded while something that should be there is not), and stops from
// the outside in: sessions, peers, engines, its own sockets. It counts its children; it neither starts nor ends any.
import { assign, setup } from "xstate";
import { type ChildEvent, children, lateChild, type Parent } from "./children.ts";
import {
  armOpen,
  born,
  effect,
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

export type RuntimeChild = "session" | "link" | "peer" | "engine";

export interface RuntimeContext extends Parent<RuntimeChild> {
  /** What makes it degraded: the child's name, and what is wrong with it. */
  readonly problems: Readonly<Record<string, Notice>>;
}

export type RuntimeEvent =
  | StopEvent
  | ChildEvent<RuntimeChild>
  /** The listener is bound, the standing engines run. */
  | { readonly type: "started" }
  /** A permanent child escalated, or a datapath that was up is down. */
  | { readonly type: "degraded"; readonly what: string; readonly notice: Notice }
  /** That is over. */
  | { readonly type: "restored"; readonly what: string };

const without = (problems: Readonly<Record<string, Notice>>, what: string): Readonly<Record<string, Notice>> =>
  Object.fromEntries(Object.entries(problems).filter(([name]) => name !== what));

export const runtimeMachine = setup({
  types: {
    context: {} as RuntimeContext,
    events: {} as RuntimeEvent,
    tags: {} as Mood,
    input: {} as LifecycleInput,
  },
  actions: {
    ...lifecycleActions,
    /** Load the native library, bind the listener, start the standing engines; answer `started` or `failed`. */
    start: effect(),
    /** Accept no further session. */
    stopListening: effect(),
    /** Send `close` to the children of these kinds; each answers by `childEnded`. */
    closeChildren: effect<{ kinds: readonly RuntimeChild[] }>(),
  },
  guards: {
    nothingKept,
    problems: ({ context }) => Object.keys(context.problems).length > 0,
    noProblems: ({ context }) => Object.keys(context.problems).length === 0,
    noSessions: ({ context }) => context.children.session === 0 && context.children.link === 0,
    noPeers: ({ context }) => context.children.peer === 0,
    noEngines: ({ context }) => context.children.engine === 0,
  },
}).createMachine({
  id: "runtime",
  description: "The root of the supervision tree: one on a host, or one in each process that embeds it.",
  context: ({ input }) => ({
    ...born(input, { openMs: 30_000 }),
    children: { session: 0, link: 0, peer: 0, engine: 0 },
    problems: {},
  }),
  output: ({ context }) => outcome(context),
  initial: "starting",
  on: {
    ...stops,
    ...children,
    degraded: {
      actions: [
        assign({ problems: ({ context, event }) => ({ ...context.problems, [event.what]: event.notice }) }),
        warnEvent,
      ],
    },
    restored: { actions: assign({ problems: ({ context, event }) => without(context.problems, event.what) }) },
  },
  states: {
    starting: {
      description: "Binds its listener and starts its standing engines.",
      tags: "opening",
      entry: ["start", armOpen],
      exit: "disarmDeadline",
      on: {
        started: "running",
        deadline: { target: "closing", actions: assign(({ context }) => late(context, "not started")) },
      },
    },
    running: {
      description: "Accepts sessions and serves them.",
      initial: "healthy",
      states: {
        healthy: {
          description: "All that should be there is there.",
          tags: "serving",
          always: { guard: "problems", target: "degraded" },
        },
        degraded: {
          description: "A permanent child escalated or a datapath is down; all else is served.",
          tags: "trouble",
          always: { guard: "noProblems", target: "healthy" },
        },
      },
    },
    closing: {
      on: { ...stopping, ...lateChild(".sessions") },
      entry: "stopListening",
      initial: "sessions",
      states: {
        sessions: {
          description: "Waits until every session and every link has ended.",
          entry: { type: "closeChildren", params: { kinds: ["session", "link"] } },
          always: { guard: "noSessions", target: "peers" },
        },
        peers: {
          description: "Waits until every peer is forgotten.",
          entry: { type: "closeChildren", params: { kinds: ["peer"] } },
          always: { guard: "noPeers", target: "engines" },
        },
        engines: {
          description: "Waits until every engine has stopped.",
          entry: { type: "closeChildren", params: { kinds: ["engine"] } },
          always: { guard: "noEngines", target: "releasing" },
        },
        releasing: releasing("runtime"),
      },
    },
    ...ends,
  },
});
