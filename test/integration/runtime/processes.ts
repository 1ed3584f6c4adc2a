// Real processes for the runtime's tests: a daemon and applications, told what to do over Node's own IPC. Everything
// started here ends with the test, also when it fails.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EmbeddedRuntime } from "../../../src/index.ts";
import type { DecisionRecord } from "../../../src/protocol/control.ts";

/** How long a process may take to be there, ms: on a busy machine a namespace that is taken down holds up others. */
const START_MS = 45_000;

export type Words = Readonly<Record<string, unknown>>;

export class TestProcess {
  readonly child: ChildProcess;
  readonly heard: Words[] = [];
  readonly #name: string;
  readonly #waiting = new Set<() => void>();
  #nextCall = 1;
  exited: { readonly code: number | null; readonly signal: string | null } | null = null;

  /** `prefix`: what its command line begins with, to run it in a namespace, say. */
  constructor(file: string, name: string, args: ReadonlyArray<string>, prefix: ReadonlyArray<string> = []) {
    this.#name = name;
    const [command = "", ...rest] = [
      ...prefix,
      process.execPath,
      "--expose-gc",
      join(import.meta.dirname, file),
      ...args,
    ];
    this.child = spawn(command, rest, {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: { ...process.env, NODE_OPTIONS: "", VITEST: "" },
    });
    this.child.on("message", (words: Words) => {
      this.heard.push(words);
      this.#wake();
    });
    this.child.on("exit", (code, signal) => {
      this.exited = { code, signal };
      this.#wake();
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  tell(words: Words): void {
    if (this.child.connected) this.child.send(words);
  }

  /** Resolves with the answer to a call; rejects with the error it failed with. */
  async call(method: string, params: Words = {}): Promise<Words> {
    const call = this.#nextCall++;
    this.tell({ call, method, ...params });
    const answer = await this.until((words) => words["answer"] === call, `the answer to ${method}`);
    if (answer["error"] !== undefined) throw new Error(`${this.#name}: ${method}: ${answer["error"]}`);
    return answer;
  }

  async until(found: (words: Words) => boolean, what: string, ms = 20_000): Promise<Words> {
    return await new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = (): void => {
        const words = this.heard.find(found);
        if (words) {
          done();
          resolve(words);
        } else if (this.exited) {
          done();
          reject(new Error(`${this.#name} ended (${JSON.stringify(this.exited)}) before ${what}`));
        }
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`${this.#name}: ${what} did not come in ${ms} ms`));
      }, ms);
      this.#waiting.add(look);
      look();
    });
  }

  kill(): Promise<void> {
    this.child.kill("SIGKILL");
    return this.gone();
  }

  gone(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!this.exited) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look();
  }
}

/** A folder and the processes of one test. */
export class Stage implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "insane-test-"));
  readonly socket = join(this.folder, "insane.sock");
  readonly #processes: TestProcess[] = [];
  readonly #prefix: ReadonlyArray<string>;

  /** `prefix`: what command lines of its processes begin with. */
  constructor(prefix: ReadonlyArray<string> = []) {
    this.#prefix = prefix;
  }

  /** A runtime in a process of its own. */
  async daemon(settings: Words = {}): Promise<TestProcess> {
    const daemon = this.start("daemon.ts", "daemon", [JSON.stringify({ socket: this.socket, ...settings })]);
    await daemon.until((words) => words["up"] === true, "it is up", START_MS);
    return daemon;
  }

  /** An application that is connected; `user`: as that user and group, from root. */
  async application(name: string, user?: number): Promise<TestProcess> {
    // Another user must be able to reach the socket.
    if (user !== undefined) chmodSync(this.folder, 0o755);
    return await this.#application(name, [this.socket, name, ...(user === undefined ? [] : [String(user)])]);
  }

  /** One with a runtime of its own. */
  embedding(name: string, settings: Words): Promise<TestProcess> {
    return this.#application(name, [JSON.stringify(settings), name]);
  }

  async #application(name: string, args: ReadonlyArray<string>): Promise<TestProcess> {
    const application = this.start("application.ts", name, args);
    await application.until((words) => words["connected"] === true, "it is connected", START_MS);
    return application;
  }

  start(file: string, name: string, args: ReadonlyArray<string>): TestProcess {
    const started = new TestProcess(file, name, args, this.#prefix);
    this.#processes.push(started);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((started) => (started.exited ? undefined : started.kill())));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const fdsOf = (pid: number): string[] => {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder);
};

/** Memory that is mapped from memfds, in bytes, and the number of such mappings. */
export function segmentsOf(pid: number): { readonly count: number; readonly bytes: number } {
  const lines = readFileSync(`/proc/${pid}/maps`, "utf8")
    .split("\n")
    .filter((line) => line.includes("/memfd:"));
  const bytes = lines.reduce((sum, line) => {
    const [from = "0", to = "0"] = (line.split(" ")[0] ?? "").split("-");
    return sum + Number.parseInt(to, 16) - Number.parseInt(from, 16);
  }, 0);
  return { count: lines.length, bytes };
}

/** Waits for something outside that only shows when looked at; fails with what it saw last. */
export async function eventually<T>(look: () => T | Promise<T>, good: (seen: T) => boolean, ms = 25_000): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const seen = await look();
    if (good(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(seen)} after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export type Status = ReturnType<EmbeddedRuntime["status"]>;

/** What a daemon says of itself. */
export const statusOf = async (daemon: TestProcess): Promise<Status> =>
  (await daemon.call("status"))["result"] as Status;

/** What a stream of an application is bound to, and why. */
export const decisionOf = async (application: TestProcess, stream: Words): Promise<DecisionRecord> =>
  (await application.call("binding", stream))["result"] as DecisionRecord;
