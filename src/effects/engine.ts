// An engine as a scoped effect: the memory it works on, its thread, its events, and commands that are acknowledged or
// late. If its thread cannot be joined, all of that memory is kept aside: a thread that hangs may still touch it.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import {
  type EngineConfig,
  type EngineEvent,
  type EngineHandle,
  type Engines,
  engines,
  receivePoolBytes,
} from "../native/engine.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { PoolRecord } from "../protocol/control.ts";
import { COUNTERS, PARKED_PAGE, slotStride } from "../protocol/layout.ts";
import { attempt } from "./attempt.ts";
import * as native from "./native.ts";
import { Quarantine } from "./quarantine.ts";
import { mapping, type Segment, sealWriters, segment } from "./segment.ts";

/** How long an engine may take to acknowledge a command, ms. */
export const COMMAND_MS = 1000;

const WISHES = PARKED_PAGE.WISH_MESSAGES | PARKED_PAGE.WISH_CREDITS;

export type Command = (api: Engines, engine: EngineHandle) => number;

export interface EngineEvents {
  /** Everything but acknowledgements. */
  event(event: Exclude<EngineEvent, { readonly type: "ack" }>): void;
  /** No acknowledgement within COMMAND_MS. */
  overdue(command: string): void;
  /** An acknowledgement that had been given up came after all. */
  late(): void;
}

export interface EngineResource {
  /** What the engine delivers from: pool 0 of ingress links. */
  readonly receivePool: { readonly info: PoolRecord; readonly segment: Segment };
  readonly parkedPage: Segment;
  /** Resolves with the acknowledgement's value; rejects when it is refused or overdue. `what` is for messages. */
  command(what: string, send: Command): Promise<number>;
  /** For the thread that holds the inline lease; safe after the end. */
  readonly inline: { poll(receiveBudget: number): number; release(): void };
  counters(): Record<string, number>;
  /** When it last heard of each of its peers, in ms of CLOCK_MONOTONIC; those that it never heard of are left out. */
  heard(): ReadonlyMap<number, number>;
  /** It sleeps on its doorbells at this moment. */
  parked(): boolean;
  /** Ends the thread. False: it did not end in time. Blocks until then. */
  stop(): boolean;
}

interface Waiting {
  readonly what: string;
  readonly resolve: (value: number) => void;
  readonly reject: (error: InsaneError) => void;
  readonly timer: NodeJS.Timeout;
}

export const engineResource = (
  name: string,
  config: EngineConfig,
  events: EngineEvents,
): Effect.Effect<EngineResource, InsaneError, Scope.Scope | Quarantine> =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine;
    const api = yield* attempt("load the engine", engines);
    const received = yield* segment(`${name} receive pool`, receivePoolBytes(config));
    const receiving = yield* mapping(`the receive pool of ${name}`, received, true);
    yield* sealWriters(received.fd);
    const parkedPage = yield* segment(`${name} parked`, PARKED_PAGE.BYTES);
    const parked = yield* mapping(`the parked page of ${name}`, parkedPage, true);
    yield* sealWriters(parkedPage.fd);
    const counted = yield* segment(`${name} counters`, COUNTERS.BYTES);
    const counters = yield* mapping(`the counters of ${name}`, counted, true);

    let running = true;
    let joined = false;
    /** This thread holds the inline lease: nobody else executes commands now. */
    let owner = false;
    const waiting = new Map<number, Waiting>();
    const abandoned = new Set<number>();
    const handle = yield* Effect.acquireRelease(
      attempt(`start ${name}`, () =>
        api.create(config, receiving.address, receiving.bytes, parked.address, counters.address, 0),
      ),
      (engine) =>
        Effect.sync(() => {
          running = false;
          joined ||= api.stop(engine, COMMAND_MS);
          for (const { reject, timer } of waiting.values()) {
            clearTimeout(timer);
            reject(new InsaneError("ECLOSED", `${name} has stopped.`));
          }
          waiting.clear();
          if (joined) api.destroy(engine);
          else {
            quarantine.keep(`${name}, whose thread does not end`);
            for (const kept of [receiving, parked, counters]) kept.keepAside();
          }
        }),
    );

    const settle = (event: Extract<EngineEvent, { type: "ack" }>): void => {
      const command = waiting.get(event.command);
      if (!command) {
        if (abandoned.delete(event.command)) events.late();
        return;
      }
      waiting.delete(event.command);
      clearTimeout(command.timer);
      if (event.status === 0) command.resolve(event.value);
      else {
        const why = `${name} refused ${command.what}: ${native.errnoName(event.status)}`;
        command.reject(new InsaneError("ESYSTEM", why, { command: command.what, errno: event.status }));
      }
    };
    const pump = (): void => {
      // Taken until there is none: the descriptor is readable as long as one waits.
      while (running) {
        const event = api.nextEvent(handle);
        if (!event) return;
        if (event.type === "ack") settle(event);
        else events.event(event);
      }
    };
    const unwatch = yield* attempt(`watch ${name}`, () => native.wakeOnReadable(api.eventFd(handle), pump));
    yield* Effect.addFinalizer(() => Effect.sync(unwatch));

    const names = api.counterNames();
    const stride = slotStride(config.receiveBytes);
    return {
      receivePool: {
        info: {
          pool: 0,
          bytes: received.bytes,
          stride,
          payload: config.receiveBytes,
          slots: config.receiveSlots,
        },
        segment: received,
      },
      parkedPage,
      command: (what, send) =>
        new Promise((resolve, reject) => {
          if (!running) throw new InsaneError("ECLOSED", `${name} has stopped (${what}).`);
          const sequence = send(api, handle);
          const timer = setTimeout(() => {
            // It may have been answered while this thread was busy.
            pump();
            if (!waiting.delete(sequence)) return;
            abandoned.add(sequence);
            events.overdue(what);
            reject(new InsaneError("ETIMEDOUT", `${name} did not acknowledge ${what} within ${COMMAND_MS} ms.`));
          }, COMMAND_MS);
          waiting.set(sequence, { what, resolve, reject, timer });
          // Who waits for an acknowledgement while it owns the lease runs the engine itself.
          if (owner) api.poll(handle, 0);
        }),
      inline: {
        poll: (receiveBudget) => {
          if (!running) return 0;
          owner = true;
          return api.poll(handle, receiveBudget);
        },
        release: () => {
          owner = false;
          if (running) api.release(handle);
        },
      },
      counters: () => {
        if (counters.u8.length === 0) return {};
        const values = new BigUint64Array(counters.u8.buffer, COUNTERS.VALUES, names.length);
        return Object.fromEntries(names.map((label, i) => [label, Number(Atomics.load(values, i))]));
      },
      heard: () => {
        const heard = new Map<number, number>();
        if (counters.u8.length === 0) return heard;
        const pairs = new BigUint64Array(counters.u8.buffer, COUNTERS.HEARD, 2 * COUNTERS.HEARD_PEERS);
        for (let i = 0; i < pairs.length; i += 2) {
          const peer = Atomics.load(pairs, i);
          const at = peer === 0n ? 0n : Atomics.load(pairs, i + 1);
          if (at !== 0n) heard.set(Number(peer) - 1, Number(at));
        }
        return heard;
      },
      parked: () => ((parked.u32[PARKED_PAGE.WORD / 4] ?? 0) & WISHES) !== 0,
      stop: () => {
        joined ||= api.stop(handle, COMMAND_MS);
        return joined;
      },
    } satisfies EngineResource;
  });
