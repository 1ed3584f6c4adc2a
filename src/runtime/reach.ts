// Which datapaths can exchange datagrams with which, by what they are and where. Pure.
import { receivesOnly, technologyOf } from "../protocol/lanes.ts";
import type { NetworkTechnology } from "../protocol/qos.ts";
import type { DataEndpoint, PeerInfo } from "./directory.ts";

/** Datapaths that send the same UDP/IPv4 datagrams. */
const DATAGRAMS: ReadonlyArray<NetworkTechnology> = ["udp", "xdp", "dpdk"];

/** Whether a datapath at `here` can exchange datagrams with one at `there`. */
export function reaches(
  here: Pick<DataEndpoint, "lane" | "address"> & { readonly provider?: string | undefined },
  there: DataEndpoint,
): boolean {
  // Between two that only receive there is nothing to say.
  if (receivesOnly(here.lane) && receivesOnly(there.lane)) return false;
  const [ours, theirs] = [technologyOf(here.lane), technologyOf(there.lane)];
  // RDMA speaks to its like only, and to that wherever it is.
  if (ours === "rdma" || theirs === "rdma") {
    return ours === theirs && here.provider === there.provider;
  }
  if (ours === "udp" && theirs === "udp") return true;
  // What stays on one host goes through its kernel, past every other datapath.
  if (here.address === there.address) return false;
  return ours === theirs || (DATAGRAMS.includes(ours) && DATAGRAMS.includes(theirs));
}

/** Why a technology is of no use now, and what can be done about it. */
export interface Unavailable {
  readonly reason: string;
  readonly cure: string;
}

/**
 * Why a stream cannot have RDMA because of a peer that wants its messages, or null. A stream has one datapath to all of
 * them, so it has RDMA only when all of them do. `provider`: ours.
 */
export function withoutRdma(
  stream: string,
  provider: string | undefined,
  alive: ReadonlyArray<Pick<PeerInfo, "name" | "endpoints" | "subscriptions">>,
): Unavailable | null {
  for (const { name, endpoints, subscriptions } of alive) {
    if (!subscriptions.some((wanted) => wanted.stream === stream)) continue;
    const there = endpoints.find(({ lane }) => lane === "rdma");
    if (there && reaches({ lane: "rdma", address: "", provider }, there)) continue;
    const has = there ? `has RDMA by ${there.provider ?? "a provider it does not name"}` : "has no RDMA";
    return {
      reason: `${name}, which wants messages of this stream, ${has}, and here it is by ${provider ?? "another"}`,
      cure: "Give that host RDMA by the same provider.",
    };
  }
  return null;
}

/** The names of all streams that peers keep from having RDMA, sorted. */
export function streamsWithoutRdma(provider: string | undefined, alive: ReadonlyArray<PeerInfo>): string[] {
  const streams = new Set(alive.flatMap(({ subscriptions }) => subscriptions.map(({ stream }) => stream)));
  return [...streams].filter((stream) => withoutRdma(stream, provider, alive) !== null).sort();
}
