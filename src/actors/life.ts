// One machine made live: an XState actor, the Effect scope that holds all its resources, its one deadline, and its end.
// It obeys the rule of models/lifecycle.ts: on `releaseScope` the scope closes, and its exit is what the machine is told.
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import { type Actor, type AnyStateMachine, createActor, type EventFromLogic, type InputFrom } from "xstate";
import type { Notice, Outcome } from "../../models/lifecycle.ts";
import { Quarantine } from "../effects/quarantine.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { Clock } from "./clock.ts";
import type { Inspection } from "./inspection.ts";

/** What every life needs of the runtime that it is part of. */
export interface World {
  readonly clock: Clock;
  readonly inspection: Inspection;
  /** A machine's warning: to the log, and on to whoever should know. */
  warn(about: string, notice: Notice): void;
  /** Something failed that no machine expects to fail (a defect): to the log. */
  defect(about: string, cause: unknown): void;
}

/** Does what nobody could catch the exception of: whoever hears of something and throws keeps nobody else from hearing. */
export function guarded(world: World, about: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    world.defect(about, cause);
  }
}

/** A scope within a life's scope, which it closes with at the latest. */
export interface SubScope {
  acquireAsync<A>(effect: Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>): Promise<A>;
  release(): Promise<void>;
}

export class Life<M extends AnyStateMachine> {
  readonly name: string;
  /** What the machine ended as; resolves when it is final. */
  readonly ended: Promise<Outcome>;
  readonly #world: World;
  readonly #beforeDeadline: () => void;
  readonly #scope = Scope.makeUnsafe();
  readonly #kept: string[] = [];
  readonly #onEnd: Array<(outcome: Outcome) => void> = [];
  #outcome: Outcome | null = null;
  #cancelDeadline: (() => void) | null = null;
  #actor: Actor<M> | null = null;
  #released = false;
  /** Its scope has closed. */
  #exited = false;
  /** Its machine has thrown. */
  #broken: Notice | null = null;

  /** `beforeDeadline`: what may make a deadline that has come harmless is looked for and sent here. */
  constructor(world: World, name: string, beforeDeadline: () => void = () => {}) {
    this.#world = world;
    this.name = name;
    this.#beforeDeadline = beforeDeadline;
    this.ended = new Promise((resolve) => this.onEnd(resolve));
  }

  /** The actions that all machines share, made real; to be merged into `machine.provide({ actions })`. */
  readonly actions = {
    releaseScope: (): void => this.#release(),
    armDeadline: (_: unknown, { ms }: { ms: number }): void => {
      this.#cancelDeadline?.();
      this.#cancelDeadline = this.#world.clock.after(ms, () => {
        this.#beforeDeadline();
        this.#tell({ type: "deadline" });
      });
    },
    disarmDeadline: (): void => {
      this.#cancelDeadline?.();
      this.#cancelDeadline = null;
    },
    warn: (_: unknown, notice: Notice): void => this.#world.warn(this.name, notice),
  };

  /** Starts the machine, once. `sessions`: who may watch it. */
  start(machine: M, kind: string, input: InputFrom<M>, sessions: ReadonlyArray<number> = []): Actor<M> {
    // The options are generic in whether an input is required, which no generic caller can satisfy.
    const options = { id: this.name, input, inspect: this.#world.inspection.observer(this.name, kind, sessions) };
    const actor = createActor(machine, options as never) as Actor<M>;
    this.#actor = actor;
    actor.subscribe({
      complete: () => this.#finish((actor.getSnapshot() as { readonly output: Outcome }).output),
      error: (cause) => {
        this.#world.defect(this.name, cause);
        this.#world.inspection.failed(this.name);
        // A machine that throws cannot say how it ends: release all the same, and nobody waits for its end in vain.
        this.#broken = { code: "EINTERNAL", message: `${this.name} failed inside` };
        if (this.#exited) this.#finish(this.#brokenOutcome(this.#broken));
        else this.#release();
      },
    });
    actor.start();
    return actor;
  }

  /** Events to what has ended, or has not begun, are of no effect. */
  send(event: EventFromLogic<M>): void {
    const snapshot = this.#actor?.getSnapshot() as { readonly status: string } | undefined;
    if (snapshot?.status === "active") this.#actor?.send(event);
  }

  get actor(): Actor<M> {
    if (!this.#actor) throw new Error(`${this.name} has not been started`);
    return this.#actor;
  }

  get outcome(): Outcome | null {
    return this.#outcome;
  }

  /** Acquires into this life's scope. Throws InsaneError. The effect must be synchronous. */
  acquire<A>(effect: Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>): A {
    this.#mustBeOpen();
    return unwrap(Effect.runSyncExit(this.#provide(effect)));
  }

  /** As `acquire`, for effects that wait. What arrives after the scope has closed is released at once. */
  async acquireAsync<A>(effect: Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>): Promise<A> {
    this.#mustBeOpen();
    const acquired = unwrap(await Effect.runPromiseExit(this.#provide(effect)));
    this.#mustBeOpen();
    return acquired;
  }

  /** A scope within this life's: for what is released and acquired again while the machine lives. */
  subScope(): SubScope {
    const scope = Scope.forkUnsafe(this.#scope);
    return {
      acquireAsync: async (effect) => {
        this.#mustBeOpen();
        const acquired = unwrap(await Effect.runPromiseExit(this.#provide(effect, scope)));
        this.#mustBeOpen();
        return acquired;
      },
      release: async () => {
        const exit = await Effect.runPromiseExit(Scope.close(scope, Exit.void));
        if (Exit.isFailure(exit)) this.#world.defect(this.name, Cause.squash(exit.cause));
      },
    };
  }

  /** Does something in a turn of its own; what it throws is a defect of this life, not of the process. */
  soon(work: () => unknown): void {
    queueMicrotask(async () => {
      try {
        await work();
      } catch (cause) {
        this.#world.defect(this.name, cause);
      }
    });
  }

  /** Called when the machine is final, at once if it is. */
  onEnd(f: (outcome: Outcome) => void): void {
    if (this.#outcome) f(this.#outcome);
    else this.#onEnd.push(f);
  }

  /** What is acquired into a scope that has closed is released at once: nobody may go on with it. */
  #mustBeOpen(): void {
    if (this.#released) throw new InsaneError("ECLOSED", `${this.name} is closing.`);
  }

  #provide<A>(
    effect: Effect.Effect<A, InsaneError, Scope.Scope | Quarantine>,
    scope: Scope.Closeable = this.#scope,
  ): Effect.Effect<A, InsaneError> {
    return effect.pipe(
      Effect.provideService(Quarantine, { keep: (what) => void this.#kept.push(what) }),
      Scope.provide(scope),
    );
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    Effect.runCallback(Scope.close(this.#scope, Exit.void), {
      onExit: (exit) => {
        if (Exit.isFailure(exit)) {
          this.#world.defect(this.name, Cause.squash(exit.cause));
          this.#kept.push(this.name);
        }
        this.#exited = true;
        if (this.#broken) this.#finish(this.#brokenOutcome(this.#broken));
        else if (this.#kept.length > 0) this.#tell({ type: "quarantine", what: this.#kept.join(", ") });
        else this.#tell({ type: "released" });
      },
    });
  }

  #tell(event: { readonly type: string; readonly what?: string }): void {
    this.send(event as EventFromLogic<M>);
  }

  #brokenOutcome(notice: Notice): Outcome {
    return { how: this.#kept.length > 0 ? "quarantined" : "closed", cause: "failure", notice, quarantined: this.#kept };
  }

  #finish(outcome: Outcome): void {
    if (this.#outcome) return;
    this.#cancelDeadline?.();
    this.#outcome = outcome;
    for (const f of this.#onEnd.splice(0)) guarded(this.#world, this.name, () => f(outcome));
  }
}

function unwrap<A>(exit: Exit.Exit<A, InsaneError>): A {
  if (Exit.isSuccess(exit)) return exit.value;
  const cause = Cause.squash(exit.cause);
  if (cause instanceof InsaneError) throw cause;
  throw new InsaneError("EINTERNAL", `The runtime failed inside: ${cause instanceof Error ? cause.message : cause}`);
}
