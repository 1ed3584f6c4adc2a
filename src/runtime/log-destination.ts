// Where log lines go when their reader may be slow or stopped: a pipe that is full, a terminal that is held. Nothing here
// ever waits, but for a moment at the very end: what is not taken is kept, up to a bound, and tried again; beyond it lines
// are dropped, counted, and the count is told when there is room. (An asynchronous write would do no better: the thread that
// is stuck in it keeps the process from ending.)
import { constants, fstatSync, openSync, writeSync } from "node:fs";
import { type Clock, SYSTEM_CLOCK } from "../actors/clock.ts";
import { platform } from "../native/platform.ts";

/** Bytes that are kept for a reader that does not read. */
export const LOG_BYTES_KEPT = 1024 * 1024;
/** How soon it is tried again, ms. */
const AGAIN_MS = 50;
/** How long the end of a process waits for a reader, ms. */
const LAST_MS = 200;

/** Writes without waiting: bytes taken, 0 for none now. Throws when nobody will ever read them. */
export type TryWrite = (bytes: Uint8Array) => number;

export class LogDestination {
  /** Lines that were not written, ever. */
  dropped = 0;
  /** Called when there is room again after lines were dropped: so many since it was called last. */
  onDropped: (lines: number) => void = () => {};
  /** Called before the process ends: what is still to be said is to be said now. */
  onEnd: () => void = () => {};
  readonly #tryWrite: TryWrite;
  readonly #clock: Clock;
  readonly #limit: number;
  #queue: Uint8Array[] = [];
  #bytes = 0;
  #told = 0;
  #waiting = false;
  #nobody = false;

  constructor(tryWrite: TryWrite, clock: Clock = SYSTEM_CLOCK, limit = LOG_BYTES_KEPT) {
    this.#tryWrite = tryWrite;
    this.#clock = clock;
    this.#limit = limit;
  }

  /** Whole lines; a chunk is written or dropped as one. */
  write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    if (this.#nobody || this.#bytes + bytes.length > this.#limit) {
      this.dropped++;
      return;
    }
    this.#queue.push(bytes);
    this.#bytes += bytes.length;
    if (!this.#waiting) this.#drain();
  }

  /** Writes what is kept, waiting a moment for a reader that is slow but reads. For the end of a process. */
  finish(): void {
    const sleep = new Int32Array(new SharedArrayBuffer(4));
    const until = performance.now() + LAST_MS;
    while (!this.#pass() && performance.now() < until) Atomics.wait(sleep, 0, 0, 5);
  }

  #drain(): void {
    if (!this.#pass()) {
      this.#waiting = true;
      this.#clock.after(AGAIN_MS, () => {
        this.#waiting = false;
        this.#drain();
      });
      return;
    }
    const lines = this.dropped - this.#told;
    if (lines === 0 || this.#nobody) return;
    this.#told = this.dropped;
    this.onDropped(lines);
  }

  /** True when nothing is left. */
  #pass(): boolean {
    try {
      for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
        const taken = this.#tryWrite(first);
        this.#bytes -= taken;
        if (taken < first.length) {
          if (taken > 0) this.#queue[0] = first.subarray(taken);
          return false;
        }
        this.#queue.shift();
      }
    } catch {
      // Its reader is gone. That is no reason for a runtime to end.
      this.#nobody = true;
      this.dropped += this.#queue.length;
      this.#queue = [];
      this.#bytes = 0;
    }
    return true;
  }
}

/** How to write to a descriptor without ever waiting for who reads it. */
export function tryWriteTo(fd: number): TryWrite {
  const kind = fstatSync(fd);
  if (kind.isSocket()) {
    const { socketSend } = platform().raw;
    return (bytes) => taken(-socketSend(fd, bytes, bytes.length, null, 0));
  }
  if (kind.isFile()) return (bytes) => writeSync(fd, bytes);
  // A description of its own, so that whoever else holds this one does not find it changed.
  let own = fd;
  try {
    own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // Not ours to open: then it is written as it is.
  }
  return (bytes) => {
    try {
      return writeSync(own, bytes);
    } catch (cause) {
      return taken(-((cause as NodeJS.ErrnoException).errno ?? -EIO));
    }
  };
}

const EINTR = 4;
const EIO = 5;
const EAGAIN = 11;
const ENOBUFS = 105;

/** From minus the bytes taken, or an errno. */
function taken(result: number): number {
  if (result <= 0) return -result;
  if (result === EAGAIN || result === EINTR || result === ENOBUFS) return 0;
  throw new Error(`errno ${result}`);
}

let shared: LogDestination | undefined;

/** Standard error, one for the process; what is kept is written before the process ends. */
export function standardError(): LogDestination {
  if (shared === undefined) {
    const destination = new LogDestination(tryWriteTo(2));
    process.on("exit", () => {
      destination.onEnd();
      destination.finish();
    });
    shared = destination;
  }
  return shared;
}
