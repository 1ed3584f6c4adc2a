// A session with the runtime: connects, shakes hands, opens streams, and lets everything go when it ends, however it ends.
import { basename } from "node:path";
import { ERRNO, type Platform, platform, systemError } from "../native/platform.ts";
import { type Mapping, mapSegment, mapStranger, wakeOnReadable } from "../native/views.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { RuntimeNotificationTable } from "../protocol/control.ts";
import { CONTROL_PAGE, LAYOUT_HASH, PARKED_PAGE, SESSION_STATE, STATS_PAGE } from "../protocol/layout.ts";
import { completeQos, type Qos } from "../protocol/qos.ts";
import { PROTOCOL_VERSION } from "../protocol/rpc.ts";
import { VERSION } from "../protocol/version.ts";
import type { ClosedEvent, ConnectOptions, NamedChannel, Session, Stream, WarningEvent } from "./api.ts";
import { Clock } from "./clock.ts";
import { ControlConnection, type RuntimeRequest } from "./control.ts";
import { Listeners } from "./emitter.ts";
import { Ends } from "./ends.ts";
import { defaultSocketPath } from "./paths.ts";
import type { StreamPools } from "./pools.ts";
import { type InlineEngine, Pump } from "./pump.ts";
import { Sleeper } from "./sleeper.ts";
import { OpenStream, type StreamHost } from "./stream.ts";

const DEFAULT_TIMEOUT_MS = 5000;

/** For the embedded runtime: a socket that is connected already, and the engine that `poll` runs. */
export interface OpenOptions extends ConnectOptions {
  /** The session owns it. */
  readonly fd?: number;
  readonly inlineEngine?: InlineEngine;
}

interface Hello {
  readonly session: number;
  readonly epoch: number;
  readonly runtime: Session["runtime"];
}

/**
 * Opens a session with the runtime on this host.
 * Errors: ENORUNTIME (nobody listens there), EPERM, EVERSION, ELAYOUT, ELIMIT, ETIMEDOUT; EPLATFORM, ENODE, ELIBRARY.
 */
export const connect = (options: ConnectOptions = {}): Promise<Session> => openSession(options);

export async function openSession(options: OpenOptions): Promise<Session> {
  const native = platform();
  const name = options.name ?? `${basename(process.argv[1] ?? "node")} ${process.pid}`;
  const fd = options.fd ?? connectTo(native, options.socket ?? defaultSocketPath());
  const control = new ControlConnection(native, fd, options.timeout ?? DEFAULT_TIMEOUT_MS);
  let sleeper: Sleeper | undefined;
  const mappings: Mapping[] = [];
  try {
    // Until there is a sleeper, which watches this socket among others.
    const early = wakeOnReadable(fd, () => control.receive());
    const { result, fds } = await control
      .request("hello", {
        protocol: PROTOCOL_VERSION,
        layout: LAYOUT_HASH,
        role: "application",
        name,
        version: VERSION,
      })
      .finally(() => early.close());
    try {
      if (fds.length !== 3)
        throw new InsaneError("ESCHEMA", `hello was answered with ${fds.length} descriptors, not 3.`);
      mappings.push(mapStranger(fds[0] as number, CONTROL_PAGE.BYTES, false));
      mappings.push(mapSegment(fds[1] as number, PARKED_PAGE.BYTES, true));
      mappings.push(mapSegment(fds[2] as number, STATS_PAGE.BYTES, true));
    } finally {
      control.closeAll(fds);
    }
    const [page, parked, stats] = mappings as [Mapping, Mapping, Mapping];
    sleeper = new Sleeper(native, parked, fd);
    const session = new OpenSession(native, control, sleeper, page, stats, { ...result, name }, options.inlineEngine);
    await control.request("session.mapped", {});
    return session;
  } catch (error) {
    sleeper?.close();
    control.close();
    for (const mapping of mappings) mapping.unmap();
    throw error;
  }
}

function connectTo(native: Platform, path: string): number {
  const fd = native.raw.socketConnect(path);
  if (fd >= 0) return fd;
  if (fd === ERRNO.ENOENT || fd === ERRNO.ECONNREFUSED) {
    const what = fd === ERRNO.ENOENT ? "There is no socket" : "Nobody listens";
    throw new InsaneError(
      "ENORUNTIME",
      `${what} at ${path}. Start a runtime with \`insane up${path === defaultSocketPath() ? "" : ` --socket ${path}`}\`, or name another socket: the \`socket\` option, INSANE_SOCKET, or --socket.`,
      { path },
    );
  }
  if (fd === ERRNO.EACCES || fd === ERRNO.EPERM) {
    throw new InsaneError(
      "EPERM",
      `${path} may not be opened by this user. Ask for access to the socket, or run a runtime of your own.`,
      { path },
    );
  }
  throw systemError(fd, "Connecting to a runtime", { path });
}

class OpenSession implements Session, StreamHost {
  readonly id: number;
  readonly name: string;
  readonly runtime: Session["runtime"];
  readonly platform: Platform;
  readonly control: ControlConnection;
  readonly pump: Pump;
  readonly ends: Ends;
  readonly stats: Mapping;
  readonly sleeper: Sleeper;
  private readonly page: Mapping;
  private readonly pageWords: Int32Array;
  private readonly streams = new Map<number, OpenStream>();
  private readonly listeners = new Listeners<{ warning: WarningEvent; closed: ClosedEvent }>();
  private readonly channelListeners = new Listeners<{ changed: ReadonlyArray<NamedChannel> }>();
  private watching = 0;
  private closing: Promise<void> | undefined;
  private over = false;
  private runtimeSaid = "";

  constructor(
    native: Platform,
    control: ControlConnection,
    sleeper: Sleeper,
    page: Mapping,
    stats: Mapping,
    hello: Hello & { readonly name: string },
    inline: InlineEngine | undefined,
  ) {
    this.platform = native;
    this.control = control;
    this.sleeper = sleeper;
    this.page = page;
    this.stats = stats;
    this.id = hello.session;
    this.name = hello.name;
    this.runtime = hello.runtime;
    this.pageWords = new Int32Array(page.buffer);
    const clock = new Clock(() => native.clock().realtime);
    this.pump = new Pump(native, this.pageWords, control, sleeper, clock, inline);
    this.ends = new Ends(this);
    control.handle({
      request: (request) => this.serve(request),
      notification: (method, params) => this.notified(method, params),
      ended: () => this.runtimeGone(),
    });
    this.pump.start();
  }

  get closed(): boolean {
    return this.over;
  }

  on<K extends "warning" | "closed">(
    event: K,
    listener: (payload: { warning: WarningEvent; closed: ClosedEvent }[K]) => void,
  ): () => void {
    return this.listeners.on(event, listener);
  }

  async createStream(options: Partial<Qos> & { readonly name?: string } = {}): Promise<Stream> {
    if (this.closing !== undefined || this.over)
      throw new InsaneError("ECLOSED", `The session ${this.name} is closed.`);
    const { name, ...quality } = options;
    const qos = completeQos(quality);
    const { result } = await this.control.request("stream.open", name === undefined ? { qos } : { name, qos });
    const known = this.streams.get(result.stream);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const stream = new OpenStream(this, result, result.decision.qos);
    this.streams.set(stream.id, stream);
    return stream;
  }

  async watchChannels(listener: (channels: ReadonlyArray<NamedChannel>) => void): Promise<() => Promise<void>> {
    // Several may watch: each hears of all that any of them is told, which says how things are, not what changed.
    const stop = this.channelListeners.on("changed", listener);
    this.watching++;
    const end = async (): Promise<void> => {
      stop();
      if (--this.watching === 0 && !this.over) await this.control.request("channels.watch", { on: false });
    };
    try {
      await this.control.request("channels.watch", { on: true });
    } catch (error) {
      await end().catch(() => {});
      throw error;
    }
    let ended: Promise<void> | undefined;
    return () => {
      ended ??= end().catch(() => {});
      return ended;
    };
  }

  poll(): number {
    return this.pump.poll();
  }
  wait(timeoutMs: number): boolean {
    return this.pump.wait(timeoutMs);
  }
  yield(): void {
    this.platform.raw.yield();
  }

  close(): Promise<void> {
    this.closing ??= this.over ? Promise.resolve() : this.end();
    return this.closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async end(): Promise<void> {
    await Promise.allSettled([...this.streams.values()].map((stream) => stream.close()));
    await this.control.request("session.close", {}).catch(() => {});
    this.tearDown({ reason: "closed by the application", evicted: false });
  }

  /** Everything native goes, but what the application still holds, which goes when it lets it go. */
  private tearDown(how: ClosedEvent): void {
    if (this.over) return;
    this.over = true;
    for (const stream of this.streams.values()) stream.abort();
    this.streams.clear();
    this.ends.closeAll();
    this.pump.stop();
    this.sleeper.close();
    this.control.close();
    this.stats.unmap();
    this.page.unmap();
    this.listeners.emit("closed", how);
  }

  private runtimeGone(): void {
    if (this.over || this.closing !== undefined) return;
    this.sleeper.dropControl();
    if (this.pageWords[CONTROL_PAGE.STATE >>> 2] === SESSION_STATE.EVICTED) {
      // Not from inside the turn that found it.
      const reason = `evicted by the runtime${this.runtimeSaid && `: ${this.runtimeSaid}`}`;
      setImmediate(() => this.tearDown({ reason, evicted: true }));
      return;
    }
    this.ends.dropEngineLinks();
    this.listeners.emit("warning", {
      code: "W_RUNTIME_GONE",
      message: `The runtime ${this.runtime.name} is gone${this.runtimeSaid && ` (${this.runtimeSaid})`}; links to sessions on this host go on, others do not.`,
      cure: "Start it again with `insane up`, then connect again.",
    });
  }

  private serve(request: RuntimeRequest): void {
    switch (request.method) {
      case "link.open":
        this.ends.open(request);
        return;
      case "link.update":
        this.ends.update(request);
        return;
      case "link.pools":
        this.ends.addPools(request);
        return;
      case "link.close":
        this.ends.close(request);
        return;
      default:
        this.control.closeAll(request.fds);
        throw new InsaneError("EMETHOD", `This client does not know the method ${request.method}.`);
    }
  }

  private notified(method: string, params: unknown): void {
    type Notified<K extends keyof RuntimeNotificationTable> = RuntimeNotificationTable[K]["Type"];
    switch (method) {
      case "stream.warning": {
        const { stream, warning } = params as Notified<"stream.warning">;
        this.streams.get(stream)?.warned(warning);
        return;
      }
      case "stream.binding": {
        const { stream, decision } = params as Notified<"stream.binding">;
        this.streams.get(stream)?.bound(decision);
        return;
      }
      case "stream.rebound": {
        const { stream, at: _, ...event } = params as Notified<"stream.rebound">;
        this.streams.get(stream)?.rebound(event);
        return;
      }
      case "sink.lost": {
        const { sink, ...lost } = params as Notified<"sink.lost">;
        for (const stream of this.streams.values()) stream.lost(sink, lost);
        return;
      }
      case "channels.changed":
        this.channelListeners.emit("changed", (params as Notified<"channels.changed">).channels);
        return;
      case "runtime.closing":
        this.runtimeSaid = (params as Notified<"runtime.closing">).reason;
        return;
    }
  }

  // StreamHost, EndsHost.
  poolsOf(stream: number): StreamPools | undefined {
    return this.streams.get(stream)?.pools;
  }
  notify(method: "link.fault", params: { readonly link: number; readonly what: string }): void {
    this.control.notify(method, params);
  }
  forgetStream(stream: OpenStream): void {
    this.streams.delete(stream.id);
  }
}
