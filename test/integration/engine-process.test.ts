// Engines in processes of their own, with kernel UDP as the driver: the same traffic; one that is killed, crashes, stops
// or hangs is reported and replaced, traffic resumes, and nothing is left behind.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type EmbeddedRuntime, type EmbedOptions, Runtime, type Sink, type Source } from "../../src/index.ts";
import { eventually, fdsOf, Stage, segmentsOf } from "./runtime/processes.ts";

const PATIENCE_MS = 30_000;
const TEST_MS = 90_000;

const start = (name: string, options: EmbedOptions = {}): Promise<EmbeddedRuntime> =>
  Runtime.embed({
    name,
    log: { level: "silent" },
    engines: { process: { udp: true } },
    ...options,
    network: { helloIntervalMs: 50, silentAfterMs: 10_000, ...options.network },
  });

interface Pair extends AsyncDisposable {
  readonly a: EmbeddedRuntime;
  readonly b: EmbeddedRuntime;
  readonly source: Source;
  readonly sink: Sink;
  /** Numbers received, in the order they came. */
  readonly received: number[];
  /** How many there were, and how many the sink was told lost. */
  readonly counts: { emitted: number; lost: number };
  /** Emits another number, if there is a slot and a way. */
  emit(): void;
}

/** A emits to B. */
async function pair(ofA: EmbedOptions = {}, ofB: EmbedOptions = {}): Promise<Pair> {
  const a = await start("A", ofA);
  const b = await start("B", { ...ofB, network: { ...ofB.network, peers: [`127.0.0.1:${a.port}`] } });
  a.addPeer(`127.0.0.1:${b.port}`);
  const [sa, sb] = await Promise.all([a.connect(), b.connect()]);
  const received: number[] = [];
  const sink = await (await sb.createStream({ name: "s" })).createSink(1, (message) => {
    received.push(new DataView(message.bytes.buffer, message.bytes.byteOffset).getUint32(0));
    message.release();
  });
  const source = await (await sa.createStream({ name: "s" })).createSource(1);
  await source.matched();
  const counts = { emitted: 0, lost: 0 };
  sink.on("lost", ({ count }) => {
    counts.lost += count;
  });
  return {
    ...{ a, b, source, sink, received, counts },
    emit: () => {
      const buffer = source.tryGetBuffer(64);
      if (!buffer) return;
      new DataView(buffer.bytes.buffer, buffer.bytes.byteOffset).setUint32(0, counts.emitted);
      if (source.tryEmit(buffer) === 0) buffer[Symbol.dispose]();
      else counts.emitted++;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([a.close(), b.close()]);
    },
  };
}

const pidOf = (runtime: EmbeddedRuntime): number | null => runtime.status().engines[0]?.pid ?? null;
const inOrder = (numbers: ReadonlyArray<number>): boolean =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] ?? 0));

/** Keeps messages coming while something is waited for. */
async function under<T>(traffic: Pair, what: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => traffic.emit(), 2);
  try {
    return await what();
  } finally {
    clearInterval(timer);
  }
}

/** Waits until that many more have arrived. */
const more = ({ received }: Pair, count: number): Promise<number> => {
  const enough = received.length + count;
  return eventually(
    () => received.length,
    (got) => got >= enough,
    PATIENCE_MS,
  );
};

const replaced = (runtime: EmbeddedRuntime, was: number): Promise<number | null> =>
  eventually(
    () => pidOf(runtime),
    (pid) => pid !== null && pid !== was,
    PATIENCE_MS,
  );

/** Engine processes of a process that still run, or that nobody has waited for. */
const children = (of = process.pid): string[] =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const parent = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
        return parent === String(of) && stat.includes("(insane-engine)") ? [pid] : [];
      } catch {
        return [];
      }
    });

const statesSeen = (runtime: EmbeddedRuntime): Set<string> => {
  const seen = new Set<string>();
  runtime.watch(({ state }) => void seen.add(state));
  return seen;
};

describe("an engine in a process of its own", () => {
  it("carries the same messages, in order, each once, and ends with its runtime", { timeout: TEST_MS }, async () => {
    {
      await using hosts = await pair();
      expect(pidOf(hosts.a)).not.toBe(pidOf(hosts.b));
      expect(children()).toHaveLength(2);
      expect(hosts.a.status().engines).toMatchObject([{ mode: "process", state: expect.stringMatching(/^running/) }]);
      for (let i = 0; i < 100; i++) {
        hosts.emit();
        await eventually(
          () => hosts.received.length,
          (got) => got === i + 1,
          PATIENCE_MS,
        );
      }
      expect(hosts.received).toEqual(Array.from({ length: 100 }, (_, i) => i));
      expect(await hosts.source.settled()).toMatchObject({ consumed: 100, outstanding: 0, dropped: {} });
      // Counters are read from shared memory, those of the driver are sent.
      expect(hosts.a.status().engines[0]?.counters["tx_messages"]).toBe(100);
      await eventually(
        () => hosts.a.status().datapaths[0]?.counters["tx_calls"] ?? 0,
        (calls) => calls > 0,
        PATIENCE_MS,
      );
      expect(hosts.a.explain("s")).toMatchObject([{ decision: { datapath: "udp" }, links: [{ lane: "udp" }] }]);
    }
    expect(children()).toEqual([]);
  });

  it("serves an embedding thread that polls, which has nothing to poll", { timeout: TEST_MS }, async () => {
    const inline: EmbedOptions = { engine: { mode: "inline" } };
    await using hosts = await pair(inline, inline);
    await under(hosts, () => more(hosts, 50));
    expect(inOrder(hosts.received)).toBe(true);
  });

  it.each([
    ["sends", "SIGKILL"],
    ["receives", "SIGKILL"],
    ["sends", "SIGSEGV"],
    ["receives", "SIGSTOP"],
  ] as const)("that %s and gets %s is replaced, and traffic resumes", { timeout: TEST_MS }, async (what, signal) => {
    await using hosts = await pair();
    await under(hosts, async () => {
      await more(hosts, 50);
      const runtime = what === "sends" ? hosts.a : hosts.b;
      const was = pidOf(runtime) ?? 0;
      const open = fdsOf(process.pid).length;
      const { count } = segmentsOf(process.pid);
      const states = statesSeen(runtime);
      const endpoint = (): string | undefined => runtime.status().datapaths[0]?.endpoint;
      const at = endpoint();
      process.kill(was, signal);
      await replaced(runtime, was);
      await more(hosts, 50);
      expect(existsSync(`/proc/${was}`)).toBe(false);
      expect(endpoint()).toBe(at);
      if (signal === "SIGSTOP") expect([...states]).toContain("stalled");
      // As many descriptors and mappings as before: what the dead one had is closed here too.
      await eventually(
        () => ({ open: fdsOf(process.pid).length, count: segmentsOf(process.pid).count }),
        (now) => now.open <= open && now.count <= count,
        PATIENCE_MS,
      );
    });
    expect(inOrder(hosts.received)).toBe(true);
    // Nothing that was delivered is told lost.
    expect(hosts.received.length + hosts.counts.lost).toBeLessThanOrEqual(hosts.counts.emitted);
    expect(await hosts.source.settled()).toMatchObject({ outstanding: 0 });
    await eventually(
      () => [hosts.a, hosts.b].map((runtime) => runtime.status().slots.outstanding),
      (left) => left.every((slots) => slots === 0),
      PATIENCE_MS,
    );
    expect(hosts.a.status().quarantined + hosts.b.status().quarantined).toBe(0);
    expect(children()).toHaveLength(2);
  });

  it("leaves its consumers what they hold when it dies", { timeout: TEST_MS }, async () => {
    await using hosts = await pair();
    const session = await hosts.b.connect();
    const stream = await session.createStream({ name: "s" });
    const sink = await stream.createSink(2);
    const source = await (await (await hosts.a.connect()).createStream({ name: "s" })).createSource(2);
    await source.matched();
    const buffer = source.getBuffer(1000);
    buffer.bytes.fill(7);
    source.emit(buffer);
    const held = await sink.consume();
    const was = pidOf(hosts.b) ?? 0;
    const { count } = segmentsOf(process.pid);
    process.kill(was, "SIGKILL");
    await replaced(hosts.b, was);
    await under(hosts, () => more(hosts, 20));
    expect(held.bytes).toEqual(new Uint8Array(1000).fill(7));
    held.release();
    await eventually(
      () => segmentsOf(process.pid).count,
      (mapped) => mapped <= count,
      PATIENCE_MS,
    );
  });

  it.each(["crash_after=20", "hang_after=20"])(
    "whose driver is told to %s is replaced, and traffic resumes",
    { timeout: TEST_MS },
    async (fault) => {
      await using stage = new Stage();
      const armed = join(stage.folder, "armed");
      await using hosts = await pair({ network: { faults: { udp: `${fault},armed=${armed}` } } });
      await under(hosts, async () => {
        await more(hosts, 50);
        const was = pidOf(hosts.a) ?? 0;
        writeFileSync(armed, "");
        await eventually(
          () => pidOf(hosts.a),
          (pid) => pid !== was,
          PATIENCE_MS,
        );
        // The next one lives.
        rmSync(armed);
        await eventually(
          () => hosts.a.status().datapaths.map(({ state }) => state),
          (states) => states.includes("up"),
          PATIENCE_MS,
        );
        await more(hosts, 50);
      });
      expect(inOrder(hosts.received)).toBe(true);
      expect(hosts.a.status().quarantined).toBe(0);
    },
  );

  it.each(["open_hang=1", "open_crash=1"])(
    "whose driver is told to %s when it is started anew is replaced until it opens",
    { timeout: TEST_MS },
    async (fault) => {
      await using stage = new Stage();
      const armed = join(stage.folder, "armed");
      await using hosts = await pair({ network: { faults: { udp: `${fault},armed=${armed}` } } });
      await under(hosts, async () => {
        await more(hosts, 50);
        let starts = 0;
        hosts.a.watch(({ actor, state }) => {
          if (actor === "engine network" && state === "starting") starts++;
        });
        writeFileSync(armed, "");
        process.kill(pidOf(hosts.a) ?? 0, "SIGKILL");
        // Once after the kill, once after what was planted.
        await eventually(
          () => starts,
          (times) => times >= 2,
          PATIENCE_MS,
        );
        rmSync(armed);
        await more(hosts, 50);
      });
      expect(inOrder(hosts.received)).toBe(true);
      expect(hosts.a.status().quarantined).toBe(0);
      expect(children()).toHaveLength(2);
    },
  );

  it("that dies again and again stays down, and the runtime goes on", { timeout: TEST_MS }, async () => {
    await using runtime = await start("A");
    const session = await runtime.connect();
    const states = statesSeen(runtime);
    for (let i = 0; i < 6; i++) {
      const pid = await eventually(
        () => pidOf(runtime),
        (now) => now !== null,
        PATIENCE_MS,
      );
      process.kill(pid ?? 0, "SIGKILL");
      await eventually(
        () => pidOf(runtime),
        (now) => now !== pid,
        PATIENCE_MS,
      );
    }
    await eventually(
      () => [...states],
      (seen) => seen.some((state) => state.includes("degraded")),
      PATIENCE_MS,
    );
    expect(children()).toEqual([]);
    // What is on one host needs no engine.
    const stream = await session.createStream({ name: "local" });
    const sink = await stream.createSink(1);
    const source = await stream.createSource(1);
    await source.matched();
    source.emit(source.getBuffer(8));
    (await sink.consume()).release();
  });

  it("ends when its runtime is killed", { timeout: TEST_MS }, async () => {
    await using stage = new Stage();
    const daemon = await stage.daemon({ network: {}, engines: { process: { udp: true } } });
    const pids = children(daemon.pid);
    expect(pids).toHaveLength(1);
    await daemon.kill();
    await eventually(
      () => existsSync(`/proc/${pids[0]}`),
      (there) => !there,
      PATIENCE_MS,
    );
  });
});
