// Two hosts on one machine: as root two network namespaces joined by a veth pair, else two loopback addresses; a runtime
// on each. Whatever is made here is removed here, also on Ctrl-C.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const HELLO_PORT = 7400;

export interface Host {
  readonly name: string;
  readonly address: string;
  readonly socket: string;
  /** What a command line begins with to run on this host. */
  readonly prefix: ReadonlyArray<string>;
}

export interface Hosts {
  readonly kind: "namespaces" | "loopback";
  readonly a: Host;
  readonly b: Host;
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
    const host = (index: 0 | 1): Host => ({
      name: index === 0 ? "host-a" : "host-b",
      address: namespaces ? `10.83.0.${index + 1}` : `127.0.83.${index + 1}`,
      socket: join(folder, `${index === 0 ? "a" : "b"}.sock`),
      prefix: namespaces ? ["ip", "netns", "exec", names[index]] : [],
    });
    const [a, b] = [host(0), host(1)];
    for (const [self, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const command = [...self.prefix, process.execPath, CLI, "up", "--name", self.name, "--socket", self.socket];
      command.push("--listen", `${self.address}:${HELLO_PORT}`, "--peer", `${other.address}:${HELLO_PORT}`);
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
  ip("link", "add", "veth0", "netns", a, "type", "veth", "peer", "name", "veth0", "netns", b);
  names.forEach((name, index) => {
    ip("-n", name, "addr", "add", `10.83.0.${index + 1}/24`, "dev", "veth0");
    ip("-n", name, "link", "set", "lo", "up");
    ip("-n", name, "link", "set", "veth0", "up");
  });
}
