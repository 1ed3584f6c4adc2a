// An engine as a scoped effect: the memory it works on, its events, commands that are acknowledged or late, datapaths that
// are opened where it lives. Here the engine whose thread is one of this process; engine-process.ts has the other kind. If
// its thread cannot be joined, all of that memory is kept aside: a thread that hangs may still touch it.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { type DatapathHandle, type Endpoint, type EngineHandle, engines } from "../native/engine.ts";
import { type EngineCommands, threadCommands } from "../native/engine-commands.ts";
import type { EngineConfig } from "../native/engine-config.ts";
import type { EngineEvent } from "../native/engine-events.ts";
import { type Turns, turnsOf } from "../native/turns.ts";
import type { InsaneError } from "../protocol/codes.ts";
import { Acknowledgements, COMMAND_MS, hangs, stopped } from "./acknowledgements.ts";
import { attempt } from "./attempt.ts";
import { type EngineMemory, engineMemory } from "./engine-memory.ts";
import * as native from "./native.ts";
import { Quarantine } from "./quarantine.ts";

export type Command = (api: EngineCommands, engine: EngineHandle) => number;

export interface EngineEvents {
  /** Everything but acknowledgements. */
  event(event: Exclude<EngineEvent, { readonly type: "ack" }>): void;
  /** No acknowledgement within COMMAND_MS. */
  overdue(command: string): void;
  /** An acknowledgement that had been given up came after all. */
  late(): void;
  /** Its process is gone; of no thread. */
  died(how: string): void;
}

/** A datapath as opened where its engine lives. */
export interface OpenDatapath {
  readonly handle: DatapathHandle;
  readonly endpoint: Endpoint;
  /** Of an engine in another process: as of a moment ago. */
  counters(): Record<string, number>;
  /** After its removal from the engine is acknowledged, or the engine is over. */
  close(): void;
}

export interface EngineResource
  extends Pick<EngineMemory, "receivePool" | "parkedPage" | "counters" | "heard" | "latencies" | "ledger" | "parked"> {
  /** Id of the process that it is, or null: a thread of this one. A process cannot touch what is ours once it has ended. */
  readonly pid: number | null;
  /** By which other engines of this process are told who is to serve them; null: it is not in this process. */
  readonly handle: EngineHandle | null;
  /** That engine's thread serves this one as well from now on; null: its own. Nothing once one of them is over. */
  serveBy(host: EngineHandle | null): void;
  /** As `Engines.pinned`. */
  pinned(): number;
  /** Resolves with the acknowledgement's value; rejects when it is refused or overdue. `what` is for messages. */
  command(what: string, send: Command): Promise<number>;
  open(
    technology: string,
    options: string,
    at: { readonly address: string; readonly port: number },
  ): Promise<OpenDatapath>;
  /** For the thread that holds the inline lease; safe after the end. */
  readonly inline: { readonly turns: Turns; release(): void };
  /** Ends the thread (blocks until then), or the process. False: it did not end in time. */
  stop(): boolean | Promise<boolean>;
  /** Ends a process that hangs; `died` follows. A thread cannot be ended so. */
  kill(): void;
}

export const engineResource = (
  name: string,
  config: EngineConfig,
  events: EngineEvents,
): Effect.Effect<EngineResource, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine;
    const api = yield* attempt("load the engine", engines);
    const memory = yield* engineMemory(name, config, true);
    yield* memory.seal;
    const { receivePool: receiving, parked, counters } = memory.mappings;
    if (!receiving) return yield* Effect.die(new Error(`${name} has no receive pool`));

    let running = true;
    let joined = false;
    /** This thread holds the inline lease: nobody else executes commands now. */
    let owner = false;
    const acknowledgements = new Acknowledgements({
      name,
      pump: () => pump(),
      overdue: (what) => events.overdue(what),
      late: () => events.late(),
    });
    const handle = yield* Effect.acquireRelease(
      attempt(`start ${name}`, () =>
        api.create(config, receiving.address, receiving.bytes, parked.address, counters.address, 0),
      ),
      (engine) =>
        Effect.sync(() => {
          running = false;
          joined ||= api.stop(engine, COMMAND_MS);
          acknowledgements.end(joined);
          if (joined) api.destroy(engine);
          else {
            quarantine.keep(`${name}, whose thread does not end`);
            for (const kept of [receiving, parked, counters]) kept.keepAside();
          }
        }),
    );
    const pump = (): void => {
      // Taken until there is none: the descriptor is readable as long as one waits.
      while (running) {
        const event = api.nextEvent(handle);
        if (!event) return;
        if (event.type === "ack") acknowledgements.settle(event);
        else events.event(event);
      }
    };
    const unwatch = yield* attempt(`watch ${name}`, () => native.wakeOnReadable(api.eventFd(handle), pump));
    yield* Effect.addFinalizer(() => Effect.sync(unwatch));

    const commands = threadCommands(api);
    const { send, turn, linger } = turnsOf(handle);
    const mayTurn = (): boolean => {
      owner = running;
      return running;
    };
    const { receivePool, parkedPage } = memory;
    return {
      receivePool,
      parkedPage,
      counters: memory.counters,
      heard: memory.heard,
      latencies: memory.latencies,
      ledger: memory.ledger,
      parked: memory.parked,
      pid: null,
      handle,
      serveBy: (host) => {
        if (running) api.serveBy(handle, host ?? 0n);
      },
      pinned: () => (running ? api.pinned(handle) : 0),
      command: async (what, send) => {
        if (!running) throw joined ? stopped(name, what) : hangs(name, what);
        const answer = acknowledgements.of(send(commands, handle), what);
        // Who waits for an acknowledgement while it owns the lease runs the engine itself.
        if (owner) api.poll(handle, 0);
        return answer;
      },
      open: async (technology, options, at) => {
        const opened = api.openDatapath(technology, options, at);
        let open = true;
        return {
          ...opened,
          counters: () => (open ? { ...api.datapathStats(opened.handle) } : {}),
          close: () => {
            open = false;
            api.closeDatapath(opened.handle);
          },
        };
      },
      inline: {
        // Written out: V8 calls natively at once only where it has always seen the same function.
        turns: {
          send: () => {
            if (mayTurn()) send();
          },
          turn: () => {
            if (mayTurn()) turn();
          },
          linger: () => {
            if (mayTurn()) linger();
          },
        },
        release: () => {
          owner = false;
          if (running) api.release(handle);
        },
      },
      stop: () => {
        joined ||= api.stop(handle, COMMAND_MS);
        return joined;
      },
      kill: () => {},
    } satisfies EngineResource;
  });
