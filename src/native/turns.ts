// Turns of an inline engine, for the loop of an application that polls: the one native function that is called twice a
// message, so it goes through Node-API (native/node/turns.c), where a call costs half of what it does through koffi.
import type { EngineHandle } from "./engine.ts";
import { libraryPath, loadLibrary } from "./library.ts";

/**
 * Turns on this thread. They do nothing while the engine's thread is inside, without a lease, or when the engine is stopped;
 * not to be called when it is destroyed.
 */
export interface Turns {
  /** Sends what waits. */
  send(): void;
  /** Sends and receives. */
  turn(): void;
  /** A turn and, until something comes, up to 15 more looks at the network. */
  linger(): void;
}

const RECEIVE_BUDGET = 64;
/** Less of the waiting is spent on the way between JavaScript and the engine. */
const LOOKS = 16;

interface Addon {
  bind(engine: EngineHandle, receiveBudget: number, looks: number): () => void;
}
let addon: Addon | undefined;

/** Errors: those of `loadLibrary`. */
export function turnsOf(engine: EngineHandle): Turns {
  addon ??= loadAddon();
  return {
    send: addon.bind(engine, 0, 1),
    turn: addon.bind(engine, RECEIVE_BUDGET, 1),
    linger: addon.bind(engine, RECEIVE_BUDGET, LOOKS),
  };
}

/** The library is mapped once, whoever opens it. */
function loadAddon(): Addon {
  loadLibrary();
  const module = { exports: {} as Addon };
  process.dlopen(module, libraryPath() as string);
  return module.exports;
}
