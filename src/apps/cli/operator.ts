// A connection that may only ask (role "operator"): no pages, no shared memory. Status, doctor, explain, watch and set-qos
// go through here.
import { ControlConnection } from "../../client/control.ts";
import { defaultSocketPath } from "../../client/paths.ts";
import { ERRNO, platform } from "../../native/platform.ts";
import { wakeOnReadable } from "../../native/views.ts";
import { InsaneError } from "../../protocol/codes.ts";
import type { ClientMethodTable, Params, Result } from "../../protocol/control.ts";
import { LAYOUT_HASH } from "../../protocol/layout.ts";
import { isPart, joinParts, type Part } from "../../protocol/parts.ts";
import { PROTOCOL_VERSION } from "../../protocol/rpc.ts";
import { VERSION } from "../../protocol/version.ts";

type Question = "status" | "doctor" | "explain" | "watch" | "stream.rebind";

export interface Operator extends AsyncDisposable {
  readonly socket: string;
  readonly runtime: Result<ClientMethodTable, "hello">["runtime"];
  ask<K extends Question>(method: K, params: Params<ClientMethodTable, K>): Promise<Result<ClientMethodTable, K>>;
  /** Called for each notification of the runtime. */
  onNotification: (method: string, params: unknown) => void;
  /** Resolves when the runtime is gone. */
  readonly ended: Promise<void>;
}

const TIMEOUT_MS = 5000;
/** For what takes as long as it takes: a stream moves. */
const MOVE_MS = 30_000;

/** Throws InsaneError ENORUNTIME, EVERSION, ELAYOUT, EPERM, ETIMEDOUT. */
export async function connectOperator(socket: string | undefined, command: string): Promise<Operator> {
  const path = socket ?? defaultSocketPath();
  const fd = platform().raw.socketConnect(path);
  if (fd < 0) throw noRuntime(path, fd);
  const control = new ControlConnection(platform(), fd, TIMEOUT_MS);
  const waker = wakeOnReadable(fd, () => void control.receive());
  const ended = Promise.withResolvers<void>();
  let asked = false;
  const close = (): void => {
    waker.close();
    control.close();
  };
  const operator = {
    socket: path,
    runtime: { id: "", name: "", version: "", pid: 0 },
    ask: async <K extends Question>(method: K, params: Params<ClientMethodTable, K>) => {
      const ask = async (part: number): Promise<unknown> =>
        (
          await control.request(
            method,
            part === 0 ? params : { ...params, part },
            method === "stream.rebind" ? MOVE_MS : TIMEOUT_MS,
          )
        ).result;
      const first = await ask(0);
      if (!isPart(first)) return first as Result<ClientMethodTable, K>;
      const parts = [first];
      while (parts.length < first.parts) parts.push((await ask(parts.length)) as Part);
      return joinParts(parts) as Result<ClientMethodTable, K>;
    },
    onNotification: (_method: string, _params: unknown): void => {},
    ended: ended.promise,
    [Symbol.asyncDispose]: async () => close(),
  };
  control.handle({
    request: ({ fail, method }) => fail(new InsaneError("EMETHOD", `An operator answers nothing, not even ${method}.`)),
    notification: (method, params) => operator.onNotification(method, params),
    ended: () => {
      // Readable for ever from now on.
      if (asked) waker.close();
      ended.resolve();
    },
  });
  try {
    const { result } = await control.request("hello", {
      protocol: PROTOCOL_VERSION,
      layout: LAYOUT_HASH,
      role: "operator",
      name: `insane ${command} (${process.pid})`,
      version: VERSION,
    });
    asked = true;
    operator.runtime = result.runtime;
    return operator;
  } catch (error) {
    close();
    throw error;
  }
}

function noRuntime(path: string, error: number): InsaneError {
  if (error === ERRNO.EACCES) {
    return new InsaneError(
      "EPERM",
      `The runtime's socket ${path} is not open to this user: ask its owner, or run as a user that it lets in.`,
      { path },
    );
  }
  return new InsaneError(
    "ENORUNTIME",
    `No runtime answers on ${path}. Start one with \`insane up${path === defaultSocketPath() ? "" : ` --socket ${path}`}\`, or name another socket with --socket or INSANE_SOCKET.`,
    { path },
  );
}
