// What JavaScript and native memory owe each other: a segment mapped into exactly one ArrayBuffer, which is detached before
// the memory goes, and a callback when a descriptor becomes readable. The only place that calls koffi.view and koffi.node.
import { createRequire } from "node:module";
import type * as koffi from "koffi";
import { InsaneError } from "../protocol/codes.ts";
import { platform } from "./platform.ts";

// Required lazily and not imported: importing koffi throws where it has no build, importing INSANE must not.
let api: typeof koffi | undefined;
const native = (): typeof koffi => {
  api ??= createRequire(import.meta.url)("koffi") as typeof koffi;
  return api;
};

/** A mapped segment. Whoever mapped it unmaps it, after the last thread or engine that was given `address` is done. */
export interface Mapping extends Disposable {
  /** For native code; not to be used after `unmap`. */
  readonly address: bigint;
  readonly bytes: number;
  /**
   * The one ArrayBuffer over this memory: make typed arrays from it, never a second view of `address`. Of a mapping that
   * is not writable it can only be read: writing to it ends the process (SIGSEGV).
   */
  readonly buffer: ArrayBuffer;
  readonly writable: boolean;
  /** Detaches `buffer` (its typed arrays become empty), then unmaps. A second call does nothing. */
  unmap(): void;
}

/**
 * Maps a whole segment of ours.
 * Errors: `ESYSTEM` with the errno (`EACCES`: sealed or opened against writing).
 */
export function mapSegment(fd: number, bytes: number, writable: boolean): Mapping {
  const address = platform().segmentMap(fd, bytes, writable);
  return new SegmentMapping(address, bytes, writable, native().view(address, bytes));
}

/**
 * Maps a segment that a stranger passed to us, after checking that it is a sealed memfd of exactly this size: one that could
 * shrink would kill us at the next access (SIGBUS).
 * Errors: `ESYSTEM`; errno `EBADF` (no memfd), `EMSGSIZE` (other size), `EPERM` (not sealed).
 */
export function mapStranger(fd: number, bytes: number, writable: boolean): Mapping {
  platform().segmentCheck(fd, bytes);
  return mapSegment(fd, bytes, writable);
}

class SegmentMapping implements Mapping {
  readonly address: bigint;
  readonly bytes: number;
  readonly writable: boolean;
  readonly buffer: ArrayBuffer;
  #mapped = true;

  constructor(address: bigint, bytes: number, writable: boolean, buffer: ArrayBuffer) {
    this.address = address;
    this.bytes = bytes;
    this.writable = writable;
    this.buffer = buffer;
  }

  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    // To length 0: a plain transfer() would hand the memory to another buffer that nobody detaches.
    this.buffer.transfer(0);
    platform().segmentUnmap(this.address, this.bytes);
  }

  [Symbol.dispose](): void {
    this.unmap();
  }
}

/** A descriptor being watched. Close it before the descriptor. */
export interface Waker extends Disposable {
  /** Keeps the event loop alive (the state it begins in). */
  ref(): void;
  /** Lets the process end while this waits. */
  unref(): void;
  /** No callback after this; a second call does nothing. */
  close(): void;
}

const watched = new Map<number, Waker>();
let closesAtExit = false;

/**
 * Calls `callback` from the event loop whenever `fd` is readable, at its end or in error, again and again until it has been
 * read empty. One waker per descriptor (libuv aborts the process on two). What the callback throws becomes an uncaught
 * exception, as from any other callback of Node. `Worker.terminate()` runs no JavaScript and so closes no waker: end a Worker
 * that has one by a message to it, else a wake-up at that moment aborts the process.
 * Errors: `EINTERNAL` when the descriptor is watched already; `ESYSTEM` when it cannot be watched.
 */
export function wakeOnReadable(fd: number, callback: () => void): Waker {
  if (watched.has(fd))
    throw new InsaneError("EINTERNAL", `Descriptor ${fd} is watched already; close its waker first.`);
  return new PollWaker(fd, callback);
}

// koffi aborts the process when libuv refuses a descriptor (closed, or a plain file), so the kernel is asked first.
let trial: number | undefined;
function assertPollable(fd: number): void {
  const p = platform();
  trial ??= p.epollCreate();
  p.epollAdd(trial, fd, 0);
  p.epollRemove(trial, fd);
}

class PollWaker implements Waker {
  readonly #fd: number;
  readonly #callback: () => void;
  readonly #handle: koffi.node.PollHandle;
  #open = true;

  constructor(fd: number, callback: () => void) {
    this.#fd = fd;
    this.#callback = callback;
    assertPollable(fd);
    this.#handle = native().node.poll(fd, { readable: true }, this.#ready);
    watched.set(fd, this);
    if (!closesAtExit) {
      closesAtExit = true;
      // koffi aborts when a handle left open becomes readable while Node takes its environment down.
      process.once("exit", () => {
        for (const waker of [...watched.values()]) waker.close();
      });
    }
  }

  // koffi passes the status of libuv first, which its types leave out.
  readonly #ready = (status: unknown): void => {
    if (!this.#open) return;
    try {
      this.#callback();
    } catch (error) {
      // An exception that reached koffi would stay pending in the native frame and surface anywhere.
      process.nextTick(() => {
        throw error;
      });
    }
    // A pending socket error (a peer died with unread data) makes libuv stop the handle; there may be more to read.
    if (status !== 0 && this.#open) this.#handle.start({ readable: true }, this.#ready);
  };

  ref(): void {
    if (this.#open) this.#handle.ref();
  }

  unref(): void {
    if (this.#open) this.#handle.unref();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    watched.delete(this.#fd);
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
