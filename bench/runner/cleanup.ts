// What must be undone however the run ends: normal return, failure, Ctrl-C, SIGTERM. Undoing is synchronous, newest
// first. After SIGKILL nothing here runs: children die by their parent-death signal, and topology.ts sweeps.

const pending: Array<() => void> = [];

function undoAll(): void {
  for (let undo = pending.pop(); undo; undo = pending.pop()) {
    try {
      undo();
    } catch (error) {
      console.error(`clean-up failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** Registers `undo` for the end of the process; the returned function runs it now, once. */
export function undoAtExit(undo: () => void): () => void {
  pending.push(undo);
  return () => {
    const at = pending.lastIndexOf(undo);
    if (at < 0) return;
    pending.splice(at, 1);
    undo();
  };
}

/** To be called once, before anything is created. */
export function installCleanup(): void {
  process.on("exit", undoAll);
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => process.exit(code));
  }
}
