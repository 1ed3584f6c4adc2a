// The life of a datapath: probed with evidence, opened when wanted, and after a failure restarted by its policy (see
// policy.ts) until that gives up. An instance is gone before the next one opens. Times come with the events.
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
  stopsTo,
  unanswered,
} from "./lifecycle.ts";
import { DEFAULT_POLICY, decide, type RestartHistory, type RestartPolicy } from "./policy.ts";

export interface DatapathInput extends LifecycleInput {
  /** udp, xdp, dpdk, rdma. */
  readonly technology: string;
  readonly policy?: RestartPolicy | undefined;
}

/** Where an instance can be reached: its own address, port and MTU. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly mtu: number;
}

export interface DatapathContext extends Lifecycle {
  readonly technology: string;
  readonly policy: RestartPolicy;
  /** What the last probe saw, one sentence each. */
  readonly evidence: readonly string[];
  /** Of the instance that is up. */
  readonly endpoint: Endpoint | null;
  /** What the last instance failed of. */
  readonly failure: Notice | null;
  /** When restarts began, ms of the runtime's monotonic clock. */
  readonly history: RestartHistory;
  /** The wait before the next attempt, ms. */
  readonly delayMs: number;
  /** Somebody wanted it opened before the probe had answered. */
  readonly wanted: boolean;
}

export type DatapathEvent =
  | StopEvent
  /** The probe is positive, with the evidence. */
  | { readonly type: "available"; readonly evidence: readonly string[] }
  /** The probe is negative, with the evidence and, in the notice, what was missing. */
  | { readonly type: "unavailable"; readonly evidence: readonly string[] }
  /** Look again: something about the host has changed, or an operator asks. */
  | { readonly type: "probe" }
  /** A stream is bound to it. */
  | { readonly type: "open" }
  /** An instance is up on its engine. */
  | { readonly type: "opened"; readonly endpoint: Endpoint }
  /** The instance is broken: it reported an error, or its device went. */
  | { readonly type: "broke"; readonly notice: Notice }
  /** The engine has acknowledged that the instance is closed, and the instance's scope has exited. */
  | { readonly type: "detached"; readonly at: number }
  /** The engine is gone, and every instance on it. */
  | { readonly type: "lost" }
  /** Try again now, and forget past failures. */
  | { readonly type: "retry" };

const down = (context: DatapathContext, notice: Notice): Notice => ({
  code: "W_DATAPATH_DOWN",
  message: `${context.name}: ${notice.message}`,
});

const slow = (context: DatapathContext): Notice => ({
  code: "ETIMEDOUT",
  message: `not open within ${context.patience.openMs} ms`,
});

const verdict = (context: DatapathContext, at: number) => decide(context.policy, context.history, "failure", at);

export const datapathMachine = setup({
  types: {
    context: {} as DatapathContext,
    events: {} as DatapathEvent,
    tags: {} as Mood,
    input: {} as DatapathInput,
  },
  actions: {
    ...lifecycleActions,
    /** Look, without changing anything, whether this host can; answer `available` or `unavailable`. */
    probe: effect(),
    /** Tell those who decide about streams what this host can offer now. */
    publishCapability: effect<{ available: boolean; evidence: readonly string[] }>(),
    /** Load it, open an instance and bind it to its engine; answer `opened` or `broke`. */
    open: effect(),
    /** Streams may use it, peers may be told of it. */
    publishUp: effect<{ endpoint: Endpoint }>(),
    /** Streams on it must move. */
    publishDown: effect<Notice>(),
    /** Close the instance by a command to its engine and its scope; answer `detached`. May be asked twice. */
    detach: effect(),
    /** The supervisor above should know: this one gave up. */
    escalate: effect<Notice>(),
  },
  guards: {
    nothingKept,
    wanted: ({ context }) => context.wanted,
    mayRestart: ({ context, event }) => event.type === "detached" && verdict(context, event.at).type === "restart",
  },
}).createMachine({
  id: "datapath",
  description: "One technology on one engine.",
  context: ({ input }) => ({
    ...born(input),
    technology: input.technology,
    policy: input.policy ?? DEFAULT_POLICY,
    evidence: [],
    endpoint: null,
    failure: null,
    history: [],
    delayMs: 0,
    wanted: false,
  }),
  output: ({ context }) => outcome(context),
  initial: "probing",
  on: {
    ...stopsTo(".closing.releasing"),
    open: { actions: assign({ wanted: true }) },
    lost: { target: ".closing.releasing", actions: assign(({ context }) => end(context, "death")) },
  },
  states: {
    probing: {
      description: "Looks at the host, without changing anything.",
      tags: "opening",
      entry: ["probe", armOpen],
      exit: "disarmDeadline",
      on: {
        available: {
          target: "available",
          actions: [
            assign({ evidence: ({ event }) => event.evidence }),
            { type: "publishCapability", params: ({ event }) => ({ available: true, evidence: event.evidence }) },
          ],
        },
        unavailable: {
          target: "unavailable",
          actions: [
            assign({ evidence: ({ event }) => event.evidence }),
            { type: "publishCapability", params: ({ event }) => ({ available: false, evidence: event.evidence }) },
          ],
        },
        deadline: {
          target: "unavailable",
          actions: [
            assign({ evidence: ({ context }) => [`the probe did not answer within ${context.patience.openMs} ms`] }),
            {
              type: "publishCapability",
              params: ({ context }) => ({ available: false, evidence: context.evidence }),
            },
          ],
        },
      },
    },
    unavailable: {
      description: "Not on this host, and why is known.",
      tags: "trouble",
      on: { probe: "probing" },
    },
    available: {
      description: "Could be opened; costs nothing yet.",
      always: { guard: "wanted", target: "opening" },
      on: { probe: "probing" },
    },
    opening: {
      description: "An instance is made and bound to its engine.",
      tags: "opening",
      entry: ["open", armOpen],
      exit: "disarmDeadline",
      on: {
        ...stopsTo("closing"),
        opened: {
          target: "up",
          actions: assign({ endpoint: ({ event }) => event.endpoint, failure: null }),
        },
        broke: { target: "failed", actions: assign({ failure: ({ event }) => event.notice }) },
        deadline: { target: "failed", actions: assign({ failure: ({ context }) => slow(context) }) },
      },
    },
    up: {
      description: "Carries traffic.",
      tags: "serving",
      entry: { type: "publishUp", params: ({ context }) => ({ endpoint: context.endpoint as Endpoint }) },
      on: {
        ...stopsTo("closing"),
        broke: { target: "failed", actions: assign({ failure: ({ event }) => event.notice }) },
      },
    },
    failed: {
      description: "The broken instance is taken down; streams move elsewhere.",
      tags: "trouble",
      entry: [
        assign({ endpoint: null }),
        { type: "warn", params: ({ context }) => down(context, context.failure as Notice) },
        { type: "publishDown", params: ({ context }) => down(context, context.failure as Notice) },
        "detach",
        armTeardown,
      ],
      exit: "disarmDeadline",
      on: {
        ...stopsTo("closing"),
        detached: [
          {
            guard: "mayRestart",
            target: "backoff",
            actions: assign(({ context, event }) => {
              const next = verdict(context, event.at);
              return next.type === "restart" ? { history: next.history, delayMs: next.delayMs } : {};
            }),
          },
          { target: "gaveUp" },
        ],
        deadline: {
          target: "closing.releasing",
          actions: [assign(({ context }) => end(context, "failure", context.failure)), ...unanswered.deadline.actions],
        },
      },
    },
    backoff: {
      description: "Waits before the next attempt, longer each time.",
      tags: "trouble",
      entry: { type: "armDeadline", params: ({ context }) => ({ ms: context.delayMs }) },
      exit: "disarmDeadline",
      on: { deadline: "opening", retry: { target: "opening", actions: assign({ history: [] }) } },
    },
    gaveUp: {
      description: "Failed too often in too short a time; waits to be asked.",
      tags: "trouble",
      entry: {
        type: "escalate",
        params: ({ context }) => down(context, context.failure as Notice),
      },
      on: { retry: { target: "opening", actions: assign({ history: [] }) }, probe: "probing" },
    },
    closing: {
      on: { ...stopping, open: {}, lost: {} },
      initial: "detaching",
      states: {
        detaching: {
          description: "The engine is told to let go of it, and acknowledges.",
          entry: ["detach", armTeardown],
          exit: "disarmDeadline",
          on: { ...unanswered, detached: "releasing", lost: "releasing" },
        },
        releasing: releasing("datapath"),
      },
    },
    ...ends,
  },
});
