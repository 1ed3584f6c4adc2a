// Turns of an inline engine, for the loop of an application that polls: the one native function that is called twice a
// message, so it goes through Node-API (native/node/turns.c), where a call costs half of what it does through koffi.
import type { EngineHandle } from "./engine.ts";
import { libraryPath, loadLibrary } from "./library.ts";

/**
 * A turn on this thread, then up to `looks` - 1 (at most 15) looks at the network until something comes; receive budget 0:
 * only send. Does nothing while the engine's thread is inside, without a lease, or when the engine is stopped; not to be
 * called when it is destroyed.
 */
export type Turns = (receiveBudget: number, looks: number) => void;

const LOOKS_SHIFT = 8;

interface Addon {
  bind(engine: EngineHandle): (budgetAndLooks: number) => void;
}
let addon: Addon | undefined;

/** Errors: those of `loadLibrary`. */
export function turnsOf(engine: EngineHandle): Turns {
  addon ??= loadAddon();
  const turns = addon.bind(engine);
  return (receiveBudget, looks) => turns(receiveBudget | (looks << LOOKS_SHIFT));
}

/** The library is mapped once, whoever opens it. */
function loadAddon(): Addon {
  loadLibrary();
  const module = { exports: {} as Addon };
  process.dlopen(module, libraryPath() as string);
  return module.exports;
}
