// Hosts whose interfaces take datagrams of different sizes: what the larger one sends in one piece the smaller one may
// never see, and no error comes back. Each says its MTU in its hello; this finds those that differ, and tells once.
import { WARNING_CODES, type Warning } from "../protocol/codes.ts";
import type { Lane } from "../protocol/lanes.ts";
import type { PeerInfo } from "./directory.ts";
import { Told } from "./told.ts";

interface Sized {
  readonly lane: Lane;
  readonly address: string;
  readonly mtu: number;
}

/** Those that send Ethernet frames as large as their interface takes; of a technology's lanes one is enough. */
const FRAMED: ReadonlyArray<Lane> = ["udp", "xdp", "dpdk"];

export class MtuWatch {
  readonly #told = new Told();

  /** What is to be said of a peer, given our own endpoints; nothing that has been said already. */
  look({ id, name, endpoints }: PeerInfo, ours: ReadonlyArray<Sized>): Warning[] {
    const warnings: Warning[] = [];
    for (const here of ours) {
      const there = endpoints.find(({ lane }) => lane === here.lane);
      if (!there || there.mtu === here.mtu || !FRAMED.includes(here.lane)) continue;
      if (!this.#told.first(`${id} ${here.lane} ${here.mtu} ${there.mtu}`)) continue;
      warnings.push({
        code: WARNING_CODES.MTU_MISMATCH,
        message: `${name} takes datagrams of ${there.mtu} bytes at its ${here.lane} endpoint ${there.address}, and this host of ${here.mtu} bytes at ${here.address}: larger messages may be lost without a word, or refused.`,
        cure: "Give the interfaces of both hosts, and what is between them, the same MTU (`ip link set DEV mtu N`).",
      });
    }
    return warnings;
  }
}
