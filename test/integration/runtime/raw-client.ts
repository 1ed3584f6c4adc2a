// A client that says whatever a test wants to a runtime's socket, well-formed or not, and shows what comes back. It
// answers nothing by itself.
import { platform } from "../../../src/native/platform.ts";
import { LAYOUT_HASH } from "../../../src/protocol/layout.ts";
import {
  decodeFrame,
  encodeRequest,
  type Frame,
  PROTOCOL_VERSION,
  type RpcFailure,
} from "../../../src/protocol/rpc.ts";

export class RawClient implements Disposable {
  readonly fd: number;
  readonly frames: Frame[] = [];
  ended = false;
  #nextId = 1;
  #open = true;
  readonly #inbox = new Uint8Array(1 << 20);

  constructor(path: string) {
    this.fd = platform().socketConnect(path);
  }

  raw(bytes: Uint8Array): number {
    return platform().raw.socketSend(this.fd, bytes, bytes.byteLength, null, 0);
  }

  /** Takes what has come. Returns whether something had. */
  look(): boolean {
    const fds = new Int32Array(32);
    const count = new Uint32Array(1);
    let some = false;
    while (this.#open && !this.ended) {
      count[0] = 32;
      const length = platform().raw.socketReceive(this.fd, this.#inbox, this.#inbox.byteLength, fds, count);
      if (length === -11) break;
      some = true;
      if (length <= 0) {
        this.ended = true;
        break;
      }
      const frame = decodeFrame(this.#inbox.slice(0, length));
      this.frames.push(frame);
      this.took(frame, [...fds.subarray(0, count[0])]);
    }
    return some;
  }

  /** A frame and the descriptors that came with it, which are this client's to close. */
  protected took(_: Frame, fds: ReadonlyArray<number>): void {
    for (const fd of fds) platform().fdClose(fd);
  }

  /** Waits until `found` finds something in what has come. */
  async until<T>(found: (frames: ReadonlyArray<Frame>) => T | undefined, what: string, ms = 25_000): Promise<T> {
    const deadline = performance.now() + ms;
    for (;;) {
      this.look();
      const result = found(this.frames);
      if (result !== undefined) return result;
      if (this.ended) throw new Error(`the runtime closed the connection before ${what}`);
      if (performance.now() > deadline) throw new Error(`${what} did not come in ${ms} ms`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async untilEnded(ms = 25_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!this.ended) {
      this.look();
      if (performance.now() > deadline) throw new Error(`the connection was not closed in ${ms} ms`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The answer to a request: its error, or its result. */
  async ask(method: string, params: unknown): Promise<{ error: RpcFailure | null; result: unknown }> {
    const id = this.#nextId++;
    this.raw(encodeRequest(id, method, params));
    return this.until(
      (frames) => frames.find((frame) => frame.type === "response" && frame.id === id) as never,
      `the answer to ${method}`,
    );
  }

  hello(over: Record<string, unknown> = {}): Promise<{ error: RpcFailure | null; result: unknown }> {
    return this.ask("hello", {
      protocol: PROTOCOL_VERSION,
      layout: LAYOUT_HASH,
      role: "application",
      name: "raw",
      version: "test",
      ...over,
    });
  }

  /** A notification of the runtime. */
  notified(method: string): Promise<Record<string, unknown>> {
    return this.until<Record<string, unknown>>((frames) => {
      const found = frames.find((frame) => frame.type === "notification" && frame.method === method);
      return found?.type === "notification" ? (found.params as Record<string, unknown>) : undefined;
    }, method);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    platform().fdClose(this.fd);
  }
  [Symbol.dispose](): void {
    this.close();
  }
}
