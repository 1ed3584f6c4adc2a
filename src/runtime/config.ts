// The runtime's configuration: its schema, its defaults, and errors that name the field, the value and what is allowed.
// Reads one file when asked to; touches nothing else.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import * as Result from "effect/Result";
import * as Schema from "effect/Schema";
import * as SchemaIssue from "effect/SchemaIssue";
import { InsaneError } from "../protocol/codes.ts";
import { LINK } from "../protocol/layout.ts";
import { DEFAULT_MARGIN_NS, scheduleFaults } from "../qos/gates.ts";
import type { RuleStrategy, Strategy } from "../qos/strategy.ts";
import type { EmbedOptions, RuntimeConfig } from "./api.ts";
import { faults, flag, hostAddress, interfaceName, powerOfTwo, Schedule, text, whole } from "./config-fields.ts";
import { ipv6Hint, isLoopback, parseEndpoint } from "./endpoint.ts";
import { RDMA_PROVIDERS } from "./rdma.ts";
import { Threads, threadFaults, Udp } from "./thread-fields.ts";

/** UDP ports of a daemon: hello frames, and the data of kernel UDP. An embedded runtime takes any. */
export const DAEMON_PORT = 6174;
export const DAEMON_DATA_PORT = 6175;

/** What a runtime has when nothing is said. A daemon adds a socket and its ports (apps/cli/up.ts). */
export const DEFAULT_CONFIG: RuntimeConfig = {
  name: hostname(),
  socket: null,
  socketMode: 0o600,
  allow: { uids: [], gids: [] },
  trust: { uids: [], gids: [] },
  network: {
    enabled: true,
    address: "127.0.0.1",
    port: 0,
    dataPort: 0,
    peers: [],
    helloIntervalMs: 1000,
    silentAfterMs: 3500,
    udp: { threads: 1, trains: true },
    xdp: {
      enabled: "auto",
      interface: null,
      port: 0,
      mode: "native",
      queue: null,
      mtu: null,
      priorityTags: false,
      slots: null,
      idle: null,
      cpu: null,
    },
    dpdk: {
      enabled: "auto",
      interface: null,
      device: null,
      address: null,
      prefix: 24,
      gateway: null,
      port: 0,
      mtu: null,
      priorityTags: false,
      hugepages: "auto",
      memory: 64,
      slots: null,
      idle: null,
      cpu: null,
    },
    rdma: { enabled: "auto", provider: null, port: 0, slots: null, idle: null, cpu: null },
    schedule: null,
    faults: null,
  },
  engine: { mode: "thread", idle: "park", spinMicros: 50, cpu: null, fifoPriority: null },
  engines: { process: { udp: false, xdp: false, dpdk: true, rdma: true } },
  threads: { most: null, map: null, advisor: "act" },
  rebind: { holdSeconds: 10, patienceMs: 500 },
  limits: {
    sessions: 256,
    sessionsPerUser: 192,
    streamsPerSession: 64,
    endpointsPerSession: 1024,
    bytesPerSession: 2 ** 31,
    largeBytesPerStream: 2 ** 28,
  },
  link: { entries: LINK.DEFAULT_ENTRIES },
  log: { level: "info", pretty: false },
  strategy: null,
};

// ---- the schema ---------------------------------------------------------------------------------------------------

const LONGEST_SOCKET = 107;
const technology = Schema.Literals(["udp", "xdp", "dpdk", "rdma"]);
const shortText = text("a text of 1 to 200 characters", (value) => /^[^\p{Cc}]{1,200}$/u.test(value));

const StrategyRules = Schema.Struct({
  name: shortText,
  rules: Schema.Array(
    Schema.Struct({
      name: Schema.optionalKey(shortText),
      when: Schema.optionalKey(
        Schema.Struct({
          acceleration: Schema.optionalKey(Schema.Literals(["none", "fast"])),
          consumption: Schema.optionalKey(Schema.Literals(["low", "high"])),
          timeSensitivity: Schema.optionalKey(Schema.Literals(["best-effort", "time-sensitive"])),
        }),
      ),
      use: Schema.Array(technology),
      emulated: Schema.optionalKey(flag),
      because: Schema.optionalKey(
        Schema.Struct({
          udp: Schema.optionalKey(shortText),
          xdp: Schema.optionalKey(shortText),
          dpdk: Schema.optionalKey(shortText),
          rdma: Schema.optionalKey(shortText),
        }),
      ),
    }),
  ),
});

const DAY = 86_400_000;
const Config = Schema.Struct({
  name: shortText,
  socket: Schema.NullOr(
    text(
      `an absolute path of at most ${LONGEST_SOCKET} bytes`,
      (path) => path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= LONGEST_SOCKET,
    ),
  ),
  socketMode: whole(0, 0o777, ' (permission bits; in a file also octal text such as "0660")'),
  allow: Schema.Struct({
    uids: Schema.Array(whole(0, 0xfffffffe)),
    gids: Schema.Array(whole(0, 0xfffffffe)),
  }),
  trust: Schema.Struct({
    uids: Schema.Array(whole(0, 0xfffffffe)),
    gids: Schema.Array(whole(0, 0xfffffffe)),
  }),
  network: Schema.Struct({
    enabled: flag,
    address: text(
      "an IPv4 address of this host by which others reach it, such as 10.0.0.1 (not 0.0.0.0)",
      (address) => parseEndpoint(`${address}:1`) !== null && address !== "0.0.0.0" && address !== "255.255.255.255",
    ),
    port: whole(0, 65535, " (0: any)"),
    dataPort: whole(0, 65535, " (0: any)"),
    peers: Schema.Array(
      text("ADDRESS:PORT with an IPv4 address and a port from 1 to 65535", (peer) => {
        const endpoint = parseEndpoint(peer);
        return endpoint !== null && endpoint.port > 0;
      }),
    ),
    helloIntervalMs: whole(10, DAY, " milliseconds"),
    silentAfterMs: whole(20, DAY, " milliseconds"),
    udp: Udp,
    xdp: Schema.Struct({
      enabled: Schema.Literals(["auto", true, false]),
      interface: Schema.NullOr(interfaceName),
      port: whole(0, 65535, " (0: any)"),
      mode: Schema.Literals(["native", "skb"]),
      queue: Schema.NullOr(whole(0, 65535, " (number of a receive queue)")),
      mtu: Schema.NullOr(whole(576, 15_360, " bytes")),
      priorityTags: flag,
      slots: Schema.NullOr(whole(64, 65_536)),
      idle: Schema.NullOr(Schema.Literals(["park", "yield", "spin"])),
      cpu: Schema.NullOr(whole(0, 1023, " (number of a core)")),
    }),
    dpdk: Schema.Struct({
      enabled: Schema.Literals(["auto", true, false]),
      interface: Schema.NullOr(interfaceName),
      device: Schema.NullOr(
        text("a virtual device such as net_memif0,role=client, or a PCI address such as 0000:01:00.0", (device) =>
          /^(net_[^\s,]{1,59}(,[^\s]{1,190})?|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i.test(device),
        ),
      ),
      address: Schema.NullOr(hostAddress),
      prefix: whole(1, 30, " bits"),
      gateway: Schema.NullOr(hostAddress),
      port: whole(0, 65535, " (0: any)"),
      mtu: Schema.NullOr(whole(576, 65_000, " bytes")),
      priorityTags: flag,
      hugepages: Schema.Literals(["auto", true, false]),
      memory: whole(16, 65_536, " MiB"),
      slots: Schema.NullOr(whole(64, 65_536)),
      idle: Schema.NullOr(Schema.Literals(["park", "yield", "spin"])),
      cpu: Schema.NullOr(whole(0, 1023, " (number of a core)")),
    }),
    rdma: Schema.Struct({
      enabled: Schema.Literals(["auto", true, false]),
      provider: Schema.NullOr(Schema.Literals(RDMA_PROVIDERS)),
      port: whole(0, 65535, " (0: any)"),
      slots: Schema.NullOr(whole(64, 65_536)),
      idle: Schema.NullOr(Schema.Literals(["park", "yield", "spin"])),
      cpu: Schema.NullOr(whole(0, 1023, " (number of a core)")),
    }),
    schedule: Schema.NullOr(Schedule),
    faults: Schema.NullOr(Schema.Struct({ udp: faults, xdp: faults, dpdk: faults, rdma: faults })),
  }),
  engine: Schema.Struct({
    mode: Schema.Literals(["inline", "thread"]),
    idle: Schema.Literals(["park", "yield", "spin"]),
    spinMicros: whole(0, 1_000_000, " microseconds"),
    cpu: Schema.NullOr(whole(0, 1023, " (number of a core)")),
    fifoPriority: Schema.NullOr(whole(1, 99, " (SCHED_FIFO)")),
  }),
  engines: Schema.Struct({ process: Schema.Struct({ udp: flag, xdp: flag, dpdk: flag, rdma: flag }) }),
  threads: Threads,
  rebind: Schema.Struct({ holdSeconds: whole(0, 86_400, " seconds"), patienceMs: whole(1, 10_000, " milliseconds") }),
  limits: Schema.Struct({
    sessions: whole(1, 65535),
    sessionsPerUser: whole(1, 65535),
    streamsPerSession: whole(1, 4096),
    endpointsPerSession: whole(1, 2048),
    bytesPerSession: whole(1, Number.MAX_SAFE_INTEGER, " bytes"),
    largeBytesPerStream: whole(1, 2 ** 32 - 4096, " bytes"),
  }),
  link: Schema.Struct({
    entries: powerOfTwo(LINK.MIN_ENTRIES, LINK.MAX_ENTRIES),
  }),
  log: Schema.Struct({
    level: Schema.Literals(["silent", "error", "warn", "info", "debug"]),
    pretty: flag,
  }),
  strategy: Schema.NullOr(StrategyRules),
});

const decode = Schema.decodeUnknownResult(Config, { errors: "all", onExcessProperty: "error" });
const explainIssue = SchemaIssue.makeFormatterStandardSchemaV1();

// ---- completing ---------------------------------------------------------------------------------------------------

/** One thing that is wrong with a configuration. */
export interface ConfigFault {
  /** Dotted path of the field, such as `network.peers.0`. */
  readonly field: string;
  readonly value: unknown;
  readonly allowed: string;
}

/**
 * What the user wrote over the defaults, checked. A strategy that is code is not part of a configuration: `embed` takes
 * it from its options. Throws InsaneError ECONFIG, whose `details.faults` lists every wrong field.
 */
export function completeConfig(settings: EmbedOptions = {}, where = "configuration"): RuntimeConfig {
  const given: Record<string, unknown> = { ...settings };
  if (typeof given["strategy"] === "function") delete given["strategy"];
  const mode = given["socketMode"];
  if (typeof mode === "string" && /^0?[0-7]{3}$/.test(mode)) given["socketMode"] = Number.parseInt(mode, 8);
  const network = given["network"];
  if (isRecord(network) && isRecord(network["schedule"])) {
    given["network"] = { ...network, schedule: { baseTime: 0, marginNs: DEFAULT_MARGIN_NS, ...network["schedule"] } };
  }
  const whole = merge(DEFAULT_CONFIG, given);
  const result = decode(whole);
  if (Result.isFailure(result)) throw refusal(where, faultsOf(result.failure.issue, whole));
  const config = result.success as RuntimeConfig;
  const faults = contradictions(config);
  if (faults.length > 0) throw refusal(where, faults);
  return config;
}

/** The strategy that options name: code, rules, or null for the default one. */
export const strategyOf = (options: EmbedOptions, config: RuntimeConfig): Strategy | RuleStrategy | null =>
  typeof options.strategy === "function" ? options.strategy : config.strategy;

/** Settings from a JSON file, not completed yet, so that command-line options can be laid over them. */
export function readSettings(file: string): EmbedOptions {
  let json: string;
  try {
    json = readFileSync(file, "utf8");
  } catch (cause) {
    throw new InsaneError("ECONFIG", `The configuration file ${file} cannot be read: ${(cause as Error).message}`, {
      file,
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new InsaneError("ECONFIG", `The configuration file ${file} is not JSON: ${(cause as Error).message}`, {
      file,
    });
  }
  if (!isRecord(value)) {
    throw new InsaneError("ECONFIG", `The configuration file ${file} must hold one JSON object, not ${shown(value)}`, {
      file,
    });
  }
  return value;
}

/** Reads, completes and checks a file. */
export const loadConfig = (file: string): RuntimeConfig => completeConfig(readSettings(file), file);

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Settings over settings: objects field by field, everything else as a whole; undefined says nothing. */
export function merge(base: unknown, over: unknown): unknown {
  if (!isRecord(base) || !isRecord(over)) return over;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value !== undefined) merged[key] = Object.hasOwn(base, key) ? merge(base[key], value) : value;
  }
  return merged;
}

// ---- what is wrong ------------------------------------------------------------------------------------------------

function faultsOf(issue: SchemaIssue.Issue, whole: unknown): ConfigFault[] {
  const faults = new Map<string, ConfigFault>();
  for (const { path, message } of explainIssue(issue).issues) {
    const keys = (path ?? []).map((part) => (typeof part === "object" ? part.key : part));
    const field = keys.map(String).join(".");
    const parent = at(DEFAULT_CONFIG, keys.slice(0, -1));
    const last = String(keys.at(-1));
    // A field that the defaults do not have either is a name nobody knows.
    const unknown = isRecord(parent) && !Object.hasOwn(parent, last) && message !== MISSING;
    const allowed = unknown ? `no field of this name; there are ${Object.keys(parent).join(", ")}` : inWords(message);
    const earlier = faults.get(field);
    const either = earlier === undefined ? allowed : `${earlier.allowed} or ${allowed}`;
    faults.set(field, { field, value: at(whole, keys), allowed: either });
  }
  return [...faults.values()].map((fault) => ({ ...fault, allowed: fault.allowed + ipv6Hint(fault.value) }));
}

const MISSING = "Missing key";

/** What a schema expects, for people who do not write schemas. */
function inWords(message: string): string {
  if (message === MISSING) return "a value, this field is needed";
  const expected = message.replace(/^Expected /, "").replaceAll(" | ", " or ");
  if (expected === "no excess property") return "no field of this name";
  return expected.replace(/^object\b/, "an object { … }").replace(/^array\b/, "a list [ … ]");
}

const at = (value: unknown, keys: ReadonlyArray<PropertyKey>): unknown =>
  keys.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null ? (inner as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );

/** Rules between fields. */
function contradictions(config: RuntimeConfig): ConfigFault[] {
  const { network, engine } = config;
  const faults: ConfigFault[] = threadFaults(config);
  if (engine.fifoPriority !== null && (engine.cpu === null || engine.mode === "inline")) {
    faults.push({
      field: "engine.fifoPriority",
      value: engine.fifoPriority,
      allowed: "null, unless engine.cpu pins the thread and engine.mode is thread",
    });
  }
  const { address, helloIntervalMs, silentAfterMs } = network;
  if (silentAfterMs < 2 * helloIntervalMs) {
    faults.push({
      field: "network.silentAfterMs",
      value: silentAfterMs,
      allowed: `at least twice network.helloIntervalMs (${helloIntervalMs}), or one lost hello makes a peer silent`,
    });
  }
  // CLOCK_TAI is not to be had here; it differs by seconds, and that is near enough to find mistakes in units.
  const now = BigInt(Date.now()) * 1_000_000n;
  for (const { field, value, allowed } of network.schedule === null ? [] : scheduleFaults(network.schedule, now)) {
    faults.push({ field: `network.schedule.${field}`, value, allowed });
  }
  const { interface: over, device, address: own } = network.dpdk;
  if (over !== null && device !== null) {
    faults.push({ field: "network.dpdk.device", value: device, allowed: "null beside network.dpdk.interface" });
  }
  if ((over !== null || device !== null) && own === null) {
    const allowed = "an IPv4 address of its own in the device's network, which no interface of this host has";
    faults.push({ field: "network.dpdk.address", value: own, allowed });
  }
  if (own !== null && own === address) {
    const allowed = `another address than network.address (${address}), which is the kernel's`;
    faults.push({ field: "network.dpdk.address", value: own, allowed });
  }
  network.peers.forEach((peer, i) => {
    if (!isLoopback(address) || isLoopback(peer)) return;
    faults.push({
      field: `network.peers.${i}`,
      value: peer,
      allowed: `a loopback address, as long as network.address is one (${address}); set network.address to this host's address in that network`,
    });
  });
  return faults;
}

function refusal(where: string, faults: ReadonlyArray<ConfigFault>): InsaneError {
  const lines = faults.map(({ field, value, allowed }) => `${field} is ${shown(value)}; allowed: ${allowed}`);
  return new InsaneError("ECONFIG", `${where}: ${lines.join("; ")}`, { where, faults });
}

const shown = (value: unknown): string => {
  const json = value === undefined ? "missing" : (JSON.stringify(value) ?? String(value));
  return json.length > 120 ? `${json.slice(0, 117)}...` : json;
};
