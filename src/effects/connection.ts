// One accepted control socket as a scoped effect: frames in, frames with descriptors out, a bounded queue for a peer
// that does not read, its identity, and its death. What a frame means is decided elsewhere.
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { InsaneError } from "../protocol/codes.ts";
import { attempt } from "./attempt.ts";
import * as native from "./native.ts";

export interface Credentials {
  /** 0: it has none in the runtime's PID namespace. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface ConnectionEvents {
  /** One frame; the bytes are the receiver's. */
  frame(bytes: Uint8Array): void;
  /** A frame larger than allowed came and was dropped whole. */
  oversized(): void;
  /** One frame has been handed to the kernel. */
  sent(): void;
  /** The peer is gone, or its socket is. Called once, never from within `send`. */
  ended(how: "eof" | "pidfd"): void;
  /** It does not read: the queue is full, or its oldest frame has waited too long. Called once, as above. */
  stuck(why: string): void;
}

export interface Connection {
  readonly credentials: Credentials;
  /** Sends now or queues. Descriptors are duplicated when they have to wait. */
  send(frame: Uint8Array, fds?: ReadonlyArray<number>): void;
  readonly queued: number;
}

export interface ConnectionLimits {
  readonly maxFrame: number;
  /** Frames that may wait for a peer that does not read. */
  readonly queue: number;
  /** How long the oldest of them may wait, ms. */
  readonly patienceMs: number;
}

/** Frames taken in one turn of the event loop, and how long that may take, ms: a flood must not starve the others. */
const FRAMES_A_TURN = 32;
const TURN_MS = 2;
const RETRY_FIRST_MS = 2;
const RETRY_LAST_MS = 64;

interface Waiting {
  readonly frame: Uint8Array;
  readonly fds: ReadonlyArray<number>;
  readonly since: number;
}

/** Owns `fd` from now on. */
export const connection = (
  fd: number,
  limits: ConnectionLimits,
  events: ConnectionEvents,
): Effect.Effect<Connection, InsaneError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sync(() => native.close(fd)));
    const credentials = yield* attempt("ask who connected", () => native.credentials(fd));
    let over = false;
    const watches: Array<() => void> = [];
    /** Nothing is looked at from now on: what is gone stays readable, and would call back until its owner has let go of it. */
    const cease = (): void => {
      over = true;
      for (const stop of watches) stop();
    };
    const end = (how: "eof" | "pidfd"): void => {
      if (over) return;
      cease();
      events.ended(how);
    };
    // Whoever sends may be in the middle of a step of its own: what sending brings to light is told in another turn.
    const endSoon = (): void => {
      if (over) return;
      cease();
      queueMicrotask(() => events.ended("eof"));
    };

    const queue: Waiting[] = [];
    let timer: NodeJS.Timeout | undefined;
    let stuck = false;
    const drop = (waiting: Waiting): void => {
      for (const copy of waiting.fds) native.close(copy);
    };
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        over = true;
        clearTimeout(timer);
        for (const waiting of queue.splice(0)) drop(waiting);
      }),
    );

    const put = (frame: Uint8Array, fds: ReadonlyArray<number>): "sent" | "again" => {
      const result = native.send(fd, frame, fds);
      if (result === "gone") {
        endSoon();
        return "sent";
      }
      if (result === "sent") events.sent();
      return result;
    };
    const complain = (why: string): void => {
      if (stuck || over) return;
      stuck = true;
      queueMicrotask(() => events.stuck(why));
    };
    const retry = (wait: number): void => {
      timer = setTimeout(() => {
        let moved = false;
        try {
          while (!over && queue[0] && put(queue[0].frame, queue[0].fds) === "sent") {
            drop(queue.shift() as Waiting);
            moved = true;
          }
        } catch (cause) {
          complain(`cannot be sent what waits for it: ${(cause as Error).message}`);
          return;
        }
        if (over || !queue[0]) return;
        const waited = performance.now() - queue[0].since;
        if (waited > limits.patienceMs) complain(`has not read its control socket for ${Math.round(waited)} ms`);
        else retry(moved ? RETRY_FIRST_MS : Math.min(2 * wait, RETRY_LAST_MS));
      }, wait);
    };

    const inbox = new Uint8Array(limits.maxFrame);
    const stop = yield* attempt("watch a control socket", () =>
      native.wakeOnReadable(fd, () => {
        const until = performance.now() + TURN_MS;
        for (let i = 0; i < FRAMES_A_TURN && !over && performance.now() < until; i++) {
          const length = native.receive(fd, inbox);
          if (length === "again") return;
          if (length === "gone") end("eof");
          else if (length === "oversized") events.oversized();
          else events.frame(inbox.slice(0, length));
        }
      }),
    );
    yield* Effect.addFinalizer(() => Effect.sync(stop));
    watches.push(stop);
    // 0: a process of another container, which has no number here. Its end of file has to do.
    if (credentials.pid !== process.pid && credentials.pid !== 0)
      watches.push(yield* watchProcess(credentials.pid, () => end("pidfd")));

    return {
      credentials,
      get queued() {
        return queue.length;
      },
      send: (frame, fds = []) => {
        if (over) return;
        if (queue.length === 0 && put(frame, fds) === "sent") return;
        if (queue.length >= limits.queue) {
          complain(`has ${queue.length} control frames waiting and does not read them`);
          return;
        }
        const copies: number[] = [];
        try {
          for (const original of fds) copies.push(native.dup(original));
        } catch {
          for (const copy of copies) native.close(copy);
          complain("does not read its control socket, and there are no descriptors left to wait for it");
          return;
        }
        queue.push({ frame, fds: copies, since: performance.now() });
        if (queue.length === 1) retry(RETRY_FIRST_MS);
      },
    } satisfies Connection;
  });

/** Death by pidfd: a child that was forked from the application keeps its socket open, but not its life. */
const watchProcess = (pid: number, died: () => void): Effect.Effect<() => void, InsaneError, Scope.Scope> =>
  Effect.gen(function* () {
    const opened = yield* Effect.acquireRelease(
      attempt(`watch process ${pid}`, () => native.processFd(pid)),
      (fd) => Effect.sync(() => void (fd !== null && native.close(fd))),
    );
    if (opened === null) {
      // Gone already; told in a turn of its own, when its owner is ready to hear it.
      const soon = setTimeout(died, 0);
      yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(soon)));
      return () => {};
    }
    const stop = yield* attempt(`watch process ${pid}`, () => native.wakeOnReadable(opened, died));
    yield* Effect.addFinalizer(() => Effect.sync(stop));
    return stop;
  });
