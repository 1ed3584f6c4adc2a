// The runtime's listening socket as a scoped effect: its directory, a stale socket taken over, a live one refused by
// the name of its holder, removal at the end. Who may attach is decided elsewhere.
import { existsSync, lstatSync, mkdirSync, statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import { InsaneError } from "../protocol/codes.ts";
import { attempt } from "./attempt.ts";
import * as native from "./native.ts";

/** How long nobody is accepted after accepting has failed. */
const PAUSE_MS = 100;

export interface Listener {
  readonly path: string;
}

/** Listens on `path`; `accepted` gets each connection's descriptor and owns it. */
export const listener = (
  path: string,
  mode: number,
  accepted: (fd: number) => void,
  failed: (cause: unknown) => void,
): Effect.Effect<Listener, InsaneError, Scope.Scope> =>
  Effect.gen(function* () {
    const bound = yield* Effect.acquireRelease(
      Effect.try({ try: () => bind(path, mode), catch: (cause) => explain(path, cause) }),
      ({ fd, inode }) =>
        Effect.sync(() => {
          native.close(fd);
          // Somebody may have taken the path over meanwhile: theirs stays.
          if (inodeOf(path) === inode) unlinkSync(path);
        }),
    );
    let stop = (): void => {};
    const watch = (): void => {
      stop = native.wakeOnReadable(bound.fd, () => {
        try {
          for (let fd = native.accept(bound.fd); fd !== null; fd = native.accept(bound.fd)) accepted(fd);
        } catch (cause) {
          // Out of descriptors, say: who waits is left waiting for a moment, and the loop is not kept busy.
          failed(cause);
          stop();
          later();
        }
      });
    };
    const later = (): void => {
      const timer = setTimeout(() => {
        try {
          watch();
        } catch (cause) {
          failed(cause);
          later();
        }
      }, PAUSE_MS);
      stop = () => clearTimeout(timer);
    };
    yield* Effect.acquireRelease(attempt(`watch ${path}`, watch), () => Effect.sync(() => stop()));
    return { path };
  });

function bind(path: string, mode: number): { fd: number; inode: number | null } {
  makeFolder(dirname(path), searchableBy(mode));
  let fd = native.listen(path, mode);
  if (fd === "in-use") {
    if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) {
      // Whatever it is, it is somebody's: only a stale socket is taken away.
      const cure = "Name another path (--socket, INSANE_SOCKET), or move what is there.";
      throw new InsaneError("EADDRINUSE", `${path} is there already and is no socket. ${cure}`, { path });
    }
    const found = inodeOf(path);
    const holder = holderOf(path);
    if (holder !== null) {
      throw new InsaneError(
        "EADDRINUSE",
        `Another runtime holds ${path}: ${
          holder === 0 ? "a process of another container. Stop it" : `process ${holder}. Stop it (kill ${holder})`
        }, attach to it, or give this one another socket.`,
        { path, pid: holder },
      );
    }
    if (inodeOf(path) === found) unlinkSync(path);
    fd = native.listen(path, mode);
    if (fd === "in-use") throw new InsaneError("EADDRINUSE", `Another runtime has just taken ${path}.`, { path });
  }
  return { fd, inode: inodeOf(path) };
}

/** Whoever may connect to the socket may reach it, and nobody else: the mode of its folder. */
const searchableBy = (mode: number): number => 0o700 | (mode & 0o060 ? 0o010 : 0) | (mode & 0o006 ? 0o001 : 0);

/**
 * With its parents. Not by Node's own recursive mkdir: below a folder that exists and in which nothing can be made, as
 * /proc, that one tries for ever (Node 24).
 */
function makeFolder(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "EEXIST") return;
    if (code !== "ENOENT" || existsSync(dirname(folder))) throw cause;
    makeFolder(dirname(folder), mode);
    mkdirSync(folder, { mode });
  }
}

/** The process that listens on `path` (0: one without a number in our PID namespace), or null when the socket is stale. */
function holderOf(path: string): number | null {
  const fd = native.connect(path);
  if (fd === null) return null;
  try {
    return native.credentials(fd).pid;
  } finally {
    native.close(fd);
  }
}

function inodeOf(path: string): number | null {
  try {
    return statSync(path).ino;
  } catch {
    return null;
  }
}

/** The cause and the cure of what the file system refuses. */
function explain(path: string, cause: unknown): InsaneError {
  if (cause instanceof InsaneError && cause.code === "EADDRINUSE") return cause;
  const code = (cause as { code?: string }).code ?? "";
  const folder = dirname(path);
  const message = cause instanceof Error ? cause.message : String(cause);
  const cure =
    process.getuid?.() === 0
      ? `Make ${folder} writable, or name another socket (--socket, INSANE_SOCKET).`
      : `Without root, use a directory of your own: set XDG_RUNTIME_DIR (for instance /run/user/${process.getuid?.()}), or name another socket (--socket, INSANE_SOCKET).`;
  const denied = ["EACCES", "EPERM", "EROFS"].some((name) => code === name || message.includes(name));
  return new InsaneError(
    denied ? "EPERM" : "ESYSTEM",
    `Cannot listen on ${path}: ${denied ? `${folder} is not writable for user ${process.getuid?.()}` : message}. ${cure}`,
    { path, cause: message },
  );
}
