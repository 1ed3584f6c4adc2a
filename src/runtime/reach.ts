// Which datapaths can exchange datagrams with which, by what they are and where. Pure.
import type { NetworkTechnology } from "../protocol/qos.ts";
import type { DataEndpoint } from "./directory.ts";

/** Datapaths that send the same UDP/IPv4 datagrams. */
const DATAGRAMS: ReadonlyArray<NetworkTechnology> = ["udp", "xdp", "dpdk"];

/** Whether a datapath at `here` can exchange datagrams with one at `there`. */
export function reaches(here: Pick<DataEndpoint, "technology" | "address">, there: DataEndpoint): boolean {
  if (here.technology === "udp" && there.technology === "udp") return true;
  // What stays on one host goes through its kernel, past every other datapath.
  if (here.address === there.address) return false;
  return (
    here.technology === there.technology || [here, there].every(({ technology }) => DATAGRAMS.includes(technology))
  );
}
