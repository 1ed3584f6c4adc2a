// What of this host matters to a runtime besides its datapaths: Node, the library, limits, cores, the socket's place.
// Reads only.
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { dirname } from "node:path";
import { libraryPath, loadLibrary } from "../../native/library.ts";
import { ERRNO, platform } from "../../native/platform.ts";
import { launchTime } from "../../qos/launch-time.ts";
import { modesHere, realTimeHere, threadFacts } from "./host-threads.ts";

export interface Finding {
  readonly name: string;
  /** bad: nothing works; note: works, but not as well as it could. */
  readonly verdict: "good" | "note" | "bad";
  readonly finding: string;
  readonly cure: string;
}

const good = (name: string, finding: string): Finding => ({ name, verdict: "good", finding, cure: "" });
const note = (name: string, finding: string, cure: string): Finding => ({ name, verdict: "note", finding, cure });
const bad = (name: string, finding: string, cure: string): Finding => ({ name, verdict: "bad", finding, cure });

export const examineHost = (socket: string): Finding[] =>
  [
    node,
    library,
    kernel,
    cores,
    threads,
    realTime,
    memoryLock,
    hugePages,
    receiveBuffer,
    gateOffload,
    () => socketPlace(socket),
    () => daemon(socket),
  ].map((examine) => {
    try {
      return examine();
    } catch (cause) {
      return note(examine.name || "host", `could not be examined: ${(cause as Error).message}`, "");
    }
  });

const node = (): Finding => good("node", `${process.versions.node} (${process.execPath})`);

function library(): Finding {
  try {
    loadLibrary();
    return good("library", libraryPath() ?? "loaded");
  } catch (cause) {
    return bad("library", (cause as Error).message, "");
  }
}

/** Time-aware sending: what the kernel would do by itself. */
function gateOffload(): Finding {
  const { etf, taprio, clock, evidence } = launchTime();
  const name = "gate schedules";
  const has = `etf (SO_TXTIME) ${etf}, taprio ${taprio}, PTP clock ${clock ? "present" : "absent"} (${evidence})`;
  if (etf === "present" && taprio === "present" && clock) return good(name, `the kernel could keep them: ${has}`);
  const instead = "Of concern only with network.schedule: then let the engine spin on a core of its own.";
  return note(name, `kept by the engine's thread; the kernel cannot do it here: ${has}`, instead);
}

const kernel = (): Finding => good("kernel", `${release()}, ${process.arch}`);

function cores(): Finding {
  const count = availableParallelism();
  if (count >= 2) return good("cores", `${count}; threads that spin need one each`);
  return note("cores", "1: threads that spin would keep applications waiting", 'Leave engine.idle at "park".');
}

const threads = (): Finding => good("threads", modesHere(threadFacts()));

function realTime(): Finding {
  const { finding, cure } = realTimeHere(threadFacts());
  const name = "real-time threads";
  return cure === "" ? good(name, finding) : note(name, finding, cure);
}

/** A limit of this process in bytes, or null: unlimited. */
function limit(name: string): number | null {
  const line = readFileSync("/proc/self/limits", "utf8")
    .split("\n")
    .find((text) => text.startsWith(name));
  const soft = line?.slice(26).trim().split(/\s+/)[0];
  return soft === undefined || soft === "unlimited" ? null : Number(soft);
}

const MEMLOCK_WANTED = 64 * 2 ** 20;

function memoryLock(): Finding {
  const bytes = limit("Max locked memory");
  if (bytes === null) return good("memlock", "unlimited");
  const size = `${Math.round(bytes / 1024)} KiB`;
  if (bytes >= MEMLOCK_WANTED || process.getuid?.() === 0) return good("memlock", size);
  return note(
    "memlock",
    `${size}: pools may be swapped out`,
    "Raise it: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the service's unit.",
  );
}

function hugePages(): Finding {
  const text = readFileSync("/proc/meminfo", "utf8");
  const read = (name: string): string => new RegExp(`^${name}:\\s+(.+)$`, "m").exec(text)?.[1] ?? "none";
  return good(
    "hugepages",
    `${read("HugePages_Free")} free of ${read("HugePages_Total")}, ${read("Hugepagesize")} each; only DPDK wants them`,
  );
}

const RECEIVE_BUFFER_WANTED = 4 * 2 ** 20;

function receiveBuffer(): Finding {
  const bytes = Number(readFileSync("/proc/sys/net/core/rmem_max", "utf8"));
  const size = `net.core.rmem_max ${Math.round(bytes / 1024)} KiB`;
  if (bytes >= RECEIVE_BUFFER_WANTED || process.getuid?.() === 0) return good("receive buffer", size);
  return note(
    "receive buffer",
    `${size}: bursts from other hosts may be lost`,
    `Raise it: \`sysctl net.core.rmem_max=${RECEIVE_BUFFER_WANTED}\`.`,
  );
}

function socketPlace(socket: string): Finding {
  const name = "socket directory";
  let folder = dirname(socket);
  const wanted = folder;
  // The first that exists decides whether the rest can be made.
  while (!existsSync(folder)) folder = dirname(folder);
  const cure = "Set XDG_RUNTIME_DIR to a directory of your own, or choose a path with --socket or INSANE_SOCKET.";
  if (!statSync(folder).isDirectory()) return bad(name, `${folder} is no directory`, cure);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    return bad(name, `${folder} is not writable by this user`, cure);
  }
  return good(name, wanted === folder ? wanted : `${wanted} (will be made in ${folder})`);
}

const { EACCES } = ERRNO;

function daemon(socket: string): Finding {
  if (!existsSync(socket)) return good("runtime", `none on ${socket}; start one with \`insane up\``);
  const { raw } = platform();
  const fd = raw.socketConnect(socket);
  if (fd === EACCES) return note("runtime", `one may listen on ${socket}, which is not open to this user`, "");
  if (fd < 0) return note("runtime", `${socket} is stale: nobody listens`, "`insane up` takes it over.");
  try {
    const who = new Int32Array(3);
    return raw.socketCredentials(fd, who) < 0
      ? good("runtime", `one listens on ${socket}`)
      : good("runtime", `process ${who[0]} listens on ${socket}`);
  } finally {
    raw.fdClose(fd);
  }
}
