// The typed face of core/platform.h: one function each, thin. Numbers and BigInts cross, nothing is interpreted. None of
// this belongs on a message's path. Importing is free; the library is loaded by the first call of `platform()`.
import { getSystemErrorMap } from "node:util";
import { InsaneError } from "../protocol/codes.ts";
import { loadLibrary } from "./library.ts";

/** Memory that C reads or writes during the call, or an address (`bigint`). */
export type Memory = NodeJS.TypedArray | bigint;

/** Errno values that callers of the `raw` functions compare with, negated as C returns them. */
export const ERRNO = {
  EPERM: -1,
  ENOENT: -2,
  ESRCH: -3,
  EBADF: -9,
  EAGAIN: -11,
  ENOMEM: -12,
  EACCES: -13,
  EBUSY: -16,
  EINVAL: -22,
  EMFILE: -24,
  EPIPE: -32,
  ENAMETOOLONG: -36,
  ENOSYS: -38,
  EPROTO: -71,
  EMSGSIZE: -90,
  EADDRINUSE: -98,
  ECONNRESET: -104,
  ENOBUFS: -105,
  ENOTCONN: -107,
  ETOOMANYREFS: -109,
  ETIMEDOUT: -110,
  ECONNREFUSED: -111,
} as const;

/** Most descriptors one control frame carries. */
export const MAX_FRAME_FDS = 32;

/** As in platform.h: every result is >= 0 or -errno, and nothing throws. */
export interface RawPlatform {
  segmentCreate(name: string, bytes: number): number;
  segmentSealFutureWrite(fd: number): number;
  segmentSeal(fd: number): number;
  segmentCheck(fd: number, bytes: number): number;
  /** `out`: one u64, the address. */
  segmentMap(fd: number, bytes: number, writable: number, out: BigUint64Array): number;
  segmentUnmap(address: bigint, bytes: number): number;
  segmentPrefault(address: bigint, bytes: number, writable: number): number;
  fdClose(fd: number): number;
  fdDup(fd: number): number;
  socketListen(path: string, mode: number): number;
  socketAccept(listener: number): number;
  socketConnect(path: string): number;
  socketSend(fd: number, data: Memory, length: number, fds: Int32Array | null, fdCount: number): number;
  /** `fdCount`: one u32, in: room in `fds`, out: descriptors received, which are now the caller's to close. */
  socketReceive(fd: number, data: Memory, max: number, fds: Int32Array, fdCount: Uint32Array): number;
  /** `out`: pid, uid, gid. */
  socketCredentials(fd: number, out: Int32Array): number;
  processFd(pid: number): number;
  /** `out`: the two ends. */
  socketPair(out: Int32Array): number;
  socketBuffer(fd: number, bytes: number): number;
  /** `out`: read end, write end. */
  pipe(out: Int32Array): number;
  /** `out`: process id, descriptor of its life. */
  processStart(path: string, name: string, fds: Int32Array, fdCount: number, errorFd: number, out: Int32Array): number;
  processKill(process: number): number;
  /** 1 when it has ended; `how`: 0 and its exit status, or 1 and the signal. */
  processWait(process: number, timeoutMs: number, how: Int32Array): number;
  /** `out`: the two ends. */
  bellPair(out: Int32Array): number;
  bellRing(fd: number): number;
  bellDrain(fd: number): number;
  epollCreate(): number;
  epollAdd(epoll: number, fd: number, tag: number): number;
  epollRemove(epoll: number, fd: number): number;
  epollWait(epoll: number, tags: Uint32Array, max: number, timeoutMs: number): number;
  eventfd(): number;
  eventfdSignal(fd: number): number;
  eventfdDrain(fd: number): number;
  yield(): void;
  waitWord(word: Memory, seen: number, looks: number, yields: number): number;
  clock(realtime: BigUint64Array, monotonic: BigUint64Array): void;
  pinThread(cpu: number): number;
  layoutHash(): number;
  countersLabel(segment: Memory, index: number, label: string): void;
}

/** The same, with -errno turned into an `InsaneError` of code `ESYSTEM` (details: call, errno, and what it was about). */
export interface Platform {
  readonly raw: RawPlatform;
  /** A memfd sealed against SHRINK and GROW. */
  segmentCreate(name: string, bytes: number): number;
  segmentSealFutureWrite(fd: number): void;
  segmentSeal(fd: number): void;
  /** Refuses what is not a sealed memfd of exactly `bytes`. */
  segmentCheck(fd: number, bytes: number): void;
  segmentMap(fd: number, bytes: number, writable: boolean): bigint;
  segmentUnmap(address: bigint, bytes: number): void;
  segmentPrefault(address: bigint, bytes: number, writable: boolean): void;
  fdClose(fd: number): void;
  fdDup(fd: number): number;
  socketListen(path: string, mode: number): number;
  socketConnect(path: string): number;
  socketCredentials(fd: number): { readonly pid: number; readonly uid: number; readonly gid: number };
  processFd(pid: number): number;
  bellPair(): [number, number];
  epollCreate(): number;
  epollAdd(epoll: number, fd: number, tag: number): void;
  epollRemove(epoll: number, fd: number): void;
  eventfd(): number;
  clock(): { readonly realtime: bigint; readonly monotonic: bigint };
  pinThread(cpu: number): void;
  layoutHash(): number;
}

let bound: Platform | undefined;

/**
 * The functions of platform.h; the first call loads the library.
 * Errors: those of `loadLibrary` (`EPLATFORM`, `ENODE`, `ELIBRARY`).
 */
export function platform(): Platform {
  bound ??= checked(bind());
  return bound;
}

/** The name of an errno: `EAGAIN` for -11 or 11. */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(-Math.abs(errno))?.[0] ?? `errno ${Math.abs(errno)}`;
}

/** `result` if it is >= 0, else throws `ESYSTEM` naming the call and the errno. For callers of the raw functions. */
export function check(result: number, call: string, about: Readonly<Record<string, unknown>> = {}): number {
  if (result >= 0) return result;
  throw systemError(result, call, about);
}

export function systemError(result: number, call: string, about: Readonly<Record<string, unknown>> = {}): InsaneError {
  const errno = errnoName(result);
  const reason = getSystemErrorMap().get(result)?.[1] ?? "unknown error";
  const subject = Object.entries(about).map(([name, value]) => `${name} ${String(value)}`);
  const cure = CURES[errno];
  const message = `${call} failed${subject.length ? ` (${subject.join(", ")})` : ""}: ${errno}, ${reason}.${cure ? ` ${cure}` : ""}`;
  return new InsaneError("ESYSTEM", message, { call, errno, number: -result, ...about });
}

const CURES: Readonly<Record<string, string>> = {
  EMFILE: "Raise the limit of open files of this process (ulimit -n).",
  ENFILE: "Raise the limit of open files of this machine (sysctl fs.file-max).",
  ENOMEM: "Free memory, raise the memory limit of this process or container, or use smaller messages or fewer slots.",
  EACCES: "Give this user access to it, or use a path that is this user's own.",
  ENAMETOOLONG: "Use a shorter path: a Unix socket's has at most 107 bytes.",
};

function bind(): RawPlatform {
  const library = loadLibrary();
  const f = <T>(definition: string): T => library.func(definition) as unknown as T;
  type R = RawPlatform;
  return {
    segmentCreate: f<R["segmentCreate"]>("int ins_segment_create(const char *name, uint64_t bytes)"),
    segmentSealFutureWrite: f<R["segmentSealFutureWrite"]>("int ins_segment_seal_future_write(int fd)"),
    segmentSeal: f<R["segmentSeal"]>("int ins_segment_seal(int fd)"),
    segmentCheck: f<R["segmentCheck"]>("int ins_segment_check(int fd, uint64_t bytes)"),
    segmentMap: f<R["segmentMap"]>("int ins_segment_map(int fd, uint64_t bytes, int writable, void *out)"),
    segmentUnmap: f<R["segmentUnmap"]>("int ins_segment_unmap(void *address, uint64_t bytes)"),
    segmentPrefault: f<R["segmentPrefault"]>("int ins_segment_prefault(void *address, uint64_t bytes, int writable)"),
    fdClose: f<R["fdClose"]>("int ins_fd_close(int fd)"),
    fdDup: f<R["fdDup"]>("int ins_fd_dup(int fd)"),
    socketListen: f<R["socketListen"]>("int ins_socket_listen(const char *path, uint32_t mode)"),
    socketAccept: f<R["socketAccept"]>("int ins_socket_accept(int listener)"),
    socketConnect: f<R["socketConnect"]>("int ins_socket_connect(const char *path)"),
    socketSend: f<R["socketSend"]>(
      "int ins_socket_send(int fd, const void *data, uint32_t length, const void *fds, uint32_t count)",
    ),
    socketReceive: f<R["socketReceive"]>(
      "int ins_socket_receive(int fd, void *data, uint32_t max, void *fds, void *count)",
    ),
    socketCredentials: f<R["socketCredentials"]>("int ins_socket_credentials(int fd, void *out)"),
    processFd: f<R["processFd"]>("int ins_process_fd(int pid)"),
    socketPair: f<R["socketPair"]>("int ins_socket_pair(void *out)"),
    socketBuffer: f<R["socketBuffer"]>("int ins_socket_buffer(int fd, uint32_t bytes)"),
    pipe: f<R["pipe"]>("int ins_pipe(void *out)"),
    processStart: f<R["processStart"]>(
      "int ins_process_start(const char *path, const char *name, const void *fds, uint32_t count, int error, void *out)",
    ),
    processKill: f<R["processKill"]>("int ins_process_kill(int process)"),
    processWait: f<R["processWait"]>("int ins_process_wait(int process, uint32_t timeout_ms, void *how)"),
    bellPair: f<R["bellPair"]>("int ins_bell_pair(void *out)"),
    bellRing: f<R["bellRing"]>("int ins_bell_ring(int fd)"),
    bellDrain: f<R["bellDrain"]>("int ins_bell_drain(int fd)"),
    epollCreate: f<R["epollCreate"]>("int ins_epoll_create()"),
    epollAdd: f<R["epollAdd"]>("int ins_epoll_add(int epoll, int fd, uint32_t tag)"),
    epollRemove: f<R["epollRemove"]>("int ins_epoll_remove(int epoll, int fd)"),
    epollWait: f<R["epollWait"]>("int ins_epoll_wait(int epoll, void *tags, uint32_t max, int timeout_ms)"),
    eventfd: f<R["eventfd"]>("int ins_eventfd()"),
    eventfdSignal: f<R["eventfdSignal"]>("int ins_eventfd_signal(int fd)"),
    eventfdDrain: f<R["eventfdDrain"]>("int ins_eventfd_drain(int fd)"),
    yield: f<R["yield"]>("void ins_yield()"),
    waitWord: f<R["waitWord"]>("int ins_wait_word(const void *word, uint32_t seen, uint32_t looks, uint32_t yields)"),
    clock: f<R["clock"]>("void ins_clock(void *realtime, void *monotonic)"),
    pinThread: f<R["pinThread"]>("int ins_pin_thread(int cpu)"),
    layoutHash: f<R["layoutHash"]>("uint32_t ins_layout_hash()"),
    countersLabel: f<R["countersLabel"]>("void ins_counters_label(void *segment, uint32_t index, const char *label)"),
  };
}

function checked(raw: RawPlatform): Platform {
  return {
    raw,
    segmentCreate: (name, bytes) => check(raw.segmentCreate(name, bytes), "Creating a segment", { name, bytes }),
    segmentSealFutureWrite: (fd) => void check(raw.segmentSealFutureWrite(fd), "Sealing a segment", { fd }),
    segmentSeal: (fd) => void check(raw.segmentSeal(fd), "Sealing a segment", { fd }),
    segmentCheck: (fd, bytes) => void check(raw.segmentCheck(fd, bytes), "Checking a segment", { fd, bytes }),
    segmentMap: (fd, bytes, writable) => {
      const out = new BigUint64Array(1);
      check(raw.segmentMap(fd, bytes, Number(writable), out), "Mapping a segment", { fd, bytes, writable });
      return out[0] ?? 0n;
    },
    segmentUnmap: (address, bytes) => void check(raw.segmentUnmap(address, bytes), "Unmapping a segment", { bytes }),
    segmentPrefault: (address, bytes, writable) =>
      void check(raw.segmentPrefault(address, bytes, Number(writable)), "Prefaulting a segment", { bytes }),
    fdClose: (fd) => void check(raw.fdClose(fd), "Closing a descriptor", { fd }),
    fdDup: (fd) => check(raw.fdDup(fd), "Duplicating a descriptor", { fd }),
    socketListen: (path, mode) => check(raw.socketListen(path, mode), "Listening on a socket", { path }),
    socketConnect: (path) => check(raw.socketConnect(path), "Connecting to a socket", { path }),
    socketCredentials: (fd) => {
      const out = new Int32Array(3);
      check(raw.socketCredentials(fd, out), "Reading a peer's credentials", { fd });
      // Ids are unsigned: 4294967294 is nobody's, not -2.
      return { pid: out[0] ?? 0, uid: (out[1] ?? 0) >>> 0, gid: (out[2] ?? 0) >>> 0 };
    },
    processFd: (pid) => check(raw.processFd(pid), "Watching a process", { pid }),
    bellPair: () => {
      const out = new Int32Array(2);
      check(raw.bellPair(out), "Creating a doorbell");
      return [out[0] ?? -1, out[1] ?? -1];
    },
    epollCreate: () => check(raw.epollCreate(), "Creating an epoll descriptor"),
    epollAdd: (epoll, fd, tag) => void check(raw.epollAdd(epoll, fd, tag), "Watching a descriptor", { fd }),
    epollRemove: (epoll, fd) => void check(raw.epollRemove(epoll, fd), "Unwatching a descriptor", { fd }),
    eventfd: () => check(raw.eventfd(), "Creating an eventfd"),
    clock: () => {
      const realtime = new BigUint64Array(1);
      const monotonic = new BigUint64Array(1);
      raw.clock(realtime, monotonic);
      return { realtime: realtime[0] ?? 0n, monotonic: monotonic[0] ?? 0n };
    },
    pinThread: (cpu) => void check(raw.pinThread(cpu), "Pinning a thread", { cpu }),
    layoutHash: () => raw.layoutHash(),
  };
}
