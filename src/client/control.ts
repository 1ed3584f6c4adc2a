// The client's end of the control socket: requests with a deadline, the runtime's requests handed on, notifications.
// Frames and the descriptors that belong to them arrive together; whoever takes a frame's descriptors closes them.
import { ERRNO, MAX_FRAME_FDS, type Platform } from "../native/platform.ts";
import { InsaneError } from "../protocol/codes.ts";
import type { ClientMethodName, ClientMethodTable, Params, Result } from "../protocol/control.ts";
import {
  decodeFrame,
  encodeFailure,
  encodeNotification,
  encodeRequest,
  encodeResponse,
  type Frame,
  MAX_FRAME,
  toFailure,
  toInsaneError,
} from "../protocol/rpc.ts";
import { throwLater } from "./emitter.ts";

const RETRY_MS = 2;

export interface RuntimeRequest {
  readonly method: string;
  readonly params: unknown;
  /** The handler's to close. */
  readonly fds: ReadonlyArray<number>;
  answer(result: unknown): void;
  fail(error: unknown): void;
}
export interface ControlHandlers {
  /** Answers now or later; an exception is a refusal. */
  request(request: RuntimeRequest): void;
  notification(method: string, params: unknown): void;
  /** The runtime is gone, or this end was closed. Called once. */
  ended(): void;
}
export interface Reply<R> {
  readonly result: R;
  /** The caller's to close. */
  readonly fds: ReadonlyArray<number>;
}
interface Pending {
  readonly method: string;
  resolve(reply: Reply<unknown>): void;
  reject(error: unknown): void;
  readonly timer: NodeJS.Timeout;
}

export class ControlConnection {
  readonly fd: number;
  private readonly platform: Platform;
  private readonly timeout: number;
  private handlers: ControlHandlers | undefined;
  private readonly pending = new Map<number, Pending>();
  private readonly outbox: Uint8Array[] = [];
  private retry: NodeJS.Timeout | undefined;
  private readonly buffer = new Uint8Array(MAX_FRAME);
  private readonly fds = new Int32Array(MAX_FRAME_FDS);
  private readonly fdCount = new Uint32Array(1);
  private nextId = 1;
  private receiving = false;
  /** An answer was taken whose asker runs when this turn of the event loop is over, and what was told since. */
  private answering = false;
  private readonly told: Array<{ readonly method: string; readonly params: unknown }> = [];
  private why = "";

  constructor(platform: Platform, fd: number, timeout: number) {
    this.platform = platform;
    this.fd = fd;
    this.timeout = timeout;
  }

  get open(): boolean {
    return this.why === "";
  }

  handle(handlers: ControlHandlers): void {
    this.handlers = handlers;
  }

  /** Rejects with what the runtime answered, ETIMEDOUT, or ENORUNTIME once it is gone. */
  request<K extends ClientMethodName>(
    method: K,
    params: Params<ClientMethodTable, K>,
    timeout = this.timeout,
  ): Promise<Reply<Result<ClientMethodTable, K>>> {
    return new Promise((resolve, reject) => {
      if (!this.open) throw this.gone(method);
      const id = this.nextId;
      this.nextId = (id + 1) >>> 0;
      const frame = encodeRequest(id, method, params);
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(
          new InsaneError("ETIMEDOUT", `The runtime did not answer ${method} within ${timeout} ms.`, {
            method,
            timeout,
          }),
        );
      }, timeout);
      this.pending.set(id, { method, resolve: resolve as Pending["resolve"], reject, timer });
      this.send(frame);
    });
  }

  notify(method: string, params: unknown): void {
    if (this.open) this.send(encodeNotification(method, params));
  }

  private send(frame: Uint8Array): void {
    if (this.outbox.length === 0 && this.put(frame)) return;
    this.outbox.push(frame);
    this.retry ??= setTimeout(() => this.resend(), RETRY_MS);
  }
  private resend(): void {
    this.retry = undefined;
    while (this.outbox[0] !== undefined && this.open && this.put(this.outbox[0])) this.outbox.shift();
    if (this.outbox.length > 0 && this.open) this.retry = setTimeout(() => this.resend(), RETRY_MS);
  }
  /** False: not now. A socket that is broken shows at the next receive. */
  private put(frame: Uint8Array): boolean {
    const result = this.platform.raw.socketSend(this.fd, frame, frame.byteLength, null, 0);
    return result !== ERRNO.EAGAIN && result !== ERRNO.ENOBUFS && result !== ERRNO.ENOMEM;
  }

  /** Takes every frame there is. Returns their number. */
  receive(): number {
    if (this.receiving || !this.open) return 0;
    this.receiving = true;
    let frames = 0;
    try {
      while (this.open) {
        this.fdCount[0] = MAX_FRAME_FDS;
        const length = this.platform.raw.socketReceive(this.fd, this.buffer, MAX_FRAME, this.fds, this.fdCount);
        if (length === ERRNO.EAGAIN) break;
        const fds = Array.from(this.fds.subarray(0, length >= 0 ? this.fdCount[0] : 0));
        if (length === ERRNO.EMSGSIZE) continue;
        if (length <= 0) {
          this.closeAll(fds);
          this.end("The runtime has closed the connection");
          break;
        }
        frames++;
        this.take(this.buffer.subarray(0, length), fds);
      }
    } finally {
      this.receiving = false;
    }
    return frames;
  }

  private take(bytes: Uint8Array, fds: ReadonlyArray<number>): void {
    let frame: Frame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      this.closeAll(fds);
      this.end(`The runtime sent what is no frame (${error instanceof Error ? error.message : String(error)})`);
      return;
    }
    if (frame.type === "response") {
      const pending = this.pending.get(frame.id);
      this.pending.delete(frame.id);
      clearTimeout(pending?.timer);
      if (pending !== undefined && frame.error === null) pending.resolve({ result: frame.result, fds });
      else this.closeAll(fds);
      if (frame.error !== null) pending?.reject(toInsaneError(frame.error));
      if (pending !== undefined && !this.answering) {
        this.answering = true;
        setImmediate(() => this.tell());
      }
    } else if (frame.type === "request") this.serve(frame.id, frame.method, frame.params, fds);
    else {
      this.closeAll(fds);
      this.told.push(frame);
      if (!this.answering) this.tell();
    }
  }

  /** What is told after an answer may be of what that brings (a stream, a sink): whoever asked for it has it first. */
  private tell(): void {
    this.answering = false;
    for (const { method, params } of this.told.splice(0)) {
      try {
        this.handlers?.notification(method, params);
      } catch (error) {
        throwLater(error);
      }
    }
  }

  private serve(id: number, method: string, params: unknown, fds: ReadonlyArray<number>): void {
    let answered = false;
    const once = (frame: () => Uint8Array): void => {
      if (answered || !this.open) return;
      answered = true;
      this.send(frame());
    };
    const request: RuntimeRequest = {
      method,
      params,
      fds,
      answer: (result) => once(() => encodeResponse(id, result)),
      fail: (error) => once(() => encodeFailure(id, toFailure(error))),
    };
    try {
      if (this.handlers === undefined) throw new InsaneError("EMETHOD", `${method} came before the hello was done.`);
      this.handlers.request(request);
    } catch (error) {
      request.fail(error);
    }
  }

  closeAll(fds: ReadonlyArray<number>): void {
    for (const fd of fds) this.platform.raw.fdClose(fd);
  }

  /** Closes the socket; whatever waits is refused. */
  close(): void {
    this.end("This session is closed");
  }

  private end(why: string): void {
    if (!this.open) return;
    this.why = why;
    clearTimeout(this.retry);
    this.tell();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { timer, reject, method } of waiting) {
      clearTimeout(timer);
      reject(this.gone(method));
    }
    this.handlers?.ended();
    this.platform.raw.fdClose(this.fd);
  }

  private gone(method: string): InsaneError {
    return new InsaneError(
      "ENORUNTIME",
      `${method} cannot be answered: ${this.why}. Start one with \`insane up\` and connect again.`,
      { method },
    );
  }
}
