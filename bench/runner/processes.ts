// Starts and stops the programs that are measured: pinned to a core, in a namespace, dead when the runner dies. A
// program says "ready" on a line of standard output when its peer may start, and its result as one JSON line.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { undoAtExit } from "./cleanup.ts";

export interface Launch {
  /** What to call it in messages. */
  name: string;
  core: number;
  /** Network namespace; none means the runner's own. */
  namespace?: string | undefined;
  program: string;
  args: readonly (string | number)[];
  env?: Record<string, string>;
}

/** Kept of a program's standard error, to be shown when it fails. */
const STDERR_LINES = 12;
/** Beyond warm-up and measuring: start of Node, set-up, connection. */
const START_SECONDS = 60;
const GRACE_MS = 500;

export const startLimit = (seconds: number): number => (seconds + START_SECONDS) * 1000;

export class Program {
  readonly name: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #stderr: string[] = [];
  readonly #exited: Promise<void>;
  #exit: string | undefined;
  #wake: (() => void) | undefined;
  readonly #undo: () => void;

  constructor(launch: Launch) {
    this.name = launch.name;
    // setpriv, taskset and ip all exec, so the child's pid is the program's own.
    const command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", String(launch.core)];
    if (launch.namespace !== undefined) command.push("ip", "netns", "exec", launch.namespace);
    command.push(launch.program, ...launch.args.map(String));
    const [first = "", ...rest] = command;
    const child = spawn(first, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...launch.env },
    });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.#undo = undoAtExit(() => void child.kill("SIGKILL"));
    this.#exited = new Promise((resolve) => {
      const end = (how: string) => {
        this.#exit ??= how;
        this.#wake?.();
        resolve();
      };
      child.on("error", (error) => end(`could not be started: ${error.message}`));
      child.on("close", (code, signal) => end(signal ? `was ended by ${signal}` : `exited with ${code}`));
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.#lines.push(line);
      this.#wake?.();
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (/^\s*(at .*|[{}^]*)$/.test(line)) return; // stack frames say little in one line
      this.#stderr.push(line.trim());
      if (this.#stderr.length > STDERR_LINES) this.#stderr.shift();
    });
  }

  /** The next line of standard output that `accept` turns into a value. */
  async #expect<T>(what: string, milliseconds: number, accept: (line: string) => T | undefined): Promise<T> {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        const value = accept(line);
        if (value !== undefined) return value;
      }
      if (this.#exit !== undefined) throw new Error(`${this.name} ${this.#exit} before ${what}${this.#said()}`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`${this.name}: no ${what} in ${Math.round(milliseconds / 1000)} s${this.#said()}`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  #said(): string {
    return this.#stderr.length ? `: ${this.#stderr.join(" | ")}` : "";
  }

  /** Throws when the program has ended. */
  mustRun(): void {
    if (this.#exit !== undefined) throw new Error(`${this.name} ${this.#exit}${this.#said()}`);
  }

  ready(): Promise<void> {
    return this.#expect("its ready line", startLimit(0), (line) => (line === "ready" ? null : undefined)).then(
      () => {},
    );
  }

  /** The program's JSON line, numbers by name; `seconds` is what its measuring takes. Fails early when one of the
      programs it `needs` ends. */
  result(seconds: number, ...needs: Program[]): Promise<Record<string, number>> {
    const lost = needs.map((other) =>
      other.#exited.then(async () => {
        await delay(GRACE_MS, undefined, { ref: false }); // the result may be on its way
        throw new Error(`${other.name} ${other.#exit}${other.#said()}`);
      }),
    );
    const own = this.#expect("its result", startLimit(seconds), (line) =>
      line.startsWith("{") ? (JSON.parse(line) as Record<string, number>) : undefined,
    );
    return Promise.race([own, ...lost]);
  }

  /** Ends the program if it still runs and waits until it is gone. SIGKILL follows a gentler signal after 3 s. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGKILL"): Promise<void> {
    if (this.#exit === undefined) {
      this.#child.kill(signal);
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), 3000);
      await this.#exited;
      clearTimeout(timer);
    }
    this.#undo();
  }
}

/** Runs `use` with programs it may add to, and ends them, newest first, however `use` ends. */
export async function withPrograms<T>(use: (start: (launch: Launch) => Program) => Promise<T>): Promise<T> {
  const running: Program[] = [];
  try {
    return await use((launch) => {
      const program = new Program(launch);
      running.push(program);
      return program;
    });
  } finally {
    for (let program = running.pop(); program; program = running.pop()) await program.stop();
  }
}
