// Keeps an engine's peers and routes equal to what the directory tells: which peer is reached where, and which channels
// it wants. One change at a time; what failed is tried again with the next change.
import type { Command } from "../effects/engine.ts";
import type { Endpoint } from "../native/engine.ts";
import type { DataEndpoint, PeerInfo } from "./directory.ts";

export interface RoutePorts {
  /** Resolves when acknowledged. */
  command(what: string, send: Command): Promise<number>;
  /** The datapath instance that peers are reached over, and its technology; null while there is none. */
  datapath(): { readonly instance: number; readonly technology: DataEndpoint["technology"] } | null;
  /** The stream of this host that has a tag, if one does: a peer's stream of another name and the same tag is not it. */
  owner(tag: number): string | undefined;
  /** A peer wants a stream whose tag is another stream's here; told once a peer and name. */
  collision(peer: PeerInfo, stream: string, owner: string): void;
  /** What is reachable has changed. */
  applied(): void;
  failed(cause: unknown): void;
}

interface Applied {
  readonly instance: number;
  readonly endpoint: Endpoint;
  readonly routes: Map<string, { readonly tag: number; readonly channel: number; readonly stream: string }>;
}

export class Routes {
  readonly #ports: RoutePorts;
  readonly #peers = new Map<number, PeerInfo>();
  readonly #applied = new Map<number, Applied>();
  readonly #collisions = new Set<string>();
  #running = false;
  #again = false;

  constructor(ports: RoutePorts) {
    this.#ports = ports;
  }

  /** Peers that are alive. */
  get peers(): ReadonlyArray<PeerInfo> {
    return [...this.#peers.values()];
  }

  /** What can be reached: routes that the engine has acknowledged. */
  get remote(): ReadonlyArray<{ readonly stream: string; readonly channel: number }> {
    return [...this.#applied.values()].flatMap(({ routes }) => [...routes.values()]);
  }

  /** A name that peers use for this tag and that is not `stream`, or undefined. */
  foreign(tag: number, stream: string): string | undefined {
    for (const { routes } of this.#applied.values()) {
      for (const route of routes.values()) if (route.tag === tag && route.stream !== stream) return route.stream;
    }
    return undefined;
  }

  set(info: PeerInfo): void {
    this.#peers.set(info.peer, info);
    void this.sync();
  }

  remove(peer: number): void {
    if (this.#peers.delete(peer)) void this.sync();
  }

  /** Another engine serves: it knows of nobody. */
  forget(): void {
    this.#applied.clear();
    this.#ports.applied();
  }

  /** Brings the engine up to date; to be called when the datapath changes as well. */
  async sync(): Promise<void> {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#again) {
        this.#again = false;
        await this.#pass();
        this.#ports.applied();
      }
    } catch (cause) {
      this.#ports.failed(cause);
    } finally {
      this.#running = false;
    }
  }

  async #pass(): Promise<void> {
    const datapath = this.#ports.datapath();
    for (const [peer, applied] of [...this.#applied]) {
      const endpoint = datapath && endpointOf(this.#peers.get(peer), datapath.technology);
      if (endpoint && applied.instance === datapath.instance && same(endpoint, applied.endpoint)) continue;
      this.#applied.delete(peer);
      await this.#ports.command(`the removal of peer ${peer}`, (api, engine) => api.removePeer(engine, peer));
    }
    if (!datapath) return;
    for (const info of this.peers) {
      const endpoint = endpointOf(info, datapath.technology);
      if (!endpoint) continue;
      try {
        await this.#peer(info, datapath.instance, endpoint);
      } catch (cause) {
        // One peer that cannot be reached does not cut off the others.
        this.#ports.failed(cause);
      }
    }
  }

  async #peer(info: PeerInfo, instance: number, endpoint: Endpoint): Promise<void> {
    const { peer } = info;
    let applied = this.#applied.get(peer);
    if (!applied) {
      await this.#ports.command(`peer ${peer}`, (api, engine) => api.setPeer(engine, peer, instance, endpoint));
      applied = { instance, endpoint, routes: new Map() };
      this.#applied.set(peer, applied);
    }
    await this.#channels(info, applied);
  }

  async #channels(info: PeerInfo, { routes }: Applied): Promise<void> {
    const { peer } = info;
    const ours = info.subscriptions.filter(({ tag, stream }) => {
      const owner = this.#ports.owner(tag);
      if (owner === undefined || owner === stream) return true;
      const collision = `${peer}:${stream}`;
      if (!this.#collisions.has(collision)) this.#ports.collision(info, stream, owner);
      this.#collisions.add(collision);
      return false;
    });
    const wanted = new Map(ours.map((route) => [`${route.tag}:${route.channel}`, route]));
    for (const [key, { tag, channel }] of [...routes]) {
      if (wanted.has(key)) continue;
      routes.delete(key);
      await this.#ports.command(`a route to peer ${peer}`, (api, engine) =>
        api.removeRoute(engine, tag, channel, peer),
      );
    }
    for (const [key, route] of wanted) {
      if (routes.has(key)) continue;
      const { tag, channel } = route;
      await this.#ports.command(`a route to peer ${peer}`, (api, engine) => api.addRoute(engine, tag, channel, peer));
      routes.set(key, route);
    }
  }
}

/** Where a peer is reached over a technology. Datapaths that speak the same datagrams reach each other's endpoints. */
export function endpointOf(
  info: PeerInfo | undefined,
  technology: DataEndpoint["technology"],
): DataEndpoint | undefined {
  return info?.endpoints.find((endpoint) => endpoint.technology === technology);
}

const same = (a: Endpoint, b: Endpoint): boolean => a.address === b.address && a.port === b.port && a.mtu === b.mtu;
