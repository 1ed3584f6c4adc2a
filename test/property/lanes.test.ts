// Receiving work that is spread: each channel has exactly one lane, whatever runs, and lanes get about as many each.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PEER_ENDPOINTS } from "../../src/native/engine-events.ts";
import { LANES, laneOf, lanesOf, receivesOnly, technologyOf, UDP_LANES } from "../../src/protocol/lanes.ts";
import { streamTag } from "../../src/protocol/qos.ts";
import { NETWORK_TECHNOLOGIES } from "../../src/qos/strategy.ts";
import type { DataEndpoint } from "../../src/runtime/directory.ts";
import { ingress, type PlannedMember } from "../../src/runtime/plan.ts";
import { reaches } from "../../src/runtime/reach.ts";

const spread = fc.integer({ min: 1, max: UDP_LANES.length });
const channel = fc.integer({ min: 0, max: 0xffffffff });

describe("the lane of a channel", () => {
  it("is one of those that are configured, and its technology's own where nothing is spread", () => {
    fc.assert(
      fc.property(fc.constantFrom(...NETWORK_TECHNOLOGIES), fc.nat(), channel, spread, (over, tag, channel, spread) => {
        const lane = laneOf(over, tag >>> 0, channel, spread);
        expect(technologyOf(lane)).toBe(over);
        expect(lanesOf(over)).toContain(lane);
        if (over !== "udp" || spread === 1) expect(lane).toBe(over);
        else expect(UDP_LANES.slice(0, spread)).toContain(lane);
      }),
    );
  });

  it("is another for about as many channels each, where they are in a row", () => {
    fc.assert(
      fc.property(fc.string(), channel, fc.integer({ min: 2, max: 4 }), (name, first, spread) => {
        const many = 64;
        const counts = new Map<string, number>();
        for (let i = 0; i < many; i++) {
          const lane = laneOf("udp", streamTag(name), (first + i) >>> 0, spread);
          counts.set(lane, (counts.get(lane) ?? 0) + 1);
        }
        for (const lane of UDP_LANES.slice(0, spread)) {
          expect(Math.abs((counts.get(lane) ?? 0) - many / spread)).toBeLessThanOrEqual(4);
        }
      }),
    );
  });
});

it("there is a number for each lane of a host, by which engines know that they are one host's", () => {
  const header = readFileSync(new URL("../../src/native/core/engine.h", import.meta.url), "utf8");
  expect(Number(/INS_PEER_ENDPOINTS = (\d+)/.exec(header)?.[1])).toBe(PEER_ENDPOINTS);
  expect(LANES.length).toBeLessThanOrEqual(PEER_ENDPOINTS);
});

describe("what a member takes from other hosts", () => {
  it("comes over exactly one lane for each channel, also while another engine of kernel UDP is down", () => {
    const sinks = fc.uniqueArray(channel, { minLength: 1, maxLength: 32 });
    fc.assert(
      fc.property(sinks, spread, fc.subarray(["udp-2", "udp-3", "udp-4"] as const), (channels, spread, up) => {
        const member: PlannedMember = {
          session: 1,
          stream: "s",
          datapath: "udp",
          sources: [],
          sinks: channels.map((channel) => ({ channel, block: false })),
        };
        const networks = ["udp", "xdp", ...up] as const;
        const over = UDP_LANES.map((lane) => [...(ingress(member, lane, networks, spread)?.channels.keys() ?? [])]);
        const expected = channels.filter((one) => {
          const lane = laneOf("udp", streamTag("s"), one, spread);
          return (networks as ReadonlyArray<string>).includes(lane);
        });
        expect(over.flat().sort()).toEqual([...expected].sort());
        expect(ingress(member, "xdp", networks, spread)).toBeNull();
      }),
    );
  });
});

it("lanes that only receive have nothing to say to each other, and answer those that send", () => {
  const at = (lane: DataEndpoint["lane"], host: number): DataEndpoint => ({
    lane,
    address: `10.0.0.${host}`,
    port: 1,
    mtu: 1500,
  });
  expect(receivesOnly("udp-2") && !receivesOnly("udp")).toBe(true);
  expect(reaches(at("udp-2", 1), at("udp-3", 2))).toBe(false);
  for (const sends of ["udp", "xdp", "dpdk"] as const) {
    expect(reaches(at(sends, 1), at("udp-2", 2))).toBe(true);
    expect(reaches(at("udp-2", 1), at(sends, 2))).toBe(true);
  }
  expect(reaches(at("rdma", 1), at("udp-2", 2))).toBe(false);
});
