// MTUs that differ between hosts are told, once, for the technologies that send frames as large as an interface takes.
import { describe, expect, it } from "vitest";
import type { NetworkTechnology } from "../../src/protocol/qos.ts";
import type { PeerInfo } from "../../src/runtime/directory.ts";
import { MtuWatch } from "../../src/runtime/mtu.ts";

const at = (lane: NetworkTechnology, mtu: number, address = "10.0.0.1") => ({ lane, address, mtu });
const peer = (...endpoints: ReadonlyArray<ReturnType<typeof at>>): PeerInfo => ({
  peer: 1,
  id: "p",
  name: "press",
  endpoint: "10.0.0.2:1",
  technologies: [],
  knows: [],
  subscriptions: [],
  endpoints: endpoints.map((endpoint) => ({ ...endpoint, port: 1 })),
});
const codes = (warnings: ReadonlyArray<{ readonly code: string }>): string[] => warnings.map(({ code }) => code);

describe("an MTU", () => {
  it("that is the same, or of a technology that only one host has, is no news", () => {
    const watch = new MtuWatch();
    expect(watch.look(peer(at("udp", 1500), at("xdp", 3820)), [at("udp", 1500)])).toEqual([]);
    expect(watch.look(peer(at("rdma", 4096)), [at("rdma", 65535)])).toEqual([]);
  });

  it("that differs is told once, with both sizes, and again when it changes", () => {
    const watch = new MtuWatch();
    const ours = [at("udp", 9000), at("xdp", 3820)];
    const [warning, ...more] = watch.look(peer(at("udp", 1500, "10.0.0.2"), at("xdp", 3820)), ours);
    expect(more).toEqual([]);
    expect(warning).toMatchObject({ code: "W_MTU_MISMATCH", message: expect.stringMatching(/press.*1500.*9000/) });
    expect(watch.look(peer(at("udp", 1500, "10.0.0.2"), at("xdp", 3820)), ours)).toEqual([]);
    expect(codes(watch.look(peer(at("udp", 1400, "10.0.0.2"), at("xdp", 1400)), ours))).toEqual([
      "W_MTU_MISMATCH",
      "W_MTU_MISMATCH",
    ]);
  });
});
