// Keeps one engine's peers and routes equal to what the directory tells: from where peers may send, at which of their
// endpoints they want which channels. One change at a time; what failed is tried again with the next change. A silent peer
// is muted and not removed: the engine keeps what it knows of its flows, in both directions.
import type { Command } from "../effects/engine.ts";
import type { Endpoint } from "../native/engine.ts";
import { InsaneError, WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import { NETWORK_TECHNOLOGIES } from "../qos/strategy.ts";
import type { DataEndpoint, PeerInfo } from "./directory.ts";

export interface RoutePorts {
  /** The technology of the engine's datapath. */
  readonly technology: NetworkTechnology;
  /** Resolves when acknowledged. */
  command(what: string, send: Command): Promise<number>;
  /** The datapath instance that peers are reached over, and where it is; null while there is none. */
  datapath(): { readonly instance: number; readonly endpoint: Endpoint } | null;
  /** The stream of this host that has a tag, if one does: a peer's stream of another name and the same tag is not it. */
  owner(tag: number): string | undefined;
  /** A peer wants a stream whose tag is another stream's here; told once a peer and name. */
  collision(peer: PeerInfo, stream: string, owner: string): void;
  /** A peer gets no messages, or not those of all channels that it wants; told once a peer and code. */
  refused(code: Warning["code"], message: string): void;
  /** What is reachable has changed. */
  applied(): void;
  failed(cause: unknown): void;
}

/** Channels that messages are sent to one peer on: an engine has room for so many, and others need theirs. */
export const ROUTES_A_PEER = 16_384;

interface Route {
  readonly tag: number;
  readonly channel: number;
  readonly stream: string;
}

/** One endpoint of one peer: to an engine that is a peer of its own, because each numbers its flows by itself. */
interface Applied {
  readonly peer: number;
  readonly technology: NetworkTechnology;
  readonly instance: number;
  readonly endpoint: Endpoint;
  readonly routes: Map<string, Route>;
  /** The engine has been told to send it nothing. */
  muted: boolean;
}

export class Routes {
  readonly #ports: RoutePorts;
  readonly #peers = new Map<number, PeerInfo>();
  readonly #silent = new Set<number>();
  readonly #applied = new Map<number, Applied>();
  /** Between which endpoints the engine, or one before it, had a peer: flows between these may be under way. */
  readonly #met = new Map<number, string>();
  readonly #collisions = new Set<string>();
  readonly #refused = new Set<string>();
  #running: Promise<void> | null = null;
  #again = false;

  constructor(ports: RoutePorts) {
    this.#ports = ports;
  }

  /** What can be reached: routes that the engine has acknowledged. */
  get remote(): ReadonlyArray<Route> {
    return this.#reachable.flatMap(({ routes }) => [...routes.values()]);
  }

  /** A name that peers use for this tag and that is not `stream`, or undefined. */
  foreign(tag: number, stream: string): string | undefined {
    for (const { routes } of this.#reachable) {
      for (const route of routes.values()) if (route.tag === tag && route.stream !== stream) return route.stream;
    }
    return undefined;
  }

  /** Resolves when the engine has been told, or cannot be. */
  set(info: PeerInfo): Promise<void> {
    this.#peers.set(info.peer, info);
    this.#silent.delete(info.peer);
    return this.sync();
  }

  /** It gets no messages until it is set again or removed. */
  silence(peer: number): void {
    if (!this.#peers.has(peer)) return;
    this.#silent.add(peer);
    void this.sync();
  }

  remove(peer: number): void {
    const { first, count } = enginePeers(peer);
    for (let number = first; number < first + count; number++) this.#met.delete(number);
    this.#silent.delete(peer);
    if (this.#peers.delete(peer)) void this.sync();
  }

  /** Another engine serves: it knows of nobody. */
  forget(): void {
    this.#applied.clear();
    this.#ports.applied();
  }

  /** Brings the engine up to date; to be called when the datapath changes as well. */
  sync(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  get #reachable(): Applied[] {
    return [...this.#applied.values()].filter(({ peer, muted }) => !muted && !this.#silent.has(peer));
  }

  async #run(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        await this.#pass();
        this.#ports.applied();
      }
    } catch (cause) {
      this.#ports.failed(cause);
    } finally {
      // Here and not a turn later: who asks from now on must find nobody running.
      this.#running = null;
    }
  }

  async #pass(): Promise<void> {
    const datapath = this.#ports.datapath();
    for (const [number, applied] of [...this.#applied]) {
      const endpoint = this.#endpoints(applied.peer).find(({ technology }) => technology === applied.technology);
      const current = datapath && endpoint && applied.instance === datapath.instance;
      if (current && same(endpoint, applied.endpoint) && !this.#replaced(applied)) continue;
      this.#applied.delete(number);
      await this.#ports.command(`the removal of peer ${applied.peer}`, (api, engine) => api.removePeer(engine, number));
    }
    if (!datapath) return;
    for (const applied of this.#applied.values()) if (this.#silent.has(applied.peer)) await this.#mute(applied, true);
    for (const info of [...this.#peers.values()]) {
      if (this.#silent.has(info.peer)) continue;
      for (const endpoint of this.#endpoints(info.peer)) {
        try {
          await this.#endpoint(info, datapath.instance, endpoint);
        } catch (cause) {
          // One peer that cannot be reached does not cut off the others.
          if (!(cause instanceof InsaneError && cause.code === "ESYSTEM")) this.#ports.failed(cause);
          else this.#refuse(info, WARNING_CODES.PEER_REFUSED, `gets no messages: ${cause.message}`);
        }
      }
    }
  }

  async #mute(applied: Applied, muted: boolean): Promise<void> {
    if (applied.muted === muted) return;
    const number = enginePeer(applied.peer, applied.technology);
    const what = `${muted ? "silence" : "the return"} of peer ${applied.peer}`;
    await this.#ports.command(what, (api, engine) => api.mutePeer(engine, number, Number(muted)));
    applied.muted = muted;
  }

  /** Another peer is now where this one was: it will not come back as what it was. */
  #replaced({ peer, endpoint: { address, port } }: Applied): boolean {
    if (!this.#silent.has(peer)) return false;
    const there = (of: DataEndpoint): boolean => of.address === address && of.port === port;
    return [...this.#peers.keys()].some((other) => !this.#silent.has(other) && this.#endpoints(other).some(there));
  }

  /** Where datagrams of a peer may come from and go to on this engine. */
  #endpoints(peer: number): ReadonlyArray<DataEndpoint> {
    const here = this.#ports.datapath()?.endpoint;
    const endpoints = this.#peers.get(peer)?.endpoints ?? [];
    if (!here) return [];
    // One that names our own endpoint would have us talk to ourselves.
    return endpoints.filter(
      (there) =>
        reaches({ ...here, technology: this.#ports.technology }, there) &&
        !(there.address === here.address && there.port === here.port),
    );
  }

  #refuse({ peer, name, endpoint }: PeerInfo, code: Warning["code"], why: string): void {
    const key = `${peer} ${code}`;
    if (this.#refused.has(key)) return;
    this.#refused.add(key);
    this.#ports.refused(code, `Peer ${name} at ${endpoint} ${why}.`);
  }

  async #endpoint(info: PeerInfo, instance: number, at: DataEndpoint): Promise<void> {
    const { peer } = info;
    const { technology, ...endpoint } = at;
    const number = enginePeer(peer, technology);
    let applied = this.#applied.get(number);
    if (!applied) {
      const to = { ...endpoint, mtu: technology === "udp" ? WHOLE_DATAGRAMS : endpoint.mtu };
      const between = JSON.stringify([this.#ports.datapath()?.endpoint, endpoint]);
      const again = this.#met.get(number) === between;
      await this.#ports.command(`peer ${peer}`, (api, engine) =>
        again ? api.resumePeer(engine, number, instance, to) : api.setPeer(engine, number, instance, to),
      );
      applied = { peer, technology, instance, endpoint, routes: new Map(), muted: false };
      this.#applied.set(number, applied);
      this.#met.set(number, between);
    }
    await this.#channels(info, number, applied);
    await this.#mute(applied, false);
  }

  async #channels(info: PeerInfo, number: number, { routes, technology }: Applied): Promise<void> {
    const { peer } = info;
    const knows = info.knows.includes(this.#ports.technology);
    const ours = info.subscriptions.filter((wanted) => {
      // A peer that does not take what comes from here would lose it.
      if (wanted.technology !== technology || !knows) return false;
      const owner = this.#ports.owner(wanted.tag);
      if (owner === undefined || owner === wanted.stream) return true;
      const collision = `${peer}:${wanted.stream}`;
      if (!this.#collisions.has(collision)) this.#ports.collision(info, wanted.stream, owner);
      this.#collisions.add(collision);
      return false;
    });
    if (ours.length > ROUTES_A_PEER) {
      const why = `wants messages of ${ours.length} channels, and gets those of ${ROUTES_A_PEER}`;
      this.#refuse(info, WARNING_CODES.ANNOUNCEMENT_CUT, why);
    }
    const wanted = new Map(ours.slice(0, ROUTES_A_PEER).map((route) => [`${route.tag}:${route.channel}`, route]));
    for (const [key, { tag, channel }] of [...routes]) {
      if (wanted.has(key)) continue;
      routes.delete(key);
      await this.#ports.command(`a route to peer ${peer}`, (api, engine) =>
        api.removeRoute(engine, tag, channel, number),
      );
    }
    for (const [key, { tag, channel, stream }] of wanted) {
      if (routes.has(key)) continue;
      await this.#ports.command(`a route to peer ${peer}`, (api, engine) => api.addRoute(engine, tag, channel, number));
      routes.set(key, { tag, channel, stream });
    }
  }
}

/** By which numbers an engine knows the endpoints of a peer. */
export const enginePeers = (peer: number): { readonly first: number; readonly count: number } => ({
  first: peer * NETWORK_TECHNOLOGIES.length,
  count: NETWORK_TECHNOLOGIES.length,
});
const enginePeer = (peer: number, technology: NetworkTechnology): number =>
  enginePeers(peer).first + NETWORK_TECHNOLOGIES.indexOf(technology);

/** Kernel UDP puts fragments together again: what it takes is bounded by the datagram, not by the interface. */
const WHOLE_DATAGRAMS = 65535;

/** Datapaths that send the same UDP/IPv4 datagrams. */
const DATAGRAMS: ReadonlyArray<NetworkTechnology> = ["udp", "xdp", "dpdk"];

/** Whether a datapath at `here` can exchange datagrams with one at `there`. */
export function reaches(here: Pick<DataEndpoint, "technology" | "address">, there: DataEndpoint): boolean {
  if (here.technology === "udp" && there.technology === "udp") return true;
  // What stays on one host goes through its kernel, past every other datapath.
  if (here.address === there.address) return false;
  return (
    here.technology === there.technology || [here, there].every(({ technology }) => DATAGRAMS.includes(technology))
  );
}

const same = (a: Endpoint, b: Endpoint): boolean => a.address === b.address && a.port === b.port && a.mtu === b.mtu;
