// A daemon to be attacked, `insane up` in a process of its own, and what can be asked of it from outside: its report, its
// log, its descriptors and mappings, the memory that it uses.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { isPart, joinParts, type Part } from "../../../src/protocol/parts.ts";
import type { StatusReport } from "../../../src/runtime/api.ts";
import { eventually, fdsOf, segmentsOf, type Words } from "../runtime/processes.ts";
import { RawClient } from "../runtime/raw-client.ts";
import type { MemoryInUse } from "./memory-probe.ts";

/** With little memory of its own: a leak would end it. */
const FRUGAL = [process.execPath, "--max-old-space-size=96"];

export interface Footprint {
  readonly fds: number;
  readonly segments: number;
  readonly bytes: number;
}

/** A daemon, `insane up`, in a process of its own. */
export class Daemon {
  readonly folder = mkdtempSync(join(tmpdir(), "insane-hostile-"));
  readonly socket = join(this.folder, "insane.sock");
  /** Address and port of its hello frames. */
  hello = "";
  /** Of its udp datapath. */
  data = "";
  readonly child: ChildProcess;
  exit: { readonly code: number | null; readonly signal: string | null } | null = null;
  #operator: RawClient | null = null;
  readonly #logFile: string;
  readonly #memoryFile: string;
  #looks = 0;
  readonly #ready: Promise<void>;

  constructor(settings: Words, command: ReadonlyArray<string> = FRUGAL) {
    const config = join(this.folder, "config.json");
    writeFileSync(config, JSON.stringify({ log: { level: "info" }, ...settings }));
    const main = join(import.meta.dirname, "../../../src/apps/cli/main.ts");
    const [program = process.execPath, ...args] = [
      ...command,
      main,
      "up",
      "--json",
      "--config",
      config,
      "--socket",
      this.socket,
    ];
    this.#memoryFile = join(this.folder, "memory");
    const probe = pathToFileURL(join(import.meta.dirname, "memory-probe.ts")).href;
    const env = { ...process.env, NODE_OPTIONS: `--import=${probe}`, INSANE_MEMORY_PROBE: this.#memoryFile };
    // To a file: a pipe that nobody reads for a while would stop a daemon that has much to say.
    this.#logFile = join(this.folder, "log");
    const errors = openSync(this.#logFile, "w");
    this.child = spawn(program, args, { stdio: ["ignore", "pipe", errors], env });
    closeSync(errors);
    this.child.on("exit", (code, signal) => {
      this.exit = { code, signal };
    });
    const { stdout } = this.child;
    if (!stdout) throw new Error("no pipe");
    this.#ready = new Promise((resolve, reject) => {
      createInterface(stdout).once("line", (line) => {
        const words = parsed(line);
        this.hello = String(words["hello"] ?? "");
        this.data = String((words["datapaths"] as Array<{ endpoint: string }>)[0]?.endpoint ?? "");
        resolve();
      });
      this.child.once("exit", () => reject(new Error(`the daemon ended: ${JSON.stringify(this.log)}`)));
    });
  }

  /** What it has logged so far, a line an object. */
  get log(): ReadonlyArray<Record<string, unknown>> {
    // Afterwards its folder is gone.
    if (!existsSync(this.#logFile)) return [];
    return readFileSync(this.#logFile, "utf8").split("\n").filter(Boolean).map(parsed);
  }

  get ready(): Promise<void> {
    return this.#ready;
  }
  get pid(): number {
    return this.child.pid ?? 0;
  }

  async #ask(): Promise<RawClient> {
    if (this.#operator) return this.#operator;
    const operator = new RawClient(this.socket);
    const { error } = await operator.hello({ role: "operator", name: "watch" });
    if (error) throw new Error(error.message);
    this.#operator = operator;
    return operator;
  }

  /** By a socket that stays, so that asking does not change what is asked about. */
  async status(): Promise<StatusReport> {
    if (this.exit)
      throw new Error(`the daemon is dead: ${JSON.stringify(this.exit)} ${JSON.stringify(this.log.slice(-3))}`);
    const operator = await this.#ask();
    const first = (await operator.ask("status", {})).result;
    if (!isPart(first)) return first as StatusReport;
    const parts: Part[] = [first];
    while (parts.length < first.parts) {
      parts.push((await operator.ask("status", { part: parts.length })).result as Part);
    }
    return joinParts(parts) as StatusReport;
  }

  async counter(name: string): Promise<number> {
    return (await this.status()).engines[0]?.counters[name] ?? 0;
  }

  /** What machines run, and their states. */
  async machines(): Promise<ReadonlyArray<{ readonly actor: string; readonly state: string }>> {
    const { result } = await (await this.#ask()).ask("watch", { session: 0 });
    return (result as { machines: Array<{ actor: string; state: string }> }).machines;
  }

  footprint(): Footprint {
    const { count, bytes } = segmentsOf(this.pid);
    return { fds: fdsOf(this.pid).length, segments: count, bytes };
  }
  /** What it really uses, without garbage and reserves. */
  async memory(): Promise<MemoryInUse> {
    const look = ++this.#looks;
    this.child.kill("SIGUSR2");
    const seen = await eventually(
      () => (existsSync(this.#memoryFile) ? (JSON.parse(readFileSync(this.#memoryFile, "utf8")) as MemoryInUse) : null),
      (memory) => memory?.look === look,
    );
    if (seen === null) throw new Error("no look at the memory");
    return seen;
  }

  /** Lines of the log from `from` on that match. */
  said(pattern: RegExp, from = 0): ReadonlyArray<string> {
    return this.log
      .slice(from)
      .map((line) => JSON.stringify(line))
      .filter((line) => pattern.test(line));
  }

  /** Asks it to end, and waits. */
  async stop(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    this.#operator?.close();
    if (!this.exit) this.child.kill("SIGTERM");
    return await eventually(
      () => this.exit,
      (exit) => exit !== null,
      15_000,
    )
      .catch((cause: Error) => {
        throw new Error(`${cause.message}; it says ${JSON.stringify(this.log.slice(-6))}`);
      })
      .then((exit) => exit ?? { code: null, signal: null });
  }

  remove(): void {
    this.#operator?.close();
    if (!this.exit) this.child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const parsed = (line: string): Record<string, unknown> => {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { text: line };
  }
};
