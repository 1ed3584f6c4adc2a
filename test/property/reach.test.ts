// Who reaches whom over RDMA, and which streams can have it: for every combination of providers on two or three hosts.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DataEndpoint } from "../../src/runtime/directory.ts";
import { reaches, withoutRdma } from "../../src/runtime/reach.ts";

const provider = fc.constantFrom("verbs;ofi_rxm", "net", "tcp;ofi_rxm", null);
const endpoint = (lane: DataEndpoint["lane"], of: string | null, address = "10.0.0.2"): DataEndpoint => ({
  lane,
  address,
  port: 1000,
  mtu: 65_535,
  ...(of === null ? {} : { provider: of }),
});

describe("RDMA", () => {
  it("reaches RDMA by the same provider and nothing else, wherever that is", () => {
    fc.assert(
      fc.property(provider, provider, fc.constantFrom("10.0.0.1", "10.0.0.2"), (here, there, address) => {
        const ours = { lane: "rdma", address, provider: here ?? undefined } as const;
        expect(reaches(ours, endpoint("rdma", there))).toBe(here === there);
        for (const lane of ["udp", "xdp", "dpdk"] as const) {
          expect(reaches(ours, endpoint(lane, null))).toBe(false);
          expect(reaches({ lane, address }, endpoint("rdma", there))).toBe(false);
        }
      }),
    );
  });

  it("is for streams that all who want them can take over it, and the one who cannot is named", () => {
    const peer = fc.record({ wants: fc.boolean(), by: fc.option(provider) });
    fc.assert(
      fc.property(fc.array(peer, { maxLength: 4 }), provider, (peers, ours) => {
        const alive = peers.map(({ wants, by }, i) => ({
          name: `host-${i}`,
          endpoints: [endpoint("udp", null), ...(by === null && i % 2 === 0 ? [] : [endpoint("rdma", by)])],
          subscriptions: [
            { tag: 1, stream: "other", channel: 1, lane: "udp" as const },
            ...(wants ? [{ tag: 2, stream: "s", channel: 1, lane: "udp" as const }] : []),
          ],
        }));
        const cannot = alive.filter(
          ({ subscriptions, endpoints }) =>
            subscriptions.some(({ stream }) => stream === "s") &&
            !endpoints.some((at) => at.lane === "rdma" && (at.provider ?? null) === ours),
        );
        const why = withoutRdma("s", ours ?? undefined, alive);
        expect(why === null).toBe(cannot.length === 0);
        if (why !== null) expect(why.reason).toContain(cannot[0]?.name);
        expect(withoutRdma("nobody's", ours ?? undefined, alive)).toBe(null);
      }),
    );
  });
});
