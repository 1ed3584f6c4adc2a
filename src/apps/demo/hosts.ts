// Two hosts on one machine: as root two network namespaces joined by a veth pair, else two loopback addresses. A runtime
// on each, and on the second one more that must do without XDP, as a host without it would. Whatever is made here is removed here, also on Ctrl-C.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const HELLO_PORT = 7400;
/** Jumbo frames, as between servers. */
const MTU = 9000;

export interface Host {
  readonly name: string;
  readonly address: string;
  /** UDP port of its hello frames. */
  readonly port: number;
  readonly socket: string;
  /** What a command line begins with to run on this host. */
  readonly prefix: ReadonlyArray<string>;
}

export interface Hosts {
  readonly kind: "namespaces" | "loopback";
  readonly a: Host;
  readonly b: Host;
  /** Beside b, with XDP switched off. */
  readonly plain: Host;
  /** `insane status --json` of a host. */
  status(host: Host): { readonly slots: { readonly total: number; readonly outstanding: number } };
  /** Idempotent. */
  remove(): void;
}

const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });

/** True when this user may make namespaces and iproute2 is there. */
function canMakeNamespaces(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    ip("netns", "list");
    return true;
  } catch {
    return false;
  }
}

/** Resolves when both runtimes say that they are up. `onDaemonExit` is told when one ends before `remove`. */
export async function makeHosts(onDaemonExit: (host: string, how: string) => void): Promise<Hosts> {
  const folder = mkdtempSync(join(tmpdir(), "insane-demo-"));
  const undo: Array<() => void> = [() => rmSync(folder, { recursive: true, force: true })];
  const daemons: ChildProcess[] = [];
  let removed = false;
  process.on("exit", () => remove());
  const remove = (): void => {
    if (removed) return;
    removed = true;
    for (const daemon of daemons) daemon.kill("SIGKILL");
    for (const step of undo.reverse()) {
      try {
        step();
      } catch (error) {
        console.error(`clean-up: ${(error as Error).message}`);
      }
    }
  };
  try {
    const namespaces = canMakeNamespaces();
    const names = [`insane-a-${process.pid}`, `insane-b-${process.pid}`] as const;
    if (namespaces) joinNamespaces(names, undo);
    const host = (index: 0 | 1, name: string, port = HELLO_PORT): Host => ({
      name,
      port,
      address: namespaces ? `10.83.0.${index + 1}` : `127.0.83.${index + 1}`,
      socket: join(folder, `${name}.sock`),
      prefix: namespaces ? ["ip", "netns", "exec", names[index]] : [],
    });
    const a = host(0, "host-a");
    const b = host(1, "host-b");
    const plain = host(1, "host-b-without-xdp", HELLO_PORT + 2);
    for (const [self, ...others] of [
      [a, b, plain],
      [b, a],
      [plain, a],
    ] as const) {
      const config = join(folder, `${self.name}.json`);
      writeFileSync(config, JSON.stringify({ network: { xdp: { enabled: self === plain ? false : "auto" } } }));
      const command = [...self.prefix, process.execPath, CLI, "up", "--name", self.name, "--socket", self.socket];
      command.push("--config", config, "--listen", `${self.address}:${self.port}`);
      for (const { address, port } of others) command.push("--peer", `${address}:${port}`);
      command.push("--log", "error", "--json");
      const daemon = spawn(command[0] as string, command.slice(1), { stdio: ["ignore", "pipe", 2] });
      daemon.on("exit", (code, signal) => {
        if (!removed) onDaemonExit(self.name, signal ?? `code ${code}`);
      });
      daemons.push(daemon);
    }
    // The one line on standard output says that the runtime is up.
    await Promise.all(daemons.map((daemon) => once(daemon.stdout as NodeJS.ReadableStream, "data")));
    return {
      kind: namespaces ? "namespaces" : "loopback",
      a,
      b,
      plain,
      status: (at) =>
        JSON.parse(
          execFileSync(process.execPath, [CLI, "status", "--json", "--socket", at.socket], { encoding: "utf8" }),
        ),
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}

function joinNamespaces(names: readonly [string, string], undo: Array<() => void>): void {
  const [a, b] = names;
  for (const name of names) {
    ip("netns", "add", name);
    undo.push(() => ip("netns", "del", name));
  }
  const mtu = ["mtu", String(MTU)];
  ip("link", "add", "veth0", ...mtu, "netns", a, "type", "veth", "peer", "name", "veth0", ...mtu, "netns", b);
  names.forEach((name, index) => {
    ip("-n", name, "addr", "add", `10.83.0.${index + 1}/24`, "dev", "veth0");
    ip("-n", name, "link", "set", "lo", "up");
    ip("-n", name, "link", "set", "veth0", "up");
  });
}
