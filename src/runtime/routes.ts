// Keeps one engine's peers and routes equal to what the directory tells: from where peers may send, at which of their
// endpoints they want which channels. Each peer is brought up to date by itself, a bounded number of routes at a time, so
// that one that wants thousands delays nobody else. What failed is tried again with the next change. A silent peer is muted
// and not removed: the engine keeps what it knows of its flows, in both directions.
import type { Command } from "../effects/engine.ts";
import { type Endpoint, ROUTES_AT_ONCE } from "../native/engine.ts";
import { PEER_ENDPOINTS } from "../native/engine-events.ts";
import { InsaneError, WARNING_CODES } from "../protocol/codes.ts";
import { LANES, type Lane, technologyOf } from "../protocol/lanes.ts";
import type { DataEndpoint, PeerInfo } from "./directory.ts";
import { OrderedCommands } from "./ordered-commands.ts";
import { reaches } from "./reach.ts";
import { Reached } from "./reached.ts";
import { comes, type MovePorts, moveRoutes, type Place } from "./route-moves.ts";
import { addRoute, hasRoute, missing, type Route, type RouteTable, removeRoute, routesIn } from "./route-table.ts";
import { Wishes, type WishPorts } from "./wishes.ts";

export interface RoutePorts extends WishPorts, MovePorts {
  /** Resolves when acknowledged. */
  command(what: string, send: Command): Promise<number>;
  /** The datapath instance that peers are reached over, and where it is; null while there is none. */
  datapath(): { readonly instance: number; readonly endpoint: Endpoint } | null;
  /** Of rdma: what it is done with. */
  readonly provider?: () => string | undefined;
  /** What is reachable has changed. */
  applied(): void;
  failed(cause: unknown): void;
}

/** Why an engine refuses a route (engine.h), and what is no failure: it is there, or is not, as it should be. */
const EMLINK = -31;
const EEXIST = -17;
const ENOENT = -2;

/** One endpoint of one peer: to an engine that is a peer of its own, because each numbers its flows by itself. */
interface Applied {
  /** By which the engine knows it. */
  readonly number: number;
  readonly lane: Lane;
  readonly instance: number;
  readonly endpoint: Endpoint;
  /** What the engine has acknowledged. */
  readonly routes: RouteTable;
  /** The engine has been told to send it nothing. */
  muted: boolean;
  /** Its routes count as reached. */
  shown: boolean;
  /** What it is to become. */
  info: PeerInfo;
  /** `info` is another one than its worker has begun with. */
  again: boolean;
  /** It was refused something, since its worker began; and which change was the last one then. */
  lacks: boolean;
  began: number;
  /** Its worker; null while it rests. */
  working: Promise<void> | null;
  /** Its removal was ordered: whatever is acknowledged from now on is void. */
  gone: boolean;
}

export class Routes {
  /** What can be reached: routes that the engine has acknowledged. */
  readonly reached = new Reached();
  readonly #ports: RoutePorts;
  readonly #peers = new Map<number, PeerInfo>();
  readonly #silent = new Set<number>();
  readonly #applied = new Map<number, Applied>();
  /** Between which endpoints the engine, or one before it, had a peer: flows between these may be under way. */
  readonly #met = new Map<number, string>();
  /** Peers that did not get all they want: another change may make room for it. */
  readonly #lacking = new Set<number>();
  readonly #wishes: Wishes;
  readonly #commands: OrderedCommands;
  #told = true;
  /** Counts what may make room for those who lack something. */
  #changes = 0;

  constructor(ports: RoutePorts) {
    this.#ports = ports;
    this.#wishes = new Wishes(ports);
    this.#commands = new OrderedCommands((what, send) => ports.command(what, send));
  }

  /** A name that peers use for this tag and that is not `stream`, or undefined. */
  foreign(tag: number, stream: string): string | undefined {
    for (const { routes, shown } of this.#applied.values()) {
      if (!shown) continue;
      for (const name of routes.get(tag)?.values() ?? []) if (name !== stream) return name;
    }
    return undefined;
  }

  /** Resolves when the engine has been told, or cannot be. */
  async set(info: PeerInfo): Promise<void> {
    this.#peers.set(info.peer, info);
    this.#silent.delete(info.peer);
    this.#changes++;
    const done = this.#follow([info.peer]);
    void this.#follow(this.#lacking);
    await done;
  }

  /** It gets no messages until it is set again or removed. */
  silence(peer: number): void {
    if (!this.#peers.has(peer)) return;
    this.#silent.add(peer);
    this.#changes++;
    for (const applied of this.#of(peer)) this.#show(applied, false);
    void this.#follow([peer, ...this.#lacking]);
  }

  remove(peer: number): void {
    const { first, count } = enginePeers(peer);
    for (let number = first; number < first + count; number++) this.#met.delete(number);
    this.#silent.delete(peer);
    if (!this.#peers.delete(peer)) return;
    this.#changes++;
    void this.#follow([peer, ...this.#lacking]);
  }

  /** Another engine serves: it knows of nobody. */
  forget(): void {
    for (const applied of this.#applied.values()) applied.gone = true;
    this.#commands.abandon();
    this.#applied.clear();
    this.#lacking.clear();
    this.reached.clear();
    this.#ports.applied();
  }

  /** Brings the engine up to date; to be called when the datapath changes as well. */
  async sync(): Promise<void> {
    this.#changes++;
    const known = [...this.#applied.values()].map(({ info }) => info.peer);
    await this.#follow([...known, ...this.#peers.keys()]);
  }

  async #follow(peers: Iterable<number>): Promise<void> {
    const each = new Set(peers);
    // Commands keep their order: an endpoint is free before another peer takes it.
    for (const peer of each) for (const applied of this.#of(peer)) this.#dropWhatChanged(applied);
    for (const peer of this.#silent) for (const applied of this.#of(peer)) this.#dropReplaced(applied, each);
    await Promise.all([...each].flatMap((peer) => this.#work(peer)));
  }

  #of(peer: number): Applied[] {
    return LANES.flatMap((lane) => this.#applied.get(enginePeer(peer, lane)) ?? []);
  }

  #dropWhatChanged(applied: Applied): void {
    const datapath = this.#ports.datapath();
    const endpoint = this.#endpoints(applied.info.peer).find(({ lane }) => lane === applied.lane);
    const current = datapath && endpoint && applied.instance === datapath.instance;
    if (!current || !same(endpoint, applied.endpoint)) this.#remove(applied);
  }

  /** Another peer is now where this silent one was: it will not come back as what it was. */
  #dropReplaced(applied: Applied, by: ReadonlySet<number>): void {
    const { address, port } = applied.endpoint;
    const there = (of: DataEndpoint): boolean => of.address === address && of.port === port;
    for (const other of by) {
      if (this.#silent.has(other) || !this.#endpoints(other).some(there)) continue;
      this.#remove(applied);
      return;
    }
  }

  #remove(applied: Applied): void {
    const { number, info } = applied;
    this.#drop(applied);
    this.#commands
      .send(`the removal of peer ${info.peer}`, (api, engine) => api.removePeer(engine, number))
      .catch((cause) => {
        // One that it never took is gone as well.
        if (!(cause instanceof InsaneError && cause.details["errno"] === ENOENT)) this.#ports.failed(cause);
      });
  }

  /** Nothing of it counts any more. */
  #drop(applied: Applied): void {
    applied.gone = true;
    this.#applied.delete(applied.number);
    this.#show(applied, false);
  }

  /** Its routes are reached from now on, or are not. */
  #show(applied: Applied, shown: boolean): void {
    if (applied.shown === shown) return;
    applied.shown = shown;
    for (const { stream, channel } of routesIn(applied.routes)) {
      if (shown) this.reached.add(stream, channel);
      else this.reached.remove(stream, channel);
    }
    this.#tell();
  }

  /** What brings one peer up to date. */
  #work(peer: number): Array<Promise<void>> {
    this.#lacking.delete(peer);
    const info = this.#peers.get(peer);
    const datapath = this.#ports.datapath();
    if (!info || !datapath) return [];
    if (this.#silent.has(peer)) return this.#of(peer).map((applied) => this.#again(applied));
    return this.#endpoints(peer).map(({ lane, ...endpoint }) => {
      const number = enginePeer(peer, lane);
      const { instance } = datapath;
      let applied = this.#applied.get(number);
      if (!applied) {
        const state = { muted: false, shown: true, again: false, lacks: false, began: this.#changes, gone: false };
        applied = { number, lane, instance, endpoint, routes: new Map(), info, working: null, ...state };
        this.#applied.set(number, applied);
        applied.working = this.#bringUp(applied);
        return applied.working;
      }
      if (applied.info === info && applied.working && applied.shown) return applied.working;
      applied.info = info;
      return this.#again(applied);
    });
  }

  #again(applied: Applied): Promise<void> {
    applied.again = true;
    applied.working ??= this.#bringUpToDate(applied);
    return applied.working;
  }

  async #bringUp(applied: Applied): Promise<void> {
    const { number, lane, instance, endpoint, info } = applied;
    const to = { ...endpoint, mtu: technologyOf(lane) === "udp" ? WHOLE_DATAGRAMS : endpoint.mtu };
    const between = JSON.stringify([this.#ports.datapath()?.endpoint, endpoint]);
    const again = this.#met.get(number) === between;
    try {
      await this.#commands.send(`peer ${info.peer}`, (api, engine) =>
        again ? api.resumePeer(engine, number, instance, to) : api.setPeer(engine, number, instance, to),
      );
      if (this.#peers.has(info.peer)) this.#met.set(number, between);
    } catch (cause) {
      if (applied.gone) return;
      this.#failed(applied, cause);
      this.#drop(applied);
      // It may be elsewhere meanwhile, or whoever was in its place gone.
      if (applied.again || applied.began !== this.#changes) await this.#follow([info.peer]);
      return;
    }
    await this.#bringUpToDate(applied);
  }

  async #bringUpToDate(applied: Applied): Promise<void> {
    try {
      do {
        applied.again = false;
        applied.lacks = false;
        applied.began = this.#changes;
        const update = this.#silent.has(applied.info.peer) ? this.#mute(applied, true) : this.#update(applied);
        await update.catch((cause) => this.#failed(applied, cause));
        applied.again ||= applied.lacks && applied.began !== this.#changes;
      } while (applied.again && !applied.gone);
    } finally {
      // Here and not a turn later: who asks from now on must find nobody at work.
      applied.working = null;
      this.#tell();
    }
  }

  async #mute(applied: Applied, muted: boolean): Promise<void> {
    if (applied.muted === muted) return;
    const what = `${muted ? "silence" : "the return"} of peer ${applied.info.peer}`;
    await this.#commands.send(what, (api, engine) => api.mutePeer(engine, applied.number, Number(muted)));
    applied.muted = muted;
  }

  /** One peer that cannot be reached does not cut off the others. */
  #failed(applied: Applied, cause: unknown): void {
    if (applied.gone) return;
    this.#lack(applied);
    if (!(cause instanceof InsaneError && cause.code === "ESYSTEM")) this.#ports.failed(cause);
    else this.#wishes.refuse(applied.info, WARNING_CODES.PEER_REFUSED, `gets no messages: ${cause.message}`);
  }

  #lack(applied: Applied): void {
    applied.lacks = true;
    this.#lacking.add(applied.info.peer);
  }

  /** Where datagrams of a peer may come from and go to on this engine. */
  #endpoints(peer: number): ReadonlyArray<DataEndpoint> {
    const here = this.#ports.datapath()?.endpoint;
    const endpoints = this.#peers.get(peer)?.endpoints ?? [];
    if (!here) return [];
    // One that names our own endpoint would have us talk to ourselves.
    return endpoints.filter(
      (there) =>
        reaches({ ...here, lane: this.#ports.lane, provider: this.#ports.provider?.() }, there) &&
        !(there.address === here.address && there.port === here.port),
    );
  }

  /** Brings the routes of one peer up to date, or to where its next update begins. */
  async #update(applied: Applied): Promise<void> {
    const { routes, info, lane } = applied;
    const { wanted, collides } = this.#wishes.of(info, lane);
    if (collides) this.#lack(applied);
    const others = this.#others(applied);
    const send = (what: string, command: Command): Promise<number> => this.#commands.send(what, command);
    const over = await moveRoutes(this.#ports, send, { ...applied, wanted }, missing(routes, wanted), others);
    for (let at = 0; at < over.length && !stale(applied); at += ROUTES_AT_ONCE) {
      const some = over.slice(at, at + ROUTES_AT_ONCE);
      // Nobody may count on them from here on.
      for (const route of some) {
        removeRoute(routes, route);
        if (applied.shown) this.reached.remove(route.stream, route.channel);
      }
      for (let done = 0; done < some.length && !applied.gone; ) {
        done += (await this.#change(applied, "removeRoutes", some.slice(done), ENOENT)).done;
      }
    }
    // What could not be moved is to come there all the same.
    for (const { number, ...other } of others) {
      const there = this.#applied.get(number);
      if (there && over.some((route) => hasRoute(other.wanted, route))) void this.#again(there);
    }
    const fresh = missing(wanted, routes).filter((route) => !comes(route, others));
    for (let at = 0; at < fresh.length && !stale(applied); ) {
      const some = fresh.slice(at, at + ROUTES_AT_ONCE);
      const { done, full } = await this.#change(applied, "addRoutes", some, EEXIST);
      if (applied.gone) return;
      for (const route of some.slice(0, done)) {
        addRoute(routes, route);
        if (applied.shown) this.reached.add(route.stream, route.channel);
      }
      at += done;
      if (!full) continue;
      at++;
      this.#lack(applied);
      const why = `gets no messages of channel ${full.channel} of stream ${full.stream}: as many peers get them as can`;
      this.#wishes.refuse(applied.info, WARNING_CODES.PEER_REFUSED, why);
    }
    if (stale(applied)) return;
    await this.#mute(applied, false);
    if (!stale(applied)) this.#show(applied, true);
  }

  /** The other endpoints of its peer. */
  #others(applied: Applied): Place[] {
    const info = this.#peers.get(applied.info.peer);
    if (!info) return [];
    return this.#of(info.peer)
      .filter((other) => other !== applied && !other.muted && other.shown)
      .map((other) => ({ ...other, wanted: this.#wishes.of(info, other.lane).wanted }));
  }

  /** Adds or removes the first of these routes. `fine`: of which refusal nothing is to be done. `full`: no room on that. */
  async #change(
    applied: Applied,
    how: "addRoutes" | "removeRoutes",
    some: ReadonlyArray<Route>,
    fine: number,
  ): Promise<{ readonly done: number; readonly full: Route | undefined }> {
    const pairs = new Uint32Array(2 * some.length);
    for (const [i, { tag, channel }] of some.entries()) pairs.set([tag, channel], 2 * i);
    const what = `${some.length} routes to peer ${applied.info.peer}`;
    try {
      await this.#commands.send(what, (api, engine) => api[how](engine, applied.number, pairs, some.length));
      return { done: some.length, full: undefined };
    } catch (cause) {
      if (!(cause instanceof InsaneError)) throw cause;
      const { errno, value } = cause.details;
      const done = Number(value);
      if (errno === fine) return { done: done + 1, full: undefined };
      if (errno !== EMLINK) throw cause;
      return { done, full: some[done] };
    }
  }

  /** What is reachable may be something else: told once for all that happens in one turn. */
  #tell(): void {
    if (!this.#told) return;
    this.#told = false;
    queueMicrotask(() => {
      this.#told = true;
      this.#ports.applied();
    });
  }
}

const stale = ({ again, gone }: Applied): boolean => again || gone;

/** By which numbers an engine knows the endpoints of a peer. */
export const enginePeers = (peer: number): { readonly first: number; readonly count: number } => ({
  first: peer * PEER_ENDPOINTS,
  count: PEER_ENDPOINTS,
});
const enginePeer = (peer: number, lane: Lane): number => enginePeers(peer).first + LANES.indexOf(lane);

/** Kernel UDP puts fragments together again: what it takes is bounded by the datagram, not by the interface. */
const WHOLE_DATAGRAMS = 65535;

const same = (a: DataEndpoint | Endpoint, b: DataEndpoint | Endpoint): boolean =>
  a.address === b.address && a.port === b.port && a.mtu === b.mtu && (a.trains ?? true) === (b.trains ?? true);
