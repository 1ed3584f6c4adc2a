// Preloaded into daemons under attack: at SIGUSR2 it throws away all garbage, gives back what malloc keeps for later, and
// writes down what is really in use. What is resident besides that is reserve of V8 and of malloc, and no leak.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes in use. */
export interface MemoryInUse {
  /** Which look this is, from 1. */
  readonly look: number;
  readonly heap: number;
  /** By native code, without what V8 maps for itself. */
  readonly native: number;
  /** Anonymous memory that is in RAM, reserves included. */
  readonly resident: number;
}

const to = process.env["INSANE_MEMORY_PROBE"];
if (to !== undefined) {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: object) => void;
  const koffi = createRequire(import.meta.url)("koffi");
  const libc = koffi.load("libc.so.6");
  // See mallinfo(3).
  const names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split(" ");
  koffi.struct("mallinfo2", Object.fromEntries(names.map((name) => [name, "size_t"])));
  const mallinfo2 = libc.func("mallinfo2 mallinfo2()") as () => Record<"hblkhd" | "uordblks", number>;
  const trim = libc.func("int malloc_trim(size_t pad)") as (pad: number) => number;
  let look = 0;
  process.on("SIGUSR2", () => {
    // What finalizers let go of is garbage of the next round.
    for (let i = 0; i < 3; i++) gc({ type: "major", execution: "sync", flavor: "last-resort" });
    trim(0);
    const { hblkhd, uordblks } = mallinfo2();
    const seen: MemoryInUse = {
      look: ++look,
      heap: process.memoryUsage().heapUsed,
      native: Number(hblkhd) + Number(uordblks),
      resident: Number(/RssAnon:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024,
    };
    writeFileSync(`${to}.new`, JSON.stringify(seen));
    renameSync(`${to}.new`, to);
  });
}
