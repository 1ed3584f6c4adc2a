// The command line between runtimes: two that list each other on one host, and two hosts (network namespaces joined by veth).
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { StatusReport } from "../../src/runtime/api.ts";
import { CommandLine, type Insane } from "./cli/command-line.ts";

const cli = new CommandLine();
const { folder, run, start, up, sub } = cli;
afterEach(() => cli.stop());
afterAll(() => cli.remove());

describe("two runtimes", () => {
  it("that list each other carry messages, and show each other as peers", async () => {
    const a = await up("--name", "a");
    const b = await up("--name", "b", "--peer", a.hello);
    // A runtime that is not listed is told of, with the line that would list it.
    const warning = await a.insane.says(/^.*W_PEER_UNLISTED.*$/m, "err");
    expect(warning[0]).toContain(b.hello);
    a.insane.child.kill("SIGTERM");
    await a.insane.exit;
    const again = start(["up", "--json", "--name", "a", "--socket", a.socket, "--listen", a.hello, "--peer", b.hello]);
    await again.says(/"ready"/);
    const listener = await sub(a.socket, "9", "--count", "2");
    expect((await run("pub", "9", "over the wire", "--count", "2", "--wait", "10", "--socket", b.socket)).code).toBe(0);
    expect(await listener.exit).toBe(0);
    expect(listener.out).toBe("over the wire\nover the wire\n");
    const { peers } = (await run("status", "--json", "--socket", b.socket)).json<StatusReport>();
    expect(peers).toMatchObject([{ name: "a", endpoint: a.hello, state: "alive" }]);
  });
});

/** Network namespaces need root and iproute2. */
const canMakeNamespaces = process.getuid?.() === 0 && spawnSync("ip", ["netns", "list"]).status === 0;

describe.runIf(canMakeNamespaces)("two hosts", () => {
  const names = [`icl-a-${process.pid}`, `icl-b-${process.pid}`] as const;
  const ip = (...line: string[]) => execFileSync("ip", line, { stdio: ["ignore", "ignore", "pipe"] });
  beforeAll(() => {
    for (const name of names) ip("netns", "add", name);
    ip("link", "add", "icl0", "netns", names[0], "type", "veth", "peer", "name", "icl0", "netns", names[1]);
    names.forEach((name, i) => {
      ip("-n", name, "addr", "add", `10.84.0.${i + 1}/24`, "dev", "icl0");
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "link", "set", "icl0", "up");
    });
  });
  afterAll(() => {
    for (const name of names) spawnSync("ip", ["netns", "del", name]);
  });

  const host = async (i: 0 | 1, instance: string) => {
    const file = join(folder, `host-${i}.json`);
    const socket = join(folder, `host-${i}-${instance}.sock`);
    // The same list on both: each finds itself in it and passes it over.
    const peers = ["10.84.0.1:6174", "10.84.0.2:6174"];
    writeFileSync(file, JSON.stringify({ network: { peers, helloIntervalMs: 50, silentAfterMs: 200 } }));
    const line = [
      "up",
      "--config",
      file,
      "--json",
      "--name",
      `host-${i}`,
      "--socket",
      socket,
      "--listen",
      `10.84.0.${i + 1}`,
    ];
    const insane = start(line, "", names[i]);
    await insane.says(/^\{"ready".*$/m);
    return { insane, socket };
  };
  const send = async (from: string, to: Insane, text: string) => {
    expect((await run("pub", "3", text, "--wait", "10", "--socket", from)).code).toBe(0);
    await to.says(new RegExp(`^${text}$`, "m"));
  };

  it("find each other, warn that nobody is authenticated, notice a death and use the other again", async () => {
    const a = await host(0, "first");
    const b = await host(1, "first");
    for (const { insane } of [a, b]) await insane.says(/W_UNAUTHENTICATED/, "err");
    const listener = await sub(b.socket, "3");
    await send(a.socket, listener, "one");
    b.insane.child.kill("SIGKILL");
    await b.insane.exit;
    await a.insane.says(/W_PEER_SILENT/, "err");
    const { peers } = (await run("status", "--json", "--socket", a.socket)).json<StatusReport>();
    expect(peers).toMatchObject([{ name: "host-1", state: "silent" }]);
    // Nobody is there to listen, so nobody is waited for in vain.
    expect((await run("pub", "3", "nobody", "--wait", "0.1", "--socket", a.socket)).code).toBe(6);
    const again = await host(1, "second");
    await send(a.socket, await sub(again.socket, "3"), "two");
  });
});

const apart = ["unshare", "--pid", "--fork", "--net", "--mount-proc", "--kill-child"];

describe.runIf(process.getuid?.() === 0 && spawnSync("unshare", [...apart.slice(1), "true"]).status === 0)(
  "containers",
  () => {
    it("attach by a socket alone to a runtime in another one, which knows no numbers of their processes", async () => {
      const socket = join(folder, "shared.sock");
      const runtime = start(["up", "--no-network", "--socket", socket], undefined, apart);
      await runtime.says(/is up/);
      const listener = start(["sub", "42", "--socket", socket], undefined, apart);
      await listener.says(/listening on/, "err");
      expect(await start(["pub", "42", "over there", "--socket", socket], undefined, apart).exit).toBe(0);
      await listener.says(/over there/);
      const status = async () => (await run("status", "--json", "--socket", socket)).json<StatusReport>();
      expect((await status()).sessions).toMatchObject([{ pid: 0 }]);
      // One that is killed is missed all the same.
      listener.child.kill("SIGKILL");
      await expect.poll(async () => (await status()).sessions, { timeout: 30_000, interval: 500 }).toEqual([]);
      const second = start(["up", "--no-network", "--socket", socket, "--log", "silent"], undefined, apart);
      expect(await second.exit).toBe(5);
      expect(second.err).toContain("a process of another container");
    });
  },
);
