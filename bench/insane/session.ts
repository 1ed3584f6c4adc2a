// How the measured programs reach INSANE: a runtime of their own in the process ("embed"), or a daemon's socket
// ("attach"). The first arguments of every program in this folder say which.
import type { Session } from "../../src/index.ts";
import { connect, Runtime } from "../../src/index.ts";

/** UDP port of the hello frames of an embedded runtime. */
export const HELLO_PORT = 9710;
/** Bytes of the smallest `maxMessage` used: the library's default. */
const DEFAULT_MAX_MESSAGE = 65536;
export const STREAM = "bench";
export const CHANNELS = { there: 1, back: 2 } as const;

export interface Reached {
  session: Session;
  /** The arguments behind those that said where to connect. */
  rest: string[];
  close(): Promise<void>;
}

/** `embed LOCAL PEER` with the engine inline, or `attach SOCKET`. */
export async function reach(name: string, args: readonly string[]): Promise<Reached> {
  if (args[0] === "attach") {
    const session = await connect({ socket: args[1] ?? "", name });
    return { session, rest: args.slice(2), close: () => session.close() };
  }
  const [, address = "", peer = "", ...rest] = args;
  const runtime = await Runtime.embed({
    name,
    socket: null,
    network: { enabled: true, address, port: HELLO_PORT, peers: [`${peer}:${HELLO_PORT}`], helloIntervalMs: 100 },
    engine: { mode: "inline" },
    log: { level: "error" },
  });
  const session = await runtime.connect({ name });
  return { session, rest, close: () => runtime.close() };
}

export const streamOptions = (payload: number) => ({
  name: STREAM,
  maxMessage: Math.max(payload, DEFAULT_MAX_MESSAGE),
});
