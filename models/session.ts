// The life of a session as the runtime sees it: one application at the other end of one control socket. It is greeted,
// admitted, served, and stopped by its own wish, by its death or by eviction. It decides nothing about memory.
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

export interface SessionInput extends LifecycleInput {
  /** What this runtime speaks; a hello with anything else is rejected. */
  readonly version: number;
  /** Hash of the shared-memory layout that this runtime was built with. */
  readonly layout: number;
}

export interface SessionContext extends Parent<"stream"> {
  readonly version: number;
  readonly layout: number;
  /** Of the peer of the socket; 0 before the hello. */
  readonly pid: number;
  /** The application is gone: expect no answer from it. */
  readonly dead: boolean;
}

export type SessionEvent =
  | StopEvent
  | ChildEvent<"stream">
  /** The first frame of the application, already checked against its schema. */
  | { readonly type: "hello"; readonly version: number; readonly layout: number; readonly pid: number }
  /** The listener's policy lets it in, and its control page exists. */
  | { readonly type: "admitted" }
  /** It does not. */
  | { readonly type: "refused"; readonly notice: Notice }
  /** It broke the contract of the protocol or of the shared memory. */
  | { readonly type: "violation"; readonly notice: Notice }
  /** The farewell is written and the control page is marked closed. */
  | { readonly type: "told" }
  /** End of file, or the pidfd says so. */
  | { readonly type: "died"; readonly how: "eof" | "pidfd" };

type Hello = Extract<SessionEvent, { type: "hello" }>;

const mismatch = (context: SessionContext, event: Hello): Notice =>
  event.version === context.version
    ? {
        code: "ELAYOUT",
        message: `${context.name} was built for shared-memory layout ${event.layout}, this runtime for ${context.layout}`,
      }
    : {
        code: "EVERSION",
        message: `${context.name} speaks protocol version ${event.version}, this runtime ${context.version}`,
      };

export const sessionMachine = setup({
  types: {
    context: {} as SessionContext,
    events: {} as SessionEvent,
    tags: {} as Mood,
    input: {} as SessionInput,
  },
  actions: {
    ...lifecycleActions,
    /** Check identity against the listener's policy and make the control page; answer `admitted` or `refused`. */
    admit: effect(),
    /** Answer the hello: epoch, control page, file descriptors. */
    welcome: effect(),
    /** Write the readable rejection before the socket closes. */
    reject: effect<Notice>(),
    /** Mark the control page closed and write the reason; answer `told`. */
    evict: effect<Notice>(),
    /** Send `died` (when `dead`) or `close` to every stream; each answers by `childEnded`. */
    closeStreams: effect<{ dead: boolean }>(),
  },
  guards: {
    nothingKept,
    compatible: ({ context, event }) =>
      event.type === "hello" && event.version === context.version && event.layout === context.layout,
    noStreams: ({ context }) => context.children.stream === 0,
  },
}).createMachine({
  id: "session",
  description: "One application at the other end of one control socket.",
  context: ({ input }) => ({
    ...born(input),
    version: input.version,
    layout: input.layout,
    pid: 0,
    children: { stream: 0 },
    dead: false,
  }),
  output: ({ context }) => outcome(context),
  initial: "handshaking",
  on: {
    ...stops,
    ...children,
    died: {
      target: ".closing",
      actions: assign(({ context, event }) => ({
        ...end(context, "death", {
          code: "ECLOSED",
          message: `${context.name}: the application is gone (${event.how})`,
        }),
        dead: true,
      })),
    },
  },
  states: {
    handshaking: {
      description: "Connected; nothing is granted yet.",
      tags: "opening",
      initial: "greeting",
      states: {
        greeting: {
          description: "Waits for the hello: version and layout.",
          entry: armOpen,
          exit: "disarmDeadline",
          on: {
            hello: [
              { guard: "compatible", target: "admitting", actions: assign({ pid: ({ event }) => event.pid }) },
              {
                target: "#session.closing",
                actions: [
                  assign(({ context, event }) => end(context, "failure", mismatch(context, event))),
                  { type: "reject", params: ({ context, event }) => mismatch(context, event) },
                ],
              },
            ],
            deadline: { target: "#session.closing", actions: assign(({ context }) => late(context, "no hello")) },
          },
        },
        admitting: {
          description: "The listener's policy looks at who it is.",
          entry: ["admit", armOpen],
          exit: "disarmDeadline",
          on: {
            admitted: { target: "#session.attached", actions: "welcome" },
            refused: {
              target: "#session.closing",
              actions: [
                assign(({ context, event }) => end(context, "failure", event.notice)),
                { type: "reject", params: ({ event }) => event.notice },
              ],
            },
            deadline: { target: "#session.closing", actions: assign(({ context }) => late(context, "not admitted")) },
          },
        },
      },
    },
    attached: {
      description: "Served. Its streams are its children.",
      tags: "serving",
      on: {
        violation: {
          target: "evicting",
          actions: [
            assign(({ context, event }) => end(context, "failure", event.notice)),
            warnEvent,
            { type: "evict", params: ({ event }) => event.notice },
          ],
        },
      },
    },
    evicting: {
      description: "Broke the contract: it is told why, and nothing more is taken from it.",
      tags: "trouble",
      entry: armOpen,
      exit: "disarmDeadline",
      on: { told: "closing", deadline: "closing" },
    },
    closing: {
      on: { ...stopping, ...lateChild(".streams"), died: { actions: assign({ dead: true }) } },
      initial: "streams",
      states: {
        streams: {
          description: "Waits until each of its streams has ended.",
          entry: { type: "closeStreams", params: ({ context }) => ({ dead: context.dead }) },
          always: { guard: "noStreams", target: "releasing" },
          on: { died: { target: "streams", reenter: true, actions: assign({ dead: true }) } },
        },
        releasing: releasing("session"),
      },
    },
    ...ends,
  },
});
