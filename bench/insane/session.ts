// How the measured programs reach INSANE: a runtime of their own in the process ("embed", or "embed-xdp[:skb]",
// "embed-dpdk:INTERFACE:ADDRESS" and "embed-rdma:PROVIDER" for streams that must run on those), or a daemon's socket ("attach"). The first arguments of every program in this folder say which.
import type { Session, Stream } from "../../src/index.ts";
import { connect, Runtime } from "../../src/index.ts";
import { crowdOf, openCrowd } from "./crowd.ts";
import { towards } from "./hello.ts";

/** UDP port of the hello frames of an embedded runtime. */
export const HELLO_PORT = 9710;
/** Bytes of the smallest `maxMessage` used: the library's default. */
const DEFAULT_MAX_MESSAGE = 65536;
const LARGEST_DATAGRAM = 65_459;
export const STREAM = "bench";
export const CHANNELS = { there: 1, back: 2 } as const;

export interface Reached {
  session: Session;
  /** The benchmark's stream, for messages of that many bytes. */
  stream(payload: number): Promise<Stream>;
  /** The arguments behind those that said where to connect. */
  rest: string[];
  close(): Promise<void>;
}

const open = async (
  session: Session,
  payload: number,
  datapath?: "xdp" | "dpdk" | "rdma",
  batching = true,
): Promise<Stream> => {
  const stream = await session.createStream({
    name: STREAM,
    // Messages that no datagram holds need a stream of larger ones than the default.
    maxMessage: payload > LARGEST_DATAGRAM ? Math.max(payload, DEFAULT_MAX_MESSAGE + 1) : DEFAULT_MAX_MESSAGE,
    acceleration: datapath === undefined ? "none" : "fast",
    consumption: datapath === "dpdk" ? "high" : "low",
    batching,
  });
  const { datapath: bound, warnings } = stream.binding;
  // Never a figure of something else under its name.
  if (datapath !== undefined && bound !== datapath)
    throw new Error(`the stream runs on ${bound}: ${warnings.map(({ message }) => message).join(" ")}`);
  return stream;
};

/**
 * `embed`, `embed-udp:no-gso` or `embed-udp:unbatched` with those switched off, `embed-xdp` or `embed-xdp:skb` (generic mode), `embed-dpdk:INTERFACE:ADDRESS` or `embed-rdma:PROVIDER`, then `LOCAL PEER`, with the engine inline or
 * on a thread of its own that parks, or `attach SOCKET`.
 */
export async function reach(
  name: string,
  args: readonly string[],
  { engine = "inline" }: { readonly engine?: "inline" | "thread" } = {},
): Promise<Reached> {
  if (args[0] === "attach") {
    const session = await connect({ socket: args[1] ?? "", name });
    const stream = (payload: number) => open(session, payload);
    return { session, stream, rest: args.slice(2), close: () => session.close() };
  }
  const [how = "", address = "", peer = "", ...rest] = args;
  const [, own, device = "", deviceAddress = ""] = /^embed-(udp|xdp|dpdk|rdma)(?::([^:]+)(?::(.+))?)?$/.exec(how) ?? [];
  const datapath = (own === "udp" ? undefined : own) as "xdp" | "dpdk" | "rdma" | undefined;
  const dpdk = datapath === "dpdk" ? { dpdk: { interface: device, address: deviceAddress } } : {};
  const rdma = datapath === "rdma" ? { rdma: { provider: device as "net" } } : {};
  const runtime = await Runtime.embed({
    name,
    socket: null,
    network: {
      enabled: true,
      ...towards(address, peer, HELLO_PORT),
      ...dpdk,
      ...rdma,
      xdp: { mode: device === "skb" ? "skb" : "native" },
      udp: { trains: device !== "no-gso" },
    },
    engine: { mode: engine },
    // The application's own thread is to poll it.
    engines: { process: { dpdk: false, rdma: false } },
    // A software provider is never taken by itself.
    strategy: datapath === "rdma" ? { name: "bench", rules: [{ use: ["rdma"], emulated: true }] } : null,
    log: { level: "error" },
  });
  const session = await runtime.connect({ name });
  const others = process.env["INSANE_BENCH_CROWD"];
  if (others !== undefined) await openCrowd(crowdOf(others), (name) => runtime.connect({ name }));
  const stream = (payload: number) => open(session, payload, datapath, device !== "unbatched");
  return { session, stream, rest, close: () => runtime.close() };
}
