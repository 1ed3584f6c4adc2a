// A session made live: one control socket, the pages shared with the application at its other end, and its streams. It
// is admitted by the listener's policy and ends by its own wish, by death, or by eviction. What it asks for is answered
// in src/runtime/requests.ts.
import type { Notice } from "../../models/lifecycle.ts";
import { sessionMachine } from "../../models/session.ts";
import { type Connection, connection } from "../effects/connection.ts";
import { type SessionPages, sessionPages } from "../effects/session-pages.ts";
import { InsaneError } from "../protocol/codes.ts";
import { MAX_FRAME, PROTOCOL_VERSION } from "../protocol/control.ts";
import { CONTROL_PAGE, LAYOUT_HASH, PARKED_PAGE, SESSION_STATE, STATS_PAGE } from "../protocol/layout.ts";
import type { Promised } from "../runtime/gates.ts";
import { serveNotification, serveRequest } from "../runtime/requests.ts";
import { ownIdentity, type TrustDomain, trustDomain } from "../runtime/trust.ts";
import type { Host } from "./host.ts";
import { stateText } from "./inspection.ts";
import { guarded, Life } from "./life.ts";
import { MAX_FAULTS, type Reply, RpcChannel } from "./rpc-channel.ts";
import { SessionEnd } from "./session-end.ts";
import { StreamActor } from "./stream.ts";

/** Control frames that may wait for a session that does not read, and for how long, ms. */
const QUEUE = 1024;
const UNREAD_MS = 10_000;

export interface Hello {
  readonly protocol: number;
  readonly layout: number;
  readonly role: "application" | "operator";
  readonly name: string;
}

export class SessionActor {
  readonly id: number;
  readonly life: Life<typeof sessionMachine>;
  readonly rpc: RpcChannel;
  readonly streams = new Map<number, StreamActor>();
  /** Its side of links. */
  readonly end: SessionEnd;
  name = "";
  role: "application" | "operator" = "application";
  /** Who it is; zeroes before the connection is there. */
  who = { pid: 0, uid: 0, gid: 0 };
  pages: SessionPages | null = null;
  /** The application has mapped its pages. */
  mapped = false;
  /** Dead or evicted: no answer is expected from it and no word of it counts. */
  gone = false;
  readonly #host: Host;
  readonly #goneListeners = new Set<() => void>();
  readonly #roomListeners = new Set<() => void>();
  readonly #freeStats: number[] = [];
  #nextStats = 0;
  #reserved = 0;
  #nextStream = 1;
  #connection: Connection | null = null;
  #greeting: { readonly resolve: (reply: Reply<never>) => void; readonly reject: (error: InsaneError) => void } | null =
    null;
  readonly #onReleasing: Array<() => void> = [];

  #start = (): void => {};

  constructor(host: Host, id: number) {
    this.#host = host;
    this.id = id;
    this.life = new Life(host.world, `session ${id}`);
    this.end = new SessionEnd(this);
    this.rpc = new RpcChannel(() => this.#connection, {
      request: (method, params) => serveRequest(host, this, method, params) as never,
      notification: (notice) => serveNotification(host, this, notice),
      fault: (error, count) => {
        host.log.debug("bad control frame", { session: id, code: error.code, message: error.message, count });
        if (count >= MAX_FAULTS)
          this.violation(`${this.label} sent ${count} bad control frames, the last: ${error.message}`);
      },
      // Whoever asks may be in the middle of a step.
      silent: (owed) => this.life.soon(() => this.violation(`${this.label} owes ${owed} answers`)),
      defect: (cause) => host.world.defect(this.life.name, cause),
    });
    const machine = sessionMachine.provide({
      actions: {
        ...this.life.actions,
        admit: () => this.#admit(),
        welcome: () => this.#welcome(),
        reject: (_, notice) => this.#reject(notice),
        evict: (_, notice) => this.#evict(notice),
        closeStreams: (_, { dead }) => this.#closeStreams(dead),
        releaseScope: () => this.#release(),
      },
    });
    const input = { name: this.life.name, version: PROTOCOL_VERSION, layout: LAYOUT_HASH };
    this.life.onEnd(() => {
      // Neither, unless its machine threw.
      this.#leave(`${this.label} is closed`);
      for (const stream of this.streams.values()) stream.close();
    });
    this.#start = () => void this.life.start(machine, "session", input, [id]);
  }

  /** Owns `fd` from now on. */
  start(fd: number): void {
    this.#start();
    try {
      const limits = { maxFrame: MAX_FRAME, queue: QUEUE, patienceMs: UNREAD_MS };
      this.#connection = this.life.acquire(
        connection(fd, limits, {
          frame: (bytes) => !this.gone && this.rpc.receive(bytes),
          oversized: () =>
            this.rpc.reject(
              new InsaneError("EFRAME", `A control frame was larger than ${MAX_FRAME} bytes and was dropped.`, {
                limit: MAX_FRAME,
              }),
            ),
          sent: () => this.pages?.bumpControlTail(),
          ended: (how) => this.#died(how),
          stuck: (why) => this.violation(`${this.label} ${why}`),
        }),
      );
      this.who = this.#connection.credentials;
    } catch (cause) {
      this.life.send({ type: "failed", notice: { code: "ESYSTEM", message: (cause as Error).message } });
    }
  }

  /** As messages call it. */
  get label(): string {
    return this.name ? `session ${this.id} (${this.name})` : `session ${this.id}`;
  }

  get state(): string {
    return stateText(this.life.actor.getSnapshot().value);
  }

  /** Null: as trusted as the runtime itself. */
  get domain(): TrustDomain | null {
    return trustDomain(this.who, ownIdentity(), this.#host.config.trust);
  }

  get attached(): boolean {
    return this.life.outcome === null && this.life.actor.getSnapshot().matches("attached");
  }

  /** Bytes of shared memory that it makes the runtime reserve. */
  get reserved(): number {
    return this.#reserved;
  }

  /** The first request; resolves when the machine has welcomed it, rejects when it is refused. */
  hello(hello: Hello): Promise<Reply<never>> {
    if (this.#greeting || this.name) throw new InsaneError("ESCHEMA", "hello comes once, as the first frame.");
    this.name = hello.name;
    this.role = hello.role;
    return new Promise((resolve, reject) => {
      this.#greeting = { resolve, reject };
      this.life.send({ type: "hello", version: hello.protocol, layout: hello.layout, pid: this.who.pid });
    });
  }

  /** The application says that it has mapped its pages: nobody else can from now on. */
  pagesMapped(): void {
    if (!this.pages || this.mapped) return;
    this.life.acquire(this.pages.seal());
    this.mapped = true;
  }

  violation(what: string): void {
    this.life.send({ type: "violation", notice: { code: "W_EVICTED", message: what } });
  }

  close(reason: string): void {
    if (this.life.outcome) return;
    this.pages?.setState(SESSION_STATE.CLOSING);
    this.rpc.tell("runtime.closing", { reason });
    this.life.send({ type: "close" });
  }

  /** Its own wish to end; resolves when its streams have. */
  depart(): Promise<void> {
    return new Promise((resolve) => {
      this.#onReleasing.push(resolve);
      this.life.send({ type: "close" });
    });
  }

  /** Reserves bytes in its name. Throws ELIMIT. */
  reserve(bytes: number, what: string): void {
    const limit = this.#host.config.limits.bytesPerSession;
    if (this.#reserved + bytes > limit) {
      throw new InsaneError(
        "ELIMIT",
        `${what} would need ${bytes} bytes; ${this.label} holds ${this.#reserved} of the ${limit} it may reserve (limits.bytesPerSession).`,
        { limit, held: this.#reserved, wanted: bytes },
      );
    }
    this.#reserved += bytes;
  }

  unreserve(bytes: number): void {
    this.#reserved -= bytes;
    for (const f of [...this.#roomListeners]) guarded(this.#host.world, this.life.name, f);
  }

  /** Calls back whenever it may reserve more than before; the result takes that back. */
  onRoom(f: () => void): () => void {
    this.#roomListeners.add(f);
    return () => this.#roomListeners.delete(f);
  }

  /** A free block of its statistics page. */
  takeStatsBlock(): number {
    const { endpointsPerSession } = this.#host.config.limits;
    const used = this.#nextStats - this.#freeStats.length;
    if (used >= Math.min(endpointsPerSession, STATS_PAGE.MAX_BLOCKS)) {
      throw new InsaneError(
        "ELIMIT",
        `${this.label} has ${used} sources and sinks, as many as it may (limits.endpointsPerSession).`,
        { limit: endpointsPerSession },
      );
    }
    return this.#freeStats.pop() ?? this.#nextStats++;
  }

  giveStatsBlock(block: number): void {
    this.#freeStats.push(block);
  }

  streamNamed(name: string): StreamActor | undefined {
    for (const stream of this.streams.values()) if (stream.name === name) return stream;
    return undefined;
  }

  /** Throws ECLOSED, ELIMIT, ECOLLISION, ESCHEDULE. */
  addStream(name: string, qos: StreamActor["qos"]): StreamActor {
    // Whoever waited before asking may find that it is over: nobody would close what is added now.
    if (!this.attached) throw new InsaneError("ECLOSED", `${this.label} is closing.`);
    const { streamsPerSession } = this.#host.config.limits;
    if (this.streams.size >= streamsPerSession) {
      throw new InsaneError(
        "ELIMIT",
        `${this.label} has ${this.streams.size} streams open, as many as it may (limits.streamsPerSession).`,
        { limit: streamsPerSession },
      );
    }
    const tag = this.#host.tags.claim(name);
    let promised: Promised;
    try {
      promised = this.#host.gates.admit(name, qos);
    } catch (cause) {
      this.#host.tags.release(name);
      throw cause;
    }
    const stream = new StreamActor(this.#host, this, this.#nextStream++, name, tag, qos, promised);
    this.streams.set(stream.id, stream);
    this.life.send({ type: "childAdded", kind: "stream" });
    stream.life.onEnd(() => {
      this.streams.delete(stream.id);
      this.#host.tags.release(name);
      promised.release();
      this.#host.membersChanged();
      this.#host.broker.forget(this.id, name);
    });
    // By itself: whatever goes wrong with the rest, the session does not wait for a stream that has ended.
    stream.life.onEnd(({ quarantined }) => this.life.send({ type: "childEnded", kind: "stream", quarantined }));
    stream.start();
    return stream;
  }

  /** It answers again, after it had let links wait for too long. */
  responded(): void {
    if (!this.gone) this.#host.membersChanged();
  }

  /** Calls back once when it is dead, evicted or released; the result takes that back. */
  onGone(f: () => void): () => void {
    this.#goneListeners.add(f);
    return () => this.#goneListeners.delete(f);
  }

  #admit(): void {
    const refusal = this.#host.refusal(this.who);
    if (refusal) {
      this.life.send({ type: "refused", notice: refusal });
      return;
    }
    if (this.role === "application") {
      try {
        this.reserve(CONTROL_PAGE.BYTES + PARKED_PAGE.BYTES + STATS_PAGE.BYTES, "its pages");
        this.pages = this.life.acquire(sessionPages(this.life.name, this.#host.epoch));
      } catch (cause) {
        const { code, message } = cause as InsaneError;
        this.life.send({ type: "refused", notice: { code, message } });
        return;
      }
    }
    this.life.send({ type: "admitted" });
  }

  #welcome(): void {
    const { identity, epoch, log } = this.#host;
    const pages = this.pages;
    const fds = pages ? [pages.control.fd, pages.parked.fd, pages.stats.fd] : [];
    const result = { session: this.id, epoch, runtime: identity, maxFrame: MAX_FRAME };
    log.info("session attached", { session: this.id, name: this.name, role: this.role, ...this.who });
    this.#greeting?.resolve({ result: result as never, fds });
  }

  #reject({ code, message }: Notice): void {
    this.#greeting?.reject(
      new InsaneError(code as InsaneError["code"], message, {
        protocol: PROTOCOL_VERSION,
        layout: LAYOUT_HASH,
        version: this.#host.identity.version,
      }),
    );
  }

  #evict({ message }: Notice): void {
    this.pages?.setState(SESSION_STATE.EVICTED);
    this.rpc.tell("runtime.closing", { reason: `evicted: ${message}` });
    this.#leave(message);
    this.life.send({ type: "told" });
  }

  #died(how: "eof" | "pidfd"): void {
    this.#leave(`${this.label} is gone`);
    this.life.send({ type: "died", how });
  }

  #leave(why: string): void {
    if (this.gone) return;
    this.gone = true;
    this.rpc.close(new InsaneError("ECLOSED", why));
    const listeners = [...this.#goneListeners];
    this.#goneListeners.clear();
    for (const f of listeners) guarded(this.#host.world, this.life.name, f);
  }

  #closeStreams(dead: boolean): void {
    if (dead) this.#leave(`${this.label} is gone`);
    for (const stream of [...this.streams.values()]) stream.close();
  }

  #release(): void {
    for (const f of this.#onReleasing.splice(0)) f();
    // What was asked for last is answered before the socket goes.
    setImmediate(() => {
      this.#leave(`${this.label} is closed`);
      this.#host.log.info("session ended", { session: this.id, name: this.name });
      this.#connection = null;
      this.life.actions.releaseScope();
    });
  }
}
