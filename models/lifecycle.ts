// What all lifecycles share: the events by which they stop, the states they end in, and the record of how they ended.
// No machine of its own. Whoever runs a machine obeys one rule: on `releaseScope` close the actor's scope, and when it
// has exited (also when it had exited by itself) send `released`, or `quarantine` if something in it must stay mapped.
import { type ActionFunction, assign } from "xstate";

/** A warning, refusal or failure: a code of src/protocol/codes.ts and one sentence. */
export interface Notice {
  readonly code: string;
  readonly message: string;
}

/** Why a lifecycle began to stop: somebody asked, it broke, or the process it belongs to died. */
export type Cause = "requested" | "failure" | "death";

export interface Ending {
  readonly cause: Cause;
  /** What was said about it, for the log and the supervisor. */
  readonly notice: Notice | null;
}

/** How long a machine may wait, in milliseconds. Whoever runs it keeps the time; the machine only says how long. */
export interface Patience {
  /** For an answer on the way up. */
  readonly openMs: number;
  /** For each step of teardown. */
  readonly teardownMs: number;
}

/** The part of every machine's context that concerns its life as such. */
export interface Lifecycle {
  /** As messages call it: "session 3", "link 12". */
  readonly name: string;
  readonly patience: Patience;
  /** Null while it lives; the first cause stays. */
  readonly ending: Ending | null;
  /** What could not be torn down in time: stays mapped, is counted, never freed. Empty if and only if it ends `closed`. */
  readonly quarantined: readonly string[];
}

export interface LifecycleInput {
  readonly name: string;
  readonly patience?: Partial<Patience> | undefined;
}

/** Tags of living states, for those who only want to know how it goes. Teardown needs none: its states say it. */
export type Mood = "opening" | "serving" | "trouble";

/** Events that every machine understands. */
export type StopEvent =
  /** Somebody wants it to stop. Has an effect in every state that is not already stopping. */
  | { readonly type: "close"; readonly notice?: Notice | undefined }
  /** Its scope failed by itself. */
  | { readonly type: "failed"; readonly notice: Notice }
  /** Something that it holds, or that it waits for, was quarantined: no acknowledgement will come. */
  | { readonly type: "quarantine"; readonly what: string }
  /** Its scope has exited: all finalizers have run. */
  | { readonly type: "released" }
  /** The time that `armDeadline` asked for has passed. */
  | { readonly type: "deadline" };

/** What a finished machine hands to its supervisor (`snapshot.output`). */
export interface Outcome {
  readonly how: "closed" | "quarantined";
  readonly cause: Cause;
  readonly notice: Notice | null;
  readonly quarantined: readonly string[];
}

/** The context of something new. */
export const born = (input: LifecycleInput, defaults: Partial<Patience> = {}): Lifecycle => ({
  name: input.name,
  patience: { openMs: 1000, teardownMs: 1000, ...defaults, ...input.patience },
  ending: null,
  quarantined: [],
});

/** Notes why it stops, unless that is known already. */
export const end = (context: Lifecycle, cause: Cause, notice: Notice | null = null): Pick<Lifecycle, "ending"> => ({
  ending: context.ending ?? { cause, notice },
});

/** The end of something that nobody answered in time. */
export const late = (context: Lifecycle, what: string): Pick<Lifecycle, "ending"> =>
  end(context, "failure", {
    code: "ETIMEDOUT",
    message: `${context.name}: ${what} within ${context.patience.openMs} ms`,
  });

/** Notes what has to stay mapped. */
export const keep = (context: Lifecycle, ...what: readonly string[]): Pick<Lifecycle, "quarantined"> => ({
  quarantined: [...new Set([...context.quarantined, ...what])],
});

/** The output of a machine in its final state. */
export const outcome = (context: Lifecycle): Outcome => ({
  how: context.quarantined.length === 0 ? "closed" : "quarantined",
  cause: context.ending?.cause ?? "requested",
  notice: context.ending?.notice ?? null,
  quarantined: context.quarantined,
});

/** The warning that something stays mapped. */
export const keptNotice = (what: string): Notice => ({
  code: "W_QUARANTINED",
  message: `${what} was not torn down in time and is kept aside`,
});

/** An action that does nothing here; the runtime replaces it by name with `.provide({ actions })`. */
export const effect =
  <Params = undefined>() =>
  (_: unknown, __: NoInfer<Params>): void => {};

/** The actions that every machine has. */
export const lifecycleActions = {
  /** Close the actor's scope, then answer `released` or `quarantine`. */
  releaseScope: effect(),
  /** Send `deadline` in `ms` milliseconds, instead of any armed before. */
  armDeadline: effect<{ ms: number }>(),
  disarmDeadline: effect(),
  /** Tell whoever should know: log, application, `explain`. */
  warn: effect<Notice>(),
};

/** Parts of machine configurations. They read and write the Lifecycle part of a context only. */
export interface Args {
  readonly context: Lifecycle;
}
// A part must fit into machines of different contexts and events, for which XState has no type but this one.
// biome-ignore lint/suspicious/noExplicitAny: the part itself is typed by its argument
type PartAction = ActionFunction<any, any, any, undefined, never, any, any, never, never>;
export const note = <E extends { readonly type: string }>(
  f: (args: Args & { readonly event: E }) => object,
): PartAction => assign(f as never) as PartAction;

export const armOpen = {
  type: "armDeadline",
  params: ({ context }: Args) => ({ ms: context.patience.openMs }),
} as const;

export const armTeardown = {
  type: "armDeadline",
  params: ({ context }: Args) => ({ ms: context.patience.teardownMs }),
} as const;

/** Passes on the notice that the event carries. */
export const warnEvent = {
  type: "warn",
  params: ({ event }: { readonly event: { readonly notice: Notice } }) => event.notice,
} as const;

const warnKept = {
  type: "warn",
  params: ({ event }: { readonly event: { readonly what: string } }) => keptNotice(event.what),
} as const;

const noteClose = note<Extract<StopEvent, { type: "close" }>>(({ context, event }) =>
  end(context, "requested", event.notice ?? null),
);
const noteFailed = note<Extract<StopEvent, { type: "failed" }>>(({ context, event }) =>
  end(context, "failure", event.notice),
);
const noteQuarantine = note<Extract<StopEvent, { type: "quarantine" }>>(({ context, event }) => ({
  ...end(context, "failure", keptNotice(event.what)),
  ...keep(context, event.what),
}));

/** The three events that make a living thing stop, and where they lead. Spread into an `on`. */
export const stopsTo = <Target extends string>(target: Target) =>
  ({
    close: { target, actions: noteClose },
    failed: { target, actions: [noteFailed, warnEvent] },
    quarantine: { target, actions: [noteQuarantine, warnKept] },
  }) as const;

/** The same for the root of a machine: they are understood in every living state. */
export const stops = stopsTo(".closing");

/** For the `on` of `closing`: already stopping, so nothing makes it stop again, but nothing is silent either. */
export const stopping = {
  close: {},
  failed: { actions: warnEvent },
  quarantine: { actions: [noteQuarantine, warnKept] },
} as const;

/** For a step of `closing` that waits for an acknowledgement: none will come, or none came in time. */
export const unanswered = {
  quarantine: { target: "releasing", actions: [noteQuarantine, warnKept] },
  deadline: {
    target: "releasing",
    actions: [
      note(({ context }) => keep(context, context.name)),
      { type: "warn", params: ({ context }: Args) => keptNotice(context.name) },
    ],
  },
} as const;

/** The last step of `closing`, in which only the exit of the scope counts. */
export const releasing = <Id extends string>(id: Id) =>
  ({
    description: "Its scope closes: all that it holds is released.",
    entry: ["releaseScope", armTeardown],
    exit: "disarmDeadline",
    on: {
      released: [{ guard: "nothingKept", target: `#${id}.closed` }, { target: `#${id}.quarantined` }],
      quarantine: { target: `#${id}.quarantined`, actions: [noteQuarantine, warnKept] },
      deadline: { target: `#${id}.quarantined`, actions: unanswered.deadline.actions },
    },
  }) as const;

export const nothingKept = ({ context }: Args): boolean => context.quarantined.length === 0;

/** The two ends. */
export const ends = {
  closed: { type: "final", description: "Everything came home." },
  quarantined: { type: "final", description: "Something stays mapped for good: named, counted, warned about." },
} as const;
