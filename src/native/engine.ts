// The typed face of core/engine.h and of the datapath registry (core/datapath.h): thin functions, what they fill in decoded
// by engine-events.ts and probe.ts. Importing is free; the library is loaded by the first call of `engines()`.

import { InsaneError } from "../protocol/codes.ts";
import { endpointLimits, limitsOf } from "./endpoint-limits.ts";
import { configWords, type EngineConfig } from "./engine-config.ts";
import { decodeEvent, type EndedFlow, type EngineEvent, EVENT_BYTES } from "./engine-events.ts";
import { ipv4FromNetwork, ipv4ToNetwork } from "./ipv4.ts";
import { loadLibrary } from "./library.ts";
import { check, ERRNO, systemError } from "./platform.ts";
import { decodeProbe, PROBE_BYTES, type Probe } from "./probe.ts";

/** Address of a native `struct ins_engine`; 0n when there is none. */
export type EngineHandle = bigint;
/** Address of an open `struct ins_datapath`. */
export type DatapathHandle = bigint;

/** Where an open datapath listens. */
export interface Endpoint {
  /** Dotted IPv4. */
  readonly address: string;
  readonly port: number;
  /** Largest IP datagram. */
  readonly mtu: number;
  /** False: a train that a virtual link hands over in one piece is lost there. */
  readonly trains?: boolean;
}

/**
 * Functions named as in engine.h and datapath.h. Commands return their sequence (> 0), which comes back in an `ack` event;
 * they throw `ELIMIT` when the queue is full (256 commands wait: the engine hangs or nobody polls it), `ECLOSED` when
 * the engine is stopped, and `ESYSTEM` for arguments out of range.
 */
export interface Engines {
  /** Mappings by address: the receive pool (writable), the parked page (writable), the counter segment. */
  create(
    config: EngineConfig,
    receivePool: bigint,
    receivePoolBytes: number,
    parkedPage: bigint,
    counters: bigint,
    firstCounter: number,
  ): EngineHandle;
  /** False: it did not end in time and must be quarantined; nothing of it may be unmapped. Blocks at most `timeoutMs`. */
  stop(engine: EngineHandle, timeoutMs: number): boolean;
  destroy(engine: EngineHandle): void;
  /** The thread of `host` serves it as well from now on; 0n: its own thread. Throws `ESYSTEM` where that cannot be. */
  serveBy(engine: EngineHandle, host: EngineHandle): void;
  /** 0, or the negative errno of pinning its thread; -11 (EAGAIN): not known yet. */
  pinned(engine: EngineHandle): number;
  /** Readable while events wait. */
  eventFd(engine: EngineHandle): number;
  /** The next event, or null. Take them until null. */
  nextEvent(engine: EngineHandle): EngineEvent | null;

  /**
   * One turn on this thread (hot loops: turns.ts): how much was moved, or -16 (EBUSY: the thread is inside, try again),
   * -1 (EPERM: no lease), -108 (ESHUTDOWN).
   */
  readonly poll: (engine: EngineHandle, receiveBudget: number) => number;
  /** The owner stops polling for now: the engine's thread serves until the next poll. */
  readonly release: (engine: EngineHandle) => number;

  addDatapath(engine: EngineHandle, id: number, datapath: DatapathHandle): number;
  removeDatapath(engine: EngineHandle, id: number): number;
  setPeer(engine: EngineHandle, peer: number, datapath: number, endpoint: Endpoint): number;
  /** `setPeer` for one that was set before, in this engine or one that it replaces. */
  resumePeer(engine: EngineHandle, peer: number, datapath: number, endpoint: Endpoint): number;
  removePeer(engine: EngineHandle, peer: number): number;
  /** A muted peer gets no messages; its flows are kept and go on afterwards. */
  mutePeer(engine: EngineHandle, peer: number, muted: number): number;
  /**
   * `pairs`: `count` times tag and channel, at most `ROUTES_AT_ONCE`. Done in order up to the first that is refused: the
   * acknowledgement's value is how many were done.
   */
  addRoutes(engine: EngineHandle, peer: number, pairs: Uint32Array, count: number): number;
  removeRoutes(engine: EngineHandle, peer: number, pairs: Uint32Array, count: number): number;
  /** `parked` 0n or `bell` -1: never rung. */
  addEgress(
    engine: EngineHandle,
    link: number,
    datapath: number,
    tag: number,
    segment: bigint,
    bytes: number,
    entries: number,
    parked: bigint,
    bell: number,
  ): number;
  addPool(engine: EngineHandle, link: number, index: number, base: bigint, bytes: number, payloadBytes: number): number;
  removePool(engine: EngineHandle, link: number, index: number): number;
  addSource(
    engine: EngineHandle,
    link: number,
    index: number,
    source: number,
    channelIndex: number,
    channel: number,
  ): number;
  removeSource(engine: EngineHandle, link: number, index: number): number;
  addIngress(
    engine: EngineHandle,
    link: number,
    segment: bigint,
    bytes: number,
    entries: number,
    parked: bigint,
    bell: number,
  ): number;
  subscribe(engine: EngineHandle, link: number, tag: number, channel: number, channelIndex: number): number;
  unsubscribe(engine: EngineHandle, link: number, tag: number, channel: number): number;
  removeLink(engine: EngineHandle, link: number): number;
  addBell(engine: EngineHandle, bell: number): number;
  removeBell(engine: EngineHandle, bell: number): number;
  /** The datapath sends by this list (`encodeGateList`) from its next cycle on; the acknowledgement says how many were past. */
  setSchedule(engine: EngineHandle, datapath: number, list: Uint8Array): number;
  /** Traffic class, 0 to 7, of an egress link. Acknowledged with the number of its `LATENCIES` plus one, or 0. */
  setClass(engine: EngineHandle, link: number, trafficClass: number): number;
  /** Whether messages of an egress link share datagrams (1, as it begins) or each has its own (0). */
  setBatching(engine: EngineHandle, link: number, batching: number): number;
  ping(engine: EngineHandle): number;
  /** Re-binding, as engine.h says. */
  holdLink(engine: EngineHandle, link: number, held: boolean): number;
  retireLink(engine: EngineHandle, link: number, patienceMs: number): number;
  /** The acknowledgement's value: 1 when `marked` will follow. */
  moveRoute(engine: EngineHandle, tag: number, channel: number, from: number, to: number, patienceMs: number): number;
  /** The acknowledgement's value: 1 when the flow is known there. */
  accountFlow(engine: EngineHandle, flow: EndedFlow): number;
  tellFlow(engine: EngineHandle, flow: EndedFlow): number;
  /** A foreign trust domain: `memory` is a writable mapping. */
  addDomain(engine: EngineHandle, domain: number, memory: bigint, bytes: number): number;
  removeDomain(engine: EngineHandle, domain: number): number;
  setDomain(engine: EngineHandle, link: number, domain: number): number;
  /** Where large messages of up to `payload` bytes are put together: `memory` is a writable mapping. */
  addAssembly(engine: EngineHandle, assembly: number, memory: bigint, bytes: number, payload: number): number;
  removeAssembly(engine: EngineHandle, assembly: number): number;
  setAssembly(engine: EngineHandle, link: number, assembly: number): number;

  /** Names of the counters from `firstCounter` on, in order, without the prefix `engine.`. */
  counterNames(): ReadonlyArray<string>;

  /** Names in their fixed order: udp, xdp, dpdk, rdma. */
  datapathNames(): ReadonlyArray<string>;
  /** Whether a built datapath can sleep; false for those not built. */
  datapathCanPark(name: string): boolean;
  /** Read-only. Throws `ENOENT` for a name that is none. */
  probe(name: string, networkInterface?: string): Probe;
  /**
   * Opens an endpoint of its own; port 0 takes a free one. The endpoint returned is the one taken, with its MTU.
   * Throws `ESYSTEM` with the errno (`ENOSYS`: not built; `EADDRINUSE`; `EADDRNOTAVAIL`; `EINVAL`: options).
   */
  openDatapath(
    name: string,
    options: string,
    at: { readonly address: string; readonly port: number },
  ): { readonly handle: DatapathHandle; readonly endpoint: Endpoint };
  /** After its removal from the engine is acknowledged. */
  closeDatapath(datapath: DatapathHandle): void;
  datapathStats(datapath: DatapathHandle): Readonly<Record<string, number>>;
}

/** Routes that one command may carry (engine.h). */
export const ROUTES_AT_ONCE = 256;

const ENGINE_GONE = -108;

let bound: Engines | undefined;

/** Errors: those of `loadLibrary`. */
export function engines(): Engines {
  bound ??= bind();
  return bound;
}

function bind(): Engines {
  const library = loadLibrary();
  type Call = (...parameters: ReadonlyArray<unknown>) => number;
  const f = <T = Call>(definition: string): T => library.func(definition) as unknown as T;
  const text = new TextDecoder();
  const cString = (bytes: Uint8Array): string => {
    const end = bytes.indexOf(0);
    return text.decode(end < 0 ? bytes : bytes.subarray(0, end));
  };

  /** A command's sequence, or an error that says what to do. */
  const command = (name: string, parameters: string): ((...values: ReadonlyArray<unknown>) => number) => {
    const call = f(`int64_t ins_engine_${name}(void *engine${parameters ? `, ${parameters}` : ""})`);
    return (...values) => {
      const result = Number(call(...values));
      if (result > 0) return result;
      if (result === ERRNO.EAGAIN) {
        throw new InsaneError(
          "ELIMIT",
          `The engine's command queue is full (${name}). Wait for acknowledgements; if none come, it hangs.`,
          { command: name },
        );
      }
      if (result === ENGINE_GONE) {
        throw new InsaneError("ECLOSED", `The engine is stopped (${name}).`, { command: name });
      }
      throw systemError(result, `Engine command ${name}`);
    };
  };

  const raw = {
    create: f(
      "int ins_engine_create(const void *config, void *pool, uint64_t bytes, void *parked, void *counters, uint32_t first, void *out)",
    ),
    stop: f("int ins_engine_stop(void *engine, uint32_t timeout_ms)"),
    destroy: f("int ins_engine_destroy(void *engine)"),
    serveBy: f("int ins_engine_serve_by(void *engine, void *host)"),
    eventFd: f("int ins_engine_event_fd(void *engine)"),
    nextEvent: f("int ins_engine_next_event(void *engine, void *out)"),
    counter: f<(index: number) => string | null>("const char *ins_engine_counter(uint32_t index)"),
    name: f<(index: number) => string | null>("const char *ins_datapath_name(uint32_t index)"),
    flags: f("int ins_datapath_flags(const char *name)"),
    probe: f("int ins_datapath_probe(const char *name, const char *interface, void *out)"),
    open: f("int ins_datapath_open(const char *name, const char *options, void *at, void *out)"),
    close: f("int ins_datapath_close(void *datapath)"),
    stat: f("int ins_datapath_stat(void *datapath, uint32_t index, void *name, uint32_t bytes, void *value)"),
  };
  const endpointOf = (name: string): Engines["setPeer"] => {
    const call = command(name, "uint32_t peer, uint32_t datapath, uint32_t address, uint32_t port, uint32_t limits");
    return (engine, peer, datapath, at) =>
      call(engine, peer, datapath, ipv4ToNetwork(at.address), at.port, endpointLimits(at));
  };
  const addEgress = command(
    "add_egress",
    "uint32_t link, uint32_t datapath, uint32_t tag, void *segment, uint64_t bytes, uint32_t entries, void *parked, int bell",
  );
  const addIngress = command(
    "add_ingress",
    "uint32_t link, void *segment, uint64_t bytes, uint32_t entries, void *parked, int bell",
  );

  const holdLink = command("hold_link", "uint32_t link, uint32_t held");
  const flow = "uint32_t host, uint32_t tag, uint32_t channel, uint32_t source, uint32_t flow, uint64_t sent";
  const accountFlow = command("account_flow", flow);
  const tellFlow = command("tell_flow", flow);

  const eventBuffer = new ArrayBuffer(EVENT_BYTES);
  const eventBytes = new Uint8Array(eventBuffer);
  const event = new DataView(eventBuffer);
  const names = (next: (index: number) => string | null): string[] => {
    const all: string[] = [];
    for (let name = next(0); name !== null; name = next(all.length)) all.push(name);
    return all;
  };

  return {
    create(config, receivePool, bytes, parkedPage, counters, firstCounter) {
      const out = new BigUint64Array(1);
      check(
        raw.create(configWords(config), receivePool, bytes, parkedPage, counters, firstCounter, out),
        "Creating an engine",
        {
          receiveSlots: config.receiveSlots,
          receiveBytes: config.receiveBytes,
        },
      );
      return out[0] ?? 0n;
    },
    stop(engine, timeoutMs) {
      const result = raw.stop(engine, timeoutMs);
      if (result === -110) return false;
      check(result, "Stopping an engine", { timeoutMs });
      return true;
    },
    destroy: (engine) => void check(raw.destroy(engine), "Destroying an engine"),
    serveBy: (engine, host) => void check(raw.serveBy(engine, host), "Giving an engine to another thread"),
    pinned: f<Engines["pinned"]>("int ins_engine_pinned(void *engine)"),
    eventFd: (engine) => raw.eventFd(engine),
    nextEvent: (engine) => (raw.nextEvent(engine, eventBytes) === 1 ? decodeEvent(event) : null),
    poll: f<Engines["poll"]>("int ins_engine_poll(void *engine, uint32_t receive_budget)"),
    release: f<Engines["release"]>("int ins_engine_release(void *engine)"),

    addDatapath: command("add_datapath", "uint32_t id, void *datapath"),
    removeDatapath: command("remove_datapath", "uint32_t id"),
    setPeer: endpointOf("set_peer"),
    resumePeer: endpointOf("resume_peer"),
    mutePeer: command("mute_peer", "uint32_t peer, uint32_t muted"),
    removePeer: command("remove_peer", "uint32_t peer"),
    addRoutes: command("add_routes", "uint32_t peer, const uint32_t *pairs, uint32_t count"),
    removeRoutes: command("remove_routes", "uint32_t peer, const uint32_t *pairs, uint32_t count"),
    addEgress,
    addPool: command("add_pool", "uint32_t link, uint32_t index, const void *base, uint64_t bytes, uint32_t payload"),
    removePool: command("remove_pool", "uint32_t link, uint32_t index"),
    addSource: command(
      "add_source",
      "uint32_t link, uint32_t index, uint32_t source, uint32_t channel_index, uint32_t channel",
    ),
    removeSource: command("remove_source", "uint32_t link, uint32_t index"),
    addIngress,
    subscribe: command("subscribe", "uint32_t link, uint32_t tag, uint32_t channel, uint32_t channel_index"),
    unsubscribe: command("unsubscribe", "uint32_t link, uint32_t tag, uint32_t channel"),
    removeLink: command("remove_link", "uint32_t link"),
    addBell: command("add_bell", "int bell"),
    removeBell: command("remove_bell", "int bell"),
    setSchedule: command("set_schedule", "uint32_t datapath, const void *list"),
    setClass: command("set_class", "uint32_t link, uint32_t traffic_class"),
    setBatching: command("set_batching", "uint32_t link, uint32_t batching"),
    ping: command("ping", ""),
    holdLink: (engine, link, held) => holdLink(engine, link, held ? 1 : 0),
    retireLink: command("retire_link", "uint32_t link, uint32_t patience_ms"),
    moveRoute: command(
      "move_route",
      "uint32_t tag, uint32_t channel, uint32_t from, uint32_t to, uint32_t patience_ms",
    ),
    accountFlow: (engine, { host, tag, channel, source, flow, sent }) =>
      accountFlow(engine, host, tag, channel, source, flow, sent),
    tellFlow: (engine, { host, tag, channel, source, flow, sent }) =>
      tellFlow(engine, host, tag, channel, source, flow, sent),
    addDomain: command("add_domain", "uint32_t domain, void *memory, uint64_t bytes"),
    removeDomain: command("remove_domain", "uint32_t domain"),
    setDomain: command("set_domain", "uint32_t link, uint32_t domain"),
    addAssembly: command("add_assembly", "uint32_t assembly, void *memory, uint64_t bytes, uint32_t payload"),
    removeAssembly: command("remove_assembly", "uint32_t assembly"),
    setAssembly: command("set_assembly", "uint32_t link, uint32_t assembly"),

    counterNames: () => names(raw.counter),
    datapathNames: () => names(raw.name),
    datapathCanPark: (name) => {
      const flags = raw.flags(name);
      return flags > 0 && (flags & 2) !== 0;
    },
    probe(name, networkInterface = "") {
      const bytes = new Uint8Array(PROBE_BYTES);
      check(raw.probe(name, networkInterface, bytes), "Probing a datapath", { name });
      return decodeProbe(name, bytes);
    },
    openDatapath(name, options, at) {
      const endpoint = new DataView(new ArrayBuffer(12));
      endpoint.setUint32(0, ipv4ToNetwork(at.address), true);
      endpoint.setUint16(4, at.port, true);
      const out = new BigUint64Array(1);
      const where = `${at.address}:${at.port}`;
      check(raw.open(name, options, new Uint8Array(endpoint.buffer), out), "Opening a datapath", { name, at: where });
      return {
        handle: out[0] ?? 0n,
        endpoint: {
          address: ipv4FromNetwork(endpoint.getUint32(0, true)),
          port: endpoint.getUint16(4, true),
          ...limitsOf(endpoint.getUint16(6, true) | endpoint.getUint32(8, true)),
        },
      };
    },
    closeDatapath: (datapath) => void check(raw.close(datapath), "Closing a datapath"),
    datapathStats(datapath) {
      const name = new Uint8Array(64);
      const value = new BigUint64Array(1);
      const stats: Record<string, number> = {};
      for (let i = 0; raw.stat(datapath, i, name, name.byteLength, value) === 0; i++) {
        stats[cString(name)] = Number(value[0]);
      }
      return stats;
    },
  };
}
