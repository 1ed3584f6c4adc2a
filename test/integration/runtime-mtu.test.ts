// Two hosts whose interfaces take datagrams of different sizes: both runtimes say so in their logs.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type NamespaceHost, noNamespaces, TwoHosts } from "./runtime/namespaces.ts";

const missing = noNamespaces();
const HELLO = 7500;
const PATIENCE_MS = 30_000;

/** Runs a runtime on a host until it has logged that warning; what it said. */
async function logged(host: NamespaceHost, other: NamespaceHost, code: string): Promise<string> {
  const network = { enabled: true, address: host.address, port: HELLO, peers: [`${other.address}:${HELLO}`] };
  const settings = JSON.stringify({
    network: { ...network, helloIntervalMs: 50, silentAfterMs: 5000 },
    log: { level: "warn", pretty: false },
  });
  const [command = "", ...rest] = [...host.prefix, process.execPath, join(import.meta.dirname, "runtime/daemon.ts")];
  const daemon = spawn(command, [...rest, settings], {
    stdio: ["ignore", "inherit", "pipe", "ipc"],
    env: { ...process.env, NODE_OPTIONS: "", VITEST: "" },
  });
  try {
    return await new Promise((resolve, reject) => {
      let text = "";
      const timer = setTimeout(() => reject(new Error(`no ${code} in ${PATIENCE_MS} ms: ${text}`)), PATIENCE_MS);
      const said = (line: string): boolean => line.includes(`"${code}"`);
      daemon.stderr?.on("data", (data: Buffer) => {
        text += data.toString();
        const line = text.split("\n").slice(0, -1).find(said);
        if (line === undefined) return;
        clearTimeout(timer);
        resolve(line);
      });
      daemon.on("exit", (exit) => {
        clearTimeout(timer);
        reject(new Error(`the runtime ended (${exit}) before it said ${code}: ${text}`));
      });
      daemon.on("error", reject);
    });
  } finally {
    daemon.removeAllListeners("exit");
    daemon.kill("SIGKILL");
  }
}

describe.skipIf(missing !== "")(`MTUs that differ between two hosts ${missing}`, () => {
  it("are told in the logs of both", async () => {
    using hosts = new TwoHosts(9000);
    hosts.b.ip("link", "set", "veth0", "mtu", "1500");
    const [a, b] = await Promise.allSettled([
      logged(hosts.a, hosts.b, "W_MTU_MISMATCH"),
      logged(hosts.b, hosts.a, "W_MTU_MISMATCH"),
    ]);
    // Whoever has said it goes, so one of the two may not have been answered for long; it greets often enough.
    expect([a, b].map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
    for (const { value } of [a, b] as ReadonlyArray<PromiseFulfilledResult<string>>) {
      expect(value).toContain("1500");
      expect(value).toContain("9000");
    }
  });
});
