// Requests, answers and notifications over one control socket, as the runtime's side of it: everything that comes is
// checked, everything bad is answered readably, and who keeps on sending bad frames is reported to be evicted.
import type { Connection } from "../effects/connection.ts";
import { InsaneError } from "../protocol/codes.ts";
import type {
  ClientMethodName,
  ClientMethodTable,
  Params,
  Result,
  RuntimeMethodName,
  RuntimeMethodTable,
  RuntimeNotificationName,
  RuntimeNotificationTable,
} from "../protocol/control.ts";
import {
  decodeFrame,
  encodeFailure,
  encodeNotification,
  encodeRequest,
  encodeResponse,
  type ResponseFrame,
  toFailure,
  toInsaneError,
} from "../protocol/rpc.ts";
import { type ClientNotification, checkNotification, checkParams, checkResult } from "../runtime/contract.ts";

/** Bad frames a session may send in its life before it is evicted. */
export const MAX_FAULTS = 32;
/** Requests of a session that may be under way at a time. */
const MAX_REQUESTS = 1024;
/** Requests of ours that a session may owe an answer to: more than it has links, each asked for several things. */
const MAX_OWED = 8192;
/** Longest message of an error without an answer, in UTF-16 units. */
const LONGEST = 4000;

export interface Reply<R> {
  readonly result: R;
  /** Descriptors that travel with the answer; duplicated by the kernel as it is sent. */
  readonly fds?: ReadonlyArray<number>;
  /** Called when the answer has been handed over. */
  readonly sent?: () => void;
}

export interface RpcHandlers {
  request<M extends ClientMethodName>(
    method: M,
    params: Params<ClientMethodTable, M>,
  ): Promise<Reply<Result<ClientMethodTable, M>>> | Reply<Result<ClientMethodTable, M>>;
  notification(notice: ClientNotification): void;
  /** The sender was told what was wrong; `count` is how often that has happened. */
  fault(error: InsaneError, count: number): void;
  /** It owes more answers than it may. */
  silent(owed: number): void;
  /** Something failed that should not. */
  defect(cause: unknown): void;
}

interface Pending {
  readonly method: RuntimeMethodName;
  readonly resolve: (result: never) => void;
  readonly reject: (error: InsaneError) => void;
}

export class RpcChannel {
  readonly #connection: () => Connection | null;
  readonly #handlers: RpcHandlers;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #faults = 0;
  #requests = 0;
  #closed: InsaneError | null = null;

  constructor(connection: () => Connection | null, handlers: RpcHandlers) {
    this.#connection = connection;
    this.#handlers = handlers;
  }

  /** Asks the application; resolves with its checked answer, rejects with its error or when it is gone. */
  ask<M extends RuntimeMethodName>(
    method: M,
    params: Params<RuntimeMethodTable, M>,
    fds: ReadonlyArray<number> = [],
  ): Promise<Result<RuntimeMethodTable, M>> {
    const connection = this.#connection();
    if (this.#closed || !connection) {
      return Promise.reject(this.#closed ?? new InsaneError("ECLOSED", "The session is not connected."));
    }
    if (this.#pending.size >= MAX_OWED) this.#handlers.silent(this.#pending.size);
    return new Promise((resolve, reject) => {
      const id = this.#nextId;
      this.#nextId = this.#nextId === 0xffffffff ? 1 : this.#nextId + 1;
      const frame = encodeRequest(id, method, params);
      connection.send(frame, fds);
      this.#pending.set(id, { method, resolve, reject });
    });
  }

  /** Never throws: whoever tells of something may be in the middle of a step of its own. */
  tell<N extends RuntimeNotificationName>(method: N, params: RuntimeNotificationTable[N]["Type"]): void {
    try {
      this.#tell(method, params);
    } catch (cause) {
      this.#handlers.defect(cause);
    }
  }

  #tell<N extends RuntimeNotificationName>(method: N, params: RuntimeNotificationTable[N]["Type"]): void {
    if (!this.#closed) this.#connection()?.send(encodeNotification(method, params));
  }

  /** One frame as it came. Never throws. */
  receive(bytes: Uint8Array): void {
    try {
      const frame = decodeFrame(bytes);
      if (frame.type === "request") void this.#serve(frame.id, frame.method, frame.params);
      else if (frame.type === "response") this.#settle(frame);
      else this.#handlers.notification(checkNotification(frame.method, frame.params));
    } catch (cause) {
      this.reject(cause);
    }
  }

  /** A frame that has no answer of its own was bad: its sender is told, and it counts. */
  reject(cause: unknown): void {
    if (!(cause instanceof InsaneError)) this.#handlers.defect(cause);
    const error = toInsaneError(toFailure(cause));
    const { code, message, details } = toFailure(error);
    const brief = { code, message: message.length > LONGEST ? `${message.slice(0, LONGEST)}...` : message };
    try {
      this.#tell("protocol.error", details ? { ...brief, details } : brief);
    } catch {
      // The details quote too much of what came.
      this.tell("protocol.error", brief);
    }
    this.#handlers.fault(error, ++this.#faults);
  }

  /** The application is gone or is not to be talked to any more: everything asked of it fails. */
  close(why: InsaneError): void {
    if (this.#closed) return;
    this.#closed = why;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(why);
  }

  async #serve(id: number, method: string, params: unknown): Promise<void> {
    let frame: Uint8Array;
    let reply: Reply<unknown> | null = null;
    this.#requests++;
    try {
      if (this.#requests > MAX_REQUESTS) {
        throw new InsaneError("ELIMIT", `More than ${MAX_REQUESTS} requests of this session are under way.`);
      }
      const checked = checkParams(method, params) as Params<ClientMethodTable, ClientMethodName>;
      reply = await this.#handlers.request(method as ClientMethodName, checked);
      frame = encodeResponse(id, reply.result);
    } catch (cause) {
      frame = encodeFailure(id, toFailure(cause));
      if (!(cause instanceof InsaneError)) this.#handlers.defect(cause);
      else if (cause.code === "ESCHEMA" || cause.code === "EMETHOD") this.#handlers.fault(cause, ++this.#faults);
    } finally {
      this.#requests--;
    }
    try {
      this.#connection()?.send(frame, reply?.fds ?? []);
    } catch (cause) {
      // What it was to be given is gone already.
      this.#failed(id, cause);
      return;
    }
    reply?.sent?.();
  }

  #failed(id: number, cause: unknown): void {
    try {
      this.#connection()?.send(encodeFailure(id, toFailure(cause)));
    } catch (twice) {
      this.#handlers.defect(twice);
    }
  }

  #settle(frame: ResponseFrame): void {
    const pending = this.#pending.get(frame.id);
    if (!pending) {
      throw new InsaneError("ESCHEMA", `Control frame at /1: nothing was asked with the id ${frame.id}.`, {
        path: "/1",
      });
    }
    this.#pending.delete(frame.id);
    if (frame.error) {
      pending.reject(toInsaneError(frame.error));
      return;
    }
    try {
      pending.resolve(checkResult(pending.method, frame.result) as never);
    } catch (cause) {
      pending.reject(cause as InsaneError);
      throw cause;
    }
  }
}
