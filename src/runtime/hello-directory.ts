// The default Directory: a static list of peers and hello frames over one UDP socket. It sends and receives, and tells
// the runtime who is alive and wants what; the peer's machine (actors/peer.ts) decides when a peer is alive or silent.
import type { Socket } from "node:dgram";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import { guarded, type World } from "../actors/life.ts";
import { PeerActor } from "../actors/peer.ts";
import { datagramSocket } from "../effects/datagram-socket.ts";
import { InsaneError, type Warning } from "../protocol/codes.ts";
import { decodeHello, encodeHello, type HelloPage } from "../protocol/hello.ts";
import { announcementOf } from "./announcement.ts";
import type { RuntimeConfig } from "./api.ts";
import type { Announcement, Directory, DirectoryEvents, PeerInfo, PeerReport } from "./directory.ts";
import { announcementCut, cureOf, peerUnlisted, tagCollision, unauthenticated } from "./directory-warnings.ts";
import { formatEndpoint, ipv6Hint, isLoopback, parseEndpoint } from "./endpoint.ts";
import { HelloExchange } from "./hello-exchange.ts";
import { NameClaims } from "./name-claims.ts";
import { OwnPages } from "./own-pages.ts";
import { TagClaims } from "./tag-claims.ts";

/** Pages that nobody acknowledged are sent again after this, then twice as long, at most the hello interval; ms. */
const RETRY_MS = 50;
/** Strangers that are told of; the others are only counted. */
const STRANGERS_TOLD = 64;

export interface HelloDirectoryOptions {
  /** This runtime's incarnation. */
  readonly id: string;
  readonly name: string;
  readonly network: Pick<RuntimeConfig["network"], "address" | "port" | "peers" | "helloIntervalMs" | "silentAfterMs">;
  readonly world: World;
}

interface Peer {
  readonly endpoint: string;
  readonly address: string;
  readonly port: number;
  readonly exchange: HelloExchange;
  readonly actor: PeerActor;
  /** The number by which the runtime knows its present incarnation. */
  number: number;
  /** The machine says that messages may go to it. */
  sending: boolean;
  /** `alive` was told, and `removed` was not yet. */
  told: boolean;
  /** What `alive` said last, so that nothing is told twice. */
  lastTold: string;
  /** What `alive` said last comes into force; and of which announcement that was. */
  applying: Promise<void> | null;
  lastApplied: string;
  /** When a frame of it came last, on the world's clock; null: never. */
  heardAt: number | null;
  cancelRetry: (() => void) | null;
  retryMs: number;
  ackDue: boolean;
}

export class HelloDirectory implements Directory {
  /** What came and went, by label; for status and tests. */
  readonly counters: Record<string, number> = { sent: 0, sendErrors: 0, received: 0, strangers: 0, ignored: 0 };
  readonly #options: HelloDirectoryOptions;
  readonly #world: World;
  readonly #scope = Scope.makeUnsafe();
  readonly #peers = new Map<string, Peer>();
  readonly #own: OwnPages;
  readonly #claims = new TagClaims();
  readonly #names = new NameClaims();
  readonly #strangers = new Set<string>();
  #events: DirectoryEvents | null = null;
  #socket: Socket | null = null;
  #port = 0;
  #lastNumber = 0;
  #sequence = 0n;
  #stopping: Promise<void> | null = null;
  readonly #failed = (cause: unknown): void => this.#world.defect("directory", cause);

  constructor(options: HelloDirectoryOptions) {
    this.#options = options;
    const world = options.world;
    // What the peers' machines warn of goes the same way as every other warning of the directory.
    this.#world = {
      clock: world.clock,
      inspection: world.inspection,
      warn: (about, { code, message }) =>
        this.#warn({ code: code as Warning["code"], message, cure: cureOf(code, about) }),
      defect: (about, cause) => world.defect(about, cause),
    };
    this.#own = new OwnPages({ clock: world.clock, published: (omitted) => this.#published(omitted) });
  }

  /** Throws InsaneError EADDRINUSE, ECONFIG (no such address), EPERM, ESYSTEM. */
  async start(events: DirectoryEvents): Promise<{ readonly port: number }> {
    const { address, port, peers } = this.#options.network;
    this.#events = events;
    const exit = await Effect.runPromiseExit(Scope.provide(datagramSocket(address, port), this.#scope));
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause);
    const socket = exit.value;
    this.#socket = socket;
    this.#port = socket.address().port;
    socket.on("message", (frame, { address, port }) => {
      guarded(this.#world, "directory", () => this.#receive(frame, formatEndpoint({ address, port })));
    });
    socket.on("error", this.#failed);
    if (!isLoopback(address)) this.#warn(unauthenticated(address));
    // What was announced before goes out with the first hello.
    this.#own.flush();
    for (const peer of peers) this.addPeer(peer);
    return { port: this.#port };
  }

  announce(announcement: Announcement): void {
    if (this.#stopping === null) this.#own.announce(announcement);
  }

  /** Throws InsaneError ECONFIG. A peer that is listed already, or is this runtime itself, is passed over. */
  addPeer(endpoint: string): void {
    const parsed = parseEndpoint(endpoint);
    if (parsed === null || parsed.port === 0) {
      const message = `A peer is ADDRESS:PORT with an IPv4 address, not "${endpoint}"${ipv6Hint(endpoint)}.`;
      throw new InsaneError("ECONFIG", message, { endpoint });
    }
    const own = parsed.address === this.#options.network.address && parsed.port === this.#port;
    if (own || this.#stopping !== null || this.#peers.has(endpoint)) return;
    const exchange = new HelloExchange();
    exchange.announce(this.#own.version, this.#own.pages.length);
    const peer: Peer = {
      endpoint,
      ...parsed,
      exchange,
      actor: new PeerActor(this.#world, endpoint, this.#options.network),
      number: ++this.#lastNumber,
      sending: false,
      told: false,
      lastTold: "",
      applying: null,
      lastApplied: "",
      heardAt: null,
      cancelRetry: null,
      retryMs: RETRY_MS,
      ackDue: false,
    };
    this.#peers.set(endpoint, peer);
    peer.actor.start({
      sendHello: () => this.#send(peer, null),
      resumeSending: () => {
        peer.sending = true;
        this.#tell();
      },
      stopSending: () => {
        peer.sending = false;
        if (peer.told) this.#events?.silent(peer.number);
        peer.lastTold = "";
      },
      resetPeer: () => this.#retire(peer),
      heardMs: () => this.#heardByEngines(peer),
    });
  }

  peers(): ReadonlyArray<PeerReport> {
    const now = this.#world.clock.now();
    return [...this.#peers.values()].map((peer) => ({
      peer: peer.number,
      id: peer.exchange.known?.id ?? "",
      name: peer.exchange.known?.name ?? "",
      endpoint: peer.endpoint,
      state: peer.actor.state,
      subscriptions: (peer.exchange.known?.content.streams ?? []).reduce((n, [, , channels]) => n + channels.length, 0),
      lastHeardMs: peer.heardAt === null ? -1 : Math.round(Math.min(now - peer.heardAt, this.#heardByEngines(peer))),
    }));
  }

  /** Every peer that is alive is known to have all that was announced. */
  get settled(): boolean {
    return !this.#own.due && [...this.#peers.values()].every((peer) => !peer.sending || !peer.exchange.lacks);
  }

  get inForce(): boolean {
    const behind = ({ sending, exchange }: Peer): boolean => sending && exchange.applied < this.#own.version;
    return !this.#own.due && ![...this.#peers.values()].some(behind);
  }

  /** Says farewell, closes the peers' machines, then the socket. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#own.stop();
    const peers = [...this.#peers.values()];
    for (const peer of peers) {
      peer.cancelRetry?.();
      this.#send(peer, null, true);
    }
    this.#events = null;
    await Promise.all(peers.map((peer) => peer.actor.close()));
    // Sends are handed to the kernel in order: once this one is, the farewells are.
    await new Promise((resolve) => setImmediate(resolve));
    this.#socket = null;
    await Effect.runPromise(Scope.close(this.#scope, Exit.void));
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  #send(peer: Peer, page: HelloPage | null, bye = false): void {
    const socket = this.#socket;
    if (socket === null) return;
    const { id, name } = this.#options;
    const hello = {
      id,
      name,
      version: this.#own.version,
      pages: this.#own.pages.length,
      seen: peer.exchange.seen(),
      page,
      bye,
    };
    const frame = encodeHello(hello, this.#sequence++, BigInt(Date.now()) * 1_000_000n);
    peer.ackDue = false;
    this.#count("sent");
    socket.send(frame, peer.port, peer.address, (error) => {
      // No route, or a peer that is not there: the next hello tries again.
      if (error) this.#count("sendErrors");
    });
  }

  /** Sends what the peer lacks, and again while it does not say that it has it. */
  #sendPages(peer: Peer): void {
    peer.cancelRetry?.();
    peer.cancelRetry = null;
    if (!peer.exchange.lacks || this.#stopping !== null) return;
    for (const index of peer.exchange.next()) {
      const page = this.#own.pages[index];
      if (page !== undefined) this.#send(peer, page);
    }
    const { helloIntervalMs, silentAfterMs } = this.#options.network;
    peer.cancelRetry = this.#world.clock.after(peer.retryMs, () => {
      peer.cancelRetry = null;
      // Whoever is not heard of is only greeted; its answer brings the pages again.
      const now = this.#world.clock.now();
      if (peer.heardAt !== null && now - peer.heardAt < silentAfterMs) this.#sendPages(peer);
    });
    peer.retryMs = Math.min(2 * peer.retryMs, helloIntervalMs);
  }

  #published(omitted: number): void {
    const { version, pages } = this.#own;
    if (omitted > 0) this.#warn(announcementCut(omitted));
    this.#tell();
    for (const peer of this.#peers.values()) {
      peer.exchange.announce(version, pages.length);
      peer.retryMs = RETRY_MS;
      if (peer.sending) this.#sendPages(peer);
    }
  }

  // ---- receiving ----------------------------------------------------------------------------------------------------

  #receive(frame: Buffer, from: string): void {
    if (this.#stopping !== null) return;
    this.#count("received");
    const peer = this.#peers.get(from);
    if (peer === undefined) {
      this.#stranger(frame, from);
      return;
    }
    const { hello, ...refused } = decodeHello(frame);
    if (hello === null) {
      const { fault, why } = refused as { readonly fault: string; readonly why: string };
      this.#count(`malformed-${fault}`);
      if (fault === "version") peer.actor.incompatible(`Peer ${from} speaks ${why}, this runtime speaks another.`);
      return;
    }
    if (hello.id === this.#options.id) return;
    const { exchange } = peer;
    const lacked = exchange.lacks;
    const { applied } = exchange;
    const heard = exchange.receive(hello, {
      id: this.#options.id,
      version: this.#own.version,
      pages: this.#own.pages.length,
    });
    if (heard === "ignored") {
      this.#count("ignored");
      return;
    }
    peer.heardAt = this.#world.clock.now();
    if (heard === "farewell") {
      peer.actor.farewell();
      this.#retire(peer);
      this.#tell();
      return;
    }
    if (heard === "complete") {
      peer.actor.hello(hello.id);
      this.#tell();
    } else {
      if (heard === "heard") peer.actor.heard();
      if (exchange.applied !== applied) this.#tell();
    }
    if (hello.page !== null) this.#acknowledgeSoon(peer);
    if (!exchange.lacks) {
      peer.cancelRetry?.();
      peer.cancelRetry = null;
      peer.retryMs = RETRY_MS;
    } else if (peer.cancelRetry === null || !lacked || !exchange.waiting) {
      this.#sendPages(peer);
    }
  }

  /** One acknowledgement for all pages that came in one turn of the loop, unless another frame has carried it. */
  #acknowledgeSoon(peer: Peer): void {
    if (peer.ackDue) return;
    peer.ackDue = true;
    setImmediate(() => {
      if (peer.ackDue && this.#stopping === null) this.#send(peer, null);
    });
  }

  #stranger(frame: Buffer, from: string): void {
    this.#count("strangers");
    if (this.#strangers.has(from) || this.#strangers.size >= STRANGERS_TOLD) return;
    const { hello } = decodeHello(frame);
    if (hello === null || hello.bye) return;
    this.#strangers.add(from);
    this.#warn(peerUnlisted(hello.name, from));
  }

  // ---- telling ------------------------------------------------------------------------------------------------------

  /** Tells the runtime about every peer that is alive and of which something changed. */
  #tell(): void {
    const claims = this.#claims;
    claims.begin();
    for (const { tag, stream } of this.#own.announcement.subscriptions) claims.own(tag, stream);
    this.#names.begin(this.#own.announcement);
    for (const peer of this.#peers.values()) {
      const { known } = peer.exchange;
      if (known === null || !peer.sending) continue;
      const announcement = announcementOf(known.content);
      const agreed = this.#names.agreed(peer, announcement, (warning) => this.#warn(warning));
      const subscriptions = agreed.filter(({ tag, stream }) => {
        const holder = claims.claim(tag, stream);
        if (holder === null) return true;
        if (claims.firstTime(`${peer.number} ${tag} ${stream}`)) {
          this.#warn(tagCollision(peer.endpoint, tag, stream, holder));
        }
        return false;
      });
      const { id, name } = known;
      const knows = this.#own.knownAt(peer.exchange.applied);
      const { number, endpoint } = peer;
      const info: PeerInfo = { ...announcement, peer: number, id, name, endpoint, subscriptions, knows };
      const text = JSON.stringify(info);
      const { version } = known;
      if (text !== peer.lastTold) {
        peer.lastTold = text;
        peer.told = true;
        peer.applying = this.#events?.alive(info) ?? null;
      }
      if (peer.applying && peer.lastApplied !== `${id} ${version}`) {
        peer.lastApplied = `${id} ${version}`;
        peer.applying.then(() => this.#inForce(peer, id, version)).catch(this.#failed);
      }
    }
  }

  /** Messages from that announcement's endpoints are taken here, and go where it says: the peer is told. */
  #inForce(peer: Peer, id: string, version: number): void {
    if (this.#stopping !== null || peer.exchange.known?.id !== id) return;
    peer.exchange.inForce(id, version);
    this.#send(peer, null);
  }

  /** What was told of this incarnation is over; the next one gets another number. */
  #retire(peer: Peer): void {
    if (peer.told) {
      this.#events?.removed(peer.number);
      peer.number = ++this.#lastNumber;
    }
    peer.told = false;
    peer.lastTold = "";
  }

  /** Milliseconds since then. Of an incarnation that nobody was told of there is nothing to hear. */
  #heardByEngines(peer: Peer): number {
    return peer.told ? (this.#events?.heardMs(peer.number) ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
  }

  #warn(warning: Warning): void {
    this.#events?.warning(warning);
  }

  #count(label: string): void {
    this.counters[label] = (this.counters[label] ?? 0) + 1;
  }
}
