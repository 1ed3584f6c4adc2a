// Debian's Chromium without a window, driven over its own protocol by the WebSocket that Node has: opens a page, evaluates
// expressions in it, takes pictures of it. Ends with the test, with its profile.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../integration/runtime/processes.ts";

const START_MS = 45_000;

export const chromiumMissing = (): string =>
  spawnSync("chromium", ["--version"]).status === 0 ? "" : "needs chromium (Debian package chromium)";

export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile = mkdtempSync(join(tmpdir(), "insane-chromium-"));
  readonly #answers = new Map<number, (answer: { result?: unknown; error?: { message: string } }) => void>();
  #socket!: WebSocket;
  #calls = 0;
  /** What the page's script threw. */
  readonly errors: string[] = [];

  private constructor(width: number, height: number) {
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"];
    this.#child = spawn(
      "chromium",
      [
        ...flags,
        `--window-size=${width},${height}`,
        `--user-data-dir=${this.#profile}`,
        "--remote-debugging-port=0",
        "about:blank",
      ],
      { stdio: "ignore", detached: true },
    );
  }

  static async open(url: string, width = 1440, height = 1000): Promise<Chromium> {
    const browser = new Chromium(width, height);
    try {
      await browser.#connect(url);
      return browser;
    } catch (error) {
      await browser[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #connect(url: string): Promise<void> {
    const file = join(this.#profile, "DevToolsActivePort");
    await eventually(() => existsSync(file) && readFileSync(file, "utf8").includes("\n"), Boolean, START_MS);
    const [port] = readFileSync(file, "utf8").split("\n");
    type Target = { type: string; webSocketDebuggerUrl: string };
    const page = await eventually(
      async () =>
        ((await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as Target[]).find(({ type }) => type === "page"),
      (found) => found !== undefined,
      START_MS,
    );
    this.#socket = new WebSocket((page as Target).webSocketDebuggerUrl);
    this.#socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      if (said.method === "Runtime.exceptionThrown")
        this.errors.push(said.params.exceptionDetails.exception?.description);
      this.#answers.get(said.id)?.(said);
      this.#answers.delete(said.id);
    };
    await once(this.#socket, "open");
    await this.#call("Runtime.enable");
    await this.#call("Page.navigate", { url });
  }

  async #call(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.#calls;
    const answer = new Promise<{ result?: unknown; error?: { message: string } }>((resolve) =>
      this.#answers.set(id, resolve),
    );
    this.#socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result as Record<string, unknown>;
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", { expression, returnByValue: true });
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return (result as { value: T }).value;
  }

  /** PNG of what can be seen. */
  async picture(): Promise<Buffer> {
    return Buffer.from((await this.#call("Page.captureScreenshot", { format: "png" }))["data"] as string, "base64");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.close();
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) {
      // With its helpers: they are a group of their own.
      process.kill(-pid, "SIGKILL");
      await once(this.#child, "exit");
    }
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
