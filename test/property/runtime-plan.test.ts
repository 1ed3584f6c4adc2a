// The link broker's arithmetic against what it is for: everybody who wants a message gets it over exactly one link, and
// tables change without anything being misread.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ExistingLink,
  egress,
  ingress,
  type LinkTables,
  type PlanInput,
  type PlannedMember,
  plan,
  unionTables,
  wantedLinks,
} from "../../src/runtime/plan.ts";

const STREAMS = ["a", "b", "c:d>e"];
const channel = fc.integer({ min: 0, max: 4 });
const member = fc.record({
  session: fc.integer({ min: 1, max: 5 }),
  datapath: fc.constantFrom("udp" as const, "xdp" as const, null),
  stream: fc.constantFrom(...STREAMS),
  sources: fc.uniqueArray(fc.integer({ min: 0, max: 14 }), { maxLength: 4 }),
  sinks: fc.array(fc.record({ channel, block: fc.boolean() }), { maxLength: 4 }),
});
const input: fc.Arbitrary<PlanInput> = fc
  .record({
    members: fc.uniqueArray(member, { maxLength: 8, selector: ({ session, stream }) => `${session} ${stream}` }),
    remote: fc.array(
      fc.record({
        lane: fc.constantFrom("udp" as const, "xdp" as const),
        stream: fc.constantFrom(...STREAMS),
        channel,
      }),
      { maxLength: 8 },
    ),
    networks: fc.subarray(["udp" as const, "xdp" as const]),
  })
  .map(({ members, ...rest }) => ({
    ...rest,
    members: members.map(
      (one): PlannedMember => ({
        ...one,
        // An index belongs to one source for ever, and a source to one channel.
        sources: one.sources.map((index) => ({ id: one.session * 100 + index, index, channel: index % 5 })),
      }),
    ),
  }));

/** What there is once a plan has been carried out. */
const carriedOut = (of: PlanInput, before: ReadonlyMap<string, ExistingLink>): Map<string, ExistingLink> => {
  const { open, update, close } = plan(of, before);
  const after = new Map(before);
  for (const key of close) after.delete(key);
  for (const link of [...open, ...update]) after.set(link.key, link);
  return after;
};
const channelsOf = (tables: LinkTables): Set<number> => new Set(tables.channels.map((entry) => entry.channel));

describe("the plan of links", () => {
  it("connects each source with each sink of its stream and channel over exactly one direct link", () => {
    fc.assert(
      fc.property(input, (of) => {
        const links = [...wantedLinks(of, new Map()).values()].filter(({ kind }) => kind === "direct");
        for (const producer of of.members) {
          for (const consumer of of.members) {
            const common = producer.sources
              .map((source) => source.channel)
              .filter((one) => consumer.sinks.some((sink) => sink.channel === one));
            const same = producer.stream === consumer.stream;
            const between = links.filter(
              (link) =>
                link.stream === producer.stream &&
                link.producer === producer.session &&
                link.consumer === consumer.session,
            );
            if (!same) continue;
            expect(between.length).toBe(common.length > 0 ? 1 : 0);
            if (between[0]) expect(channelsOf(between[0].tables)).toEqual(new Set(common));
          }
        }
        for (const { producer, consumer, stream } of links) {
          for (const session of [producer, consumer]) {
            expect(of.members.some((one) => one.session === session && one.stream === stream)).toBe(true);
          }
        }
      }),
    );
  });

  it("blocks a source exactly where one of the sinks it reaches wants that", () => {
    fc.assert(
      fc.property(input, (of) => {
        for (const link of wantedLinks(of, new Map()).values()) {
          if (link.kind !== "direct") continue;
          const consumer = of.members.find((one) => one.session === link.consumer && one.stream === link.stream);
          for (const entry of link.tables.channels) {
            const sinks = consumer?.sinks.filter((sink) => sink.channel === entry.channel) ?? [];
            expect(entry.block).toBe(sinks.some((sink) => sink.block));
          }
        }
      }),
    );
  });

  it("sends to other hosts what they want and what is emitted here, and receives what is consumed here", () => {
    fc.assert(
      fc.property(input, (of) => {
        const links = [...wantedLinks(of, new Map()).values()];
        for (const one of of.members) {
          const wanted = one.sources
            .map((source) => source.channel)
            .filter((c) =>
              of.remote.some(
                (remote) => remote.lane === one.datapath && remote.stream === one.stream && remote.channel === c,
              ),
            );
          const network = one.datapath !== null && of.networks.includes(one.datapath);
          const mine = (kind: string, end: "producer" | "consumer") =>
            links.filter((link) => link.kind === kind && link[end] === one.session && link.stream === one.stream);
          const egress = mine("egress", "producer");
          expect(egress.length).toBe(network && wanted.length > 0 ? 1 : 0);
          for (const link of [...egress, ...mine("ingress", "consumer")]) expect(link.lane).toBe(one.datapath);
          if (egress[0]) expect(channelsOf(egress[0].tables)).toEqual(new Set(wanted));
          const ingress = mine("ingress", "consumer");
          expect(ingress.length).toBe(network && one.sinks.length > 0 ? 1 : 0);
        }
      }),
    );
  });

  it("says of the links that a stream moves to that it does, in both directions", () => {
    const one = {
      session: 1,
      stream: "s",
      sources: [{ id: 1, index: 1, channel: 1 }],
      sinks: [{ channel: 2, block: true }],
    };
    const networks = ["udp", "xdp"] as const;
    for (const held of [false, true]) {
      const moving = { ...one, datapath: "xdp", keep: ["udp"], held } as const;
      expect(ingress(moving, "xdp", networks, 1)).toMatchObject({ held, onlyIfThere: false });
      expect(egress(moving, "xdp", networks, () => true)).toMatchObject({ held, onlyIfThere: false });
      for (const left of [ingress(moving, "udp", networks, 1), egress(moving, "udp", networks, () => true)]) {
        expect(left).toMatchObject({ held: false });
      }
    }
  });

  it("is finished when it has been carried out", () => {
    fc.assert(
      fc.property(input, input, (first, second) => {
        const links = carriedOut(second, carriedOut(first, new Map()));
        expect(plan(second, links)).toEqual({ open: [], update: [], close: [] });
        expect([...links.keys()].sort()).toEqual([...wantedLinks(second, links).keys()].sort());
      }),
    );
  });

  it("gives a channel one index for as long as its link stands, also when it goes and comes back, and no other has it", () => {
    fc.assert(
      fc.property(fc.array(input, { minLength: 2, maxLength: 8 }), (steps) => {
        let links = new Map<string, ExistingLink>();
        const owners = new Map<string, Map<number, number>>();
        for (const of of steps) {
          const before = links;
          links = carriedOut(of, links);
          for (const [key, link] of links) {
            const earlier = before.get(key);
            if (!earlier) owners.delete(key);
            const mine = owners.get(key) ?? new Map<number, number>();
            owners.set(key, mine);
            const indices = link.tables.channels.map(({ index }) => index);
            expect(new Set(indices).size).toBe(indices.length);
            for (const { index, channel: of } of link.tables.channels) {
              for (const [was, owner] of mine) expect(was === index).toBe(owner === of);
              mine.set(index, of);
            }
          }
        }
      }),
    );
  });

  it("has for every change a union that both before and after can be read by", () => {
    fc.assert(
      fc.property(input, input, (first, second) => {
        const before = carriedOut(first, new Map());
        for (const [key, after] of carriedOut(second, before)) {
          const earlier = before.get(key);
          if (!earlier) continue;
          const union = unionTables(earlier.tables, after.tables);
          for (const entry of after.tables.channels) expect(union.channels).toContainEqual(entry);
          for (const { index, channel: of } of earlier.tables.channels) {
            expect(union.channels.find((entry) => entry.index === index)?.channel).toBe(of);
          }
          for (const source of [...earlier.tables.sources, ...after.tables.sources]) {
            expect(union.sources).toContainEqual(source);
          }
        }
      }),
    );
  });
});
