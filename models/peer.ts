// The life of a peer, another host's runtime: greeted until it answers, believed alive while anything of it is heard (its
// hellos, or what its engines send by themselves), silent when nothing is, and a new one when its incarnation is.
// Messages go to it only while it is alive.
import { assign, setup } from "xstate";
import {
  born,
  effect,
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
  warnEvent,
} from "./lifecycle.ts";

export interface PeerInput extends LifecycleInput {
  /** Time between two hellos, ms. */
  readonly helloMs?: number | undefined;
  /** Hellos that may be missed in a row before it counts as silent. */
  readonly tolerance?: number | undefined;
}

export interface PeerContext extends Lifecycle {
  readonly helloMs: number;
  readonly tolerance: number;
  /** Chosen anew each time the other runtime starts; null before its first hello. */
  readonly incarnation: string | null;
  /** Intervals in a row in which nothing of it was heard. */
  readonly missed: number;
  /** How often it came back with another incarnation. */
  readonly resets: number;
}

export type PeerEvent =
  | StopEvent
  /** It says that it is there, what it can do and what it has sinks for; those are kept elsewhere. */
  | { readonly type: "hello"; readonly incarnation: string }
  /** Something else came from it, to the control plane or to an engine; engines are asked before every deadline. */
  | { readonly type: "heard" }
  /** It cannot be talked to: another wire version, or a tag that two names share. */
  | { readonly type: "incompatible"; readonly notice: Notice }
  /** It said that it stops. */
  | { readonly type: "farewell" };

const armHello = {
  type: "armDeadline",
  params: ({ context }: { context: PeerContext }) => ({ ms: context.helloMs }),
} as const;

const silence = (context: PeerContext): Notice => ({
  code: "W_PEER_SILENT",
  message: `${context.name} has not been heard of for ${(context.missed + 1) * context.helloMs} ms: nothing is sent to it`,
});

const setUp = setup({
  types: {
    context: {} as PeerContext,
    events: {} as PeerEvent,
    tags: {} as Mood,
    input: {} as PeerInput,
  },
  actions: {
    ...lifecycleActions,
    /** Say what we are, can do and have sinks for. */
    sendHello: effect(),
    /** Let messages flow to it: routes for the channels that it has sinks for. */
    resumeSending: effect(),
    /** Send it no messages, but keep its flows: what was lost meanwhile is to be counted, and nothing else. */
    stopSending: effect(),
    /** It is a new one: forget its sequences, windows and subscriptions. */
    resetPeer: effect(),
  },
  guards: {
    nothingKept,
    reborn: ({ context, event }) =>
      event.type === "hello" && context.incarnation !== null && event.incarnation !== context.incarnation,
    tolerable: ({ context }) => context.missed + 1 < context.tolerance,
  },
});

/** A hello makes it alive; one of another incarnation first makes it new. */
const welcome = [
  {
    guard: "reborn",
    target: "alive",
    actions: [
      setUp.assign(({ context, event }) =>
        event.type === "hello" ? { incarnation: event.incarnation, resets: context.resets + 1 } : {},
      ),
      "resetPeer",
    ],
  },
  {
    target: "alive",
    actions: setUp.assign(({ event }) => (event.type === "hello" ? { incarnation: event.incarnation } : {})),
  },
] as const;

export const peerMachine = setUp.createMachine({
  id: "peer",
  description: "Another host's runtime.",
  context: ({ input }) => ({
    ...born(input),
    helloMs: input.helloMs ?? 1000,
    tolerance: input.tolerance ?? 3,
    incarnation: null,
    missed: 0,
    resets: 0,
  }),
  output: ({ context }) => outcome(context),
  initial: "greeting",
  on: stops,
  states: {
    greeting: {
      description: "Known by address only: it is greeted until it answers.",
      tags: "opening",
      entry: ["sendHello", armHello],
      exit: "disarmDeadline",
      on: {
        deadline: { target: "greeting", reenter: true },
        hello: welcome,
        incompatible: { target: "refused", actions: warnEvent },
      },
    },
    alive: {
      description: "It is heard of, by the control plane or an engine: messages for its sinks go to it.",
      tags: "serving",
      entry: [assign({ missed: 0 }), "resumeSending", armHello],
      exit: ["stopSending", "disarmDeadline"],
      on: {
        hello: [
          { guard: "reborn", target: "alive", reenter: true, actions: welcome[0].actions },
          { actions: assign({ missed: 0 }) },
        ],
        heard: { actions: assign({ missed: 0 }) },
        deadline: [
          {
            guard: "tolerable",
            actions: [assign({ missed: ({ context }) => context.missed + 1 }), "sendHello", armHello],
          },
          { target: "silent", actions: { type: "warn", params: ({ context }) => silence(context) } },
        ],
        incompatible: { target: "refused", actions: warnEvent },
        farewell: "greeting",
      },
    },
    silent: {
      description: "Nobody here hears of it: no message goes to it, hellos and heartbeats still do.",
      tags: "trouble",
      entry: ["sendHello", armHello],
      exit: "disarmDeadline",
      on: {
        deadline: { target: "silent", reenter: true },
        hello: welcome,
        heard: "alive",
        incompatible: { target: "refused", actions: warnEvent },
        farewell: "greeting",
      },
    },
    refused: {
      description: "There, but not to be talked to, and why is known. It is believed again when its hello changes.",
      tags: "trouble",
      on: { hello: welcome, farewell: "greeting" },
    },
    closing: {
      on: stopping,
      initial: "releasing",
      states: { releasing: releasing("peer") },
    },
    ...ends,
  },
});
