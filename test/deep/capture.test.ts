// What XDP and DPDK put on the wire, as somebody else reads it: tshark on the host where it arrives. Every frame must be one that
// any router and any kernel would accept.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { describe, expect, it } from "vitest";
import { engines } from "../../src/native/engine.ts";
import { type NamespaceHost, noNamespaces, TwoHosts } from "../integration/runtime/namespaces.ts";
import { decisionOf, eventually, Stage, type TestProcess, type Words } from "../integration/runtime/processes.ts";

const HELLO = 7500;
const DATA = 7601;
const MESSAGES = 40;
const PATIENCE_MS = 120_000;
const HEADERS = { wire: 48, udp: 8, ip: 20 };

const missing = ((): string => {
  if (noNamespaces() !== "") return noNamespaces();
  try {
    execFileSync("tshark", ["--version"], { stdio: "ignore" });
    return "";
  } catch {
    return "needs tshark";
  }
})();

const FIELDS = [
  ["ip.src", "from"],
  ["ip.dst", "to"],
  ["ip.version", "version"],
  ["ip.ttl", "ttl"],
  ["ip.flags.df", "df"],
  ["ip.flags.mf", "mf"],
  ["ip.frag_offset", "offset"],
  ["ip.checksum.status", "ipSum"],
  ["ip.len", "ipLength"],
  ["udp.srcport", "fromPort"],
  ["udp.dstport", "toPort"],
  ["udp.length", "udpLength"],
  ["udp.checksum", "udpSum"],
  ["udp.checksum.status", "udpSumStatus"],
  ["_ws.malformed", "malformed"],
  ["eth.dst", "mac"],
  ["vlan.priority", "priority"],
  ["vlan.id", "vlan"],
] as const;
type Frame = Record<(typeof FIELDS)[number][1], string>;
/** As tshark numbers them. */
const SUM = { GOOD: "1", ABSENT: "3" };

/** Captures datagrams from a port on a host; `frames` resolves when there are so many. */
class Capture implements Disposable {
  readonly #child: ChildProcess;
  readonly ready: Promise<void>;
  readonly #frames: Frame[] = [];
  readonly #said: string[] = [];

  constructor(host: NamespaceHost, port: number) {
    const [command = "", ...prefix] = [...host.prefix, "tshark"];
    const fields = FIELDS.flatMap(([name]) => ["-e", name]);
    const sums = ["ip.check_checksum", "udp.check_checksum"].flatMap((name) => ["-o", `${name}:TRUE`]);
    const what = ["-i", host.interface, "-f", `udp src port ${port}`, "-l", "-n"];
    const output = ["-T", "fields", "-E", "separator=|", ...fields];
    this.#child = spawn(command, [...prefix, ...what, ...sums, ...output], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let rest = "";
    this.#child.stdout?.on("data", (data: Buffer) => {
      const lines = (rest + data.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const values = line.split("|");
        this.#frames.push(Object.fromEntries(FIELDS.map(([, name], i) => [name, values[i] ?? ""])) as Frame);
      }
    });
    this.ready = new Promise((resolve, reject) => {
      this.#child.stderr?.on("data", (data: Buffer) => {
        this.#said.push(data.toString());
        if (/Capturing on/.test(this.#said.join(""))) resolve();
      });
      this.#child.on("exit", () => reject(new Error(`tshark ended: ${this.#said.join("")}`)));
      this.#child.on("error", reject);
    });
    this.ready.catch(() => {});
  }

  /** Those that carry `bytes` of payload, when there are as many as that. */
  frames(count: number, bytes: number): Promise<Frame[]> {
    const length = String(HEADERS.udp + HEADERS.wire + bytes);
    return eventually(
      () => this.#frames.filter(({ udpLength }) => udpLength === length),
      (found) => found.length >= count,
      PATIENCE_MS,
    );
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGTERM");
  }
}

const daemon = (
  stage: Stage,
  host: NamespaceHost,
  other: NamespaceHost,
  xdp: Words,
  dpdk: Words = {},
): Promise<TestProcess> =>
  stage.daemon({
    network: {
      ...{ enabled: true, address: host.address, port: HELLO, peers: [`${other.address}:${HELLO}`] },
      ...{ helloIntervalMs: 50, silentAfterMs: 5000, xdp, dpdk },
    },
  });

const hasDpdk = (): boolean =>
  engines()
    .probe("dpdk")
    .evidence.some(({ finding }) => finding.startsWith("DPDK"));

describe.skipIf(missing !== "")(`frames that XDP sends ${missing}`, () => {
  it.each([
    [1500, 64],
    [1500, 1424],
    [9000, 3600],
  ])("are valid in every field, as tshark reads them (MTU %i, messages of %i bytes)", async (mtu, size) => {
    using hosts = new TwoHosts(mtu);
    await using near = new Stage(hosts.a.prefix);
    await using far = new Stage(hosts.b.prefix);
    using capture = new Capture(hosts.b, DATA);
    const [, db] = await Promise.all([
      daemon(near, hosts.a, hosts.b, { enabled: "auto", port: DATA }),
      daemon(far, hosts.b, hosts.a, { enabled: false }),
      capture.ready,
    ]);
    const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
    const fast = { stream: "s", acceleration: "fast", batching: false };
    await pb.call("sink", fast);
    await pa.call("source", fast);
    await pa.call("matched", { index: 0 });
    await pa.call("emit", { index: 0, size, count: MESSAGES, burst: 4, pace: 1 });
    await pa.call("finished", { index: 0 });
    const frames = await capture.frames(MESSAGES, size);
    const mac = /link\/ether (\S+)/.exec(hosts.b.ip("link", "show", "dev", hosts.b.interface))?.[1] ?? "none";
    const status = (await db.call("status"))["result"] as {
      readonly datapaths: ReadonlyArray<{ readonly lane: string; readonly endpoint: string }>;
    };
    const [, port] = status.datapaths.find(({ lane }) => lane === "udp")?.endpoint.split(":") ?? [];
    for (const frame of frames) {
      expect(frame).toMatchObject({
        ...{ from: hosts.a.address, to: hosts.b.address, version: "4", mac, malformed: "" },
        ...{ fromPort: String(DATA), toPort: port, offset: "0", ipSum: SUM.GOOD },
        udpLength: String(HEADERS.udp + HEADERS.wire + size),
        ipLength: String(HEADERS.ip + HEADERS.udp + HEADERS.wire + size),
      });
      // Never to be fragmented on the way: nobody joins fragments behind XDP.
      expect(frame.df).toMatch(/^(1|True)$/);
      expect(frame.mf).toMatch(/^(0|False)$/);
      expect(Number(frame.ttl)).toBeGreaterThanOrEqual(32);
      // Left out (0) or full, never something else (docs/decisions/0040).
      const sum = [frame.udpSumStatus, Number(frame.udpSum)];
      if (frame.udpSumStatus === SUM.ABSENT) expect(sum).toEqual([SUM.ABSENT, 0]);
      else expect(frame.udpSumStatus).toBe(SUM.GOOD);
    }
    const seen = await eventually(
      async () => (await pb.call("received", { index: 0 }))["result"] as Words,
      (received) => Number(received["count"]) >= MESSAGES,
      PATIENCE_MS,
    );
    expect(seen).toMatchObject({ count: MESSAGES, faults: [] });
  });

  it.each(["xdp", "dpdk"])(
    "carry the traffic class of time-sensitive streams in a tag when that is configured, others none (%s)",
    async (over) => {
      if (over === "dpdk" && missing === "" && !hasDpdk()) return;
      using hosts = new TwoHosts();
      await using near = new Stage(hosts.a.prefix);
      await using far = new Stage(hosts.b.prefix);
      using capture = new Capture(hosts.b, DATA);
      const dpdk = { interface: hosts.a.interface, address: "10.84.0.11", port: DATA, priorityTags: true };
      await Promise.all([
        over === "xdp"
          ? daemon(near, hosts.a, hosts.b, { enabled: "auto", port: DATA, priorityTags: true })
          : daemon(near, hosts.a, hosts.b, { enabled: false }, dpdk),
        daemon(far, hosts.b, hosts.a, { enabled: false }),
        capture.ready,
      ]);
      const [pa, pb] = await Promise.all([near.application("a"), far.application("b")]);
      const fast = { acceleration: "fast", consumption: over === "xdp" ? "low" : "high", batching: false };
      const streams = [
        [{ ...fast, stream: "urgent", trafficClass: 5 }, 64],
        [{ ...fast, stream: "plain" }, 200],
      ] as const;
      for (const [index, [stream, size]] of streams.entries()) {
        await pb.call("sink", stream);
        await pa.call("source", stream);
        // DPDK's engine, in a process of its own, may take a while to come; until then its streams are on UDP.
        await eventually(
          () => decisionOf(pa, stream),
          ({ datapath }) => datapath === over,
        );
        await pa.call("matched", { index });
        await pa.call("emit", { index, size, count: MESSAGES, burst: 4, pace: 1 });
        await pa.call("finished", { index });
        const tags = (await capture.frames(MESSAGES, size)).map(({ priority, vlan }) => [priority, vlan]);
        expect(new Set(tags.map(String))).toEqual(new Set([String(index === 0 ? ["5", "0"] : ["", ""])]));
        // The kernel's own stack takes them.
        const seen = await eventually(
          async () => (await pb.call("received", { index }))["result"] as Words,
          (received) => Number(received["count"]) >= MESSAGES,
          PATIENCE_MS,
        );
        expect(seen).toMatchObject({ count: MESSAGES, faults: [] });
      }
    },
  );
});
