// The command line end to end: real daemons, real applications, all as processes of their own. Several hosts: cli-hosts.
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import type { CapabilityRecord } from "../../src/protocol/control.ts";
import type { ExplainReport, RuntimeConfig, StatusReport } from "../../src/runtime/api.ts";
import { CommandLine } from "./cli/command-line.ts";

const cli = new CommandLine();
const { folder, run, start, up, sub } = cli;
afterEach(() => cli.stop());
afterAll(() => cli.remove());

describe("the command line", () => {
  it("helps", async () => {
    const overview = await run("--help");
    expect(overview.code).toBe(0);
    for (const name of ["up", "doctor", "status", "top", "explain", "topics", "echo", "hz", "pub", "sub"]) {
      expect(overview.out).toMatch(new RegExp(`^ {2}${name} `, "m"));
    }
    const up = await run("up", "--help");
    expect([up.code, up.err]).toEqual([0, ""]);
    expect(Math.max(...up.out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    expect((await run("--version")).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [[], 2, "usage:"],
    [["upp"], 2, 'no command "upp"'],
    [["up", "--colour"], 2, "--colour"],
    [["pub"], 2, "CHANNEL"],
    [["pub", "-1", "text"], 2, "-1"],
    [["pub", "4294967296", "text"], 2, 'CHANNEL is "4294967296"'],
    [["pub", "line/+", "text"], 2, "wildcard"],
    [["sub", "a//b"], 2, "empty level"],
    [["echo", ""], 2, "at least one character"],
    [["sub", "1", "2"], 2, '"2" is too much'],
    [["sub", "1", "--count", "many"], 2, '--count is "many"'],
    [["sub", "1", "--acceleration", "warp"], 2, "none, fast"],
    [["up", "--listen", "10.0.0.300"], 4, "network.address"],
    [["up", "--peer", "nowhere"], 4, "network.peers.0"],
    [["up", "--listen", "fe80::1"], 4, 'network.address is "fe80::1"; allowed: an IPv4 address'],
    [["up", "--listen", "[::1]:6174"], 4, "only IPv4 is spoken"],
    [["up", "--peer", "[::1]:6174"], 4, "only IPv4 is spoken"],
    [["doctor", "--config", "/nonexistent.json", "--interface", "lo"], 2, "leave --interface out"],
    [["doctor", "--config", "/nonexistent.json"], 4, "cannot be read"],
    [["up", "--config", "/nonexistent.json"], 4, "cannot be read"],
  ] as Array<[string[], number, string]>)("%j ends with code %i and says %s", async (line, code, words) => {
    const insane = await run(...line);
    expect(insane.code).toBe(code);
    expect(insane.err).toContain(words);
    expect(insane.err).not.toMatch(/^\s+at /m);
    expect(insane.out).toBe("");
  });

  it("says how to start a runtime when there is none, also as JSON", async () => {
    const socket = join(folder, "none.sock");
    for (const name of ["status", "explain", "top"]) {
      const insane = await run(name, "--socket", socket);
      expect(insane.code).toBe(3);
      expect(insane.err).toMatch(/^insane: ENORUNTIME: .*insane up --socket .*\n$/);
    }
    const json = await run("sub", "1", "--socket", socket, "--json");
    expect(json.code).toBe(3);
    expect(JSON.parse(json.err)).toMatchObject({ error: { code: "ENORUNTIME" } });
  });
});

describe("insane up", () => {
  it("prints the configuration that file and options make", async () => {
    const file = join(folder, "config.json");
    writeFileSync(
      file,
      JSON.stringify({ name: "from-file", engine: { idle: "yield" }, network: { peers: ["127.0.0.1:9"] } }),
    );
    const insane = await run(
      "up",
      "--config",
      file,
      "--name",
      "from-line",
      "--listen",
      "127.0.0.5:7000",
      "--print-config",
    );
    expect(insane.code).toBe(0);
    const config = insane.json<RuntimeConfig>();
    expect(config).toMatchObject({ name: "from-line", socketMode: "0600", engine: { idle: "yield", mode: "thread" } });
    expect(config.network).toMatchObject({ address: "127.0.0.5", port: 7000, dataPort: 7001, peers: ["127.0.0.1:9"] });
    writeFileSync(file, JSON.stringify(config));
    expect((await run("up", "--config", file, "--print-config")).json()).toEqual(config);
  });

  it("ends in order at SIGTERM and takes its socket away", async () => {
    const { insane, socket } = await up();
    expect(existsSync(socket)).toBe(true);
    insane.child.kill("SIGTERM");
    expect(await insane.exit).toBe(0);
    expect(existsSync(socket)).toBe(false);
    for (const line of insane.err.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("level");
  });

  it("does not wait at the second signal", async () => {
    const { insane, socket } = await up();
    // An application that answers nothing keeps an orderly end waiting for its deadlines.
    const stopped = await sub(socket, "1");
    stopped.child.kill("SIGSTOP");
    insane.child.kill("SIGTERM");
    await insane.says(/"closing"/, "err");
    insane.child.kill("SIGTERM");
    expect(await insane.exit).toBe(1);
    expect(insane.err).toContain("not waiting");
  });

  it("refuses a second runtime on its socket and names itself; a stale socket is taken over", async () => {
    const first = await up();
    const second = await run("up", "--socket", first.socket, "--listen", "127.0.0.1:0", "--log", "silent");
    expect(second.code).toBe(5);
    expect(second.err).toContain(`process ${first.pid}`);
    // Its port of hello frames, and that of data, which is the port after the one that is named.
    const [hello, data] = [first.hello, first.datapaths[0]?.endpoint].map((at) => Number(at?.split(":")[1]));
    for (const port of [hello, (data ?? 0) - 1]) {
      const other = ["--socket", join(folder, "other.sock"), "--listen", `127.0.0.1:${port}`, "--log", "silent"];
      const third = await run("up", ...other);
      expect(third.code).toBe(5);
      expect(third.err).toMatch(/^insane: EADDRINUSE: UDP 127\.0\.0\.1:\d+.* is taken by another program/);
    }
    first.insane.child.kill("SIGKILL");
    await first.insane.exit;
    expect(existsSync(first.socket)).toBe(true);
    const last = start(["up", "--socket", first.socket, "--listen", "127.0.0.1:0"]);
    await last.says(/is up/);
  });
});

describe("a path for a socket", () => {
  // Node's own recursive mkdir tries for ever there.
  it("whose folder cannot be made is refused", async () => {
    const insane = await run("up", "--socket", "/proc/insane/x.sock", "--no-network", "--log", "silent");
    expect(insane.code).toBe(1);
    expect(insane.err).toMatch(/^insane: E(SYSTEM|PERM): Cannot listen on \/proc\/insane\/x\.sock/);
  });

  it("is in a folder that those may search whom its permissions let in, when the runtime makes it", async () => {
    for (const [socketMode, wanted] of [
      ["0600", 0o700],
      ["0660", 0o710],
      ["0666", 0o711],
    ] as const) {
      const file = join(folder, `mode-${socketMode}.json`);
      writeFileSync(file, JSON.stringify({ socketMode, network: { enabled: false } }));
      const socket = join(folder, `made-${socketMode}/deeper/insane.sock`);
      const insane = start(["up", "--config", file, "--socket", socket, "--log", "silent"]);
      await insane.says(/is up/);
      for (const made of [dirname(socket), dirname(dirname(socket))]) expect(statSync(made).mode & 0o777).toBe(wanted);
    }
  });

  it("that is something else already stays what it is", async () => {
    const file = join(folder, "notes.txt");
    writeFileSync(file, "precious");
    const insane = await run("up", "--socket", file, "--no-network");
    expect(insane.code).toBe(5);
    expect(insane.err).toContain("is no socket");
    expect(readFileSync(file, "utf8")).toBe("precious");
    // Nor is what a link points to taken away.
    const link = join(folder, "link.sock");
    symlinkSync(file, link);
    expect((await run("up", "--socket", link, "--no-network")).code).toBe(5);
    expect(readFileSync(link, "utf8")).toBe("precious");
  });
});

describe("with a runtime", () => {
  it("a message goes from pub to sub, as text and as JSON", async () => {
    const { socket } = await up();
    const text = await sub(socket, "42", "--count", "3");
    const json = await sub(socket, "42", "--count", "3", "--json");
    expect(await start(["pub", "42", "hello, edge", "--socket", socket]).exit).toBe(0);
    const lines = start(["pub", "42", "-", "--socket", socket, "--json"], "two\nthree\n");
    expect(await lines.exit).toBe(0);
    expect(lines.json()).toMatchObject({ channel: 42, messages: 2, bytes: 8, pushed: 4, consumed: 4, outstanding: 0 });
    expect([await text.exit, await json.exit]).toEqual([0, 0]);
    expect(text.out).toBe("hello, edge\ntwo\nthree\n");
    const messages = json.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(messages).toMatchObject([
      { channel: 42, length: 11, text: "hello, edge" },
      { text: "two" },
      { text: "three" },
    ]);
    expect(messages[1].source).not.toBe(messages[0].source);
    expect(messages[2].sequence - messages[1].sequence).toBe(1);
  });

  it("topics go from pub to sub, echo and hz, by patterns too, and are listed", async () => {
    const { socket } = await up();
    const text = await sub(socket, "line/+/temperature", "--count", "2");
    const echo = start(["echo", "line/#", "--json", "--count", "2", "--socket", socket]);
    const hz = start(["hz", "line/1/temperature", "--json", "--interval", "0.2", "--socket", socket]);
    await Promise.all([echo.says(/ready/, "err"), hz.says(/ready/, "err")]);
    // They follow it when they hear of it, each in its own time.
    const giver = start(["pub", "line/1/temperature", "20", "--count", "0", "--rate", "50", "--socket", socket]);
    expect([await text.exit, await echo.exit]).toEqual([0, 0]);
    expect(text.out).toBe("line/1/temperature: 20\nline/1/temperature: 20\n");
    const [first] = echo.out.split("\n");
    expect(JSON.parse(first!)).toMatchObject({ topic: "line/1/temperature", length: 2, text: "20" });
    await hz.says(/"hz":(?!0\b)/);
    for (const { child } of [hz, giver]) child.kill("SIGINT");
    expect([await hz.exit, await giver.exit]).toEqual([0, 0]);
    const orders = await sub(socket, "orders", "--at-least-once", "--count", "2");
    const sent = start(["pub", "orders", "-", "--at-least-once", "--json", "--socket", socket], "one\ntwo\n");
    expect([await sent.exit, await orders.exit]).toEqual([0, 0]);
    expect(orders.out).toBe("one\ntwo\n");
    expect(sent.json()).toMatchObject({ topic: "orders", messages: 2, bytes: 6 });
    const nobody = await run("pub", "line/2/pressure", "x", "--wait", "0.1", "--socket", socket);
    expect([nobody.code, nobody.err.includes("insane sub line/2/pressure")]).toEqual([6, true]);
    const listener = await sub(socket, "line/2/pressure", "--json");
    const topics = await run("topics", "line/#", "--json", "--socket", socket);
    expect(topics.json()).toMatchObject([{ topic: "line/2/pressure", publishers: 0, subscribers: 1, kept: false }]);
    expect((await run("topics", "--socket", socket)).out).toMatch(/line\/2\/pressure +0 +1/);
    listener.child.kill("SIGINT");
    expect(await listener.exit).toBe(0);
  });

  it("messages of any size go, as fast as they are taken; top shows them", async () => {
    const { socket } = await up();
    const taker = await sub(socket, "7", "--rate", "--json", "--max-message", "4000000");
    const giver = start([
      "pub",
      "7",
      "--size",
      "3000000",
      "--count",
      "0",
      "--rate",
      "50",
      "--max-message",
      "4000000",
      "--socket",
      socket,
    ]);
    await taker.says(/messagesPerSecond/);
    type Rate = { readonly kind: string; readonly messagesPerSecond: number; readonly bytesPerSecond: number };
    const flows = async (): Promise<ReadonlyArray<Rate>> => {
      const top = await run("top", "--once", "--json", "--interval", "0.5", "--socket", socket);
      expect(top.code).toBe(0);
      return top.json<{ rates: Rate[] }>().rates;
    };
    const flowing = (rates: ReadonlyArray<Rate>): boolean =>
      ["source", "sink"].every((kind) =>
        rates.some((one) => one.kind === kind && one.messagesPerSecond > 10 && one.bytesPerSecond > 30_000_000),
      );
    await expect.poll(async () => flowing(await flows()), { timeout: 25_000 }).toBe(true);
    giver.child.kill("SIGINT");
    taker.child.kill("SIGINT");
    expect([await giver.exit, await taker.exit]).toEqual([0, 0]);
    const picture = async (): Promise<string> =>
      (await run("top", "--once", "--interval", "0.1", "--socket", socket)).out;
    await expect.poll(picture, { timeout: 25_000 }).toContain("nothing is open");
  });

  it("waiting has an end: nobody listens, or nothing comes", async () => {
    const { socket } = await up();
    const pub = await run("pub", "1", "x", "--wait", "0.2", "--socket", socket);
    expect(pub.code).toBe(6);
    expect(pub.err).toContain("insane sub 1");
    const sub = await run("sub", "1", "--count", "1", "--timeout", "0.2", "--socket", socket);
    expect(sub.code).toBe(6);
    expect(sub.err).toContain("0 of 1 messages");
    expect((await run("pub", "1", "x", "--wait", "0", "--socket", socket)).code).toBe(0);
  });

  it("doctor and explain tell why a fast stream runs on UDP", async () => {
    const { socket } = await up();
    const doctor = await run("doctor", "--json", "--socket", socket);
    expect(doctor.code).toBe(0);
    const { technologies, as } = doctor.json<{ technologies: CapabilityRecord[]; as: string }>();
    // The runtime is asked, which knows that it has no address but 127.0.0.1; and the host where something else is said.
    expect(as).toMatch(/^as the runtime .+ finds it$/);
    expect(technologies.find(({ technology }) => technology === "xdp")?.reason).toContain(
      "network.address is 127.0.0.1",
    );
    const file = join(folder, "doctor.json");
    writeFileSync(file, JSON.stringify({ network: { address: "10.0.0.1", xdp: { enabled: false } } }));
    for (const [option, value, words] of [
      ["--config", file, "network.xdp.enabled"],
      ["--interface", "nosuch0", ""],
    ] as const) {
      const look = await run("doctor", "--json", "--socket", socket, option, value);
      const own = look.json<{ technologies: CapabilityRecord[]; as: string }>();
      expect(own.as).not.toContain("finds it");
      expect(own.technologies.find(({ technology }) => technology === "xdp")).toMatchObject({
        available: false,
        reason: expect.stringContaining(words),
      });
    }
    expect(technologies.map(({ technology }) => technology)).toEqual(["shm", "udp", "xdp", "dpdk", "rdma"]);
    const text = await run("doctor", "--socket", socket);
    for (const { technology, available, reason } of technologies) {
      expect(text.out).toMatch(new RegExp(`^${technology.padEnd(4)} ${available ? "yes" : "no "} `, "m"));
      expect(text.out).toContain(reason);
    }
    for (const name of ["threads", "real-time threads"])
      expect(text.out).toMatch(new RegExp(`^(ok |! ) ${name}: `, "m"));
    expect((await run("explain", "--socket", socket)).out).toContain("no streams yet");
    const listener = await sub(socket, "1", "--acceleration", "fast", "--stream", "control-loop");
    const without = technologies.filter(({ technology, available }) => !available && technology !== "shm");
    if (without.length === 3) expect(listener.err).toContain("W_FALLBACK_UDP");
    const json = await run("explain", "control-loop", "--json", "--socket", socket);
    const [report] = json.json<ExplainReport[]>();
    expect(report).toMatchObject({ stream: "control-loop", sessions: [{ name: expect.stringContaining("sub") }] });
    const explained = await run("explain", "control-loop", "--socket", socket);
    expect(explained.out).toContain("acceleration fast");
    expect(explained.out).toMatch(/^ {2}waiting {5}the engine sleeps until something comes \(park\)$/m);
    for (const { technology, rule, why } of report!.decision.candidates) {
      expect(explained.out).toMatch(new RegExp(`^ {2}${technology} `, "m"));
      expect(explained.out.replaceAll(/\s+/g, " ")).toContain(`${why} [${rule}]`);
    }
    const nothing = await run("explain", "nothing", "--socket", socket);
    expect(nothing.code).toBe(1);
    expect(nothing.err).toContain('no stream "nothing"');
  });

  it("status shows who is there, and nobody who died", async () => {
    const { socket, pid } = await up("--name", "edge-1");
    const listener = await sub(socket, "5", "--stream", "telemetry");
    const status = (await run("status", "--json", "--socket", socket)).json<StatusReport>();
    expect(status.runtime).toMatchObject({ name: "edge-1", pid });
    expect(status.sessions).toMatchObject([
      { pid: listener.child.pid, streams: [{ name: "telemetry", sources: [], sinks: [{ channel: 5 }] }] },
    ]);
    const text = await run("status", "--socket", socket);
    expect(text.out).toMatch(/telemetry/);
    expect(text.out).toMatch(/^edge-1 /);
    const watcher = start(["status", "--watch", "0", "--socket", socket]);
    await watcher.says(/session \d+ +attached/);
    listener.child.kill("SIGKILL");
    await listener.exit;
    await watcher.says(/session \d+ +closed/);
    await watcher.says(/sink \d+ +closed/);
    expect((await run("status", "--json", "--socket", socket)).json<StatusReport>().sessions).toEqual([]);
    watcher.child.kill("SIGINT");
    expect(await watcher.exit).toBe(0);
    const nobody = await run("status", "--watch", "999", "--socket", socket);
    expect(nobody.code).toBe(1);
    expect(nobody.err).toContain("ENOENT");
  });
});

describe("a large runtime", () => {
  it("is shown whole, though its report is larger than a control frame", async () => {
    const { socket } = await up("--no-network");
    const sessions = await Promise.all(
      Array.from({ length: 6 }, (_, i) => connect({ socket, name: `application ${i}` })),
    );
    try {
      for (const session of sessions) {
        for (let i = 0; i < 60; i++) await session.createStream({ name: `${"a long name, ".repeat(15)}${i}` });
      }
      const status = (await run("status", "--json", "--socket", socket)).json<StatusReport>();
      expect(status.sessions.map(({ streams }) => streams.length)).toEqual([60, 60, 60, 60, 60, 60]);
      const explained = (await run("explain", "--json", "--socket", socket)).json<ExplainReport[]>();
      expect(explained.map(({ sessions }) => sessions.length)).toEqual(Array(60).fill(6));
    } finally {
      await Promise.all(sessions.map((session) => session.close()));
    }
  });
});
