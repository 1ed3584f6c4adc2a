// Two hosts whose interfaces take datagrams of different sizes: both runtimes say so in their logs.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type NamespaceHost, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";
import { eventually } from "./runtime/processes.ts";

const missing = noNamespaces();
const HELLO = 7500;
const PATIENCE_MS = 30_000;

/** A runtime on a host, of which the log is read. */
class Logging implements Disposable {
  readonly #child: ChildProcess;
  #text = "";

  constructor(host: NamespaceHost, other: NamespaceHost) {
    const network = { enabled: true, address: host.address, port: HELLO, peers: [`${other.address}:${HELLO}`] };
    const settings = JSON.stringify({
      network: { ...network, helloIntervalMs: 50, silentAfterMs: 5000 },
      log: { level: "warn", pretty: false },
    });
    const [command = "", ...rest] = [...host.prefix, process.execPath, join(import.meta.dirname, "runtime/daemon.ts")];
    this.#child = spawn(command, [...rest, settings], {
      stdio: ["ignore", "inherit", "pipe", "ipc"],
      env: { ...process.env, NODE_OPTIONS: "", VITEST: "" },
    });
    this.#child.stderr?.on("data", (data: Buffer) => {
      this.#text += data.toString();
    });
  }

  /** The first line with that code. */
  async warned(code: string): Promise<string> {
    const lines = await eventually(
      () => this.#text.split("\n").slice(0, -1),
      (all) => all.some((line) => line.includes(`"${code}"`)) || this.#child.exitCode !== null,
      PATIENCE_MS,
    );
    return lines.find((line) => line.includes(`"${code}"`)) ?? `it ended: ${this.#text}`;
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}

describe.skipIf(missing !== "")(`MTUs that differ between two hosts ${missing}`, { timeout: 120_000 }, () => {
  it("are told in the logs of both", async () => {
    using hosts = new TwoHosts(9000);
    hosts.b.ip("link", "set", "veth0", "mtu", "1500");
    using a = new Logging(hosts.a, hosts.b);
    using b = new Logging(hosts.b, hosts.a);
    for (const line of [await a.warned("W_MTU_MISMATCH"), await b.warned("W_MTU_MISMATCH")]) {
      expect(line).toMatch(/W_MTU_MISMATCH.*bytes/);
      expect(line).toContain("1500");
      expect(line).toContain("9000");
    }
  });
});
