// What control tells an engine, wherever that runs: a thread of this process takes addresses, a process of its own takes
// descriptors. Both give back the number that the acknowledgement will carry.
import { endpointLimits } from "./endpoint-limits.ts";
import type { DatapathHandle, Endpoint, EngineHandle, Engines } from "./engine.ts";
import { FRAME } from "./engine-frames.ts";
import { ipv4ToNetwork } from "./ipv4.ts";

/** A segment as mapped here, and its descriptor for an engine that has to map it itself. */
export interface Shared {
  readonly address: bigint;
  readonly bytes: number;
  readonly fd: number;
}

/** The commands of `Engines`, and of core/engine.h; those that hand over memory take it in both forms. */
export interface EngineCommands
  extends Pick<
    Engines,
    | "addDatapath"
    | "removeDatapath"
    | "setPeer"
    | "resumePeer"
    | "removePeer"
    | "mutePeer"
    | "addRoutes"
    | "removeRoutes"
    | "removePool"
    | "addSource"
    | "removeSource"
    | "subscribe"
    | "unsubscribe"
    | "removeLink"
    | "setSchedule"
    | "setClass"
    | "setBatching"
    | "ping"
    | "holdLink"
    | "retireLink"
    | "moveRoute"
    | "accountFlow"
    | "tellFlow"
    | "removeDomain"
    | "setDomain"
    | "removeAssembly"
    | "setAssembly"
  > {
  addEgress(
    engine: EngineHandle,
    link: number,
    datapath: number,
    tag: number,
    segment: Shared,
    entries: number,
    parked: Shared,
    bell: number,
  ): number;
  addPool(engine: EngineHandle, link: number, index: number, pool: Shared, payloadBytes: number): number;
  addIngress(
    engine: EngineHandle,
    link: number,
    segment: Shared,
    entries: number,
    parked: Shared,
    bell: number,
  ): number;
  /** Writable; to be sealed against other writers once this is acknowledged. */
  addDomain(engine: EngineHandle, domain: number, memory: Shared): number;
  addAssembly(engine: EngineHandle, assembly: number, memory: Shared, payload: number): number;
}

/** For an engine whose thread is in this process. */
export const threadCommands = (api: Engines): EngineCommands => ({
  ...api,
  addEgress: (engine, link, datapath, tag, { address, bytes }, entries, parked, bell) =>
    api.addEgress(engine, link, datapath, tag, address, bytes, entries, parked.address, bell),
  addPool: (engine, link, index, { address, bytes }, payload) =>
    api.addPool(engine, link, index, address, bytes, payload),
  addIngress: (engine, link, { address, bytes }, entries, parked, bell) =>
    api.addIngress(engine, link, address, bytes, entries, parked.address, bell),
  addDomain: (engine, domain, { address, bytes }) => api.addDomain(engine, domain, address, bytes),
  addAssembly: (engine, assembly, { address, bytes }, payload) =>
    api.addAssembly(engine, assembly, address, bytes, payload),
});

/** What a frame carries besides its words. */
export interface FrameExtras {
  readonly bytes?: number;
  readonly data?: Uint8Array;
  readonly fds?: ReadonlyArray<number>;
}

/** For an engine in a process of its own; `order` sends a frame and returns its number. */
export function processCommands(
  order: (kind: number, words: ReadonlyArray<number>, extras?: FrameExtras) => number,
): EngineCommands {
  const words =
    (kind: number) =>
    (_: EngineHandle, ...values: ReadonlyArray<number>): number =>
      order(kind, values);
  const endpoint =
    (kind: number) =>
    (_: EngineHandle, peer: number, datapath: number, at: Endpoint): number =>
      order(kind, [peer, datapath, ipv4ToNetwork(at.address), at.port, endpointLimits(at)]);
  const routes =
    (kind: number) =>
    (_: EngineHandle, peer: number, pairs: Uint32Array, count: number): number =>
      order(kind, [peer, count], { data: new Uint8Array(pairs.buffer, pairs.byteOffset, 8 * count) });
  return {
    ping: words(FRAME.PING),
    addDatapath: (_, id, datapath: DatapathHandle) => order(FRAME.ADD_DATAPATH, [id, Number(datapath)]),
    removeDatapath: words(FRAME.REMOVE_DATAPATH),
    setPeer: endpoint(FRAME.SET_PEER),
    resumePeer: endpoint(FRAME.RESUME_PEER),
    removePeer: words(FRAME.REMOVE_PEER),
    mutePeer: words(FRAME.MUTE_PEER),
    addRoutes: routes(FRAME.ADD_ROUTES),
    removeRoutes: routes(FRAME.REMOVE_ROUTES),
    addEgress: (_, link, datapath, tag, { bytes, fd }, entries, parked, bell) =>
      order(FRAME.ADD_EGRESS, [link, datapath, tag, entries], { bytes, fds: [fd, parked.fd, bell] }),
    addPool: (_, link, index, { bytes, fd }, payload) =>
      order(FRAME.ADD_POOL, [link, index, payload], { bytes, fds: [fd] }),
    removePool: words(FRAME.REMOVE_POOL),
    addSource: words(FRAME.ADD_SOURCE),
    removeSource: words(FRAME.REMOVE_SOURCE),
    addIngress: (_, link, { bytes, fd }, entries, parked, bell) =>
      order(FRAME.ADD_INGRESS, [link, entries], { bytes, fds: [fd, parked.fd, bell] }),
    subscribe: words(FRAME.SUBSCRIBE),
    unsubscribe: words(FRAME.UNSUBSCRIBE),
    removeLink: words(FRAME.REMOVE_LINK),
    setSchedule: (_, datapath, list) => order(FRAME.SET_SCHEDULE, [datapath], { data: list }),
    setClass: words(FRAME.SET_CLASS),
    setBatching: words(FRAME.SET_BATCHING),
    holdLink: (_, link, held) => order(FRAME.HOLD_LINK, [link, Number(held)]),
    retireLink: words(FRAME.RETIRE_LINK),
    moveRoute: words(FRAME.MOVE_ROUTE),
    accountFlow: (_, { host, tag, channel, source, flow, sent }) =>
      order(FRAME.ACCOUNT_FLOW, [host, tag, channel, source, flow], { bytes: sent }),
    tellFlow: (_, { host, tag, channel, source, flow, sent }) =>
      order(FRAME.TELL_FLOW, [host, tag, channel, source, flow], { bytes: sent }),
    addDomain: (_, domain, { bytes, fd }) => order(FRAME.ADD_DOMAIN, [domain], { bytes, fds: [fd] }),
    removeDomain: words(FRAME.REMOVE_DOMAIN),
    setDomain: words(FRAME.SET_DOMAIN),
    addAssembly: (_, assembly, { bytes, fd }, payload) =>
      order(FRAME.ADD_ASSEMBLY, [assembly, payload], { bytes, fds: [fd] }),
    removeAssembly: words(FRAME.REMOVE_ASSEMBLY),
    setAssembly: words(FRAME.SET_ASSEMBLY),
  };
}
