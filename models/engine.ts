// The life of an engine: a polling thread of the runtime, or a process of its own for drivers that may crash. Control
// reaches it by commands, each acknowledged before its deadline or it counts as stalled; it stops by one more command.
import { and, assign, setup } from "xstate";
import { type ChildEvent, children, lateChild, type Parent } from "./children.ts";
import {
  armOpen,
  armTeardown,
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
  stopsTo,
  unanswered,
} from "./lifecycle.ts";

/** Who polls: the application's own thread under a lease, a thread for several datapaths, or one for one datapath. */
export type EngineMode = "inline" | "shared" | "dedicated";

export interface EngineInput extends LifecycleInput {
  readonly mode: EngineMode;
  /** It lives in a process of its own, which can be killed when it hangs. */
  readonly process?: boolean | undefined;
}

export interface EngineContext extends Parent<"datapath"> {
  readonly mode: EngineMode;
  readonly process: boolean;
  /** Its thread has ended or its process is gone: nothing of it runs any more. */
  readonly dead: boolean;
  /** How often it has missed a deadline and come back. */
  readonly stalls: number;
}

export type EngineEvent =
  | StopEvent
  | ChildEvent<"datapath">
  /** Its thread runs and drains its command queue. */
  | { readonly type: "started" }
  /** The application's thread polls from now on (inline only). */
  | { readonly type: "leaseTaken" }
  /** The owner has not polled for a millisecond, gave the lease back, or a foreign application attached. */
  | { readonly type: "leaseEnded"; readonly why: "silent" | "returned" | "foreign" }
  /** Idle, so it sleeps on its doorbells. Sampled, not one event a sleep. */
  | { readonly type: "parked" }
  | { readonly type: "woke" }
  /** A command was not acknowledged before its deadline. */
  | { readonly type: "overdue"; readonly command: string }
  /** It acknowledged something, late. */
  | { readonly type: "progressed" }
  /** Its view and ours agree again: every command is acknowledged or was sent anew. */
  | { readonly type: "recovered" }
  /** It acknowledged the stop command, and its thread has been joined. */
  | { readonly type: "stopped" }
  /** Its process is gone. */
  | { readonly type: "died"; readonly how: string };

const stall = (context: EngineContext, command: string): Notice => ({
  code: "W_ENGINE_STALLED",
  message: `${context.name} did not acknowledge ${command} in time`,
});

const gone = (context: EngineContext, how: string): Notice => ({
  code: "W_ENGINE_DIED",
  message: `${context.name} is gone: ${how}`,
});

const unresponsive = (context: EngineContext): Notice => ({
  code: "ETIMEDOUT",
  message: `${context.name} shows no sign of life ${context.patience.openMs} ms after it stalled`,
});

export const engineMachine = setup({
  types: {
    context: {} as EngineContext,
    events: {} as EngineEvent,
    tags: {} as Mood,
    input: {} as EngineInput,
  },
  actions: {
    ...lifecycleActions,
    /** Start the thread or the process; answer `started` or `failed`. */
    start: effect(),
    /** Ring its doorbell and look at its counters; answer `progressed` if anything moves. */
    nudge: effect(),
    /** Send again what has no acknowledgement, read its counters; answer `recovered`. */
    resynchronise: effect(),
    /** Send `close` to every datapath, or `lost` when the engine is dead; each answers by `childEnded`. */
    closeDatapaths: effect<{ dead: boolean }>(),
    /** Send the stop command; a process that was stalled is killed instead. Answer `stopped` or `died`. */
    stop: effect<{ kill: boolean }>(),
    /** Kill its process; answer `died`. */
    kill: effect(),
  },
  guards: {
    nothingKept,
    inline: ({ context }) => context.mode === "inline",
    dead: ({ context }) => context.dead,
    process: ({ context }) => context.process,
    noDatapaths: ({ context }) => context.children.datapath === 0,
  },
}).createMachine({
  id: "engine",
  description: "A thread that polls datapaths and links.",
  context: ({ input }) => ({
    ...born(input),
    mode: input.mode,
    process: input.process ?? false,
    children: { datapath: 0 },
    dead: false,
    stalls: 0,
  }),
  output: ({ context }) => outcome(context),
  initial: "starting",
  on: {
    ...stops,
    ...children,
    died: {
      target: ".closing",
      actions: [
        assign(({ context, event }) => ({ ...end(context, "death", gone(context, event.how)), dead: true })),
        { type: "warn", params: ({ context, event }) => gone(context, event.how) },
      ],
    },
  },
  states: {
    starting: {
      description: "Its thread or process comes up.",
      tags: "opening",
      entry: ["start", armOpen],
      exit: "disarmDeadline",
      on: {
        started: "running",
        failed: {
          ...stopsTo("closing").failed,
          actions: [...stopsTo("closing").failed.actions, assign({ dead: true })],
        },
        deadline: { target: "closing", actions: assign(({ context }) => late(context, "not started")) },
      },
    },
    running: {
      description: "Drains its commands between bursts and acknowledges each.",
      tags: "serving",
      type: "parallel",
      on: {
        overdue: {
          target: "stalled",
          actions: [
            assign({ stalls: ({ context }) => context.stalls + 1 }),
            { type: "warn", params: ({ context, event }) => stall(context, event.command) },
          ],
        },
      },
      states: {
        lease: {
          initial: "standby",
          states: {
            standby: {
              description: "The runtime's own thread polls.",
              on: { leaseTaken: { guard: "inline", target: "owner" } },
            },
            owner: {
              description: "The application's thread polls: the fewest hops.",
              on: { leaseEnded: "standby" },
            },
          },
        },
        activity: {
          initial: "polling",
          states: {
            polling: { description: "There is traffic, or was a moment ago.", on: { parked: "parked" } },
            parked: { description: "Asleep on its doorbells: no CPU.", on: { woke: "polling" } },
          },
        },
      },
    },
    stalled: {
      description: "Missed a command's deadline. What hangs on it waits; nothing is unmapped.",
      tags: "trouble",
      entry: ["nudge", armOpen],
      exit: "disarmDeadline",
      on: {
        progressed: "recovering",
        deadline: [
          {
            guard: "process",
            target: "killing",
            actions: [
              assign(({ context }) => end(context, "failure", unresponsive(context))),
              { type: "warn", params: ({ context }) => unresponsive(context) },
            ],
          },
          {
            target: "closing",
            actions: [
              assign(({ context }) => end(context, "failure", unresponsive(context))),
              { type: "warn", params: ({ context }) => unresponsive(context) },
            ],
          },
        ],
      },
    },
    killing: {
      description: "Its process hangs and is killed, before anything waits for its answers.",
      tags: "trouble",
      entry: ["kill", armTeardown],
      exit: "disarmDeadline",
      on: {
        deadline: "closing",
      },
    },
    recovering: {
      description: "It moves again: what was missed is sent anew.",
      tags: "trouble",
      entry: ["resynchronise", armOpen],
      exit: "disarmDeadline",
      on: {
        recovered: "running",
        overdue: "stalled",
        deadline: "stalled",
      },
    },
    closing: {
      on: { ...stopping, ...lateChild(".datapaths"), died: { actions: assign({ dead: true }) } },
      initial: "datapaths",
      states: {
        datapaths: {
          description: "Waits until each of its datapaths has ended.",
          entry: { type: "closeDatapaths", params: ({ context }) => ({ dead: context.dead }) },
          always: [
            { guard: and(["noDatapaths", "dead"]), target: "releasing" },
            { guard: "noDatapaths", target: "stopping" },
          ],
          on: { died: { target: "datapaths", reenter: true, actions: assign({ dead: true }) } },
        },
        stopping: {
          description: "The last command; its acknowledgement means that nothing of ours runs any more.",
          entry: [
            {
              type: "stop",
              params: ({ context }) => ({ kill: context.process && context.ending?.cause === "failure" }),
            },
            armTeardown,
          ],
          exit: "disarmDeadline",
          on: {
            ...unanswered,
            stopped: { target: "releasing", actions: assign({ dead: true }) },
            died: { target: "releasing", actions: assign({ dead: true }) },
          },
        },
        releasing: releasing("engine"),
      },
    },
    ...ends,
  },
});
