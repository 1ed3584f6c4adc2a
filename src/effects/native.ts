// The native calls that effects are made of, in the terms effects speak: what is an everyday answer (again, gone, in
// use) is a value, what is not throws. Only src/effects may import it.
import { check, ERRNO, errnoName, platform } from "../native/platform.ts";
import { type Mapping as Mapped, mapSegment, wakeOnReadable as wake } from "../native/views.ts";

export { errnoName };
export const segmentCreate = (name: string, bytes: number): number => platform().segmentCreate(name, bytes);
export const sealFutureWrite = (fd: number): void => platform().segmentSealFutureWrite(fd);
export const seal = (fd: number): void => platform().segmentSeal(fd);
export const close = (fd: number): void => platform().fdClose(fd);
export const dup = (fd: number): number => platform().fdDup(fd);

export interface MappedViews {
  readonly address: bigint;
  readonly bytes: number;
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  unmap(): void;
}

export function map(fd: number, bytes: number, writable: boolean): MappedViews {
  const mapped: Mapped = mapSegment(fd, bytes, writable);
  const u8 = new Uint8Array(mapped.buffer);
  return { address: mapped.address, bytes, u8, u32: new Uint32Array(mapped.buffer), unmap: () => mapped.unmap() };
}

const two = (call: (out: Int32Array) => number, what: string): readonly [number, number] => {
  const out = new Int32Array(2);
  check(call(out), what);
  return [out[0] ?? -1, out[1] ?? -1];
};

/** Both ends of a control socket that has room for many frames. */
export function socketPair(bytes: number): readonly [number, number] {
  const ends = two(platform().raw.socketPair, "Making a socket pair");
  for (const end of ends) platform().raw.socketBuffer(end, bytes);
  return ends;
}

/** Read end, write end. */
export const pipe = (): readonly [number, number] => two(platform().raw.pipe, "Making a pipe");

/** Starts `program` with `fds` from descriptor 3 on; the descriptor is readable when it has ended. */
export function startProcess(
  program: string,
  name: string,
  fds: ReadonlyArray<number>,
  errorFd: number,
): { readonly pid: number; readonly life: number } {
  const start = (out: Int32Array): number =>
    platform().raw.processStart(program, name, Int32Array.from(fds), fds.length, errorFd, out);
  const [pid, life] = two(start, `Starting ${program}`);
  return { pid, life };
}

/** False: it is gone already. */
export const killProcess = (life: number): boolean => platform().raw.processKill(life) === 0;

/** How it ended, told once; null when it has not ended within `ms`, for which this thread waits. */
export function endOfProcess(life: number, ms: number): { readonly signal: boolean; readonly number: number } | null {
  const how = new Int32Array(2);
  if (platform().raw.processWait(life, ms, how) !== 1) return null;
  return { signal: how[0] === 1, number: how[1] ?? 0 };
}

export const bellPair = (): readonly [number, number] => platform().bellPair();

/** Calls back while `fd` is readable; the result ends that. */
export function wakeOnReadable(fd: number, callback: () => void): () => void {
  const waker = wake(fd, callback);
  return () => waker.close();
}

export function listen(path: string, mode: number): number | "in-use" {
  const fd = platform().raw.socketListen(path, mode);
  return fd === ERRNO.EADDRINUSE ? "in-use" : check(fd, "Listening on a socket", { path });
}

/** Null when nobody waits there. */
export function accept(listener: number): number | null {
  const fd = platform().raw.socketAccept(listener);
  return fd === ERRNO.EAGAIN ? null : check(fd, "Accepting a connection");
}

/** Null when nobody listens. */
export function connect(path: string): number | null {
  const fd = platform().raw.socketConnect(path);
  if (fd === ERRNO.ECONNREFUSED || fd === ERRNO.ENOENT) return null;
  return check(fd, "Connecting to a socket", { path });
}

export const credentials = (fd: number): { readonly pid: number; readonly uid: number; readonly gid: number } =>
  platform().socketCredentials(fd);

/** What sending to a peer says that has closed its end, or is closing it at this moment. */
const GONE: ReadonlySet<number> = new Set([ERRNO.EPIPE, ERRNO.ECONNRESET, ERRNO.ECONNREFUSED, ERRNO.ENOTCONN]);

export function send(fd: number, frame: Uint8Array, fds: ReadonlyArray<number>): "sent" | "again" | "gone" {
  const passed = fds.length > 0 ? Int32Array.from(fds) : null;
  const result = platform().raw.socketSend(fd, frame, frame.byteLength, passed, fds.length);
  if (result >= 0) return "sent";
  // Too many descriptors under way to those who do not read, or no memory for it at this moment: later.
  if (result === ERRNO.EAGAIN || result === ERRNO.ETOOMANYREFS || result === ERRNO.ENOBUFS || result === ERRNO.ENOMEM)
    return "again";
  if (GONE.has(result)) return "gone";
  check(result, "Sending a control frame", { bytes: frame.byteLength });
  return "gone";
}

const noDescriptors = new Int32Array(1);
const capacity = new Uint32Array(1);

/** The length of the frame now in `into`. Descriptors that a peer sends are closed: no method takes any. */
export function receive(fd: number, into: Uint8Array): number | "again" | "gone" | "oversized" {
  capacity[0] = 0;
  const result = platform().raw.socketReceive(fd, into, into.byteLength, noDescriptors, capacity);
  if (result > 0) return result;
  if (result === 0) return "gone";
  if (result === ERRNO.EAGAIN) return "again";
  if (result === ERRNO.EMSGSIZE) return "oversized";
  return "gone";
}

/** Readable when the process dies; null when it is gone already. */
export function processFd(pid: number): number | null {
  const fd = platform().raw.processFd(pid);
  return fd === ERRNO.ESRCH ? null : check(fd, "Watching a process", { pid });
}
