// `insane` as tests run it: each run a process of its own, with what it has said so far; runtimes and listeners that are ready
// when they are handed out. Whatever still runs is killed at the end of a test.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(import.meta.dirname, "../../../src/apps/cli/main.ts");

/** One run of `insane`. */
export class Insane {
  readonly child: ChildProcess;
  /** Exit code, or the signal that ended it. */
  readonly exit: Promise<number | string>;
  out = "";
  err = "";
  ended = false;
  #wake: Array<() => void> = [];

  /** `inside`: a network namespace to run in, or what to put before the command. */
  constructor(line: ReadonlyArray<string>, input?: string, inside?: string | ReadonlyArray<string>) {
    const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: "1" };
    delete env["INSANE_SOCKET"];
    const before = typeof inside === "string" ? ["ip", "netns", "exec", inside] : (inside ?? []);
    const command = [...before, process.execPath, MAIN, ...line];
    this.child = spawn(command[0]!, command.slice(1), { env, stdio: ["pipe", "pipe", "pipe"] });
    const note = (): void => {
      for (const wake of this.#wake.splice(0)) wake();
    };
    this.child.stdout?.setEncoding("utf8").on("data", (text) => {
      this.out += text;
      note();
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text) => {
      this.err += text;
      note();
    });
    // A program that ends without reading its input is no failure of the test.
    this.child.stdin?.on("error", () => {}).end(input ?? "");
    this.exit = once(this.child, "close").then(([code, signal]) => {
      this.ended = true;
      note();
      return (code ?? signal) as number | string;
    });
  }

  /** Resolves when what it has said matches; rejects when it ends before that. */
  async says(pattern: RegExp, where: "out" | "err" = "out"): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this[where]);
      if (match) return match;
      if (this.ended) throw new Error(`ended without ${pattern}: ${this.out}${this.err}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  json<T>(): T {
    return JSON.parse(this.out) as T;
  }
}

export interface Daemon {
  readonly insane: Insane;
  readonly socket: string;
  readonly hello: string;
  readonly datapaths: ReadonlyArray<{ readonly lane: string; readonly endpoint: string }>;
  readonly pid: number;
}

/** The runs of one test file, and a folder for their sockets and files. */
export class CommandLine {
  readonly folder = mkdtempSync(join(tmpdir(), "insane-cli-"));
  readonly #running = new Set<Insane>();
  #sockets = 0;

  readonly start = (line: ReadonlyArray<string>, input?: string, inside?: string | ReadonlyArray<string>): Insane => {
    const insane = new Insane(line, input, inside);
    this.#running.add(insane);
    void insane.exit.then(() => this.#running.delete(insane));
    return insane;
  };

  readonly run = async (...line: string[]): Promise<Insane & { readonly code: number | string }> => {
    const insane = this.start(line);
    return Object.assign(insane, { code: await insane.exit });
  };

  /** A runtime that serves. */
  readonly up = async (...options: string[]): Promise<Daemon> => {
    const socket = join(this.folder, `${this.#sockets++}.sock`);
    const insane = this.start(["up", "--json", "--socket", socket, "--listen", "127.0.0.1:0", ...options]);
    const [line] = await insane.says(/^\{"ready".*$/m);
    const ready = JSON.parse(line) as Pick<Daemon, "hello" | "pid" | "datapaths">;
    return { insane, socket, ...ready };
  };

  /** A subscriber that listens. */
  readonly sub = async (socket: string, ...options: string[]): Promise<Insane> => {
    const insane = this.start(["sub", "--socket", socket, ...options]);
    await insane.says(/listening on|"ready":true/, "err");
    return insane;
  };

  /** At the end of a test. */
  async stop(): Promise<void> {
    for (const insane of this.#running) insane.child.kill("SIGKILL");
    for (const insane of this.#running) await insane.exit;
  }

  /** At the end of the file. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
