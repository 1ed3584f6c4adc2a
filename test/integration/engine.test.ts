// The engine as TypeScript sees it: probes, endpoints and their errors, commands and their acknowledgements, the lease, and
// an end that leaves nothing mapped behind.
import { afterEach, expect, test } from "vitest";
import { type EngineHandle, engines } from "../../src/native/engine.ts";
import { DEFAULT_ENGINE, type EngineConfig, LEASE, receivePoolBytes } from "../../src/native/engine-config.ts";
import type { EngineEvent } from "../../src/native/engine-events.ts";
import { ipv4FromNetwork, ipv4ToNetwork } from "../../src/native/ipv4.ts";
import { platform } from "../../src/native/platform.ts";
import { type Mapping, mapSegment } from "../../src/native/views.ts";
import type { InsaneError } from "../../src/protocol/codes.ts";
import { COUNTERS, linkBytes, PARKED_PAGE } from "../../src/protocol/layout.ts";

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});

function segment(bytes: number): Mapping {
  const fd = platform().segmentCreate("engine test", bytes);
  const mapping = mapSegment(fd, bytes, true);
  platform().fdClose(fd);
  undo.push(() => mapping.unmap());
  return mapping;
}

function start(change: Partial<EngineConfig> = {}): { engine: EngineHandle; counters: Mapping } {
  const config = { ...DEFAULT_ENGINE, receiveSlots: 32, ...change };
  const bytes = receivePoolBytes(config);
  const counters = segment(COUNTERS.BYTES);
  const pool = segment(bytes);
  const engine = engines().create(config, pool.address, bytes, segment(PARKED_PAGE.BYTES).address, counters.address, 0);
  undo.push(() => {
    expect(engines().stop(engine, 5000)).toBe(true);
    engines().destroy(engine);
  });
  return { engine, counters };
}

/** The acknowledgement of a command; the engine's own thread executes it. */
async function acknowledged(engine: EngineHandle, command: number): Promise<EngineEvent> {
  // Of a busy machine its thread may get nothing for a while.
  for (const until = performance.now() + 20_000; performance.now() < until; ) {
    const event = engines().nextEvent(engine);
    if (event?.type === "ack" && event.command === command) return event;
    if (event === null) await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`command ${command} was not acknowledged`);
}

function failure(action: () => unknown): InsaneError {
  try {
    action();
  } catch (error) {
    return error as InsaneError;
  }
  throw new Error("it did not fail");
}

test("every technology answers a probe with a reason and evidence", () => {
  const api = engines();
  expect(api.datapathNames()).toEqual(["udp", "xdp", "dpdk", "rdma"]);
  for (const name of api.datapathNames()) {
    const probe = api.probe(name);
    expect(probe.reason).not.toBe("");
    expect(probe.evidence.find(({ what }) => what === "kernel")?.finding).toMatch(/^Linux /);
    if (!probe.available) expect([probe.error < 0, probe.cure !== ""]).toEqual([true, true]);
  }
  expect(api.probe("udp")).toMatchObject({ name: "udp", available: true, error: 0 });
  expect(api.datapathCanPark("udp")).toBe(true);
  expect(api.probe("udp", "no-such-if0")).toMatchObject({ available: false, error: -19 });
  expect(failure(() => api.probe("pigeon")).details).toMatchObject({ errno: "ENOENT" });
});

test("an endpoint says where it is, and a wrong one says what is wrong", () => {
  const api = engines();
  const { handle, endpoint } = api.openDatapath("udp", "rcvbuf=65536", { address: "127.0.0.1", port: 0 });
  undo.push(() => api.closeDatapath(handle));
  expect(endpoint.address).toBe("127.0.0.1");
  expect(endpoint.port).toBeGreaterThan(0);
  expect(api.datapathStats(handle)).toMatchObject({ receive_buffer_bytes: 65536, tx_calls: 0 });
  const open = (options: string, at: { address: string; port: number }) =>
    failure(() => api.openDatapath("udp", options, at));
  expect(open("", endpoint).details).toMatchObject({ errno: "EADDRINUSE" });
  expect(open("", { address: "192.0.2.1", port: 0 }).details).toMatchObject({ errno: "EADDRNOTAVAIL" });
  expect(open("rcvbuf=much", { address: "127.0.0.1", port: 0 }).details).toMatchObject({ errno: "EINVAL" });
  expect(open("", { address: "::1", port: 0 }).code).toBe("ESCHEMA");
  expect(open("", { address: "127.0.0.256", port: 0 }).message).toMatch(/IPv4/);
});

test("addresses survive the way to network order and back", () => {
  for (const address of ["0.0.0.0", "127.0.0.1", "10.78.0.2", "255.255.255.255"]) {
    expect(ipv4FromNetwork(ipv4ToNetwork(address))).toBe(address);
  }
});

test("commands are acknowledged by the engine's thread, with the reason when refused", async () => {
  const api = engines();
  const { engine, counters } = start();
  const names = api.counterNames();
  const count = (name: string) => Number(new BigUint64Array(counters.buffer, COUNTERS.VALUES)[names.indexOf(name)]);
  expect(names.slice(0, 2)).toEqual(["rx_datagrams", "rx_messages"]);
  expect(count("slots_total")).toBe(32);
  const { handle, endpoint } = api.openDatapath("udp", "", { address: "127.0.0.1", port: 0 });
  const ok = { type: "ack", status: 0, value: 0 };
  const run = (command: number) => acknowledged(engine, command);
  expect(await run(api.ping(engine))).toMatchObject(ok);
  expect(await run(api.addDatapath(engine, 1, handle))).toMatchObject(ok);
  expect(await run(api.setPeer(engine, 9, 1, endpoint))).toMatchObject(ok);
  const routes = (...channels: number[]) => Uint32Array.from(channels.flatMap((channel) => [5, channel]));
  expect(await run(api.addRoutes(engine, 9, routes(6, 7, 8), 3))).toMatchObject({ status: 0, value: 3 });
  expect(await run(api.addRoutes(engine, 9, routes(9, 7, 10), 3))).toMatchObject({ status: -17, value: 1 });
  expect(await run(api.addRoutes(engine, 10, routes(6), 1))).toMatchObject({ status: -2, value: 0 });
  expect(failure(() => api.addRoutes(engine, 9, new Uint32Array(514), 257)).details).toMatchObject({ errno: "EINVAL" });
  const link = segment(linkBytes(16));
  const [ours, theirs] = platform().bellPair();
  undo.push(() => [ours, theirs].forEach((fd) => void platform().fdClose(fd)));
  const page = segment(PARKED_PAGE.BYTES);
  expect(await run(api.addEgress(engine, 1, 1, 5, link.address, link.bytes, 16, page.address, theirs))).toMatchObject(
    ok,
  );
  expect(await run(api.addPool(engine, 1, 0, page.address, 4096, 64))).toMatchObject(ok);
  expect(await run(api.addSource(engine, 1, 0, 77, 0, 6))).toMatchObject(ok);
  const back = segment(linkBytes(16));
  expect(await run(api.addIngress(engine, 2, back.address, back.bytes, 16, 0n, -1))).toMatchObject(ok);
  expect(await run(api.subscribe(engine, 2, 5, 6, 0))).toMatchObject(ok);
  expect([count("links"), count("peers")]).toEqual([2, 1]);
  expect(await run(api.unsubscribe(engine, 2, 5, 6))).toMatchObject(ok);
  expect(await run(api.removeSource(engine, 1, 0))).toMatchObject(ok);
  expect(await run(api.removePool(engine, 1, 0))).toMatchObject(ok);
  expect(await run(api.removeLink(engine, 1))).toMatchObject(ok);
  expect(await run(api.removeLink(engine, 2))).toMatchObject(ok);
  expect(await run(api.addBell(engine, theirs))).toMatchObject(ok);
  expect(await run(api.removeBell(engine, theirs))).toMatchObject(ok);
  expect(await run(api.removeRoutes(engine, 9, routes(6, 7, 8, 9), 4))).toMatchObject({ status: 0, value: 4 });
  expect(await run(api.removePeer(engine, 9))).toMatchObject(ok);
  expect(await run(api.removeDatapath(engine, 1))).toMatchObject(ok);
  api.closeDatapath(handle);
  expect(failure(() => api.addIngress(engine, 3, back.address, back.bytes, 17, 0n, -1)).details).toMatchObject({
    errno: "EINVAL",
  });
});

test("only a configured lease allows polling, and its owner executes commands itself", () => {
  const api = engines();
  expect(api.poll(start().engine, 1)).toBe(-1);
  const { engine } = start({ lease: LEASE.INLINE, takeoverUs: 1_000_000 });
  const command = api.ping(engine);
  let event: EngineEvent | null = null;
  for (let turns = 0; event === null && turns < 100_000; turns++) {
    api.poll(engine, 1);
    event = api.nextEvent(engine);
  }
  expect(event).toMatchObject({ type: "ack", command, status: 0 });
  expect(api.release(engine)).toBe(0);
});

test("a stopped engine refuses commands and polls", () => {
  const api = engines();
  const { engine } = start({ lease: LEASE.INLINE });
  expect(api.stop(engine, 5000)).toBe(true);
  expect(failure(() => api.ping(engine)).code).toBe("ECLOSED");
  expect(api.poll(engine, 1)).toBe(-108);
});

test("a configuration out of bounds is refused", () => {
  const page = segment(4096).address;
  const create = (change: Partial<EngineConfig>) =>
    failure(() => engines().create({ ...DEFAULT_ENGINE, ...change }, page, 4096, page, page, 0));
  for (const change of [{ linkBurst: 0 }, { receiveBurst: 65 }, { idle: 9 }, { receiveSlots: 512 }]) {
    expect(create(change).details).toMatchObject({ errno: "EINVAL" });
  }
});
